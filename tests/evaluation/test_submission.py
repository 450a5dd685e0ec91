"""The challenge's submission file: what it holds, and every table that cannot become one."""

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from utils.data.splits import CLASSES
from utils.evaluation.submission import submission, write_submission
from utils.system.errors import DataError

MELANOMA, KERATOSIS, BENIGN = CLASSES


@pytest.fixture
def predictions() -> pd.DataFrame:
    """Three images, as in predictions-<split>.csv; the ids are not sorted."""
    return pd.DataFrame(
        {
            "id": ["ISIC_0000003", "ISIC_0000001", "ISIC_0000002"],
            "label": [2, 0, 1],
            MELANOMA: [0.1, 1 / 3, 0.5],
            KERATOSIS: [7.7008835e-06, 0.25, 0.0],
            BENIGN: [0.9, 5 / 12, 0.5],
        }
    )


def test_a_submission_is_the_file_that_the_challenge_asked_for(predictions, tmp_path):
    path = write_submission(tmp_path / "new" / "submission.csv", predictions)
    assert path.read_bytes() == (
        b"image_id,melanoma,seborrheic_keratosis\n"
        b"ISIC_0000003,0.1,7.7008835e-06\n"
        b"ISIC_0000001,0.3333333333333333,0.25\n"
        b"ISIC_0000002,0.5,0.0\n"
    )
    assert [file.name for file in path.parent.iterdir()] == ["submission.csv"]


def test_what_is_read_back_is_what_was_predicted(tmp_path):
    drawn = np.random.default_rng(0).dirichlet([1, 1, 1], 1000)
    table = pd.DataFrame(drawn, columns=list(CLASSES))
    table.insert(0, "id", [f"ISIC_{k:07d}" for k in range(1000)])
    path = write_submission(tmp_path / "submission.csv", table)
    cells = [line.split(",") for line in path.read_text().splitlines()[1:]]
    assert [name for name, *_ in cells] == table["id"].tolist()
    read = [[float(melanoma), float(keratosis)] for _, melanoma, keratosis in cells]
    np.testing.assert_array_equal(read, drawn[:, :2])


def test_whole_numbers_are_written_as_floats(predictions, tmp_path):
    """The scorer refuses a column that holds only 0 and 1 as whole numbers."""
    predictions[[MELANOMA, KERATOSIS]] = [[0, 1], [1, 0], [0, 0]]
    text = write_submission(tmp_path / "submission.csv", predictions).read_text()
    assert text.splitlines()[1:] == [
        "ISIC_0000003,0.0,1.0",
        "ISIC_0000001,1.0,0.0",
        "ISIC_0000002,0.0,0.0",
    ]


def test_neither_truth_nor_benign_is_needed_and_the_table_is_left_alone(predictions):
    before = predictions.copy()
    complete = submission(predictions)
    pd.testing.assert_frame_equal(predictions, before)
    least = predictions[[KERATOSIS, "id", MELANOMA]].set_axis([7, 8, 9])
    pd.testing.assert_frame_equal(submission(least), complete)


# --- tables that cannot be submitted ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda table: table[["id", "label", MELANOMA]],  # a network with one logit
            r"no column seborrheic_keratosis.*found id, label, melanoma;.*predicts only melanoma",
        ),
        (
            lambda table: table.rename(columns={"id": "image"}).drop(columns=MELANOMA),
            r"no column id or melanoma.*found image.*Use the table of predictions-<split>\.csv",
        ),
        (lambda table: table.iloc[:0], r"no rows; expected one per image\. Predict again"),
        (
            lambda table: table.assign(melanoma=["0.1", "high", "low"]),
            r"not probabilities.*: ISIC_0000001, ISIC_0000002\.",
        ),
        (
            lambda table: pd.concat([table] * 3, ignore_index=True),
            r"duplicate ids; expected one row per image.*: ISIC_0000003, .* \(6 in all\)\.",
        ),
        *(
            (
                lambda table, name=name: table.assign(id=["a", "b", name]),
                r"without an id; expected the name.*fill them in: 2\.",
            )
            for name in (None, "", "  ")
        ),
    ],
)
def test_a_table_that_cannot_be_submitted(predictions, change, message):
    with pytest.raises(DataError, match=message):
        submission(change(predictions))


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.001, 1.001])
@pytest.mark.parametrize("column", [MELANOMA, KERATOSIS])
def test_values_that_are_no_probability(predictions, column, value):
    predictions.loc[1, column] = value
    expected = r"not probabilities; expected numbers in \[0, 1\].*softmax.*: ISIC_0000001\."
    with pytest.raises(DataError, match=expected):
        submission(predictions)


def test_what_cannot_be_submitted_leaves_the_old_file(predictions, tmp_path):
    path = write_submission(tmp_path / "submission.csv", predictions)
    before = path.read_bytes()
    with pytest.raises(DataError, match="no rows"):
        write_submission(path, predictions.iloc[:0])
    assert path.read_bytes() == before


# --- for the scorer of today ---


def test_the_documented_shell_line_renames_the_id_column_alone(predictions, tmp_path):
    if not shutil.which("sed"):
        pytest.skip("no sed on this machine")
    path = write_submission(tmp_path / "submission.csv", predictions)
    done = subprocess.run(
        ["sed", "1s/^image_id,/image,/", path], capture_output=True, text=True, check=True
    )
    assert done.stdout == path.read_text().replace("image_id,", "image,", 1)
