"""On the real ISIC 2017, where $ISIC2017_DIR names it; skipped, saying so, where it does not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nets
from utils import data, model
from utils.data import loaders, patches, store
from utils.system.errors import DataError

EXTRAS = "isic2017-extras/ISIC-2017_Training_Aug_Part3_GroundTruth.csv"


@pytest.fixture
def rows(isic2017: Path):
    return data.read(isic2017)


@pytest.fixture
def some(isic2017: Path, rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A store of the 150 validation images at 96 px, away from the data; and their rows."""
    chosen = rows[rows["split"] == "validation"].reset_index(drop=True)
    monkeypatch.setattr(store, "_writable_home", lambda _: tmp_path)
    return store.prepare(isic2017, chosen, 96), chosen


def test_the_counts_are_the_official_ones(rows) -> None:
    counts = data.class_counts(rows)
    assert counts.loc["train"].tolist() == [374, 254, 1372, 2000]
    assert counts.loc["validation"].tolist() == [30, 42, 78, 150]


def test_everyone_has_a_mask_and_most_an_age(rows) -> None:
    assert (rows["mask"] != "").all()
    assert set(rows["sex"]) <= {"male", "female", "unknown"}
    assert rows["age"].between(0, 120).mean() > 0.8


def test_the_hold_out_is_300_images_in_the_same_shares(rows) -> None:
    train, held_out = data.training_images(rows, "holdout", seed=0)
    assert (len(train), len(held_out)) == (1700, 300)
    assert held_out["label"].value_counts().sort_index().tolist() == [56, 38, 206]


def test_the_enlarged_list_says_which_images_are_missing(isic2017: Path, tmp_path: Path) -> None:
    extras = isic2017.parent / EXTRAS
    if not extras.exists():
        pytest.skip(f"needs the enlarged list {EXTRAS} beside the data")
    for path in [*isic2017.iterdir(), extras]:
        (tmp_path / path.name).symlink_to(path)
    with pytest.raises(DataError, match=r"ids of the train list without an image .*1320 in all"):
        data.read(tmp_path, "extended")
    assert (data.read(tmp_path, "extended", allow_missing=True)["split"] == "train").sum() == 2000
    assert (data.read(tmp_path, "official")["split"] == "train").sum() == 2000


def test_the_store_holds_what_the_files_show(some) -> None:
    prepared, chosen = some
    for place in (0, 75, 149):
        with Image.open(chosen.loc[place, "image"]) as file:
            expected = np.asarray(file.convert("RGB").resize((96, 96), Image.Resampling.BOX))
        difference = np.abs(prepared.image(place).astype(int) - expected)
        assert difference.mean() < 3  # another library's averaging; a wrong image differs by 30
        assert 0 < (prepared.mask(place) > 0).mean() < 1


def test_a_pretrained_network_gives_the_same_answer_twice(some) -> None:
    prepared, chosen = some
    views = patches.TestViews(prepared, chosen.head(6), 96)
    network = nets.build("lite0", weights="imagenet")
    first = model.training.predict(network, loaders.evaluation_loader(views, 18, 0))
    second = model.training.predict(network, loaders.evaluation_loader(views, 27, 0))
    np.testing.assert_allclose(first, second, atol=1e-6)
