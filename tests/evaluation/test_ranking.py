"""Images worth a look: the surest, the least certain, the best and the worst."""

import numpy as np
import pandas as pd
import pytest
from made_up import results_of

from utils.data.splits import CLASSES
from utils.evaluation import ranking

PER_IMAGE = results_of([f"ISIC_{k}" for k in range(8)]).per_image
TABLE = pd.DataFrame(
    [
        ("right", 0, 0.90, 0.05, 0.05),
        ("close", 1, 0.30, 0.36, 0.34),
        ("worst", 0, 0.02, 0.03, 0.95),
        ("wrong", 2, 0.80, 0.10, 0.10),
        ("tie", 2, 0.40, 0.20, 0.40),  # of equals the first is taken: melanoma
    ],
    columns=["id", "label", *CLASSES],
)
ALONE = pd.DataFrame(
    [("missed", 0, 0.05), ("alarm", 1, 0.80), ("sure", 2, 0.01), ("weak", 0, 0.60)],
    columns=["id", "label", "melanoma"],
)


def test_telling_cases_by_hand():
    table = pd.DataFrame(
        [
            ("sure-m", 0, 0.90, 0.05, 0.05),
            ("sure-b1", 2, 0.01, 0.00, 0.99),
            ("sure-b2", 2, 0.01, 0.01, 0.98),
            ("weak-k", 1, 0.30, 0.40, 0.30),
            ("wrong-b", 2, 0.80, 0.10, 0.10),
            ("worst-m", 0, 0.02, 0.03, 0.95),
            ("wrong-k", 1, 0.50, 0.30, 0.20),
        ],
        columns=["id", "label", *CLASSES],
    )
    cases = ranking.telling_cases(table, each=3)
    # Right: the surest of each class before the second of any; wrong: the surest first.
    wrong = ["worst-m", "wrong-b", "wrong-k"]
    assert cases["id"].tolist() == ["sure-b1", "sure-m", "weak-k", *wrong]
    assert cases.columns.tolist() == table.columns.tolist()
    assert ranking.telling_cases(table, each=4)["id"].tolist()[3] == "sure-b2"
    assert ranking.telling_cases(table, each=1)["id"].tolist() == ["sure-b1", "worst-m"]
    assert ranking.telling_cases(ALONE)["id"].tolist() == ["sure", "weak", "missed", "alarm"]


def test_telling_cases_where_nothing_is_wrong():
    right = dict(zip(CLASSES, np.eye(3)[np.arange(6) % 3].T, strict=True))
    table = pd.DataFrame({"id": list("abcdef"), "label": np.arange(6) % 3, **right})
    assert len(ranking.telling_cases(table)) == 4
    assert ranking.telling_cases(table, each=9)["id"].nunique() == 6


def test_confident_mistakes_by_hand():
    wrong = ranking.confident_mistakes(TABLE)
    assert wrong.columns.tolist() == [*TABLE.columns, "predicted", "sureness"]
    assert wrong["id"].tolist() == ["worst", "wrong", "tie"]
    assert wrong["predicted"].tolist() == ["benign", "melanoma", "melanoma"]
    assert wrong["sureness"].tolist() == [0.95, 0.80, 0.40]
    assert wrong.index.tolist() == [0, 1, 2]
    pd.testing.assert_frame_equal(ranking.confident_mistakes(TABLE, each=2), wrong[:2])
    assert len(ranking.confident_mistakes(TABLE[:2])) == 0


def test_least_certain_by_hand():
    close = ranking.least_certain(TABLE)
    assert close.columns.tolist() == [*TABLE.columns, "predicted", "margin"]
    assert close["id"].tolist() == ["tie", "close", "wrong", "right", "worst"]
    assert close["margin"].tolist() == pytest.approx([0, 0.02, 0.7, 0.85, 0.92])
    assert close["predicted"][1] == "seborrheic keratosis"
    pd.testing.assert_frame_equal(ranking.least_certain(TABLE, each=2), close[:2])


def test_cases_of_melanoma_against_the_rest():
    wrong = ranking.confident_mistakes(ALONE)
    named = wrong[["id", "predicted"]].to_numpy().tolist()
    assert named == [["missed", "the rest"], ["alarm", "melanoma"]]
    assert wrong["sureness"].tolist() == pytest.approx([0.95, 0.80])
    close = ranking.least_certain(ALONE)
    assert close["id"].tolist() == ["weak", "alarm", "missed", "sure"]
    assert close["margin"].tolist() == pytest.approx([0.2, 0.6, 0.9, 0.98])


def test_best_middle_and_worst():
    groups = ranking.ranked(PER_IMAGE, 2)
    order = PER_IMAGE.sort_values("jaccard", ascending=False)["id"].tolist()
    assert groups["best"]["id"].tolist() == order[:2]
    assert groups["median"]["id"].tolist() == order[3:5]
    assert groups["worst"]["id"].tolist() == order[-1:-3:-1]


@pytest.mark.parametrize("images", range(1, 9))
def test_no_image_is_among_the_best_and_the_worst(images):
    groups = ranking.ranked(PER_IMAGE.head(images), 20)
    shown = pd.concat(groups.values())["id"]
    assert shown.is_unique
    assert len(shown) == images - images % 3 if images >= 3 else images
    assert list(groups) == ["best", "median", "worst"]


def test_failures_are_below_the_challenges_threshold():
    failed = ranking.failures(PER_IMAGE)
    assert 0 < len(failed) < len(PER_IMAGE)
    assert failed["jaccard"].is_monotonic_increasing
    assert set(failed["id"]) == set(PER_IMAGE.loc[PER_IMAGE["jaccard"] < 0.65, "id"])
