"""How figures and pictures get into the page: as data: URIs, small enough to be sent by mail."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from study.report.page import Picture
from utils.data.decode import READ_ERRORS
from utils.system.fonts import drawing

DPI = 130
GALLERY = 1_200_000  # bytes of all galleries together
WAYS = ((900, 70), (900, 55), (800, 50), (700, 45), (560, 40), (420, 35))  # px wide, WebP quality


def drawn(figure: Figure, alt: str, caption: str = "", wide: bool = False) -> Picture:
    """A figure as a picture of the page: lossless WebP, which is small for line art."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    with drawing():
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    uri = _uri(image, lossless=True, quality=60)
    width, height = (round(inches * 100) for inches in figure.get_size_inches())
    return Picture(uri, alt, width, height, caption, wide)


class NoPictureError(ValueError):
    """A file cannot be read as a picture."""


def gallery(file: Path, alt: str, caption: str, at_most: int) -> Picture:
    """A picture of a run folder in at most `at_most` bytes, or in the smallest of the sizes.

    NoPictureError for a file that is no picture.
    """
    try:
        with Image.open(file, formats=("PNG",)) as opened:
            image = opened.convert("RGB")
    except READ_ERRORS as error:
        raise NoPictureError(f"{file} is no picture ({error}); remove it") from error
    for width, quality in WAYS:
        small = image
        if image.width > width:
            height = round(image.height * width / image.width)
            small = image.resize((width, height), Image.Resampling.LANCZOS)
        uri = _uri(small, quality=quality)
        if len(uri) * 3 / 4 <= at_most:
            break
    return Picture(uri, alt, *small.size, caption, wide=True)


def _uri(image: Image.Image, **how: Any) -> str:
    file = io.BytesIO()
    image.save(file, format="WEBP", method=4, **how)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
