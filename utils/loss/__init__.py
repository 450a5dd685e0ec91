"""What training minimises: cross-entropy, focal and binary losses of labels, and those of masks.

Here are `labels`, `masks`, and `build`, which makes a loss from its name in an experiment. To add a
loss, write its class and add a line to the table. It imports no other room.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
