"""Many runs by one command: what is to be done, by whom, how far it is.

`plan` makes jobs of rows and `preview` shows them, `notebooks` executes one notebook by papermill,
`jobs` is one such execution as it is planned, `work` the process that does it, `executors` start
such processes here or on a Slurm cluster, `standing` reads from a run folder how far it is, `board`
shows it, `schedule` keeps it all going, `outcome` knows what came of it and what to evaluate.
"""
