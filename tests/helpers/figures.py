"""What every figure must be: complete, nothing cut off, its texts apart, matplotlib as before."""

import io
import itertools
from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

NOTE = "synthetic demo data"
TITLE = "best/1-3-s0, validation split, 150 images"


def photos(count: int, side: int = 32) -> list[np.ndarray]:
    """Images without a lesion: noise."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]


def rendered(figure: Figure, dpi: int = 60) -> np.ndarray:
    """The figure as RGB pixels; a warning (a missing glyph, a layout that fails) is an error."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return np.asarray(Image.open(file).convert("RGB"))


def legend(of: Axes | Figure) -> list[str]:
    """The words of the legend of axes, or of a figure."""
    key = of.legends[0] if isinstance(of, Figure) else of.get_legend()
    return [text.get_text() for text in key.get_texts()]


def words(figure: Figure) -> str:
    """All texts of a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def pictures(figure: Figure) -> list[Axes]:
    """Axes that hold an image, in order."""
    return [axis for axis in figure.axes if axis.images]


def check(make: Callable[[], Figure], title: str = TITLE, empty: bool = False) -> None:
    """The figure has title and note, is not empty, cuts nothing off, and its texts are apart."""
    before, backend = dict(matplotlib.rcParams), matplotlib.get_backend()
    figure = make()
    figure.set_dpi(100)
    assert figure.get_suptitle() == title
    assert NOTE in figure.get_supxlabel()
    white = (rendered(figure, 100).min(axis=2) == 255).mean()
    assert (white < 0.96) != empty
    # What is drawn, all texts included, lies within the picture (inches, one pixel of slack).
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert -0.01 < box.x0 < box.x1 < width + 0.01
    assert -0.01 < box.y0 < box.y1 < height + 0.01
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.get_backend() == backend
    _check_texts(figure)


def _check_texts(figure: Figure) -> None:
    """No two texts of a figure that is drawn overlap at the size it is shown."""
    texts = list(figure.texts)  # title and note
    for axis in (axis for axis in figure.axes if axis.axison):
        texts += [axis.title, axis.xaxis.label, axis.yaxis.label, *axis.texts]
        for ruler in (axis.xaxis, axis.yaxis):
            low, high = sorted(ruler.get_view_interval())
            ticks = zip(ruler.get_ticklocs(), ruler.get_ticklabels(), strict=False)
            texts += [label for place, label in ticks if low <= place <= high]
    keys = [axis.get_legend() for axis in figure.axes if axis.get_legend()] + figure.legends
    texts += [text for key in keys for text in key.get_texts()]
    shown = {text: None for text in texts if text.get_visible() and text.get_text().strip()}
    assert len(shown) > 1
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    for (text, box), (other, place) in itertools.combinations(boxes, 2):
        width = min(box.x1, place.x1) - max(box.x0, place.x0)
        height = min(box.y1, place.y1) - max(box.y0, place.y0)
        # Boxes hold the room for descenders, too: two pixels are no harm.
        assert min(width, height) < 2, (text, other)
