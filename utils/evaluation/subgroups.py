"""Does it work for everyone? Scores by sex and by age group, each with its interval.

Images of people of unknown age or sex are a group of their own: leaving them out could hide where a
network fails. A group with fewer than `ENOUGH` positives or negatives is marked as small, and its
AUC has no interval. With so many groups some differ by chance alone.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from utils.evaluation.labels import auc, classes_in
from utils.evaluation.operating import judged
from utils.evaluation.resampling import auc_interval, bootstrap
from utils.system.errors import listed

ENOUGH = 10  # positives, and as many negatives
UNKNOWN = "unknown"
AGES = {"under 40": 0, "40 to 59": 40, "60 and over": 60}  # the youngest of each, in years
SEXES = ("female", "male")
ALL = "all images"
_RATES = [
    f"{rate}{end}" for rate in ("sensitivity", "specificity") for end in ("", "_low", "_high")
]
COLUMNS = ["class", "by", "group", "n", "positives", "small", "auc", "auc_low", "auc_high", *_RATES]


def age_groups(ages: pd.Series) -> pd.Series:
    """The age group of each age in years; "unknown" unless it is a number of at least 0.

    >>> age_groups(pd.Series([39, 40, None])).tolist()
    ['under 40', '40 to 59', 'unknown']
    """
    years = pd.to_numeric(ages, errors="coerce")
    groups = pd.cut(years, [*AGES.values(), np.inf], right=False, labels=list(AGES))
    return groups.astype(object).where(groups.notna(), UNKNOWN)


def sexes(values: pd.Series) -> pd.Series:
    """ "female", "male", or "unknown" for any other value."""
    values = values.astype(object).where(values.notna(), UNKNOWN)
    return values.where(values.isin(SEXES), UNKNOWN)


def is_known(people: pd.DataFrame | None) -> bool:
    """Whether anyone's age or sex is known; people has columns age and sex, or is None."""
    if people is None:
        return False
    known = [age_groups(people["age"]) != UNKNOWN, sexes(people["sex"]) != UNKNOWN]
    return bool(np.any(known))


def subgroups(
    table: pd.DataFrame, people: pd.DataFrame, thresholds: Mapping[str, float]
) -> pd.DataFrame:
    """Scores of each class in all images and in each group that has any.

    table: predictions (id, label, one probability column per class). people: id, age (years or
    nan), sex, of at least these images. thresholds by class, chosen on other images; positive means
    above. Columns class, by ("", "sex", "age"), group, n, positives, small (bool), auc, auc_low,
    auc_high (95 % bootstrap interval as in the score file, nan in a small group), then sensitivity
    and specificity with _low and _high (Wilson). A class other than the first (seborrheic
    keratosis) only where `ENOUGH` images have it and have not. ValueError for images without
    exactly one row in people.
    """
    groups = _groups(table, people)
    lines = []
    for number, name in enumerate(classes_in(table)):
        if name not in thresholds:
            continue
        for by, group, inside in groups:
            scores = _scores(table[inside], number, name, thresholds[name])
            if group == ALL and number and scores["small"]:
                break
            lines.append({"class": name, "by": by, "group": group, **scores})
    return pd.DataFrame(lines, columns=COLUMNS)


def _groups(table: pd.DataFrame, people: pd.DataFrame) -> list[tuple[str, str, np.ndarray]]:
    """(by, group, whether each image of the table is in it), without empty groups."""
    people = people.set_index(people["id"].astype(str))
    ids = table["id"].astype(str)
    if missing := sorted(set(ids) - set(people.index)):
        raise ValueError(
            f"no age and sex for {listed(missing)}; give a row for each image, with nan "
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


def _scores(part: pd.DataFrame, number: int, name: str, threshold: float) -> dict[str, float]:
    truth, score = (part["label"] == number).to_numpy(), part[name].to_numpy()
    positives = int(truth.sum())
    small = min(positives, len(truth) - positives) < ENOUGH
    area, low, high = auc(truth, score), np.nan, np.nan
    if not small:  # for all images as in scores-<split>.json: the same resamples, the same formula
        areas = bootstrap(lambda weights: auc(truth, score, weights), part["label"])
        low, high = auc_interval(area, areas, positives, len(truth) - positives)
    scores: dict[str, float] = {"n": len(truth), "positives": positives, "small": small}
    scores |= {"auc": area, "auc_low": low, "auc_high": high}
    rates = judged(truth, score, threshold)
    return scores | {key: rates[key] for key in _RATES}
