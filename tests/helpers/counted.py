"""Pixels of made-up masks, counted at every threshold, and what scikit-learn says of them."""

import numpy as np
import pandas as pd
from sklearn.metrics import jaccard_score, recall_score

from utils.evaluation.counts import count

STEPS = np.arange(1, 20) / 20


def masks(seed: int, images: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Truth (n, pixels) of 0/1 and probabilities of lesion, better ones from image to image."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, (images, 400))
    sure = np.linspace(0, 0.8, images)[:, None]
    return truth, (1 - sure) * rng.random(truth.shape) + sure * truth


def counted(seed: int, steps: np.ndarray = STEPS) -> pd.DataFrame:
    truth, given = masks(seed)
    rows = [
        {"id": f"<b>{k}", "threshold": step} | count(truth[k], given[k] > step)._asdict()
        for k in range(len(truth))
        for step in steps
    ]
    return pd.DataFrame(rows)


def referee(seed: int, step: float) -> dict[str, np.ndarray]:
    truth, given = masks(seed)
    pairs = list(zip(truth, given > step, strict=True))
    return {
        "jaccard": np.array([jaccard_score(t, p) for t, p in pairs]),
        "sensitivity": np.array([recall_score(t, p) for t, p in pairs]),
        "specificity": np.array([recall_score(1 - t, ~p) for t, p in pairs]),
    }
