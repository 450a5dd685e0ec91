"""The submission file of part 3 of the ISIC 2017 challenge, from a table of predictions.

Three columns, one row per image: `image_id`, `melanoma`, `seborrheic_keratosis`, the last two in
[0, 1], positive above 0.5 (https://challenge.isic-archive.com/landing/2017/44). The organisers'
current scorer (https://github.com/ImageMarkup/isic-challenge-scoring) also serves later challenges,
where the id column is called `image`. Nothing else has to change for it, neither in our file nor in
the challenge's labels:

    sed '1s/^image_id,/image,/' submission-test.csv > for-scorer.csv
    sed '1s/^image_id,/image,/' ISIC-2017_Test_v2_Part3_GroundTruth.csv > truth.csv
    isic-challenge-scoring classification --metric auc truth.csv for-scorer.csv
"""

from pathlib import Path

import numpy as np
import pandas as pd

from utils.evaluation.labels import OFFICIAL_CLASSES
from utils.system.errors import DataError, listed
from utils.system.files import write_atomic

ID_COLUMN = "image_id"


def submission(predictions: pd.DataFrame) -> pd.DataFrame:
    """The columns image_id, melanoma and seborrheic_keratosis of n images, in the order given.

    predictions as in `predictions-<split>.csv`: id and the probabilities of both classes, in
    [0, 1]; other columns are ignored. DataError for missing columns, no rows, missing or duplicate
    ids, and values that are not probabilities.
    """
    _check_columns(predictions)
    ids = predictions["id"].astype(str)
    _refuse(
        predictions["id"].isna() | (ids.str.strip() == ""),
        predictions.index,
        "rows without an id; expected the name of an image in each. Predict again, or fill them in",
    )
    duplicates = "duplicate ids; expected one row per image. Remove the others"
    _refuse(ids.duplicated(), ids, duplicates)
    # As floats even where all are 0 and 1: the scorer refuses a column of integers.
    scores = predictions[list(OFFICIAL_CLASSES)].apply(pd.to_numeric, errors="coerce")
    scores = scores.astype(np.float64)
    usable = ((scores >= 0) & (scores <= 1)).all(axis=1)  # nan is neither
    _refuse(
        ~usable,
        ids,
        "values that are not probabilities; expected numbers in [0, 1] for "
        f"{' and '.join(OFFICIAL_CLASSES)}. Use the softmax of the logits, and check whether the "
        "training diverged",
    )
    scores.insert(0, ID_COLUMN, ids)
    return scores.reset_index(drop=True)


def write_submission(path: Path, predictions: pd.DataFrame) -> Path:
    """Write `submission(predictions)` as csv, atomically and in full precision; its path."""
    write_atomic(path, submission(predictions).to_csv(index=False, lineterminator="\n"))
    return path


def _check_columns(predictions: pd.DataFrame) -> None:
    missing = [name for name in ("id", *OFFICIAL_CLASSES) if name not in predictions.columns]
    if missing:
        found = ", ".join(map(str, predictions.columns)) or "none"
        cure = "Use the table of predictions-<split>.csv."
        if missing == [OFFICIAL_CLASSES[1]]:
            cure = (
                "The challenge asks for both; a network with one logit predicts only melanoma. "
                "Predict with an experiment of three classes, such as 1-1."
            )
        raise DataError(
            f"no column {' or '.join(missing)} in the predictions; found {found}; expected id, "
            f"{' and '.join(OFFICIAL_CLASSES)}. {cure}"
        )
    if predictions.empty:
        raise DataError("the predictions have no rows; expected one per image. Predict again.")


def _refuse(bad: pd.Series, names: pd.Series | pd.Index, problem: str) -> None:
    """DataError that names some of the rows where `bad` (n,) is true, if there are any."""
    if bad.any():
        raise DataError(f"{problem}: {listed(names[bad.to_numpy()])}.")
