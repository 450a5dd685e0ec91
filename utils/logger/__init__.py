"""What a run leaves: its folder with settings, weights, history, scores, figures and log.

Here live the run folder, the rules of whose a folder is, the search for finished runs, and the
folder of an evaluation. Touch it when a run shall leave something more. It imports `data` and
`system`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
