"""Letters of any script in figures: ids and names of runs are the user's own.

matplotlib's own font has no Chinese, Japanese or Korean; each system has another one that does.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib.font_manager import fontManager

from utils.system.console import say

WIDE = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "Source Han Sans CN"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback"),  # Linux
    *("Microsoft YaHei", "SimHei", "Malgun Gothic", "Yu Gothic"),  # Windows
    *("PingFang SC", "PingFang HK", "Hiragino Sans GB", "Heiti TC", "Arial Unicode MS"),  # macOS
)
_MISSING = re.compile(r"Glyph (\d+) .*missing from")
_noted: list[str] = []  # the first letter that was missing


def families() -> list[str]:
    """The usual font, then those of WIDE that are here, for the letters that it lacks."""
    here = {font.name for font in fontManager.ttflist}
    return ["sans-serif", *(name for name in WIDE if name in here)]


@contextmanager
def drawing() -> Iterator[None]:
    """Draw a figure in it: a letter that no font here has is noted once, not each time it comes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", _MISSING.pattern)
        yield
    for one in caught:
        if missing := _MISSING.match(str(one.message)):
            _note(chr(int(missing[1])))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _note(letter: str) -> None:
    if _noted:
        return
    _noted.append(letter)
    say(
        f"No font here has the letter {letter!r}: figures show a box instead. Install one that "
        f"does, for instance {WIDE[0]}, and remove the folder {matplotlib.get_cachedir()}."
    )
