"""The name of a fold: "2/5" is the second of five, "series 2/5" the second of five by series."""

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
