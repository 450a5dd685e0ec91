"""Figures: numbers and images in, a matplotlib figure out; and interactive ones for notebooks.

Curves, matrices, galleries, overlays of masks, heat maps, and the sliders of JupyterLab. Add
figures here; the caller decides whether they are shown or saved. It imports every room but
`fetching` and `photographs`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
