"""Folds of the official training images: each image is held out of one, and scored by that run.

"2/5" is the second of five folds, the same for every seed, with a like share of each class. In
"series 2/5" images with ids of the same hundred stay together: those were mostly taken at one
place with one camera, and a network does better on the rest of a series that it has seen.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from utils.system.errors import DataError, listed
from utils.system.fold import Fold

# Two photographs of one lesion among the official training images: all pairs that `verify --near`
# finds there, and five of the same two series that differ in more bits, found by eye.
SAME_LESION = (
    (164, 14795), (165, 14788), (204, 14748), (205, 14742), (206, 14739), (222, 14846),
    (223, 14818), (224, 14791), (225, 14778), (229, 14771), (12290, 13594), (12672, 12673),
    (12756, 13184),
)  # fmt: skip


def held_out(images: pd.DataFrame, fold: Fold) -> np.ndarray:
    """Which of these training images are held out in a fold, (n,) bool.

    Two photographs of one lesion are held out together. DataError where the images are too few.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # slow: it imports scipy

    groups = _groups(images, fold.by_series)
    counts = images["label"].value_counts()
    if min(len(set(groups)), counts.min() if len(counts) else 0) < fold.folds:
        raise DataError(
            f"{fold.folds} folds need as many images of each class"
            f"{' and as many series (ids of the same hundred)' * fold.by_series}; found "
            f"{counts.min() if len(counts) else 0} of the rarest class"
            f"{f' and {len(set(groups))} series' * fold.by_series}. Use fewer folds, or add images."
        )
    splitter = StratifiedGroupKFold(fold.folds, shuffle=True, random_state=0)
    parts = [part for _, part in splitter.split(images, images["label"], groups)]
    mask = np.zeros(len(images), bool)
    mask[parts[fold.number - 1]] = True
    return mask


def shared_out(images: pd.DataFrame, shares: Sequence[float], seed: int) -> np.ndarray:
    """Which part each of these images belongs to, (n,) int, for parts of these shares.

    A group stays together, each class is shared alike, and a class with as many groups as there are
    parts is in all of them (where its groups are of one class). Rare classes and large groups are
    dealt first, each to the part that lacks most of its classes; equals in an order drawn by seed.
    """
    table = pd.crosstab(images["group"], images["label"]).sample(frac=1, random_state=seed)
    counts, of_class = table.to_numpy(), table.sum().to_numpy()  # (groups, classes), (classes,)
    targets = np.outer(shares, of_class)
    lacking, part = targets.copy(), dict.fromkeys(table.index, 0)
    order = [(of_class[row > 0].min(), -row.sum()) for row in counts]
    for place in sorted(range(len(counts)), key=order.__getitem__):
        worth = (lacking / targets) @ counts[place] + 1e-9 * np.array(shares)
        part[table.index[place]] = int(worth.argmax())
        lacking[worth.argmax()] -= counts[place]
    return images["group"].map(part).to_numpy()


def _groups(images: pd.DataFrame, by_series: bool) -> list[str]:
    """What stays together: the images of a group or lesion, or those with ids of the same hundred.

    A group counts to the series of its first image.
    """
    ids = images["id"]
    if "group" in images:
        ids = images.groupby("group")["id"].transform("min")
    first = {f"ISIC_{second:07d}": f"ISIC_{one:07d}" for one, second in SAME_LESION}
    with_first = [first.get(image, image) for image in ids]
    if not by_series:
        return with_first
    if odd := [image for image in with_first if not image[-3:].isdecimal()]:
        raise DataError(
            f"folds by series take images with ids of the same hundred together, and {listed(odd)} "
            "end in no number of three digits; use folds by chance, and the column group for what "
            "belongs together."
        )
    return [image[:-2] for image in with_first]
