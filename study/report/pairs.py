"""Rows of ours against one another, on the same images: differences, tests, verdicts."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from study.report.compare import HIGHER, LOWER, NOT_SHOWN
from study.report.entries import Entry
from utils.data.splits import CLASSES
from utils.evaluation.conventions import Key
from utils.evaluation.labels import official
from utils.evaluation.paired import RESAMPLES, OtherImagesError, by_image, paired_difference
from utils.evaluation.resampling import bootstrap, bootstrap_p_value, percentile_interval
from utils.evaluation.significance import delong_test, holm, mcnemar, over_seeds, wilcoxon

MISTAKES = 0.05  # adjusted p values below it are called a difference


class PairedTest(NamedTuple):
    """One test between two rows; first minus second."""

    row: str
    other: str
    seeds: tuple[int, ...]
    what: str
    test: str
    first: float
    second: float
    low: float  # nan where the test has no interval
    high: float
    p_value: float
    adjusted: float = math.nan  # by Holm, over the table
    spread: tuple[float, float] = (math.nan, math.nan)  # deviation of either side over its seeds
    note: str = ""

    @property
    def main(self) -> bool:
        """Whether it is about the score that ranks: one a pair of rows."""
        return self.test == "bootstrap"

    @property
    def verdict(self) -> str:
        """In words, from the adjusted p value."""
        if math.isnan(self.adjusted):
            return "undefined"
        if self.adjusted >= MISTAKES:
            return NOT_SHOWN
        return HIGHER if self.first > self.second else LOWER


def paired_tests(
    rows: Mapping[str, list[Entry]],
    against: Mapping[str, str],
    same: Mapping[str, str] | None = None,
) -> tuple[list[PairedTest], list[str]]:
    """All tests between rows, corrected by Holm over all of them; and what was not compared, why.

    against names the row that a row is compared with, same the row that stands for one that is not
    among the rows, because both are the same run: it is compared in its place. Bootstrap: of the
    mean of scores over the seeds that both rows have; the other tests: of the mean answer of these
    seeds.
    """
    same = same or {}
    tests: list[PairedTest] = []
    left_out = []
    for row, partner in against.items():
        other = partner if partner in rows else same.get(partner, partner)
        if row not in rows and same.get(row) in rows:
            left_out.append(f"{row} against {partner}: {row} is the same run as {same[row]}.")
            continue
        if row == other:
            left_out.append(f"{row} against {partner}: both are the same run.")
            continue
        if row not in rows or other not in rows:
            continue
        first, second = _same_seeds(rows[row], rows[other])
        if not first:
            left_out.append(f"{row} against {other}: no seed of both has results for each image.")
            continue
        try:
            tests += (_masks if first[0].segments else _classes)(row, other, first, second)
        except OtherImagesError as error:
            left_out.append(f"{row} against {other}: {error}")
    adjusted = holm([test.p_value for test in tests]).tolist()
    return [t._replace(adjusted=p) for t, p in zip(tests, adjusted, strict=True)], left_out


def _same_seeds(first: Sequence[Entry], second: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """The runs of both rows that have results for each image and a seed in common, by seed."""
    ours, theirs = ({e.seed: e for e in side if e.counted is not None} for side in (first, second))
    seeds = sorted(ours.keys() & theirs.keys())
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]


def _classes(row: str, other: str, ours: list[Entry], theirs: list[Entry]) -> list[PairedTest]:
    tables = [[entry.predictions for entry in side] for side in (ours, theirs)]
    names = [n for n in CLASSES if all(n in table for side in tables for table in side)]
    start = (row, other, tuple(entry.seed for entry in ours))
    tests = [PairedTest(*start, *_areas(tables, names))]
    base = tables[0][0].set_index("id")
    answers = [_mean_answer(side, base.index) for side in tables]
    for name in names[:2]:
        truth = (base["label"] == CLASSES.index(name)).to_numpy()
        area = delong_test(truth, *(answer[name] for answer in answers))
        label = f"AUC {name.replace('_', ' ')}"
        found = (area.first, area.second, area.low, area.high, area.p_value)
        tests.append(PairedTest(*start, label, "DeLong", *found))
    right = [_right(answer, base["label"].to_numpy(), names) for answer in answers]
    same = mcnemar(np.ones(len(base), dtype=bool), *right)
    shares = [float(side.mean()) for side in right]
    note = f"right alone: {same.only_first} against {same.only_second} images"
    what = "accuracy" if len(names) > 1 else "accuracy melanoma"
    found = (*shares, same.low, same.high, same.p_value)
    test = PairedTest(*start, what, "McNemar", *found, note=note)
    return [*tests, test]


def _areas(tables: Sequence[Sequence[pd.DataFrame]], names: Sequence[str]) -> tuple:
    """The entries of a PairedTest of the score that ranks, from `what` to the spread over seeds."""
    mean = len(names) > 1
    score: Key = ("official", "mean_auc") if mean else ("official", CLASSES[0], "auc")
    found = paired_difference(*map(list, tables), score, RESAMPLES)
    each = [[_area(table, mean) for table in side] for side in tables]
    spread = tuple(over_seeds(values).deviation for values in each)
    what = "mean AUC" if mean else "AUC melanoma"
    numbers = (found.first, found.second, found.low, found.high, found.p_value)
    return (what, "bootstrap", *numbers, math.nan, spread)


def _area(table: pd.DataFrame, mean: bool) -> float:
    """Of one seed: the mean AUC, or that of melanoma."""
    names = [name for name in CLASSES if name in table] if mean else [CLASSES[0]]
    scores = official(table["label"], table[names].to_numpy())
    return scores["mean_auc"] if mean else scores[CLASSES[0]]["auc"]


def _mean_answer(tables: Sequence[pd.DataFrame], ids: pd.Index) -> pd.DataFrame:
    """The mean of the probabilities of all seeds, in the order of the ids."""
    aligned = [table.set_index("id").loc[ids] for table in tables]
    names = [name for name in CLASSES if name in aligned[0]]
    return sum(table[names] for table in aligned) / len(aligned)


def _right(answer: pd.DataFrame, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Whether each answer is right: of all classes, or of melanoma where one side knows no more."""
    values = answer.to_numpy()
    if values.shape[1] == 1:
        values = np.hstack([values, 1 - values])
    predicted = values.argmax(axis=1)
    return predicted == labels if len(names) > 1 else (predicted == 0) == (labels == 0)


def _masks(row: str, other: str, ours: list[Entry], theirs: list[Entry]) -> list[PairedTest]:
    tables = by_image([entry.per_image for entry in (*ours, *theirs)])
    jaccards = [table["jaccard"].to_numpy() for table in tables]
    seeds = [np.stack(side) for side in (jaccards[: len(ours)], jaccards[len(ours) :])]
    columns = [side.mean(axis=0) for side in seeds]
    gains, n = columns[0] - columns[1], len(columns[0])
    resampled = bootstrap(lambda weights: weights @ gains / n, np.zeros(n), RESAMPLES)
    means = [float(column.mean()) for column in columns]
    spread = tuple(over_seeds(side.mean(axis=1)).deviation for side in seeds)
    ends, p_value = percentile_interval(resampled), bootstrap_p_value(resampled)
    ranks = wilcoxon(*columns)
    start = (row, other, tuple(entry.seed for entry in ours))
    note = f"higher on {ranks.higher}, lower on {ranks.lower} images"
    none = (math.nan, math.nan)
    return [
        PairedTest(*start, "mean Jaccard", "bootstrap", *means, *ends, p_value, spread=spread),
        PairedTest(*start, "Jaccard", "Wilcoxon", *means, *none, ranks.p_value, note=note),
    ]
