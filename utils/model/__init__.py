"""Train, predict, look inside: one loop for classifiers and segmenters, whatever the network.

Here live `fit` and its recipe, checkpoints, predictions, and what shows attention and class
activation. Touch `recipe` for another optimiser or schedule. It imports `logger`, `data` and
`system`; a network, a loss and a score reach it as arguments.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
