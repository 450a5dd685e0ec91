"""Does it work for everyone? Scores by sex and by age group, each with its interval.

Images of people of unknown age or sex are a group of their own: leaving them out could hide where
a network fails. A group with fewer than `ENOUGH` positives or negatives is marked as small, and its
AUC has no interval, so that nobody reads much into it. With so many groups some differ by chance
alone; wide intervals that overlap are no finding.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from utils.data.splits import CLASSES
from utils.evaluation.intervals import Interval
from utils.evaluation.labels import OFFICIAL_CLASSES, auc
from utils.evaluation.operating import judged
from utils.evaluation.resampling import auc_interval, bootstrap
from utils.system.errors import listed

ENOUGH = 10  # positives, and negatives
UNKNOWN = "unknown"
AGES = {"under 40": 0, "40 to 59": 40, "60 and over": 60}  # the youngest of each, in years
SEXES = ("female", "male")
ALL = "all images"
_RATES = [
    f"{rate}{end}" for rate in ("sensitivity", "specificity") for end in ("", "_low", "_high")
]
COLUMNS = ["class", "by", "group", "n", "positives", "small", "auc", "auc_low", "auc_high", *_RATES]


def age_groups(ages: pd.Series) -> pd.Series:
    """The age group of each age in years: "under 40", "40 to 59", "60 and over" or "unknown".

    What is no number of at least 0 is unknown.

    >>> age_groups(pd.Series([39, 40, None])).tolist()
    ['under 40', '40 to 59', 'unknown']
    """
    years = pd.to_numeric(ages, errors="coerce")
    groups = pd.cut(years, [*AGES.values(), np.inf], right=False, labels=list(AGES))
    return groups.astype(object).where(groups.notna(), UNKNOWN)


def sexes(values: pd.Series) -> pd.Series:
    """ "female", "male", or "unknown" for whatever else a table says."""
    values = values.astype(object).where(values.notna(), UNKNOWN)
    return values.where(values.isin(SEXES), UNKNOWN)


def is_known(people: pd.DataFrame | None) -> bool:
    """Whether the age or the sex of anyone is known; people has columns age and sex, or is None."""
    if people is None:
        return False
    return bool(
        (age_groups(people["age"]) != UNKNOWN).any() or (sexes(people["sex"]) != UNKNOWN).any()
    )


def subgroups(
    table: pd.DataFrame,
    people: pd.DataFrame,
    thresholds: Mapping[str, float],
) -> pd.DataFrame:
    """Scores of each class in all images and in each group that has any; a row a class and group.

    table: predictions (id, label, a probability column a class). people: id, age (years or nan),
    sex, of at least these images. thresholds by class, positive means above it; they were chosen on
    other images. Columns class, by ("", "sex", "age"), group, n, positives, small (bool), auc,
    auc_low, auc_high (95 % bootstrap interval as in the score file, nan in a small group), then
    sensitivity and specificity with _low and _high (Wilson). Melanoma always, seborrheic keratosis
    where there are `ENOUGH` of it and of others. ValueError for images that people lacks or holds
    twice.
    """
    groups = _groups(table, people)
    lines = []
    for name in (name for name in OFFICIAL_CLASSES if name in thresholds):
        for by, group, inside in groups:
            part = table[inside]
            found = _scores(part, name, thresholds[name])
            if group == ALL and name != CLASSES[0] and found["small"]:
                break
            lines.append({"class": name, "by": by, "group": group, **found})
    return pd.DataFrame(lines, columns=COLUMNS)


def _groups(table: pd.DataFrame, people: pd.DataFrame) -> list[tuple[str, str, np.ndarray]]:
    """(by, group, whether each image of the table is in it), empty groups left out."""
    people = people.set_index(people["id"].astype(str))
    ids = table["id"].astype(str)
    if lacking := sorted(set(ids) - set(people.index)):
        raise ValueError(
            f"no age and sex for {listed(lacking)}; give a row for each image, with nan "
            "and 'unknown' where they are not known"
        )
    if people.index.has_duplicates:
        twice = sorted(set(people.index[people.index.duplicated()]))
        raise ValueError(f"two rows of age and sex for {listed(twice)}; keep one")
    people = people.loc[ids.tolist()]
    groups = [("", ALL, np.ones(len(table), dtype=bool))]
    for by, values, names in (
        ("sex", sexes(people["sex"]), (*SEXES, UNKNOWN)),
        ("age", age_groups(people["age"]), (*AGES, UNKNOWN)),
    ):
        groups += [(by, name, (values == name).to_numpy()) for name in names]
    return [group for group in groups if group[2].any()]


def _scores(part: pd.DataFrame, name: str, threshold: float) -> dict[str, float]:
    truth, score = (part["label"] == CLASSES.index(name)).to_numpy(), part[name].to_numpy()
    positives = int(truth.sum())
    small = min(positives, len(truth) - positives) < ENOUGH
    low, high = (np.nan, np.nan) if small else _area_interval(part["label"], truth, score)
    rates = judged(truth, score, threshold)
    return {
        "n": len(truth),
        "positives": positives,
        "small": small,
        "auc": auc(truth, score),
        "auc_low": low,
        "auc_high": high,
        **{key: rates[key] for key in _RATES},
    }


def _area_interval(labels: pd.Series, truth: np.ndarray, score: np.ndarray) -> Interval:
    """Of all images the one in scores-<split>.json: the same resamples, the same formula."""
    areas = bootstrap(lambda weights: auc(truth, score, weights), labels)
    return auc_interval(auc(truth, score), areas, int(truth.sum()), int((~truth).sum()))
