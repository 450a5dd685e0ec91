"""Our experiments against one another, on the same images: differences, tests, verdicts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from study.report.compare import HIGHER, LOWER, NOT_SHOWN, UNDEFINED
from study.report.entries import Entry, by_task
from utils.evaluation.conventions import Key
from utils.evaluation.labels import both_answers, scheme
from utils.evaluation.paired import (
    RESAMPLES,
    OtherImagesError,
    aligned,
    all_classes,
    by_image,
    mean_difference,
    paired_difference,
)
from utils.evaluation.score_files import area_name
from utils.evaluation.significance import Difference, delong_test, holm, mcnemar, wilcoxon
from utils.system.experiment import Task

MISTAKES = 0.05  # adjusted p values below it are called a difference


class PairedTest(NamedTuple):
    """One test between two experiments; first minus second."""

    row: str
    other: str
    task: Task
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
        """Whether it is about the score that ranks: one a pair of experiments."""
        return self.test == "bootstrap"

    @property
    def verdict(self) -> str:
        """In words, from the adjusted p value."""
        if math.isnan(self.adjusted):
            return UNDEFINED
        if self.adjusted >= MISTAKES:
            return NOT_SHOWN
        return HIGHER if self.first > self.second else LOWER


def paired_tests(
    rows: Mapping[str, list[Entry]],
    against: Mapping[str, str],
    same: Mapping[str, str] | None = None,
    others: Sequence[Entry] = (),
) -> tuple[list[PairedTest], list[str]]:
    """All tests between experiments, corrected by Holm over each task, and why a pair has none.

    against names the partner of each experiment, and an ensemble is compared with each of the rows
    that it averages; same the run that stands for an experiment that is not among the rows, and is
    compared in its place. Each of the others, predictions from files, is compared with every
    classifier, and stands beside each of its seeds. The bootstrap is of the mean of the scores of
    the seeds that both have, the other tests are of the mean answer of these seeds.
    """
    same = same or {}
    tests: list[PairedTest] = []
    left_out = []
    teams = [(row, member) for row, runs in rows.items() for member in runs[0].averaged]
    for row, partner in [*against.items(), *teams]:
        other = partner if partner in rows else same.get(partner, partner)
        if row not in rows and same.get(row) in rows:
            left_out.append(f"{row} against {partner}: {row} is the same run as {same[row]}.")
        elif row == other:
            left_out.append(f"{row} against {partner}: both are the same run.")
        elif row in rows and other in rows:
            try:
                tests += _pair(rows[row], rows[other], RESAMPLES)
            except OtherImagesError as error:
                left_out.append(f"{row} against {other}: {error}")
    for theirs in others:
        for row, runs in rows.items():
            beside = [replace(theirs, config=run.config) for run in runs]
            try:
                found = _pair(runs, beside, RESAMPLES) if runs[0].task == theirs.task else []
                tests += [test._replace(other=theirs.name) for test in found]
            except OtherImagesError as error:
                left_out.append(f"{row} against {theirs.name}: {error}")
    return [test for of_task in by_task(tests).values() for test in corrected(of_task)], left_out


def corrected(tests: Sequence[PairedTest]) -> list[PairedTest]:
    """The tests of a table, their p values corrected by Holm over all of them."""
    p_values = holm([test.p_value for test in tests]).tolist()
    return [t._replace(adjusted=p) for t, p in zip(tests, p_values, strict=True)]


def _pair(first: Sequence[Entry], second: Sequence[Entry], resamples: int) -> list[PairedTest]:
    """The tests between the runs of two experiments; OtherImagesError where there can be none."""
    by_seed = [{e.seed: e.results for e in side if len(e.results)} for side in (first, second)]
    seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
    if not seeds:
        raise OtherImagesError("no seed of both has results for each image.")
    task = first[0].task
    test = partial(PairedTest, first[0].row, second[0].row, task, tuple(seeds))
    ours, theirs = ([results[seed] for seed in seeds] for results in by_seed)
    return (_of_masks if task == "masks" else _of_labels)(test, ours, theirs, resamples)


def against_baseline(
    runs: Sequence[Entry], baselines: Sequence[Entry], resamples: int | None = None
) -> list[PairedTest]:
    """The differences between the runs of an experiment and those of a baseline, seed by seed.

    The score that ranks first, then the AUC of each class. Where only one baseline is there, it
    stands beside each seed. resamples of the bootstrap are by default as many as
    elsewhere. OtherImagesError as in `paired_difference`.
    """
    of_seed = {entry.seed: entry for entry in baselines}
    last = baselines[-1]
    beside = [replace(of_seed.get(run.seed, last), config=run.config) for run in runs]
    named = [test._replace(other=last.row) for test in _pair(runs, beside, resamples or RESAMPLES)]
    return [test for test in named if test.test in ("bootstrap", "DeLong")]


def _of_labels(
    test: Callable[..., PairedTest],
    ours: list[pd.DataFrame],
    theirs: list[pd.DataFrame],
    resamples: int,
) -> list[PairedTest]:
    """The tests of classifiers, from the predictions of the seeds on either side."""
    tables = [*ours, *theirs]
    (labels, columns), classes = aligned(tables), all_classes(tables)
    one = min(probabilities.shape[1] for probabilities in columns) == 1  # melanoma alone
    main, _, asked = scheme(classes)
    score: Key = (main, classes[0], "auc") if one else (main, "mean_auc")
    what = area_name(classes[0]) if one else "mean AUC"
    mean = paired_difference(ours, theirs, score, resamples)
    tests = [_of(mean, test, what, "bootstrap")]
    seeds = columns[: len(ours)], columns[len(ours) :]
    answers = [np.mean(probabilities, axis=0) for probabilities in seeds]  # (n, C) each
    for number, name in enumerate(asked[:1] if one else asked):
        area = delong_test(labels == number, answers[0][:, number], answers[1][:, number])
        tests.append(_of(area, test, area_name(name), "DeLong"))
    first, second = (_right(answer, labels, one) for answer in answers)
    same = mcnemar(np.ones(len(labels), dtype=bool), first, second)
    note = f"right alone: {same.only_first} against {same.only_second} images"
    what = f"accuracy {classes[0].replace('_', ' ')}" if one else "accuracy"
    numbers = (float(first.mean()), float(second.mean()), same.low, same.high, same.p_value)
    return [*tests, test(what, "McNemar", *numbers, note=note)]


def _of(found: Difference, test: Callable[..., PairedTest], what: str, by: str) -> PairedTest:
    """The line of a difference of scores."""
    numbers = (found.first, found.second, found.low, found.high, found.p_value)
    return test(what, by, *numbers, spread=found.spread)


def _right(answer: np.ndarray, labels: np.ndarray, one: bool) -> np.ndarray:
    """Whether each answer is right: of all classes, or of melanoma where one side knows no more."""
    predicted = both_answers(answer).argmax(axis=1)
    return (predicted == 0) == (labels == 0) if one else predicted == labels


def _of_masks(
    test: Callable[..., PairedTest],
    ours: list[pd.DataFrame],
    theirs: list[pd.DataFrame],
    resamples: int,
) -> list[PairedTest]:
    """The tests of segmenters, from the scores of each image of the seeds on either side."""
    tables = by_image([*ours, *theirs])
    jaccards = np.stack([table["jaccard"].to_numpy() for table in tables])
    seeds = (jaccards[: len(ours)], jaccards[len(ours) :])
    mean, ranks = mean_difference(*seeds, resamples), wilcoxon(*(s.mean(axis=0) for s in seeds))
    numbers = (mean.first, mean.second, math.nan, math.nan, ranks.p_value)
    note = f"higher on {ranks.higher}, lower on {ranks.lower} images"
    return [
        _of(mean, test, "mean Jaccard", "bootstrap"),
        test("Jaccard", "Wilcoxon", *numbers, note=note),
    ]
