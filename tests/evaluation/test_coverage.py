"""Do the intervals hold what they promise? 1000 synthetic studies of the size of the real one.

Of 600 images 117 are positive. The truth is known, so it can be counted how often a 95 % interval
holds it (expected: 950 of 1000, give or take 7), and how often a test sees a difference where there
is none. Fewer resamples than in a real study: this moves the ends of one interval, hardly their
coverage.
"""

import logging
import os
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from utils.evaluation.conventions import segmentation_scores
from utils.evaluation.counts import Counts
from utils.evaluation.intervals import hanley_mcneil, unpaired_difference, wilson
from utils.evaluation.labels import auc
from utils.evaluation.masks import coursework, lesion_pooled, official
from utils.evaluation.paired import jaccard_difference, paired_difference
from utils.evaluation.resampling import (
    area_interval,
    bootstrap,
    mean_area_interval,
    percentile_interval,
)
from utils.evaluation.significance import delong_test, mcnemar, wilcoxon

pytestmark = pytest.mark.slow

STUDIES, IMAGES, POSITIVES = 1000, 600, 117
TRUTH = np.arange(IMAGES) < POSITIVES
PIXELS = 10_000  # of each lesion
RESAMPLES = 200


def rngs() -> Iterator[np.random.Generator]:
    yield from (np.random.default_rng([2017, study]) for study in range(STUDIES))


def covered(truth: float, study: Callable[[np.random.Generator], tuple[float, float]]) -> float:
    """Share of the studies whose interval holds the truth."""
    ends = np.array([study(rng) for rng in rngs()])
    return told("coverage", float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))))


def check_coverage(truth: float, study: Callable, most: float = 0.97) -> None:
    assert 0.93 <= covered(truth, study) <= most


def check_alarms(study: Callable[[np.random.Generator], float]) -> None:
    """About one study in twenty has p < 0.05."""
    share = told("alarms", float(np.mean([study(rng) < 0.05 for rng in rngs()])))
    assert 0.025 <= share <= 0.075


def told(what: str, share: float) -> float:
    """The share, which `--log-cli-level=INFO` shows."""
    logging.info("%s %.3f: %s", what, share, os.environ["PYTEST_CURRENT_TEST"])
    return share


def distance(area: float) -> float:
    """How far the means of two normal scores of deviation 1 lie apart for this AUC."""
    return np.sqrt(2) * scipy.stats.norm.ppf(area)


def scores(rng: np.random.Generator, *areas: float, common: float = 0.7) -> list[np.ndarray]:
    """Binormal scores (n,) with these AUCs; `common` of their variance is the images' own."""
    shared = rng.normal(size=IMAGES) * np.sqrt(common)
    own = rng.normal(size=(len(areas), IMAGES)) * np.sqrt(1 - common)
    return [shared + noise + distance(area) * TRUTH for noise, area in zip(own, areas, strict=True)]


def predictions(score: np.ndarray) -> pd.DataFrame:
    table = {"id": np.arange(IMAGES), "label": np.where(TRUTH, 0, 2)}
    return pd.DataFrame(table | {"melanoma": scipy.special.expit(score)})


def masks(rng: np.random.Generator, *loss: float) -> list[Counts]:
    """Counts of images whose Jaccards have the means 0.8 - loss, hard images being hard for all."""
    easy = rng.beta(6, 1.5, IMAGES)
    counts = []
    for less in loss:
        mixed = 0.7 * easy + 0.3 * rng.beta(6, 1.5, IMAGES) - less
        found = np.round(np.clip(mixed, 0, 1) * PIXELS)
        none = np.zeros(IMAGES)
        counts.append(Counts(tp=found, fp=none, fn=PIXELS - found, tn=none + 3 * PIXELS))
    return counts


def lesions(rng: np.random.Generator, images: int = IMAGES) -> Counts:
    """Counts of images of 256 px: lesions of all sizes, few false alarms in most, many in some."""
    size = 256**2
    lesion = np.clip(rng.lognormal(np.log(0.14 * size), 0.8, images), 500, 0.85 * size).round()
    found = np.round(lesion * rng.beta(8, 1.6, images))
    alarms = np.round((size - lesion) * rng.lognormal(np.log(0.015), 1.3, images).clip(0, 0.9))
    return Counts(tp=found, fp=alarms, fn=lesion - found, tn=size - lesion - alarms)


# --- intervals ---


def resampled_areas(rng: np.random.Generator, area: float) -> tuple[float, np.ndarray]:
    """The AUC of a study, and what resamples of its images give."""
    (score,) = scores(rng, area)
    values = bootstrap(lambda w: auc(TRUTH, score, w), TRUTH, 2 * RESAMPLES)
    return auc(TRUTH, score), values


@pytest.mark.parametrize("area", [0.87, 0.96])
def test_area_by_bootstrap(area):
    check_coverage(area, lambda rng: area_interval(*resampled_areas(rng, area)))


def test_mean_area_by_bootstrap():
    # Melanoma and seborrheic keratosis, each against the rest.
    strata = np.repeat([0, 1, 2], [POSITIVES, 90, IMAGES - POSITIVES - 90])
    classes = strata == 0, strata == 1

    def study(rng: np.random.Generator) -> tuple[float, float]:
        noise = rng.normal(size=(2, IMAGES))
        tasks = [
            (truth, score + distance(area) * truth)
            for truth, score, area in zip(classes, noise, (0.86, 0.94), strict=True)
        ]
        areas = [auc(*task) for task in tasks]
        values = bootstrap(
            lambda w: np.stack([auc(*task, w) for task in tasks], axis=-1), strata, 2 * RESAMPLES
        )
        parts = [area_interval(area, column) for area, column in zip(areas, values.T, strict=True)]
        return mean_area_interval(float(np.mean(areas)), values.mean(axis=1), areas, parts)

    check_coverage(0.9, study)


