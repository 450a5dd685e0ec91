"""The demo set: the official tree, repeatable, safe to make, learnable and not given away."""

import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from utils.data import demo

SMALL = {"train": 16, "validation": 8, "test": 8, "size": (64, 48)}
COUNTS = {"Training": 16, "Validation": 8, "Test_v2": 8}
MELANOMA, KERATOSIS, BENIGN = range(3)


@pytest.fixture(scope="module")
def small(mktemp) -> Path:
    return demo.generate(mktemp("small") / "demo", **SMALL)


@pytest.fixture(scope="module")
def samples() -> list[tuple]:
    return [demo.sample(0, "Training", index, (96, 72)) for index in range(160)]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_tree_is_the_official_one(small):
    ids = []
    for split, count in COUNTS.items():
        labels = pd.read_csv(small / f"ISIC-2017_{split}_Part3_GroundTruth.csv")
        people = pd.read_csv(small / f"ISIC-2017_{split}_Data_metadata.csv")
        assert list(labels) == ["image_id", "melanoma", "seborrheic_keratosis"]
        assert list(people) == ["image_id", "age_approximate", "sex"]
        assert list(people["image_id"]) == list(labels["image_id"])
        images = sorted(path.stem for path in (small / f"ISIC-2017_{split}_Data").glob("*.jpg"))
        masks = (small / f"ISIC-2017_{split}_Part1_GroundTruth").glob("*.png")
        assert len(images) == count
        assert images == list(labels["image_id"])
        assert sorted(path.stem for path in masks) == [f"{name}_segmentation" for name in images]
        ids += images
    assert len(set(ids)) == sum(COUNTS.values())
    assert all(name.startswith("DEMO_") and len(name) == len("ISIC_0000000") for name in ids)
    assert "synthetic demo data" in (small / "README.txt").read_text()


def test_files_are_what_sample_says(small):
    for split, count in COUNTS.items():
        labels = pd.read_csv(small / f"ISIC-2017_{split}_Part3_GroundTruth.csv").to_numpy()
        people = pd.read_csv(small / f"ISIC-2017_{split}_Data_metadata.csv", dtype=str).to_numpy()
        for index in range(count):
            image, mask, label, age, sex = demo.sample(0, split, index, SMALL["size"])
            name, melanoma, keratosis = labels[index]
            assert (melanoma, keratosis) == (label == MELANOMA, label == KERATOSIS)
            assert list(people[index]) == [name, str(age), sex]
            stored = cv2.imread(str(small / f"ISIC-2017_{split}_Data" / f"{name}.jpg"))
            assert np.abs(stored[..., ::-1].astype(float) - image).mean() < 6  # JPEG is lossy
            truth = small / f"ISIC-2017_{split}_Part1_GroundTruth" / f"{name}_segmentation.png"
            assert np.array_equal(cv2.imread(str(truth), cv2.IMREAD_UNCHANGED), mask)


def test_same_seed_same_bytes(small, tmp_path):
    again = contents(demo.generate(tmp_path / "again", **SMALL))
    other = contents(demo.generate(tmp_path / "other", **SMALL, seed=1))
    assert again == contents(small)
    assert all(again[name] != other[name] for name in again if name.endswith(".jpg"))


def test_counts_do_not_change_images(small, tmp_path):
    more = {**SMALL, "train": 24, "validation": 12, "test": 0}
    grown, before = contents(demo.generate(tmp_path / "grown", **more)), contents(small)
    shared = [name for name in before if name.endswith((".jpg", ".png")) and "Test" not in name]
    assert len(shared) == 2 * (16 + 8)
    assert all(grown[name] == before[name] for name in shared)
    assert not any("Test" in name for name in grown)


@pytest.mark.parametrize("split", demo.SPLITS)
def test_fewest_images_hold_every_class(split, monkeypatch):
    monkeypatch.setattr(demo, "paint", lambda *_: (None, None))  # the labels alone, fast
    for seed in range(100):
        labels = {demo.sample(seed, split, index)[2] for index in range(demo.FEWEST)}
        assert labels == {MELANOMA, KERATOSIS, BENIGN}


def test_shares_are_near_the_real_ones(samples):
    labels = [label for _, _, label, _, _ in samples]
    assert np.bincount(labels) / len(labels) == pytest.approx(demo.SHARES, abs=0.03)
    ages = {age for *_, age, _ in samples}
    assert "unknown" in ages
    assert ages - {"unknown"} <= set(range(5, 90, 5))
    assert {sex for *_, sex in samples} == {"male", "female", "unknown"}


def test_mask_is_binary_and_covers_what_is_painted(samples):
    contrasts = []
    for image, mask, *_ in samples:
        assert image.shape == (72, 96, 3)
        assert mask.shape == (72, 96)
        assert image.dtype == mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 255}
        assert 0.03 < (mask > 0).mean() < 0.5
        around = (cv2.dilate(mask, None, iterations=8) > 0) & (mask == 0)
        lesion, skin = (np.median(image[part], axis=0) for part in (mask > 0, around))
        contrasts.append((skin - lesion).max())
    # A lesion is darker than the skin around it, but for very few that are pale or half hidden.
    assert np.mean(np.array(contrasts) > 15) > 0.98


