"""Photographs of anyone: what finished runs say of images that are in no data set.

Finding and reading them, the answers, how far one is from the training images, the table and the
page. Networks and rows reach it as arguments. It imports every room but `fetching`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
