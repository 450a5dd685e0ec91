"""From files to batches: images are found, decoded once, and cut into patches or resized.

Here live the splits, the tables and the tree of ISIC 2017, the demo set, the prepared store, the
datasets and their loaders. Touch `patches` and `masks` for another augmentation, `tree` and
`tables` for another set. It imports `system` alone; what only reads tables loads no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
