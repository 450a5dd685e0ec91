"""The check of a whole tree: each fault is found, named, and the only thing that is named."""

import csv
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import imagehash
import numpy as np
import pytest
import trees
from PIL import Image, ImageEnhance, ImageOps

from utils.data import decode, demo
from utils.data.tree import EXTENDED_LABELS
from utils.fetching import duplicates, verification
from utils.system.errors import DataError
from utils.system.files import UnwritableError

COUNTS = {"train": (1, 1, 3), "validation": (1, 1, 1), "test": (1, 1, 1)}
needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole tree of 11 images, which is as large as the official one for the test."""
    monkeypatch.setattr(verification, "OFFICIAL", COUNTS)
    return trees.add_all(tmp_path / "tree")


def image(tree: Path, number: int = 2, split: str = "train") -> Path:
    return trees.images(tree, split) / f"ISIC_{number:07d}.jpg"


def mask(tree: Path, number: int = 2, split: str = "train") -> Path:
    return trees.masks(tree, split) / f"ISIC_{number:07d}_segmentation.png"


def write_mask(file: Path, pixels: np.ndarray) -> None:
    file.write_bytes(cv2.imencode(".png", pixels.astype(np.uint8))[1].tobytes())


def found(report: verification.Report) -> list[tuple]:
    """Severity, check, split and id of every problem."""
    return [tuple(row) for row in report.problems.iloc[:, :4].itertuples(index=False)]


# --- a whole tree ---


def test_a_whole_tree_has_no_problem(tree):
    report = verification.verify(tree)
    assert report.ok
    assert report.images == 11
    assert report.seconds > 0
    assert found(report) == []
    assert report.problems.columns.tolist() == [
        "severity", "check", "split", "id", "file", "message",
    ]  # fmt: skip
    assert report.counts.loc["train"].tolist() == [1, 1, 3, 5, 1, 1, 3, 5]
    assert report.counts.columns.tolist()[3:5] == ["all", "official melanoma"]
    assert report.counts.index.tolist() == ["train", "validation", "test"]
    assert report.summary().startswith("11 images verified in ")
    assert report.summary().endswith(" a second): 0 errors, 0 notes.")


def test_the_demo_set_is_clean(demo_set):
    report = verification.verify(demo_set, near=True)
    assert found(report) == []
    assert report.counts["all"].tolist() == [24, 8, 8]
    assert report.counts.columns.tolist() == [
        "melanoma", "seborrheic_keratosis", "benign", "all",
    ]  # fmt: skip


def test_the_table_has_a_line_for_each_check(tree):
    for number in (1, 2, 3, 4, 5):
        image(tree, number).write_bytes(b"")
    shutil.copy(image(tree, 101, "validation"), image(tree, 102, "validation"))
    report = verification.verify(tree)
    table = report.table()
    assert table.index.tolist() == [
        name for name in verification.CHECKS if name != "near duplicates"
    ]
    names = "ISIC_0000001, ISIC_0000002, ISIC_0000003, ISIC_0000004, ISIC_0000005"
    assert table.loc["files"].tolist() == [5, 0, names]
    assert table.loc["duplicates"].tolist() == [0, 1, "ISIC_0000101"]
    assert table.drop(["files", "duplicates"])[["errors", "notes"]].to_numpy().sum() == 0
    assert report.summary().endswith("5 errors, 1 note.")
    assert verification.verify(tree, near=True).table().index.tolist() == list(verification.CHECKS)


# --- one fault at a time ---


def empty_mask(tree: Path) -> None:
    write_mask(mask(tree), np.zeros((30, 40)))


def grey_mask(tree: Path) -> None:
    write_mask(mask(tree), np.full((30, 40), 7))


def wrong_size(tree: Path) -> None:
    write_mask(mask(tree), np.pad(lesion_of(tree), ((0, 0), (0, 1))))


def truncated(tree: Path) -> None:
    image(tree).write_bytes(image(tree).read_bytes()[:-30])


def truncated_mask(tree: Path) -> None:
    mask(tree).write_bytes(mask(tree).read_bytes()[:-30])


def turned(tree: Path, orientation: int = 6) -> None:
    with Image.open(image(tree)) as file:
        exif = file.getexif()
        exif[0x0112] = orientation
        file.save(image(tree), exif=exif, quality=95)


def lesion_of(tree: Path, number: int = 2) -> np.ndarray:
    return cv2.imread(str(mask(tree, number)), cv2.IMREAD_GRAYSCALE)


def across(tree: Path) -> None:
    shutil.copy(image(tree), image(tree, 202, "test"))


def within(tree: Path) -> None:
    shutil.copy(image(tree), image(tree, 3))


def same_pixels_in_another_file(tree: Path) -> None:
    """Decoded and saved as PNG: other bytes, the same picture."""
    with Image.open(image(tree)) as file:
        file.save(image(tree, 202, "test").with_suffix(".png"))
    image(tree, 202, "test").unlink()


def two_splits(tree: Path) -> None:
    trees.write_labels(trees.table(tree, "test"), trees.labels("test", "bkm"))
    text = trees.table(tree, "test").read_text().replace("ISIC_0000203", "ISIC_0000001")
    trees.table(tree, "test").write_text(text)
    image(tree, 203, "test").rename(image(tree, 1, "test"))
    mask(tree, 203, "test").rename(mask(tree, 1, "test"))


def relabelled(tree: Path) -> None:
    trees.write_labels(trees.table(tree), trees.labels("train", "mkbbm"))


def broken_table(tree: Path) -> None:
    trees.table(tree).write_bytes(b"\xff\xfe")


def two_faults_in_one_table(tree: Path) -> None:
    trees.table(tree).write_text(
        "image_id,melanoma,seborrheic_keratosis\nISIC_0000001,1,0\nISIC_0000002,0,1\n"
        "ISIC_0000003,0,0\nISIC_0000004,0,0\nISIC_0000005,0,0\n,0,0\nISIC_0000003,0,0\n"
    )


def no_split(tree: Path) -> None:
    for path in tree.glob("ISIC-2017_Test_v2*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


ERROR, NOTE = "error", "note"
FAULTS: dict[str, tuple[Callable[[Path], object], list[tuple], str]] = {
    "missing image": (
        lambda tree: image(tree).unlink(),
        [(ERROR, "images", "train", "ISIC_0000002")],
        r"^ids of the train list without an image in .*tree: ISIC_0000002; add the images",
    ),
    "extra image": (
        lambda tree: trees.write_image(image(tree, 77), 77),
        [(ERROR, "images", "train", "ISIC_0000077")],
        r"^images without a row in ISIC-2017_Training_Part3_GroundTruth\.csv: ISIC_0000077; add",
    ),
    "image of another kind": (
        lambda tree: image(tree, 2).with_suffix(".tif").write_bytes(b"II"),
        [(ERROR, "images", "train", "ISIC_0000002")],
        r"^pictures of an unsupported kind in .*_Data: ISIC_0000002\.tif; save them as \.jpg",
    ),
    "missing mask": (
        lambda tree: mask(tree).unlink(),
        [(ERROR, "masks", "train", "ISIC_0000002")],
        r"^ids of the train list without a mask in .*: ISIC_0000002; add the masks, each named <",
    ),
    "extra mask": (
        lambda tree: shutil.copy(mask(tree), mask(tree, 77)),
        [(ERROR, "masks", "train", "ISIC_0000077")],
        r"^masks without a row in .*Training_Part3_.*: ISIC_0000077; add their rows",
    ),
    "empty mask": (
        empty_mask,
        [(ERROR, "masks", "train", "ISIC_0000002")],
        r"^the mask of ISIC_0000002 is empty: no pixel is lesion; replace it by the right one\.$",
    ),
    "mask that is not black and white": (
        grey_mask,
        [(ERROR, "files", "train", "ISIC_0000002")],
        r"^ISIC_0000002_segmentation\.png \(.*7 .*0 and 255.*\); repair it, or replace",
    ),
    "mask of another size": (
        wrong_size,
        [(ERROR, "sizes", "train", "ISIC_0000002")],
        r"^the mask of ISIC_0000002 is 41×30 px, its image 40×30; expected the same size\. Add",
    ),
    "truncated image": (
        truncated,
        [(ERROR, "files", "train", "ISIC_0000002")],
        r"^ISIC_0000002\.jpg \(.*\); repair it, or replace",
    ),
    "truncated mask": (
        truncated_mask,
        [(ERROR, "files", "train", "ISIC_0000002")],
        r"^ISIC_0000002_segmentation\.png \(.*\); repair it, or replace",
    ),
    "web page as an image": (
        lambda tree: image(tree).write_text("<html>404</html>"),
        [(ERROR, "files", "train", "ISIC_0000002")],
        r"^ISIC_0000002\.jpg \(.*\); repair it, or replace",
    ),
    "turned camera": (
        turned,
        [(NOTE, "orientation", "train", "ISIC_0000002")],
        r"^ISIC_0000002 has the EXIF orientation 6, which is ignored: its mask has the size of",
    ),
    "turned camera and a mask drawn upright": (
        lambda tree: (turned(tree), write_mask(mask(tree), lesion_of(tree).T)),
        [(NOTE, "orientation", "train", "ISIC_0000002")],
        r"^ISIC_0000002 has the EXIF orientation 6, which is applied: its mask has that size; no",
    ),
    "turned camera without a mask": (
        lambda tree: (turned(tree), mask(tree).unlink()),
        [(ERROR, "masks", "train", "ISIC_0000002"), (NOTE, "orientation", "train", "ISIC_0000002")],
        r"without a mask",
    ),
    "camera upside down": (
        lambda tree: turned(tree, 3),
        [(ERROR, "orientation", "train", "ISIC_0000002")],
        r"^ISIC_0000002 has the EXIF orientation 3, and a mask that may .*; save the photo",
    ),
    "turned camera and a mask of another size": (
        lambda tree: (turned(tree), wrong_size(tree)),
        [(ERROR, "sizes", "train", "ISIC_0000002")],
        r"^the mask of ISIC_0000002 is 41×30 px, its image 40×30; expected the same size\. Add",
    ),
    "lesion and skin exchanged": (
        lambda tree: write_mask(mask(tree), 255 - lesion_of(tree)),
        [(NOTE, "masks", "train", "ISIC_0000002")],
        r"^the mask of ISIC_0000002 has lesion along 100% of the image's border, .* are exchanged",
    ),
    "same image in two splits": (
        across,
        [(ERROR, "duplicates", "train", "ISIC_0000002")],
        r"to the last pixel: ISIC_0000002 \(train\), ISIC_0000202 \(test\); a network must not be",
    ),
    "same pixels in another file": (
        same_pixels_in_another_file,
        [(ERROR, "duplicates", "train", "ISIC_0000002")],
        r"to the last pixel: ISIC_0000002 \(train\), ISIC_0000202 \(test\); .*: remove one of them",
    ),
    "same image twice in a split": (
        within,
        [(NOTE, "duplicates", "train", "ISIC_0000002")],
        r"to the last pixel: ISIC_0000002 \(train\), ISIC_0000003 \(train\); the official set",
    ),
    "id in two splits": (
        two_splits,
        [(ERROR, "splits", "test", "ISIC_0000001")],
        r"^ISIC_0000001 is in the lists of train and test; a network must .*: remove it from",
    ),
    "another number of melanomas": (
        relabelled,
        [(ERROR, "counts", "train", "")],
        r"^the train list holds 2/1/2 melanomas / .*; .* unless this is a set of your own",
    ),
    "labels that cannot be read": (
        broken_table,
        [(ERROR, "labels", "train", "")],
        r"Training_Part3_GroundTruth\.csv is .*readable csv file \(not UTF-8: .*\); ",
    ),
    "labels that are not there": (
        lambda tree: trees.table(tree).unlink(),
        [(ERROR, "labels", "train", "")],
        r"Part3_GroundTruth\.csv with the labels is not in .*; add it \(.* --splits train --par",
    ),
    "label that is no number": (
        lambda tree: trees.write_labels(
            trees.table(tree), [*trees.labels("train", "mkbb"), ("ISIC_0000005", "yes", 0)]
        ),
        [(ERROR, "labels", "train", "ISIC_0000005"), (ERROR, "counts", "train", "")],
        r"^labels other than 0 and 1 in .*csv for ISIC_0000005; write 0 or 1\.$",
    ),
    "two faults in one table": (
        two_faults_in_one_table,
        [(ERROR, "labels", "train", "row 6"), (ERROR, "labels", "train", "ISIC_0000003")],
        r"^rows without an id in .*: row 6; .*add it, or remove the row\.$",
    ),
    "images that are not there": (
        lambda tree: shutil.rmtree(trees.images(tree)),
        [(ERROR, "images", "train", "")],
        r"^ISIC-2017_Training_Data with the images is not in .*; add it \(.* --parts images\)\.$",
    ),
    "masks that are not there": (
        lambda tree: shutil.rmtree(trees.masks(tree)),
        [(ERROR, "masks", "train", "")],
        r"^ISIC-2017_Training_Part1_GroundTruth with the masks is not in .* --splits train --par",
    ),
    "split that is not there": (
        no_split,
        [(NOTE, "splits", "test", "")],
        r"^the test split is absent; add it \(the official one: python .* --splits test\)\.$",
    ),
    "metadata without image": (
        lambda tree: trees.metadata(tree, "ISIC_0000001,55,male\nISIC_0000088,60,male\n"),
        [(NOTE, "metadata", "train", "ISIC_0000088")],
        r"^rows of ISIC-2017_Training_Data_metadata\.csv without an image: ISIC_0000088; they",
    ),
    "ids spelled otherwise": (
        lambda tree: trees.write_labels(
            trees.table(tree),
            [
                ("ISIC_0000001.jpg", 1, 0),
                ("isic_0000002", 0, 1),
                *trees.labels("train", "mkbbb")[2:],
            ],
        ),
        [(NOTE, "labels", "train", "")],
        r"^ids of .*csv are spelled .*: ISIC_0000001\.jpg \(ISIC_0000001\), isic_0000002 \(ISIC_00",
    ),
    "masks spelled otherwise": (
        lambda tree: mask(tree).rename(mask(tree).with_name("isic_0000002_segmentation.png")),
        [(NOTE, "masks", "train", "")],
        r"^ids of masks are spelled .*: isic_0000002 \(ISIC_0000002\); the names of the files are",
    ),
    "ids of another set": (
        lambda tree: trees.write_labels(trees.table(tree), [("1", 1, 0), ("2", 0, 1)]),
        [(ERROR, "images", "train", ""), (ERROR, "counts", "train", "")],
        r"^no id in .*csv is the name of an image: found the ids 1, 2, the images ISIC_0000001, .*",
    ),
    "ages that nobody has": (
        lambda tree: trees.metadata(
            tree, "ISIC_0000001,-1,male\nISIC_0000002,n/a,unknown\nISIC_0000003,730,female\n"
        ),
        [(NOTE, "metadata", "train", "")],
        r"^age_approximate in .*csv that is read as unknown, expected years from 0 to 110: "
        r"ISIC_0000001 \(-1\), ISIC_0000003 \(730\); correct it where it is known\.$",
    ),
    "sex in other words": (
        lambda tree: trees.metadata(tree, "ISIC_0000001,50,M\nISIC_0000002,50,Female\n"),
        [(NOTE, "metadata", "train", "")],
        r"^sex in .*csv that is read as unknown, expected male or female: ISIC_0000001 \(M\); c",
    ),
    "metadata with an id twice": (
        lambda tree: trees.metadata(tree, "ISIC_0000001,55,male\nISIC_0000001,60,male\n"),
        [(ERROR, "metadata", "train", "ISIC_0000001")],
        r"^duplicate ids in .*metadata\.csv: ISIC_0000001; keep one row for each image\.$",
    ),
    "metadata that cannot be read": (
        lambda tree: trees.metadata(tree, "").write_text(""),
        [(ERROR, "metadata", "train", "")],
        r"metadata\.csv is no readable csv file \(it is empty\); repair it, or replace",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_found_and_nothing_else(tree, case):
    damage, expected, message = FAULTS[case]
    damage(tree)
    report = verification.verify(tree)
    assert found(report) == expected
    assert report.problems["message"].str.contains(message).iloc[0], report.problems["message"][0]
    assert report.ok == all(severity == NOTE for severity, *_ in expected)
    assert report.problems["message"].str.endswith(".").all()


def test_files_are_named(tree):
    truncated(tree)
    grey_mask(tree)  # of the same image, whose fault comes first
    write_mask(mask(tree, 3), np.pad(lesion_of(tree, 3), ((0, 0), (0, 1))))
    shutil.copy(image(tree, 4), image(tree, 4).with_suffix(".png"))
    mask(tree, 5).write_bytes(b"")
    assert verification.verify(tree).problems["file"].tolist() == [
        *("ISIC_0000004.jpg", "ISIC_0000004.png"),
        *("ISIC_0000002.jpg", "ISIC_0000005_segmentation.png"),
        "ISIC_0000003_segmentation.png",
    ]


def test_all_faults_are_found_at_once(tree):
    image(tree, 1).unlink()
    truncated(tree)
    write_mask(mask(tree, 3), np.zeros((30, 41)))
    across_splits = image(tree, 4), image(tree, 201, "test")
    shutil.copy(*across_splits)
    broken_table_of_validation = trees.table(tree, "validation")
    broken_table_of_validation.write_text("image_id\n")
    image(tree, 103, "validation").write_bytes(b"")
    assert found(verification.verify(tree)) == [
        (ERROR, "labels", "validation", ""),
        (ERROR, "images", "train", "ISIC_0000001"),
        (ERROR, "masks", "train", "ISIC_0000003"),
        (ERROR, "files", "train", "ISIC_0000002"),
        (ERROR, "files", "validation", "ISIC_0000103"),
        (ERROR, "sizes", "train", "ISIC_0000003"),
        (ERROR, "duplicates", "train", "ISIC_0000004"),
    ]


def test_an_image_whose_mask_is_at_fault_is_compared_with_the_others(tree):
    across(tree)
    truncated_mask(tree)
    assert [row[1] for row in found(verification.verify(tree))] == ["files", "duplicates"]


def test_the_official_pair_is_a_note(tree, monkeypatch):
    across(tree)
    pair = frozenset({"ISIC_0000002", "ISIC_0000202"})
    monkeypatch.setattr(duplicates, "OFFICIAL_PAIRS", (pair,))
    assert found(verification.verify(tree)) == [(NOTE, "duplicates", "train", "ISIC_0000002")]


# --- the enlarged list ---


def enlarge(tree: Path, more: int = 2) -> None:
    further = [(f"ISIC_000005{k}", 0, 1) for k in range(more)]
    trees.write_labels(tree / EXTENDED_LABELS, [*trees.labels("train", "mkbbb"), *further])
    for number in range(50, 50 + more):
        trees.write_image(tree / "Aug_Training_Data" / f"ISIC_00000{number}.jpg", number)


def test_further_images_need_no_mask(tree):
    enlarge(tree)
    report = verification.verify(tree)
    assert found(report) == []
    assert report.images == 13
    assert report.counts.loc["train, enlarged list"].tolist()[:4] == [1, 3, 3, 7]
    assert report.counts.loc["train, enlarged list"].isna().sum() == 4


def test_further_images_are_missed_and_held_against_the_test_split(tree):
    enlarge(tree)
    (tree / "Aug_Training_Data" / "ISIC_0000050.jpg").unlink()
    shutil.copy(image(tree, 201, "test"), tree / "Aug_Training_Data" / "ISIC_0000051.jpg")
    assert found(verification.verify(tree)) == [
        (ERROR, "images", "train", "ISIC_0000050"),
        (ERROR, "duplicates", "train", "ISIC_0000051"),
    ]


def test_images_are_not_called_unlisted_where_a_list_cannot_be_read(tree):
    enlarge(tree)
    (tree / EXTENDED_LABELS).write_bytes(b"PK\0")
    assert found(verification.verify(tree)) == [(ERROR, "labels", "train", "")]


def test_labels_alone(tree):
    for path in tree.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    report = verification.verify(tree, near=True)
    assert report.images == 0
    checks = [row[1] for row in found(report)]
    assert checks == ["images"] * 3 + ["masks"] * 3


def test_masks_without_labels(tree):
    """Without a table it is the images that say which masks there should be."""
    (tree / "ISIC-2017_Training_Part3_GroundTruth.csv").unlink()
    mask(tree, 2).unlink()
    image(tree, 3).unlink()
    masks = [(ERROR, "masks", "train", f"ISIC_000000{number}") for number in (2, 3)]
    assert found(verification.verify(tree)) == [(ERROR, "labels", "train", ""), *masks]


def test_the_enlarged_list_alone(tree):
    enlarge(tree)
    trees.table(tree).unlink()
    report = verification.verify(tree)
    assert found(report) == [(NOTE, "labels", "train", "")]
    assert "which rows are official is unknown" in report.problems["message"][0]


# --- nearly the same ---


def lesion(number: int) -> Image.Image:
    """A painted lesion; the pictures of `trees` are too smooth and small for a perceptual hash."""
    return Image.fromarray(demo.sample(0, "Training", number)[0])


def put(tree: Path, split: str, number: int, picture: Image.Image, quality: int) -> None:
    picture.save(image(tree, number, split), quality=quality)
    drawn = np.zeros(picture.size[::-1])
    drawn[9:20, 9:20] = 255
    write_mask(mask(tree, number, split), drawn)


def test_near_duplicates_are_notes(tree):
    put(tree, "train", 2, lesion(0), 95)
    put(tree, "test", 202, lesion(0).resize((300, 240)), 60)
    put(tree, "train", 3, lesion(1), 95)
    put(tree, "train", 4, ImageEnhance.Color(lesion(1)).enhance(1.5), 80)
    put(tree, "validation", 101, lesion(2), 95)
    put(tree, "validation", 102, ImageOps.mirror(lesion(2)), 95)
    report = verification.verify(tree, near=True)
    assert found(report) == [
        (NOTE, "near duplicates", "train", "ISIC_0000002"),
        (NOTE, "near duplicates", "train", "ISIC_0000003"),
    ]
    one, other = report.problems["message"]
    assert one.startswith("ISIC_0000002 (train) and ISIC_0000202 (test), in two splits, look nea")
    assert other.startswith("ISIC_0000003 (train) and ISIC_0000004 (train), in one split, look ")
    assert found(verification.verify(tree)) == []


def test_what_is_the_same_is_not_named_a_second_time_as_nearly_so(tree):
    across(tree)
    image(tree, 5).write_bytes(b"")
    report = verification.verify(tree, near=True)
    assert [row[1] for row in found(report)] == ["files", "duplicates"]


@pytest.mark.parametrize("size", [(1600, 1200), (400, 300)], ids=str)
def test_the_hash_is_that_of_the_library(tmp_path, size):
    picture = lesion(0).resize(size, Image.Resampling.BICUBIC)
    picture.save(tmp_path / "picture.png")
    picture.save(tmp_path / "picture.jpg", quality=95)
    expected = imagehash.phash(picture, hash_size=16)
    # A large JPEG is decoded at a part of its size; one that is small already is not.
    for name, most in (("picture.png", 0), ("picture.jpg", 2)):
        ours = np.frombuffer(duplicates.perceptual_hash(tmp_path / name), np.uint8)
        bits = np.unpackbits(ours).reshape(16, 16).astype(bool)
        assert imagehash.ImageHash(bits) - expected <= most


def test_pairs_are_those_of_a_loop_over_all():
    rng = np.random.default_rng(0)
    hashes = [rng.bytes(32) for _ in range(40)]
    hashes[33] = bytes([hashes[2][0] ^ 0b1011]) + hashes[2][1:]
    hashes[34] = hashes[6]
    numbers = [int.from_bytes(hash_) for hash_ in hashes]
    pairs = itertools.combinations(enumerate(numbers), 2)
    distances = {(i, j): (one ^ other).bit_count() for (i, one), (j, other) in pairs}
    expected = [(*pair, distance) for pair, distance in distances.items() if distance <= 110]
    assert list(duplicates.near_pairs(hashes, 110)) == expected
    assert list(duplicates.near_pairs(hashes, 12)) == [(2, 33, 3), (6, 34, 0)]
    assert list(duplicates.near_pairs([])) == []


# --- how it is done ---


def test_the_list_is_written_as_csv(tree, tmp_path):
    truncated(tree)
    image(tree, 3).unlink()
    report = verification.verify(tree)
    report.write(tmp_path / "new" / "problems.csv")
    with (tmp_path / "new" / "problems.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["message"] for row in rows] == report.problems["message"].tolist()
    assert [row["id"] for row in rows] == ["ISIC_0000003", "ISIC_0000002"]


def test_a_list_that_cannot_be_written(tree, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match=r"problems\.csv cannot be written .*choose another"):
        verification.verify(tree).write(tmp_path / "file" / "problems.csv")


@needs_posix
def test_a_name_that_is_not_utf8_can_be_written(tree, tmp_path):
    try:
        shutil.copy(image(tree), trees.images(tree) / os.fsdecode(b"ISIC_\xff.jpg"))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (trees.images(tree) / os.fsdecode(b"ISIC_\xfe.jpg")).write_bytes(b"")
    (trees.images(tree) / os.fsdecode(b"ISIC_\xfd.tif")).write_bytes(b"")
    report = verification.verify(tree, near=True)
    report.write(tmp_path / "problems.csv")
    assert found(report) == [
        (ERROR, "images", "train", r"ISIC_\udcfd"),
        (ERROR, "images", "train", r"ISIC_\udcfe"),
        (ERROR, "images", "train", r"ISIC_\udcff"),
        (ERROR, "files", "train", r"ISIC_\udcfe"),
        (NOTE, "duplicates", "train", "ISIC_0000002"),
    ]


@needs_posix
def test_a_link_to_a_read_only_folder_is_left_as_it_is(tree, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tree)
    folders = [tree, *(path for path in tree.iterdir() if path.is_dir())]
    before = [(path, path.stat().st_mtime_ns, sorted(path.iterdir())) for path in folders]
    for path in folders:
        path.chmod(0o555)
    report = verification.verify(link, near=True)
    after = [(path, path.stat().st_mtime_ns, sorted(path.iterdir())) for path in folders]
    for path in folders:
        path.chmod(0o755)
    assert report.ok
    assert report.images == 11
    assert after == before


def test_folders_without_anything_to_verify(tmp_path):
    with pytest.raises(DataError, match=r"gone does not exist; name the folder"):
        verification.verify(tmp_path / "gone")
    (tmp_path / "other").mkdir()
    message = (
        r"other holds nothing of ISIC 2017; .* or fetch them: python prepare_data\.py download"
    )
    with pytest.raises(DataError, match=message):
        verification.verify(tmp_path / "other")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file is a file, expected a folder"):
        verification.verify(tmp_path / "file")


def test_an_interruption_does_not_wait_for_all_images(tree, monkeypatch):
    started = []

    def slow(pair, _, near):
        started.append((pair.id, near))
        time.sleep(0.05)
        return [], duplicates.Picture(pair.split, pair.id, None, None)

    def interrupted(results, *_):
        yield next(iter(results))
        raise KeyboardInterrupt

    monkeypatch.setattr(verification, "_examine", slow)
    monkeypatch.setattr(verification, "progress", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verification.verify(tree, workers=1)
    assert len(started) < 5  # of 11


MEASURED = """
import resource, sys
from pathlib import Path