def raggedness(_: np.ndarray, mask: np.ndarray) -> float:
    """Length of the border relative to that of a disc of the same area."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    return cv2.arcLength(outline, True) / np.sqrt(4 * np.pi * cv2.contourArea(outline))


def asymmetry(_: np.ndarray, mask: np.ndarray) -> float:
    """Share of the lesion that misses itself after half a turn about its centre."""
    centre = np.argwhere(mask).mean(axis=0)[::-1]
    half_turn = cv2.getRotationMatrix2D(centre.tolist(), 180, 1)
    turned = cv2.warpAffine(mask, half_turn, mask.shape[::-1])
    return 1 - ((turned > 0) & (mask > 0)).sum() / (mask > 0).sum()


def colours(image: np.ndarray, mask: np.ndarray) -> float:
    """Spread of the hue inside the lesion, as the ratio of red to blue."""
    inside = image[mask > 0].astype(float) + 1
    return np.log(inside[:, 0] / inside[:, 2]).std()


def dots(image: np.ndarray, mask: np.ndarray) -> float:
    """Strength of bright and dark dots inside the lesion."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    inside = cv2.erode(mask, None, iterations=3) > 0
    return np.abs(grey - cv2.medianBlur(grey, 5))[inside].max(initial=0)


@pytest.mark.parametrize(
    ("measure", "more"),
    [(raggedness, MELANOMA), (asymmetry, MELANOMA), (colours, MELANOMA), (dots, KERATOSIS)],
)
def test_cues_differ_as_claimed_but_overlap(samples, measure, more):
    values = {label: [measure(*s[:2]) for s in samples if s[2] == label] for label in range(3)}
    shown, benign = values[more], values[BENIGN]
    assert np.mean(shown) > 1.1 * np.mean(benign)
    assert np.quantile(shown, 0.1) < np.quantile(benign, 0.9)  # weak and atypical ones


@pytest.mark.parametrize("label", [MELANOMA, KERATOSIS])
def test_size_place_and_skin_do_not_give_the_class_away(samples, label):
    truth = [sample[2] == label for sample in samples]
    for nuisance in (
        lambda _, mask: (mask > 0).mean(),
        lambda _, mask: np.argwhere(mask)[:, 0].mean(),
        lambda _, mask: np.argwhere(mask)[:, 1].mean(),
        lambda image, mask: image[mask == 0].mean(),
        lambda image, mask: np.subtract(*image[mask == 0].mean(axis=0)[:2]),  # redness
    ):
        assert 0.25 < roc_auc_score(truth, [nuisance(*sample[:2]) for sample in samples]) < 0.75


def test_a_complete_set_is_not_made_again(small, monkeypatch):
    monkeypatch.setattr(demo, "sample", lambda *_: pytest.fail("painted again"))
    assert demo.generate(small, **SMALL) == small


def test_other_parameters_replace_the_whole_set(tmp_path):
    folder = demo.generate(tmp_path / "demo", **SMALL)
    (folder / "prepared-64").mkdir()  # made from the old images, so it must go with them
    demo.generate(folder, **{**SMALL, "train": 8})
    assert len(list((folder / "ISIC-2017_Training_Data").iterdir())) == 8
    assert not (folder / "prepared-64").exists()
    assert json.loads((folder / demo.MARKER).read_text())["counts"] == [8, 8, 8]
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_set_is_made_again(tmp_path, spoil):
    folder = demo.generate(tmp_path / "demo", **SMALL)
    before = contents(folder)
    spoil(next(folder.glob("ISIC-2017_Validation_Data/*.jpg")))
    assert contents(demo.generate(folder, **SMALL)) == before


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path):
    folder = tmp_path / "ISIC2017"
    (folder / "ISIC-2017_Training_Data").mkdir(parents=True)
    (folder / "notes.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"ISIC-2017_Training_Data, notes.txt.*demo\.json"):
        demo.generate(folder, **SMALL)
    (folder / demo.MARKER).write_text('{"about": "holiday pictures"}')
    with pytest.raises(FileExistsError, match="Name another folder"):
        demo.generate(folder, **SMALL)
    assert (folder / "notes.txt").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["ISIC2017"]


def test_an_empty_folder_is_used(tmp_path):
    demo.generate(tmp_path, **SMALL)
    assert (tmp_path / demo.MARKER).is_file()


@pytest.mark.parametrize("wrong", [{"train": 7}, {"test": -8}, {"size": (192, 16)}])
def test_unusable_parameters_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="give 0 or >= 8 a split, sides >= 32"):
        demo.generate(tmp_path / "demo", **{**SMALL, **wrong})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("problem", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_the_old_set_or_nothing(tmp_path, monkeypatch, problem):
    kept = contents(demo.generate(tmp_path / "kept", **SMALL))
    paint = demo.sample

    def interrupted(seed, split, index, size):
        if (split, index) == ("Validation", 5):
            raise problem
        return paint(seed, split, index, size)

    monkeypatch.setattr(demo, "sample", interrupted)
    for name in ("kept", "new"):
        with pytest.raises(problem):
            demo.generate(tmp_path / name, **SMALL, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert contents(tmp_path / "kept") == kept


def test_a_kill_leaves_nothing_that_passes_for_complete(tmp_path):
    folder = tmp_path / "demo"
    command = f"from utils.data import demo; demo.generate({str(folder)!r}, train=100_000)"
    process = subprocess.Popen([sys.executable, "-c", command], cwd=Path(demo.__file__).parents[1])
    deadline = time.monotonic() + 60
    while not any(tmp_path.glob(".demo-*/*/*_Data/*.jpg")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not folder.exists()
    demo.generate(folder, **SMALL)
    assert json.loads((folder / demo.MARKER).read_text())["about"] == demo.ABOUT
