"""A made-up study: predictions, and the ages and sexes of the people."""

import numpy as np
import pandas as pd

from utils.data.splits import CLASSES


def study(n: int = 400, seed: int = 0, columns: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions, and ages and sexes of the same images, in another order."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=[0.2, 0.15, 0.65])
    given = 0.6 * rng.dirichlet([1, 1, 1], n) + 0.4 * np.eye(3)[labels]
    table = pd.DataFrame({"id": [f"ISIC_{k:07d}" for k in range(n)], "label": labels})
    table[list(CLASSES[:columns])] = given[:, :columns]
    people = pd.DataFrame(
        {
            "id": table["id"],
            "age": np.where(rng.random(n) < 0.1, np.nan, 5.0 * rng.integers(1, 18, n)),
            "sex": rng.choice(["male", "female", "unknown"], n, p=[0.5, 0.45, 0.05]),
        }
    )
    return table, people.sample(frac=1, random_state=0)
