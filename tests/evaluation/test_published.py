from dataclasses import dataclass, field

import pytest

from utils.evaluation.published import OTHER, SYNTHETIC, comparable, reason, trained_on

OFFICIAL = {"melanoma": 117, "seborrheic_keratosis": 90, "benign": 393}
REAL = {"data": "ISIC 2017", "split": "test", "n": 600, "counts": OFFICIAL}
DEMO = REAL | {"data": "synthetic demo data"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"counts": {}}, OTHER),
        ({"split": "test-1-views"}, ""),
        ({"data": "synthetic demo data"}, SYNTHETIC),
        ({"data": "synthetic demo data", "split": "validation"}, SYNTHETIC),
        ({"split": "validation"}, OTHER),
        ({"n": 599}, OTHER),
        ({"counts": OFFICIAL | {"melanoma": 116}}, OTHER),
    ],
)
def test_only_the_official_test_images_compare(changes: dict, why: str):
    assert reason(REAL | changes) == why


def test_a_segmenter_counts_no_classes():
    assert reason({"data": "ISIC 2017", "split": "test", "n": 600}) == ""


def test_synthetic_images_are_no_official_list():
    assert trained_on(REAL, "official") == "official list"
    assert trained_on(DEMO, "official") == "synthetic images"


@dataclass(frozen=True)
class Study:
    source: str


@dataclass
class Row:
    published: list[Study] = field(default_factory=lambda: [Study("a"), Study("b")])


def test_comparable_studies_come_once_and_beside_their_images_alone():
    rows = {"real": Row(), "again": Row([Study("b"), Study("c")]), "no scores": Row([Study("d")])}
    found = {"real": REAL, "again": REAL}
    assert [study.source for study in comparable(found, rows)] == ["a", "b", "c"]
    assert comparable({"real": DEMO}, rows) == []
    assert comparable({"real": REAL | {"n": 150}}, rows) == []