from utils.fetching import verification

def peak():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20

verification.verify(Path(sys.argv[1]), near=True, workers=2)
few = peak()
assert verification.verify(Path(sys.argv[2]), near=True, workers=2).images == 200
print(peak() - few)
"""


@needs_posix
@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    pixels = np.full((900, 1200, 3), 200, np.uint8)
    picture = cv2.imencode(".jpg", pixels)[1].tobytes()
    for count in (20, 200):
        names = [f"ISIC_{number:07d}" for number in range(count)]
        for name in names:
            file = tmp_path / str(count) / "ISIC-2017_Training_Data" / f"{name}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture)
    command = [sys.executable, "-c", MEASURED, *(str(tmp_path / count) for count in ("20", "200"))]
    grown = float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert grown < 50  # the pixels of 180 images have 556 MB


# --- the real thing ---


def test_the_real_set_is_whole(isic2017):
    """The counts are official, and the one picture in two splits is the official set's own."""
    report = verification.verify(isic2017, near=True)
    assert report.ok, report.problems["message"].tolist()
    assert report.images == 2150
    train = [374, 254, 1372, 2000]
    assert report.counts.loc["train"].tolist() == train * 2
    table = report.table()
    assert table.loc["duplicates", "first"] == "ISIC_0012970"
    assert table["errors"].sum() == 0
    near = report.problems[report.problems["check"] == "near duplicates"]
    assert near["message"].str.contains("ISIC_0000171 .train. and ISIC_0015124 .validation.").any()
    assert len(near) < 20
    assert table.loc["orientation"].tolist() == [0, 0, ""]
    drawn_to_the_border = report.problems.loc[report.problems["check"] == "masks", "id"]
    assert sorted(drawn_to_the_border) == [
        *("ISIC_0000203", "ISIC_0011121", "ISIC_0015062", "ISIC_0015372")
    ]


def test_nearly_all_real_masks_are_named_when_lesion_and_skin_are_exchanged(isic2017):
    files = sorted(isic2017.rglob("*_segmentation.png"))
    shares = [decode.share_of_border(~decode.read_mask(file)) for file in files]
    assert sum(share >= verification.BORDER for share in shares) == 2146


def test_originals_are_whole_but_few(isic2017_fullres):
    problems = verification.verify(isic2017_fullres).problems
    errors = problems[problems["severity"] == "error"]
    assert errors["check"].tolist() == ["counts"]
    assert "holds 2/5/5 melanomas" in errors["message"].iloc[0]
