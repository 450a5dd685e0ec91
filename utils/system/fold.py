"""The names of folds: "2/5" is the second of five, "series 2/5" the second of five by series.

"seg-6" are all folds by chance of that row, "seg-6-series" those by series.
"""

import re
from typing import NamedTuple, Self

LARGEST = 50  # number of folds


class Fold(NamedTuple):
    """The `number`-th (from 1) of `folds` folds; by series, or by chance."""

    number: int
    folds: int
    by_series: bool = False

    @classmethod
    def parse(cls, text: object) -> Self:
        """The fold that a text such as "2/5" or "series 2/5" names. ValueError for another."""
        match = re.fullmatch(r"(series )?(\d{1,3})/(\d{1,3})", text) if type(text) is str else None
        if match:
            number, folds = int(match[2]), int(match[3])
            if 1 <= number <= folds and 2 <= folds <= LARGEST:
                return cls(number, folds, bool(match[1]))
        raise ValueError(
            f"{text!r}; expected a fold such as '2/5' or 'series 2/5', of 2 to {LARGEST}."
        )

    def __str__(self) -> str:
        return f"{'series ' * self.by_series}{self.number}/{self.folds}"

    @property
    def label(self) -> str:
        """How a run's folder names it: f2, or series-f2."""
        return f"{'series-' * self.by_series}f{self.number}"


class Folds(NamedTuple):
    """All folds of a row, by series or by chance; place is a profile, a folder of runs, or ""."""

    place: str
    row: str
    by_series: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """What a text such as "seg-6", "seg-6-series" or "light/seg-6" names.

        >>> Folds.parse("light/seg-6-series")
        Folds(place='light', row='seg-6', by_series=True)
        """
        place, _, row = text.rpartition("/")
        return cls(place, row.removesuffix("-series"), row.endswith("-series"))

    @property
    def label(self) -> str:
        """How it names files: seg-6, or seg-6-series."""
        return f"{self.row}{'-series' * self.by_series}"
