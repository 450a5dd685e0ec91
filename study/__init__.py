"""Many runs by one command: planned, executed, watched, evaluated and reported.

`plan` turns experiments into jobs and `preview` shows them; `notebooks` executes a notebook by
papermill, `jobs` is one planned execution, `work` the process that runs it; `executors` start such
processes here or on a Slurm cluster, `schedule` runs them all, `standing` reads the progress from
a run folder and `board` shows it; `outcome` finds the finished runs and what to evaluate, `folds`
puts the folds of a row together, `archive` keeps what tables need of a run, `report` writes a page
about them. Each is loaded when it is used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
