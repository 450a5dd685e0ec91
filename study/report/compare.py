"""Our experiments against the published studies: differences, intervals, verdicts.

The published studies gave no answer for each image, so their interval comes from the printed value
and the numbers of images alone (Hanley and McNeil for an AUC, Wilson for a share; masks are taken
to vary between images as ours do), and that of the difference from both intervals (MOVER).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from study.report.entries import Entry, Study
from utils.data.names import CLASSES
from utils.evaluation.conventions import MASKS, Key, flattened
from utils.evaluation.intervals import hanley_mcneil, unpaired_difference, wilson
from utils.evaluation.published import OTHER, TEST_IMAGES, TEST_POSITIVES, reason, trained_on
from utils.evaluation.significance import over_seeds
from utils.system.experiment import Published, Task

UNDEFINED = "undefined"
UNSTATED = "theirs: convention not stated"
HIGHER, LOWER, NOT_SHOWN = "higher", "lower", "not shown either way"


class Own(NamedTuple):
    """A score of ours: the mean over the seeds of an experiment."""

    value: float
    low: float
    high: float
    deviation: float  # over seeds; nan for one
    n: int  # images


class Against(NamedTuple):
    """One score of an experiment beside the one that a study printed."""

    row: str
    task: Task
    study: Published
    metric: str
    ours: Own
    theirs: float
    difference: float
    low: float
    high: float
    verdict: str
    trained_on: str


def flat(scores: Mapping[str, Any]) -> dict[Key, dict[str, float | None]]:
    """The entries of a score file by path: ("official", "melanoma", "auc")."""
    return flattened({name: scores[name] for name in (*MASKS, "one_vs_rest") if name in scores})


def own_scores(entries: Sequence[Entry]) -> dict[Key, Own]:
    """Each defined score of an experiment, from the score files of its seeds.

    Values and ends of intervals are means over the seeds. A mean of scores varies at most as much
    as they do on average, so the interval is too wide rather than too narrow.
    """
    files = [entry.scores for entry in entries if entry.scores]
    flats = [flat(scores) for scores in files]
    own = {}
    for path in flats[0] if flats else ():
        seeds = pd.DataFrame([scores.get(path, {}) for scores in flats], dtype=float)
        if seeds.get("value", pd.Series([math.nan])).notna().all():
            value, low, high = (over_seeds(seeds[end].tolist()) for end in ("value", "low", "high"))
            own[path] = Own(value.mean, low.mean, high.mean, value.deviation, int(files[0]["n"]))
    return own


def beside_published(study: Study) -> list[Against]:
    """Every published score beside ours."""
    return [
        line
        for runs in study.rows.values()
        if (recipe := runs[0].recipe)
        for line in against_published(runs, recipe.published)
    ]


def against_published(entries: Sequence[Entry], studies: Sequence[Published]) -> list[Against]:
    """Each published score of an experiment beside that of its runs in the same convention.

    Nothing is published about synthetic data. Where a study does not state its convention, ours
    are in the coursework's, and only the AUCs, which have none, get a verdict.
    """
    first, own = entries[0], own_scores(entries)
    scores = next((entry.scores for entry in entries if entry.scores), None)
    if scores is None or (why := reason(scores)) not in ("", OTHER):
        return []
    trained = trained_on(scores, first.experiment.get("train_list", "unknown"))
    lines = []
    for study in studies:
        for metric, theirs in study.scores.items():
            ours = own.get(_path(metric, study.convention, first.task))
            if ours is None:
                continue
            estimate = unpaired_difference(
                ours.value,
                (min(ours.low, ours.value), max(ours.high, ours.value)),
                theirs,
                _their_interval(metric, theirs, ours, first.task),
            )
            unstated = study.convention == "unstated" and not metric.endswith("_auc")
            verdict = why or (UNSTATED if unstated else _verdict(estimate.low, estimate.high))
            start = (first.row, first.task, study, metric, ours, theirs)
            lines.append(Against(*start, *estimate, verdict, trained))
    return lines


def _path(metric: str, convention: str, task: Task) -> Key:
    if task == "masks":
        return (convention, metric)
    convention = "coursework" if convention == "unstated" else convention
    name = next(name for name in CLASSES if metric.startswith(name))
    return (convention, name, metric.removeprefix(f"{name}_"))


def _their_interval(metric: str, value: float, ours: Own, task: Task) -> tuple[float, float]:
    """Of a published score, on the official test images."""
    if task == "masks":  # varies between images as ours does; the interval shrinks with their root
        scale = math.sqrt(ours.n / TEST_IMAGES)
        low = value - scale * (ours.value - ours.low)
        high = value + scale * (ours.high - ours.value)
        return min(max(low, 0.0), value), max(min(high, 1.0), value)
    _, name, kind = _path(metric, "coursework", task)
    positives = TEST_POSITIVES[name]
    if kind == "auc":
        low, high = map(float, hanley_mcneil(value, positives, TEST_IMAGES - positives))
        return low, high
    of = {"sensitivity": positives, "specificity": TEST_IMAGES - positives}.get(kind, TEST_IMAGES)
    low, high = map(float, wilson(value * of, of))
    return min(low, value), max(high, value)


def _verdict(low: float, high: float) -> str:
    if math.isnan(low) or math.isnan(high):
        return UNDEFINED
    if low > 0:
        return f"{HIGHER} (significant)"
    return f"{LOWER} (significant)" if high < 0 else NOT_SHOWN
