"""Folds: every image once, classes alike, and what belongs together stays together."""

import numpy as np
import pandas as pd
import pytest

from utils import data
from utils.data import folds
from utils.fetching import duplicates
from utils.system.errors import DataError
from utils.system.fold import Fold


def official_rows(numbers: range | list[int]) -> pd.DataFrame:
    """Training images with these numbers, every fifth a melanoma, every seventh a keratosis."""
    labels = [0 if k % 5 == 0 else 1 if k % 7 == 0 else 2 for k in range(len(numbers))]
    ids = [f"ISIC_{number:07d}" for number in numbers]
    return pd.DataFrame({"id": ids, "split": "train", "label": labels, "official": True})


@pytest.mark.parametrize("kind", ["", "series "])
def test_each_image_is_held_out_once_with_a_like_share_of_each_class(kind: str) -> None:
    rows = official_rows(range(0, 4000, 3))
    parts = []
    for number in range(1, 6):
        train, held = data.training_images(rows, "fold", number, f"{kind}{number}/5")
        assert not set(train["id"]) & set(held["id"])
        assert len(train) + len(held) == len(rows)
        shares = held["label"].value_counts(normalize=True)
        assert np.allclose(shares, rows["label"].value_counts(normalize=True), atol=0.05)
        parts.append(held["id"])
    assert sorted(pd.concat(parts)) == sorted(rows["id"])


def test_a_series_stays_together_and_so_do_photographs_of_one_lesion() -> None:
    numbers = sorted({*range(0, 4000, 3), *(k for pair in folds.SAME_LESION for k in pair)})
    rows = official_rows(numbers)
    for kind in ("", "series "):
        held = data.training_images(rows, "fold", 0, f"{kind}2/5")[1]["id"].str[5:].astype(int)
        for one, other in folds.SAME_LESION:
            assert (one in set(held)) == (other in set(held))
    moved = {second for _, second in folds.SAME_LESION}
    series = {number // 100 for number in held if number not in moved}
    whole = {n for n in numbers if n // 100 in series and n not in moved}
    assert whole == set(held) - moved


def test_the_seed_does_not_move_a_fold_and_extended_images_are_trained_on() -> None:
    rows = official_rows(range(600))
    rows.loc[rows.index % 3 == 1, "official"] = False
    first, second = (data.training_images(rows, "fold", seed, "1/4") for seed in (0, 1))
    pd.testing.assert_frame_equal(first[1], second[1])
    assert first[1]["official"].all()
    assert (~first[0]["official"]).sum() == (~rows["official"]).sum()


def test_too_few_images_or_series_for_so_many_folds() -> None:
    with pytest.raises(DataError, match=r"9 folds need as many .*; found 2 of the rarest class\."):
        data.training_images(official_rows(range(20)), "fold", 0, "1/9")
    expected = r"5 folds need .* series \(ids of the same hundred\); found 23 .* and 2 series\. Use"
    with pytest.raises(DataError, match=expected):
        data.training_images(official_rows(range(200)), "fold", 0, "series 1/5")


def test_series_are_told_by_numbers_alone() -> None:
    rows = official_rows(range(40))
    rows["id"] = [f"patient_{k:02d}_left" for k in range(40)]
    expected = r"ids of the same hundred together, and patient_00_left, .* end in no number"
    with pytest.raises(DataError, match=expected):
        data.training_images(rows, "fold", 0, "series 1/2")
    assert len(data.training_images(rows, "fold", 0, "1/2")[1]) == 20


@pytest.mark.parametrize("text", ["0/5", "6/5", "1/1", "1/51", "series2/5", "2", "", 2, None])
def test_what_is_no_fold(text: object) -> None:
    with pytest.raises(ValueError, match=r"expected a fold such as '2/5' or 'series 2/5'"):
        Fold.parse(text)


def test_a_fold_is_written_as_it_is_read() -> None:
    for text, label in (("2/5", "f2"), ("series 12/20", "series-f12")):
        assert (str(Fold.parse(text)), Fold.parse(text).label) == (text, label)


def test_real_photographs_of_one_lesion(isic2017) -> None:
    rows = data.read(data.locate(isic2017))
    train = rows[rows["split"] == "train"].reset_index(drop=True)
    hashes = [duplicates.perceptual_hash(image.image, image.mask) for image in train.itertuples()]
    numbers = train["id"].str[5:].astype(int)
    known = {frozenset(pair) for pair in folds.SAME_LESION}
    found = {
        frozenset((numbers[one], numbers[other]))
        for one, other, bits in duplicates.near_pairs(hashes)
    }
    assert found <= known
