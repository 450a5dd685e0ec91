"""Our rows against the published studies: differences, intervals, verdicts.

The published studies gave no answer for each image, so their interval comes from the printed value
and the numbers of images alone (Hanley and McNeil for an AUC, Wilson for a share; masks are taken
to vary between images as ours do), and that of the difference from both intervals (MOVER).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from study.report.entries import Entry
from utils.data.splits import CLASSES
from utils.evaluation.conventions import Key
from utils.evaluation.intervals import hanley_mcneil, unpaired_difference, wilson
from utils.evaluation.published import SYNTHETIC, TEST_IMAGES, TEST_POSITIVES, reason, trained_on
from utils.evaluation.significance import over_seeds

UNDEFINED = "undefined"
UNSTATED = "theirs: convention not stated"
HIGHER, LOWER, NOT_SHOWN = "higher", "lower", "not shown either way"


class Own(NamedTuple):
    """A score of a row of ours: the mean over its seeds."""

    value: float
    low: float
    high: float
    deviation: float  # over seeds; nan for one
    n: int  # images


class Against(NamedTuple):
    """One score of a row beside the one that a study printed."""

    row: str
    study: Any  # the experiment's Published
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
    found: dict[Key, dict[str, float | None]] = {}

    def walk(path: Key, branch: Mapping[str, Any]) -> None:
        if "value" in branch:
            found[path] = dict(branch)
            return
        for name, inner in branch.items():
            walk((*path, name), inner)

    for convention in ("official", "coursework", "lesion"):
        walk((convention,), scores.get(convention, {}))
    return found


def own_scores(entries: Sequence[Entry]) -> dict[Key, Own]:
    """Each defined score of a row, from the score files of its seeds.

    Of several seeds the means of values and of ends of intervals: the mean of scores varies at most
    as much as they do on average, so the interval is rather too wide than too narrow.
    """
    files = [entry.scores for entry in entries if entry.scores]
    flats = [flat(scores) for scores in files]
    found = {}
    for path in flats[0] if flats else ():
        known = [one[path] for one in flats if one.get(path, {}).get("value") is not None]
        if len(known) == len(flats):
            spread = over_seeds([score["value"] for score in known])
            low, high = (_mean([score[end] for score in known]) for end in ("low", "high"))
            found[path] = Own(spread.mean, low, high, spread.deviation, int(files[0]["n"]))
    return found


def _mean(values: Sequence[float | None]) -> float:
    return float(np.mean([math.nan if value is None else value for value in values]))


def against_published(row: str, entries: Sequence[Entry], studies: Sequence[Any]) -> list[Against]:
    """Each published score of a row beside ours in the same convention; none on synthetic data.

    Where a study does not state its own, ours stand there in the coursework's, and only the AUCs,
    which have none, get a verdict.
    """
    own, lines = own_scores(entries), []
    scores = next((entry.scores for entry in entries if entry.scores), None)
    if scores is None or (why := reason(scores)) == SYNTHETIC:
        return []
    trained = trained_on(scores, entries[0].settings.get("train_list", "unknown"))
    for study in studies:
        for metric, theirs in study.scores.items():
            ours = own.get(_path(metric, study.convention, entries[0].segments))
            if ours is None:
                continue
            estimate = unpaired_difference(
                ours.value,
                (min(ours.low, ours.value), max(ours.high, ours.value)),
                theirs,
                _their_interval(metric, theirs, ours, entries[0].segments),
            )
            verdict = why or _verdict(estimate.low, estimate.high)
            if study.convention == "unstated" and not metric.endswith("_auc"):
                verdict = why or UNSTATED
            lines.append(Against(row, study, metric, ours, theirs, *estimate, verdict, trained))
    return lines


def _path(metric: str, convention: str, segments: bool) -> Key:
    if segments:
        return (convention, metric)
    convention = "coursework" if convention == "unstated" else convention
    name = next(name for name in CLASSES if metric.startswith(name))
    return (convention, name, metric.removeprefix(f"{name}_"))


def _their_interval(metric: str, value: float, ours: Own, segments: bool) -> tuple[float, float]:
    """Of a published score, on the official test images."""
    if segments:  # varies between images as ours does; the interval shrinks with their root
        scale = math.sqrt(ours.n / TEST_IMAGES)
        low, high = (
            value - scale * (ours.value - ours.low),
            value + scale * (ours.high - ours.value),
        )
        return min(max(low, 0.0), value), max(min(high, 1.0), value)
    _, name, kind = _path(metric, "coursework", segments)
    positives = TEST_POSITIVES[name]
    if kind == "auc":
        return hanley_mcneil(value, positives, TEST_IMAGES - positives)
    of = {"sensitivity": positives, "specificity": TEST_IMAGES - positives}.get(kind, TEST_IMAGES)
    low, high = wilson(value * of, of)
    return min(low, value), max(high, value)


def _verdict(low: float, high: float) -> str:
    if math.isnan(low) or math.isnan(high):
        return UNDEFINED
    if low > 0:
        return f"{HIGHER} (significant)"
    return f"{LOWER} (significant)" if high < 0 else NOT_SHOWN
