"""Characters of any script in figures: ids and names of runs are the user's own.

matplotlib's own font has no Chinese, Japanese or Korean; each system has other fonts that do.
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
_noted: list[str] = []  # the first character that was missing


def families() -> list[str]:
    """matplotlib's own font, then the installed ones of WIDE for the characters it lacks."""
    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in WIDE if name in installed)]


@contextmanager
def drawing() -> Iterator[None]:
    """Report a character that no font has once, not with every figure drawn in this context."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", _MISSING.pattern)
        yield
    for warning in caught:
        missing = _MISSING.match(str(warning.message))
        if not missing:
            where = warning.filename, warning.lineno
            warnings.warn_explicit(warning.message, warning.category, *where)
        elif not _noted:
            _noted.append(chr(int(missing[1])))
            say(
                f"No installed font has the character {_noted[0]!r}: figures show a box instead. "
                f"Install one that has it, such as {WIDE[0]}, and remove the folder "
                f"{matplotlib.get_cachedir()}."
            )
