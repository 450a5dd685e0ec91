"""Is one run better than another? The difference of a score on the same images, with its interval.

Overlapping intervals say little, as the same images are hard for both runs. Here both are scored on
the same resamples of images, so that this cancels out. For the AUCs of one class there is also a
formula, which agrees for many images: `significance.delong_test`.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from utils.evaluation import masks
from utils.evaluation.conventions import Key, flat_scores, of_labels, strata_of
from utils.evaluation.counts import Counts, Number, counts_of, refuse
from utils.evaluation.intervals import interval_text
from utils.evaluation.labels import classes_in, epoch_scores, scheme
from utils.evaluation.resampling import bootstrap, bootstrap_p_value, percentile_interval
from utils.evaluation.score_files import area_name
from utils.evaluation.significance import Difference, delong_test
from utils.system.errors import listed

RESAMPLES = 10_000  # small p values must be resolved, as they are corrected for many tests


class OtherImagesError(ValueError):
    """Tables that cannot be compared: not about the same images, or not with the same truth."""


def paired_difference(
    first: pd.DataFrame | Sequence[pd.DataFrame],
    second: pd.DataFrame | Sequence[pd.DataFrame],
    score: Key = ("official", "mean_auc"),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """A score of `first` minus that of `second` on the same images; 95 % interval.

    Both are tables of predictions (id, label, one probability column per class), aligned by id; or
    lists of them, the same number of seeds on both sides: then the means over the seeds are
    compared. The interval is about other images, not about other seeds; `spread` is. score
    is a path in scores-<split>.json, such as ("official", "melanoma", "auc"); nan where it is
    undefined. OtherImagesError for other ids or labels, ValueError for lists of different lengths
    and for a score that one of the tables does not have.
    """
    sides = [[side] if isinstance(side, pd.DataFrame) else list(side) for side in (first, second)]
    pairs = len(sides[0])
    if pairs != len(sides[1]) or pairs == 0:
        raise ValueError(
            f"{pairs} tables against {len(sides[1])}; expected the same seeds on both sides"
        )
    tables = [*sides[0], *sides[1]]
    labels, columns = aligned(tables)
    classes = all_classes(tables)

    def values(weights: np.ndarray | None = None) -> np.ndarray:
        """The score of each table: (tables,), or (r, tables) for resamples."""
        return np.stack([_score(labels, p, score, weights, classes) for p in columns], axis=-1)

    own, signs = values(), np.repeat([1 / pairs, -1 / pairs], pairs)
    resampled = bootstrap(lambda w: values(w) @ signs, strata_of(score, labels), resamples, seed)
    of_seeds = own[:pairs], own[pairs:]
    return _bootstrapped([float(scores.mean()) for scores in of_seeds], of_seeds, resampled)


def mean_difference(
    first: np.ndarray, second: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """The same for the mean over images of a score that each image has, such as the Jaccard.

    Both are (seeds, n), of the same n images in the same order.
    """
    columns = [side.mean(axis=0) for side in (first, second)]
    gains, n = columns[0] - columns[1], len(columns[0])
    resampled = bootstrap(lambda weights: weights @ gains / n, np.zeros(n), resamples, seed)
    of_seeds = [side.mean(axis=1) for side in (first, second)]
    return _bootstrapped([float(column.mean()) for column in columns], of_seeds, resampled)


def _bootstrapped(
    means: Sequence[float], of_seeds: Sequence[np.ndarray], resampled: np.ndarray
) -> Difference:
    """The difference of two means, with interval and p value from the resampled differences."""
    first, second = means
    low, high = percentile_interval(resampled)
    p_value, scores = bootstrap_p_value(resampled), [tuple(side.tolist()) for side in of_seeds]
    return Difference(first - second, low, high, first, second, p_value, *scores)


def area_difference(first: pd.DataFrame, second: pd.DataFrame, name: str) -> Difference:
    """The same for the AUC of one class of two tables, by DeLong's formula."""
    labels, (ours, theirs) = aligned([first, second])
    number = all_classes([first, second]).index(name)
    return delong_test(labels == number, ours[:, number], theirs[:, number])


def _score(
    labels: np.ndarray,
    probabilities: np.ndarray,
    path: Key,
    weights: np.ndarray | None,
    classes: Sequence[str],
) -> Number:
    if path == (scheme(classes).main, "mean_auc") and probabilities.shape[1] > 1:
        return epoch_scores(labels, probabilities, weights, classes)["auc_mean"]  # for speed alone
    functions = of_labels(classes)
    if path[0] in functions:  # one convention only, also for speed
        functions = {path[0]: functions[path[0]]}
    flat = flat_scores(labels, probabilities, weights, functions)
    if path not in flat:
        raise ValueError(f"no score {path!r} in one of the tables; it has {list(flat)}")
    return flat[path]


def all_classes(tables: Sequence[pd.DataFrame]) -> list[str]:
    """The classes of these tables; one of a single logit knows the first alone.

    OtherImagesError where two have different ones.
    """
    longest, *others = sorted(map(classes_in, tables), key=len, reverse=True)
    for names in others:
        if names not in (longest, longest[:1]):
            raise OtherImagesError(
                f"the tables have different classes: {listed(longest)} in one, {listed(names)} in "
                "another. Compare predictions of runs that were trained on the same classes."
            )
    return longest