def test_why_areas_do_without_percentiles():
    found = covered(0.96, lambda rng: percentile_interval(resampled_areas(rng, 0.96)[1]))
    assert found < 0.93


def delong_interval(score: np.ndarray) -> np.ndarray:
    """Of an AUC, on the logit scale; a constant score adds nothing to the variance."""
    found = delong_test(TRUTH, score, np.zeros(IMAGES))
    reach = (found.high - found.low) / 2 / (found.first * (1 - found.first))
    return scipy.special.expit(scipy.special.logit(found.first) + reach * np.array([-1, 1]))


@pytest.mark.parametrize(("area", "most"), [(0.75, 0.97), (0.87, 0.97), (0.96, 0.99)])
def test_published_area(area, most):
    # Without the scores their shape is not known: it is on the safe side near 1.
    def study(rng: np.random.Generator) -> tuple[float, float]:
        return hanley_mcneil(auc(TRUTH, scores(rng, area)[0]), POSITIVES, IMAGES - POSITIVES)

    check_coverage(area, study, most)


def test_difference_of_areas():
    def bootstrapped(rng: np.random.Generator) -> tuple[float, float]:
        tables = [predictions(score) for score in scores(rng, 0.88, 0.85)]
        return paired_difference(*tables, ("official", "melanoma", "auc"), RESAMPLES)[1:3]

    def delong(rng: np.random.Generator) -> tuple[float, float]:
        return delong_test(TRUTH, *scores(rng, 0.88, 0.85))[1:3]

    check_coverage(0.03, bootstrapped)
    check_coverage(0.03, delong)


def test_difference_from_a_published_area():
    def study(rng: np.random.Generator) -> tuple[float, float]:
        ours, theirs = scores(rng, 0.88, 0.85, common=0)
        published = auc(TRUTH, theirs)
        return unpaired_difference(
            auc(TRUTH, ours),
            tuple(delong_interval(ours)),
            published,
            hanley_mcneil(published, POSITIVES, IMAGES - POSITIVES),
        )[1:]

    check_coverage(0.03, study)


@pytest.mark.parametrize("n", [POSITIVES, IMAGES - POSITIVES, IMAGES])
@pytest.mark.parametrize("share", [0.6, 0.85, 0.95])
def test_share(n, share):
    check_coverage(share, lambda rng: wilson(rng.binomial(n, share), n))


def test_every_score_of_masks():
    conventions = {"official": official, "coursework": coursework, "lesion": lesion_pooled}
    population = lesions(np.random.default_rng(2017), 1_000_000)
    truth = {
        (name, metric): value
        for name, function in conventions.items()
        for metric, value in function(population).items()
    }
    held = dict.fromkeys(truth, 0)
    for rng in rngs():
        scores = segmentation_scores(lesions(rng), RESAMPLES)
        for (name, metric), value in truth.items():
            score = scores[name][metric]
            held[name, metric] += score["low"] <= value <= score["high"]
    found = {key: told(" ".join(key), count / STUDIES) for key, count in held.items()}
    assert 0.93 <= min(found.values()) <= max(found.values()) <= 0.97


def test_difference_of_jaccards():
    # Next to no Jaccard is so low that 0.02 less would be below 0.
    def study(rng: np.random.Generator) -> tuple[float, float]:
        return jaccard_difference(*masks(rng, 0, 0.02), resamples=RESAMPLES)[1:3]

    check_coverage(0.02, study)


# --- false alarms ---


@pytest.mark.parametrize("gain", [0.0, 0.05])
def test_difference_of_accuracies(gain):
    def study(rng: np.random.Generator) -> tuple[float, float]:
        hard = rng.beta(2, 0.5, IMAGES) * (1 - gain)
        first, second = rng.random((2, IMAGES)) < np.stack([hard + gain, hard])
        found = mcnemar(np.ones(IMAGES, bool), first, second)
        return found.low, found.high

    check_coverage(gain, study)


def test_areas_that_do_not_differ():
    def bootstrapped(rng: np.random.Generator) -> float:
        tables = [predictions(score) for score in scores(rng, 0.87, 0.87)]
        return paired_difference(*tables, ("official", "melanoma", "auc"), RESAMPLES).p_value

    check_alarms(bootstrapped)
    check_alarms(lambda rng: delong_test(TRUTH, *scores(rng, 0.87, 0.87)).p_value)


def test_jaccards_that_do_not_differ():
    def bootstrapped(rng: np.random.Generator) -> float:
        return jaccard_difference(*masks(rng, 0, 0), resamples=RESAMPLES).p_value

    def ranked(rng: np.random.Generator) -> float:
        return wilcoxon(*(counts.tp / PIXELS for counts in masks(rng, 0, 0))).p_value

    check_alarms(bootstrapped)
    check_alarms(ranked)


def test_accuracies_that_do_not_differ():
    # Being exact for whole numbers, it is on the safe side.
    def study(rng: np.random.Generator) -> float:
        hard = rng.beta(2, 0.5, IMAGES)
        return mcnemar(np.ones(IMAGES, bool), *(rng.random((2, IMAGES)) < hard)).p_value

    check_alarms(study)
