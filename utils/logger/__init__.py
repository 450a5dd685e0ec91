"""What a run leaves: its folder with settings, weights, history, scores, figures and log.

Here are the run folder, the rules for which folders are ours, the search for finished runs, and
the folder of an evaluation. Edit it when a run should leave something more. It imports `data` and
`system`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
