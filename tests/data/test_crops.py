"""The folder of crops: the same for everyone, whole or not there, never of a held-out image."""

import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.transforms import functional

from utils import data
from utils.data import crops, store
from utils.data.crops import FOLDER, LABELS, Settings
from utils.system import disk
from utils.system.errors import DataError

SMALL = Settings(side=32)


@pytest.fixture
def rows(tree: Path) -> pd.DataFrame:
    """The training rows of a small tree of real files."""
    found = data.read(tree)
    return found[found["split"] == "train"].reset_index(drop=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Five training images of each class, 90x60 px, in which every pixel tells its place."""
    folder = tmp_path / "数据 set"
    images = folder / "ISIC-2017_Training_Data"
    images.mkdir(parents=True)
    down, across = np.mgrid[0:60, 0:90]
    lines = ["image_id,melanoma,seborrheic_keratosis"]
    for number in range(15):
        picture = np.stack([2 * across, 4 * down, np.full((60, 90), 20 * number)], 2)
        _, png = cv2.imencode(".png", picture[..., ::-1].astype(np.uint8))
        (images / f"ISIC_{number:07d}.png").write_bytes(png.tobytes())
        lines.append(f"ISIC_{number:07d},{int(number % 3 == 0)},{int(number % 3 == 1)}")
    (folder / "ISIC-2017_Training_Part3_GroundTruth.csv").write_text("\n".join(lines) + "\n")
    return folder


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / FOLDER).glob("*.jpg"))}


def test_sixty_one_pictures_an_image_and_their_labels(tree, rows):
    assert crops.make(tree, rows, SMALL) == 15 * 61
    found = pictures(tree)
    assert len(found) == 15 * 61
    assert {"ISIC_0000003.jpg", "ISIC_0000003_20_00.jpg", "ISIC_0000003_80_14.jpg"} <= set(found)
    labels = pd.read_csv(tree / LABELS)
    assert sorted(f"{name}.jpg" for name in labels["image_id"]) == list(found)
    official = pd.read_csv(tree / "ISIC-2017_Training_Part3_GroundTruth.csv").set_index("image_id")
    of_image = labels.assign(image_id=crops.source(labels["image_id"])).set_index("image_id")
    assert of_image.equals(official.loc[of_image.index])
    assert not list(tree.glob(".*partial"))


@pytest.mark.parametrize("scale", [20, 40, 60, 80])
def test_a_crop_shows_that_part_of_the_image(scale, tree, rows):
    crops.make(tree, rows, Settings(side=64))
    seen = cv2.imread(str(tree / FOLDER / f"ISIC_0000002_{scale}_03.jpg"))[..., ::-1].astype(float)
    # Red rises by 2 and green by 4 a pixel of the original.
    across = (seen[:, -4:, 0].mean() - seen[:, :4, 0].mean()) / 2 / 60 * 64
    down = (seen[-4:, :, 1].mean() - seen[:4, :, 1].mean()) / 4 / 60 * 64
    assert across == pytest.approx(scale / 100 * 90, rel=0.12)
    assert down == pytest.approx(scale / 100 * 60, rel=0.12)


def test_crops_have_500_px_times_their_scale_to_move_in():
    """As torchvision's CenterCrop and RandomCrop take them; the ends are hit in 3000 draws."""
    boxes = np.concatenate([crops.boxes(f"ISIC_{k:07d}", 4000, 1000, SMALL) for k in range(200)])
    sizes = boxes[:, 2:] - boxes[:, :2]
    for scale in crops.SCALES:
        width, height, spare = round(4000 * scale), round(1000 * scale), round(500 * scale)
        lefts, tops = boxes[sizes[:, 0] == width, :2].T
        low = functional.center_crop(ramp(4000), [1, width + spare]).min().item()
        assert (lefts.min(), lefts.max()) == pytest.approx((low, low + spare), abs=1)
        room = min(spare, 1000 - height)
        low = functional.center_crop(ramp(1000), [1, height + room]).min().item()
        assert (tops.min(), tops.max()) == pytest.approx((low, low + room), abs=1)


def ramp(length: int) -> torch.Tensor:
    return torch.arange(length)[None, None].float()


def test_crops_of_small_images_lie_everywhere_within_them():
    boxes = np.concatenate([crops.boxes(f"ISIC_{k:07d}", 100, 50, SMALL) for k in range(200)])
    sizes = boxes[:, 2:] - boxes[:, :2]
    assert sorted(set(map(tuple, sizes.tolist()))) == [
        (20, 10), (40, 20), (60, 30), (80, 40), (100, 50)
    ]  # fmt: skip
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= (100, 50)).all()
    for scale, (width, height) in {0.2: (20, 10), 0.8: (80, 40)}.items():
        lefts, tops = boxes[sizes[:, 0] == width, :2].T
        assert (lefts.min(), lefts.max()) == (0, 100 - width), scale
        assert (tops.min(), tops.max()) == (0, 50 - height)
        assert lefts.mean() == pytest.approx((100 - width) / 2, rel=0.05)


