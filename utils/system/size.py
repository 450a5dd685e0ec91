"""Width and height of images in px, however they are written: 256, "336x224", (336, 224)."""

import re
from typing import Any, NamedTuple, Self

SMALLEST, LARGEST = 32, 8192  # px a side: no network takes less, and more would never finish


class Size(NamedTuple):
    """Width and height in px.

    >>> print(Size.parse("336x224"), Size.parse(256))
    336x224 256
    >>> Size.parse(256).height
    256
    """

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}" if self.width == self.height else f"{self.width}x{self.height}"

    @classmethod
    def parse(cls, value: Any) -> Self:
        """The size given as one side of a square, "336x224", or a pair of sides.

        Raises ValueError for anything else, and for sides that are too small or too large.
        """
        sides: Any = (value, value) if type(value) is int else value
        if isinstance(value, str) and (text := re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", value)):
            sides = (int(text[1]), int(text[2] or text[1]))
        pair = isinstance(sides, list | tuple) and len(sides) == 2
        if not pair or not all(type(s) is int and SMALLEST <= s <= LARGEST for s in sides):
            raise ValueError(
                f"{value!r}; expected px such as 256, or '336x224' for width x height, at least "
                f"{SMALLEST} and at most {LARGEST}"
            )
        return cls(*sides)
