"""The file that part 3 of the ISIC 2017 challenge asked for, made from a table of predictions.

Three columns, a row an image: `image_id`, `melanoma`, `seborrheic_keratosis`, the last two in
[0, 1], positive above 0.5 (https://challenge.isic-archive.com/landing/2017/44). The scorer that the
organisers publish today (https://github.com/ImageMarkup/isic-challenge-scoring) serves the later
challenges too, where the id's column is called `image`. Nothing else has to change for it, neither
in our file nor in the challenge's own labels:

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
SCORER_ID_COLUMN = "image"


def submission(predictions: pd.DataFrame) -> pd.DataFrame:
    """The columns image_id, melanoma and seborrheic_keratosis of n images, in the order given.

    predictions as in `predictions-<split>.csv`: id and the probabilities of both classes, in
    [0, 1]; further columns are left out. Raises DataError for missing columns, no rows, ids that
    are missing or stand twice, and values that are no probability.
    """
    _check_columns(predictions)
    ids = predictions["id"].astype(str)
    _refuse(
        predictions["id"].isna() | (ids.str.strip() == ""),
        predictions.index,
        "rows without an id; expected the name of an image in each. Predict again, or mend them",
    )
    twice = ids.duplicated()
    _refuse(twice, ids, "ids that stand more than once; expected one row an image. Remove the rest")
    # As floats even where all are 0 and 1: the scorer refuses a column of whole numbers.
    scores = predictions[list(OFFICIAL_CLASSES)].apply(pd.to_numeric, errors="coerce")
    scores = scores.astype(np.float64)
    usable = ((scores >= 0) & (scores <= 1)).all(axis=1)  # nan is neither
    _refuse(
        ~usable,
        ids,
        "values that are no probability; expected numbers in [0, 1] for "
        f"{' and '.join(OFFICIAL_CLASSES)}. Give the softmax of the logits, and look for a "
        "training that diverged",
    )
    scores.insert(0, ID_COLUMN, ids)
    return scores.reset_index(drop=True)


def write_submission(path: Path, predictions: pd.DataFrame) -> Path:
    """Write `submission(predictions)` as csv with every digit, whole or not at all; its path.

    Arguments and errors as there.
    """
    write_atomic(path, submission(predictions).to_csv(index=False, lineterminator="\n"))
    return path


def for_scorer(text: str) -> str:
    """The text of a submission or of the challenge's labels with the id's column renamed to image.

    The rest stays as it is, to the last character. Raises DataError when the header does not start
    with image_id.

    >>> for_scorer("image_id,melanoma,seborrheic_keratosis")
    'image,melanoma,seborrheic_keratosis'
    """
    if not text.startswith(f"{ID_COLUMN},"):
        raise DataError(
            f"the first line is {text.split(chr(10), 1)[0]!r}; expected one that starts with "
            f"'{ID_COLUMN},'. Write the file with write_submission, or take the challenge's labels."
        )
    return SCORER_ID_COLUMN + text.removeprefix(ID_COLUMN)


def _check_columns(predictions: pd.DataFrame) -> None:
    missing = [name for name in ("id", *OFFICIAL_CLASSES) if name not in predictions.columns]
    if missing:
        found = ", ".join(map(str, predictions.columns)) or "none"
        cure = "Give the table of predictions-<split>.csv."
        if missing == [OFFICIAL_CLASSES[1]]:
            cure = (
                "The challenge asks for both; a network with one logit knows melanoma alone. "
                "Predict with an experiment of three classes, such as 1-1."
            )
        raise DataError(
            f"no column {' or '.join(missing)} in the predictions; found {found}; expected id, "
            f"{' and '.join(OFFICIAL_CLASSES)}. {cure}"
        )
    if predictions.empty:
        raise DataError("the predictions have no rows; expected one an image. Predict again.")


def _refuse(bad: pd.Series, names: pd.Series | pd.Index, problem: str) -> None:
    """DataError that names up to five of the rows where `bad` (n,) holds, if there are any."""
    if bad.any():
        offenders = listed(names[bad.to_numpy()])
        raise DataError(f"{problem}: {offenders}.")