def test_the_same_for_everyone(tree, rows, tmp_path):
    crops.make(tree, rows, SMALL, workers=1)
    first, labels = pictures(tree), (tree / LABELS).read_bytes()
    again = tmp_path / "again"
    again.mkdir()
    crops.make(again, rows, SMALL, workers=3)
    assert pictures(again) == first
    assert (again / LABELS).read_bytes() == labels
    other = tmp_path / "other"
    other.mkdir()
    crops.make(other, rows, Settings(side=32, seed=1))
    assert pictures(other) != first


def test_a_second_call_does_nothing_and_another_way_is_refused(tree, rows):
    crops.make(tree, rows, SMALL)
    before = (tree / FOLDER / "ISIC_0000003_20_00.jpg").stat().st_mtime_ns
    assert crops.make(tree, rows, SMALL) == 15 * 61
    assert (tree / FOLDER / "ISIC_0000003_20_00.jpg").stat().st_mtime_ns == before
    with pytest.raises(DataError, match=r"was made with side 32, seed 0; remove it"):
        crops.make(tree, rows, Settings(side=64, seed=2))
    replaced = Path(rows["image"][3])
    replaced.write_bytes(replaced.read_bytes() + b" ")
    for images in (rows, rows.head(5)):
        with pytest.raises(DataError, match="was made with other images; remove it"):
            crops.make(tree, images, SMALL)


def test_a_damaged_image_is_named_and_the_others_are_kept(tree, rows):
    damaged = Path(rows["image"][4])
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:200])
    with pytest.raises(DataError, match=r"ISIC_0000004\.png .*; repair them, or replace"):
        crops.make(tree, rows, SMALL)
    assert not (tree / FOLDER).exists()
    assert not (tree / LABELS).exists()
    assert len(list((tree / f".{FOLDER}.partial").glob("*.jpg"))) == 14 * 61
    damaged.write_bytes(whole)
    crops.make(tree, rows, SMALL)
    assert len(pictures(tree)) == 15 * 61


def test_without_training_images_nothing_is_made(tree, rows):
    with pytest.raises(DataError, match=r"no training images to cut .* download --splits train$"):
        crops.make(tree, rows[:0], SMALL)
    assert not list(tree.glob("*[Pp]atch*"))


def test_too_little_room_is_said_before(tree, rows, monkeypatch):
    monkeypatch.setattr(disk, "free_space", lambda _: 10_000)
    with pytest.raises(DataError, match=r"915 crops would take .* make them smaller \(--side\)"):
        crops.make(tree, rows, SMALL)
    assert not (tree / f".{FOLDER}.partial").exists()


KILLED = """
import sys
from pathlib import Path
from utils import data
from utils.data import crops
rows = data.read(Path(sys.argv[1]))
crops.make(Path(sys.argv[1]), rows, crops.Settings(side=32), workers=1)
"""


def test_killed_and_called_again(tree, rows, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    crops.make(whole, rows, SMALL)
    partial = tree / f".{FOLDER}.partial"
    for enough in (20, 500):
        child = subprocess.Popen([sys.executable, "-c", KILLED, str(tree)])
        while child.poll() is None and len(list(partial.glob("*.jpg"))) < enough:
            time.sleep(0.002)
        child.kill()
        child.wait()
        assert not (tree / FOLDER).exists() or len(pictures(tree)) == 15 * 61
    crops.make(tree, rows, SMALL)
    assert pictures(tree) == pictures(whole)


def test_rows_with_crops_hold_nothing_of_a_held_out_image(tree, rows):
    crops.make(tree, rows, SMALL)
    all_rows = data.read(tree, "patches")
    assert len(all_rows) == 15 * 61
    assert all_rows["official"].sum() == 15
    assert (all_rows["label"].value_counts() == 5 * 61).all()
    kept, held = data.training_images(all_rows, "holdout", 0)
    assert held["official"].all()
    assert set(held["id"]).isdisjoint(crops.source(kept["id"]))
    assert len(kept) == (15 - len(held)) * 61
    same = data.training_images(data.read(tree), "holdout", 0)[1]
    assert held["id"].tolist() == same["id"].tolist()


def test_crops_go_into_the_prepared_store(tree, rows):
    crops.make(tree, rows, SMALL)
    all_rows = data.read(tree, "patches")
    prepared = store.prepare(tree, all_rows, 32)
    crop = all_rows[all_rows["id"] == "ISIC_0000005_40_01"]
    (place,) = prepared.positions(crop)
    seen = cv2.imread(crop["image"].iloc[0])[..., ::-1]
    np.testing.assert_allclose(prepared.image(place).astype(int), seen, atol=4)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_missing_and_empty_crops_are_named(spoil, tree, rows):
    with pytest.raises(DataError, match=r"(?s)needs ISIC-2017_Training_Data_Patch .*data\.py"):
        data.read(tree, "patches")
    crops.make(tree, rows, SMALL)
    spoil(tree / FOLDER / "ISIC_0000005_40_01.jpg")
    with pytest.raises(DataError, match=r"missing or empty in .*: ISIC_0000005_40_01; remove"):
        data.read(tree, "patches")


def test_a_beginning_made_in_another_way(tree, rows):
    partial = tree / f".{FOLDER}.partial"
    partial.mkdir()
    (partial / crops.SETTINGS).write_text('{"side": 8, "seed": 0, "images": {}}')
    crops.make(tree, rows, SMALL)  # nothing was cut yet
    assert len(pictures(tree)) == 15 * 61