def aligned(tables: Sequence[pd.DataFrame]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Labels (n,) and the probabilities of each table, in the order of the first table's ids.

    OtherImagesError for other ids or labels.
    """
    indexed, columns = by_image(tables), list[np.ndarray]()
    for one in indexed:
        if len(other := one.index[(one["label"] != indexed[0]["label"]).to_numpy()]):
            raise OtherImagesError(
                f"the tables have different labels for {listed(list(other))}; expected the "
                "same in all: predict again with the same label files."
            )
        columns.append(one[classes_in(one)].to_numpy())
    return indexed[0]["label"].to_numpy(), columns


def by_image(tables: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """The tables indexed by id, in the order of the first. OtherImagesError for other ids."""
    indexed = [one.set_index(one["id"].astype(str)) for one in tables]
    ids = indexed[0].index
    for one in indexed:
        if one.index.has_duplicates:
            twice = listed(sorted(set(one.index[one.index.duplicated()])))
            raise OtherImagesError(
                f"duplicate ids in a table: {twice}; expected one row per image. Predict again."
            )
        if unshared := sorted(set(ids) ^ set(one.index)):
            raise OtherImagesError(
                f"the tables are about different images; only in one of them: {listed(unshared)}. "
                "Compare predictions of the same split of the same data."
            )
    return [one.loc[ids] for one in indexed]


def jaccard_difference(
    first: Counts, second: Counts, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """The official mean Jaccard of `first` minus that of `second`; 95 % interval.

    Both are counts (n,) of the same images in the same order, of two runs. ValueError where an
    image differs in its number of pixels of lesion or of background, and as in
    `segmentation_scores`.
    """
    first, second = masks.checked(first), masks.checked(second)
    n = len(first.tp)
    if n != len(second.tp):
        raise ValueError(f"{n} images against {len(second.tp)}; expected the same ones in both")
    lesion = first.tp + first.fn != second.tp + second.fn
    background = first.tn + first.fp != second.tn + second.fp
    cure = "expected the same masks, at the same size and in the same order"
    refuse(lesion | background, "the truth differs", cure)
    ours, theirs = (masks.per_image(counts)["jaccard"][None] for counts in (first, second))
    return mean_difference(ours, theirs, resamples, seed)


def label_differences(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Each run minus the first one, AUC by AUC, on the same images: "+0.021 [-0.004, +0.047]".

    tables: predictions by the run's name, at least two. One row per further run; an AUC that one of
    the two lacks is "". By `paired_difference` for the mean and `area_difference` for a class, as
    in the report.
    """
    (_, base), *others = tables.items()
    classes = all_classes([*tables.values()])
    of_all = scheme(classes)
    columns = {area_name(name): name for name in of_all.ranked}
    rows: dict[str, dict[str, str]] = {}
    for run, table in others:
        both = base.columns.intersection(table.columns)
        rows[run] = {
            column: _signed(area_difference(table, base, name))
            for column, name in columns.items()
            if name in both
        }
        if len(rows[run]) == len(columns) and len(classes) > 1:
            score = (of_all.main, "mean_auc")
            rows[run]["mean AUC"] = _signed(paired_difference(table, base, score))
    index = pd.Index(list(rows), name="run")
    names = [*columns, "mean AUC"]
    return pd.DataFrame(list(rows.values()), index, names, dtype=object).fillna("")


def mask_differences(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The same for segmenters: the official mean Jaccard, and on how many images it is higher.

    tables: per-image results by the run's name, at least two.
    """
    (_, base), *others = tables.items()
    lines = {}
    for run, table in others:
        same = table.set_index("id").loc[base["id"]].reset_index()
        better = int((same["jaccard"].to_numpy() > base["jaccard"].to_numpy()).sum())
        lines[run] = {
            "mean Jaccard": _signed(jaccard_difference(counts_of(same), counts_of(base))),
            "better on": f"{better} of {len(base)} images",
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def beyond(
    tables: Mapping[str, pd.DataFrame],
    baselines: Mapping[str, Mapping[str, pd.DataFrame]],
    differences: Callable[[Mapping[str, pd.DataFrame]], pd.DataFrame],
    knows: Mapping[str, str],
) -> pd.DataFrame:
    """What each run knows that its baselines do not: run minus baseline, on the same images.

    tables: results by the run's name; baselines: those of its baselines by their run's name;
    differences is `label_differences` or `mask_differences`; knows says in words what a baseline
    knows, by its experiment. Indexed by run and baseline.
    """
    lines = {}
    for run, of_run in baselines.items():
        for baseline, theirs in of_run.items():
            difference = differences({baseline: theirs, run: tables[run]}).loc[run].to_dict()
            words = next(words for name, words in knows.items() if baseline.startswith(f"{name}-"))
            lines[run, baseline] = difference | {"the baseline": words}
    index = pd.MultiIndex.from_tuples(list(lines), names=["run", "baseline"])
    return pd.DataFrame(list(lines.values()), index)


def _signed(difference: Difference) -> str:
    return interval_text(difference.value, difference.low, difference.high, sign=True)
