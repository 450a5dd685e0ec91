"""What training makes small: cross-entropy, focal and binary losses of labels, and those of masks.

Here live `labels` and `masks`, a module each, and `build`, which makes a loss of the name that a
row of the experiment table holds. Touch it for another loss: a class, and a line in the table. It
imports no other room.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
