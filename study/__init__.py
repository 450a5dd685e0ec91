"""Many runs by one command: what is to be done, by whom, how far it is, and what came of it.

`tasks` names the notebooks, `plan` makes jobs of experiments and `preview` shows them, `notebooks`
executes one notebook by papermill, `jobs` is one such execution as it is planned, `work` the
process that does it, `executors` start such processes here or on a Slurm cluster, `standing` reads
from a run folder how far it is, `board` shows it, `schedule` keeps it all going, `outcome` knows
what came of it and what to evaluate, `report` makes a page of it. Each is loaded when it is used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
