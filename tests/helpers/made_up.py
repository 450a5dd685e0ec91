"""Made-up answers of a classifier and of a segmenter, as `utils.evaluation.results` gives them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from utils.data.splits import CLASSES
from utils.evaluation import masks
from utils.evaluation.counts import Counts, count, counts_of
from utils.evaluation.results import Result

THRESHOLDS = (0.3, 0.5, 0.7)


def predictions_of(ids: Sequence[str], columns: int = 3, seed: int = 0) -> pd.DataFrame:
    """Random answers; the classes of the images in turn."""
    probabilities = np.random.default_rng(seed).dirichlet([1, 1, 1], len(ids))
    names = dict(zip(CLASSES[:columns], probabilities.T, strict=False))
    return pd.DataFrame({"id": list(ids), "label": np.arange(len(ids)) % 3, **names})


def answers_of(
    names: Sequence[str],
    n: int = 200,
    seed: int = 0,
    skill: float = 1.5,
    columns: int | None = None,
) -> pd.DataFrame:
    """Answers of a network that knows a little of these classes; the last one is rare."""
    rng, count = np.random.default_rng(seed), len(names)
    shares = np.r_[np.ones(count - 1), 0.5]
    labels = rng.choice(count, n, p=shares / shares.sum())
    logits = rng.normal(size=(n, count)) + skill * np.eye(count)[labels]
    values = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    columns = columns or count
    table = pd.DataFrame({"id": [f"{seed}-{k:04}" for k in range(n)], "label": labels})
    return table.join(pd.DataFrame(values[:, :columns], columns=list(names[:columns])))


def results_of(ids: Sequence[str], seed: int = 0) -> Result:
    """Id k finds more of its lesion than id k - 1."""
    lesion = np.random.default_rng(seed).integers(200, 400, len(ids))
    hits = (lesion * np.linspace(0.5, 1, len(ids))).astype(int)
    table = pd.DataFrame({"id": list(ids), "width": 40, "height": 30, "tp": hits, "fp": 20})
    table["fn"], table["tn"] = lesion - hits, 1200 - lesion - 20
    cells = table[["id", "tp", "fp", "fn", "tn"]]
    steps = [cells.assign(threshold=step) for step in THRESHOLDS]
    order = ["id", "threshold", "tp", "fp", "fn", "tn"]
    thresholds = pd.concat(steps, ignore_index=True)[order]
    return Result(table.assign(**masks.per_image(counts_of(table))), thresholds)


def answered(n: int = 60, seed: int = 0, wrong: float = 0.1) -> Counts:
    """Counts of n images of 400 pixels, with lesions and errors of very different size."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, 400)) < rng.uniform(0.05, 0.6, (n, 1))
    errors = np.random.default_rng(seed + 1).random((n, 400)) < rng.uniform(0, 2 * wrong, (n, 1))
    return count(truth, truth ^ errors)


def taken(counts: Counts, images: np.ndarray) -> Counts:
    """The counts of some images, as often as they are named."""
    return Counts(*(np.asarray(cell)[images] for cell in counts))
