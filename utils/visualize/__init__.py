"""Figures: numbers and images in, a matplotlib figure out; and what moves in a notebook.

Here live curves, matrices, galleries, overlays of masks, heat maps, and the sliders of JupyterLab.
Touch it for another figure; whoever calls decides whether it is shown or saved. It imports every
room but `fetching`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
