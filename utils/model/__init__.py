"""Train, predict, look inside: one loop for classifiers and segmenters, whatever the network.

Here are `fit` and its recipe, checkpoints, predictions, and maps of attention and class activation.
Edit `recipe` for another optimiser or schedule. It imports `logger`, `data` and `system`; it gets a
network, a loss and a score as arguments.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
