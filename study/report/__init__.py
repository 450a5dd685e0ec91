"""The report of a study: one page that holds every run against the published numbers.

`index` writes it, `entries` reads what runs left, `compare` and `pairs` hold it against the
published rows and against one another, `findings` says in words what came of it, `sections`,
`trust` and `record` are its parts, `page`, `tables` and `figures` their look. Nothing here loads a
network; only `reproduce.py` calls it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
