"""Other data sets, as they are downloaded, become data folders; nothing is written unasked."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import own_sets
import pandas as pd
import pytest
import trees

import prepare_data
from utils import data
from utils.fetching import adopt, formats
from utils.system.errors import DataError

EIGHTEEN = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
SEVEN = ("melanoma", "actinic_keratosis", "basal_cell_carcinoma", "benign_keratosis",
         "dermatofibroma", "nevus", "vascular_lesion")  # fmt: skip
Make = Callable[[Path], Path]


def task_3(folder: Path) -> Path:
    parts = {"Training": 28, "Validation": 7, "Test": 14}
    return own_sets.one_hot(folder, "ISIC2018_Task3", EIGHTEEN, parts)


def challenge_2019(folder: Path) -> Path:
    codes = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
    return own_sets.one_hot(folder, "ISIC_2019", codes, {"Training": 44}, unknown=4)


def task_1(folder: Path) -> Path:
    """ISIC 2018, Task 1: masks alone, in a folder for each split."""
    for first, split in ((0, "Training"), (20, "Validation"), (30, "Test")):
        for number in range(first, first + 10):
            image, mask = own_sets.painted(0, number)
            name = f"ISIC_{number:07d}"
            own_sets.write(folder / f"ISIC2018_Task1-2_{split}_Input" / f"{name}.jpg", image)
            own_sets.write(folder / f"ISIC2018_Task1-2_{split}_Input" / "x_superpixels.png", mask)
            masks = folder / f"ISIC2018_Task1_{split}_GroundTruth"
            own_sets.write(masks / f"{name}_segmentation.png", mask)
    return folder


# maker, kind, name, classes, images, masks, groups
SETS = {
    "HAM10000": (own_sets.ham10000, "HAM10000", SEVEN, 42, 42, 21),
    "ISIC 2018": (task_3, "ISIC2018", SEVEN, 49, 0, 35),
    "ISIC 2019": (
        challenge_2019,
        "ISIC2019",
        (*SEVEN[:6], "squamous_cell_carcinoma", "vascular_lesion"),
        40,
        0,
        40,
    ),
    "PH2": (own_sets.ph2, "PH2", ("melanoma", "atypical_nevus", "common_nevus"), 30, 30, 30),
    "masks": (task_1, "task1", (), 30, 30, 30),
}


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Each set as it was downloaded; made once, copied by tests that change it."""
    root, made = tmp_path_factory.mktemp("downloads"), {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = SETS[name][0](root / {"masks": "task1"}.get(name, name))
        return made[name]

    return get


def state(folder: Path) -> dict[str, str]:
    """The hash of every file in a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(capsys: pytest.CaptureFixture, *arguments: object, status: int = 0) -> str:
    """What `prepare_data.py adopt` says."""
    assert prepare_data.main(["adopt", *map(str, arguments)]) == status
    said = capsys.readouterr()
    return said.err if status else said.out


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_shown_and_written_only_then(downloads, tmp_path, capsys, name):
    _, usual, classes, images, masks, groups = SETS[name]
    folder, into = downloads(name), tmp_path / "Data"
    before = state(folder)
    said = run(capsys, folder, "--into", into)
    assert f"{images} images, {masks} masks" in said
    assert ("no groups" in said) == (groups == images)
    assert all(called in said for called in classes)
    assert "Nothing is written yet" in said
    assert state(folder) == before
    assert not into.exists()

    assert f"{into / usual} is written" in run(capsys, folder, "--into", into, "--write")
    assert state(folder) == before
    made = into / usual
    assert data.locate(made) == made
    assert data.classes(made) == classes
    rows = data.read(made)
    assert (len(rows), (rows["mask"] != "").sum(), rows["group"].nunique()) == (
        images,
        masks,
        groups,
    )
    assert data.splits_in(made) == list(data.SPLITS)
    assert "Nothing to write" in run(capsys, made)
    assert prepare_data.main(["verify", "--data-dir", str(made), "--csv", f"{tmp_path}/v"]) == 0


def test_ham10000_is_what_its_table_says(downloads, tmp_path):
    folder = downloads("HAM10000")
    adopt.write(adopt.plan(folder, "ham", tmp_path))
    table = pd.read_csv(folder / "HAM10000_metadata.csv").set_index("image_id")
    classes = data.classes(tmp_path / "ham")
    for image in data.read(tmp_path / "ham").itertuples():
        line = table.loc[image.id]
        assert classes[image.label] == formats.CODES[line["dx"]]
        assert image.group == line["lesion_id"]
        assert image.sex == "male"
        assert image.age == line["age"] or (np.isnan(image.age) and np.isnan(line["age"]))
        originals = [*folder.glob(f"HAM10000_images_part_?/{image.id}.jpg")]
        assert Path(image.image).samefile(originals[0])


def test_splits_of_the_set_are_kept_and_lesions_joined(downloads, tmp_path):
    folder = downloads("ISIC 2018")
    adopt.write(adopt.plan(folder, None, tmp_path))
    rows = data.read(tmp_path / "ISIC2018")
    for split, name in (("train", "Training"), ("validation", "Validation"), ("test", "Test")):
        there = {path.stem for path in (folder / f"ISIC2018_Task3_{name}_Input").iterdir()}
        assert set(rows.loc[rows["split"] == split, "id"]) == there
    assert rows["group"].str.startswith("HAM_").sum() == 28  # of the training images
    assert adopt.plan(folder, None, tmp_path / "more").seed is None


def test_unknown_diagnoses_are_left_out_and_counted(downloads, tmp_path):
    planned = adopt.plan(downloads("ISIC 2019"), None, tmp_path)
    assert planned.notes == ("left out: 4 images of no known class (UNK)",)
    assert planned.counts().loc["squamous_cell_carcinoma", "in the set"] == "scc"
    assert (planned.images["age"] != "").all()


def test_bmp_becomes_png_without_loss(downloads, tmp_path):
    adopt.write(adopt.plan(downloads("PH2"), None, tmp_path))
    for image in data.read(tmp_path / "PH2").itertuples():
        home = downloads("PH2") / "PH2 Dataset images" / image.id
        original = cv2.imread(str(home / f"{image.id}_Dermoscopic_Image" / f"{image.id}.bmp"))
        np.testing.assert_array_equal(cv2.imread(image.image), original)
        mask = cv2.imread(str(home / f"{image.id}_lesion" / f"{image.id}_lesion.bmp"), 0)
        np.testing.assert_array_equal(cv2.imread(image.mask, 0), mask)
        assert set(np.unique(mask)) <= {0, 255}


def test_splits_are_by_lesion_and_fixed_by_the_seed(downloads, tmp_path):
    folder = downloads("HAM10000")
    first, again, other = (adopt.plan(folder, None, tmp_path, seed).images for seed in (0, 0, 1))
    assert first.equals(again)
    assert first.set_index("id")["split"].to_dict() != other.set_index("id")["split"].to_dict()
    assert (first.groupby("group")["split"].nunique() == 1).all()
    assert (pd.crosstab(first["label"], first["split"]) > 0).to_numpy().all()


def test_ones_own_folder_gets_splits_alone(tmp_path, capsys):
    folder = own_sets.make(tmp_path / "mine", own_sets.table(42).drop(columns="split"))
    before = state(folder)
    assert f"--write makes {folder / 'splits.csv'}" in run(capsys, folder)
    assert state(folder) == before
    run(capsys, folder, "--write")
    after = state(folder)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {str(folder / "splits.csv")}
    assert (data.read(folder).groupby("group")["split"].nunique() == 1).all()
    run(capsys, folder, "--write", "--seed", 5)
    assert state(folder) == after


def test_a_folder_that_is_used_where_it_is_takes_no_other_name(tmp_path):
    folder = own_sets.make(tmp_path / "mine", own_sets.table(42).drop(columns="split"))
    with pytest.raises(DataError, match=r"layout of a data folder .* leave out --name theirs"):
        adopt.plan(folder, "theirs", tmp_path)


def test_masks_of_ones_own_get_splits(tmp_path, capsys):
    folder = own_sets.make(tmp_path / "mine", own_sets.table(20), labels=False)
    (folder / "splits.csv").unlink()
    assert "no label" in run(capsys, folder, "--write")
    assert data.read(folder)["split"].value_counts().to_dict() == {
        "train": 14,
        "test": 4,
        "validation": 2,
    }


@pytest.mark.parametrize("way", ["symlink", "copy"])
def test_where_no_hard_link_can_be_made(downloads, tmp_path, monkeypatch, way):
    def refused(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(adopt.os, "link", refused)
    if way == "copy":
        monkeypatch.setattr(adopt.os, "symlink", refused)
    adopt.write(adopt.plan(downloads("HAM10000"), None, tmp_path))
    images = [Path(path) for path in data.read(tmp_path / "HAM10000")["image"]]
    assert {path.is_symlink() for path in images} == {way == "symlink"}


def test_an_interruption_leaves_nothing(downloads, tmp_path, monkeypatch):
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(adopt, "_table", stopped)
    with pytest.raises(KeyboardInterrupt):
        adopt.write(adopt.plan(downloads("HAM10000"), None, tmp_path / "Data"))
    assert list((tmp_path / "Data").iterdir()) == []


def unpacked_twice(folder: Path) -> None:
    """Kaggle's copy has both parts a second time, in folders of small letters."""
    for part in (1, 2):
        home = folder / f"HAM10000_images_part_{part}"
        shutil.copytree(home, folder / "again" / f"ham10000_images_part_{part}")


def test_files_that_are_there_twice_count_once(downloads, tmp_path):
    folder = Path(shutil.copytree(downloads("HAM10000"), tmp_path / "ham"))
    unpacked_twice(folder)
    assert len(adopt.plan(folder, None, tmp_path).images) == 42


def rewrite(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        file = next(folder.rglob(name))
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))

    return change


HOSTILE = {
    "an image is missing": (
        "HAM10000",
        lambda f: next(f.rglob("ISIC_0024310.jpg")).unlink(),
        r"table that are not in .*: ISIC_0024310; unpack all archives of the set into it",
    ),
    "no images": (
        "HAM10000",
        lambda f: [shutil.rmtree(home) for home in f.glob("*part*")],
        r"table that are not in .*: ISIC_0024306, .*\(42 in all\); unpack all archives",
    ),
    "duplicate ids": (
        "HAM10000",
        rewrite("HAM10000_metadata.csv", "ISIC_0024307", "ISIC_0024306"),
        r"duplicate ids in .*HAM10000_metadata.csv: ISIC_0024306; keep one",
    ),
    "no dx": (
        "HAM10000",
        rewrite("HAM10000_metadata.csv", ",dx,", ",diagnosis,"),
        r"HAM10000_metadata.csv lacks the column dx",
    ),
    "two files that differ": (
        "HAM10000",
        lambda f: (f / "ISIC_0024306.jpg").write_bytes(b"another"),
        r"several files for the image ISIC_0024306: .*; keep one",
    ),
    "two classes at once": (
        "ISIC 2018",
        rewrite("ISIC2018_Task3_Training_GroundTruth.csv", "1.0,0.0", "1.0,1.0"),
        r"Training_GroundTruth.csv without exactly one class: ISIC_0001000; write 1 for one",
    ),
    "no class": (
        "ISIC 2018",
        rewrite("ISIC2018_Task3_Training_GroundTruth.csv", "1.0", "?"),
        r"without exactly one class: ISIC_0001000",
    ),
    "a lesion in two splits of the set": (
        "ISIC 2018",
        lambda f: (f / "ISIC2018_Task3_Test_LesionGroupings.csv").write_text(
            "image,lesion_id\nISIC_0003000,HAM_0000000\n"
        ),
        r"groups of .* in several splits: HAM_0000000 \(train, test\)",
    ),
    "another table": (
        "PH2",
        lambda f: (f / "PH2_dataset.txt").write_text("IMD002 melanoma\n"),
        r"is not the table of PH2: expected lines such as",
    ),
    "another diagnosis": (
        "PH2",
        rewrite("PH2_dataset.txt", "||          2  ", "||          7  "),
        r"is not the table of PH2",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_damaged_set_ends_in_one_sentence(downloads, tmp_path, capsys, case):
    name, break_it, said = HOSTILE[case]
    folder = Path(shutil.copytree(downloads(name), tmp_path / "set"))
    break_it(folder)
    with pytest.raises(DataError, match=said):
        adopt.plan(folder, None, tmp_path / "Data")
    assert run(capsys, folder, "--into", tmp_path / "Data", "--write", status=1).count("\n") == 1
    assert not (tmp_path / "Data").exists()


def test_what_is_no_data_set(tmp_path, capsys):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"x")
    assert "is no known data set: found beach.jpg; expected images/ beside labels.csv" in run(
        capsys, tmp_path / "holiday", status=1
    )
    assert "is no folder; name the one that" in run(capsys, tmp_path / "gone", status=1)
    assert "used as it is; there is nothing to adopt" in run(
        capsys, trees.add_split(tmp_path / "isic", "train"), status=1
    )


def test_a_folder_without_end_is_not_searched_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "_MOST", 3)
    for number in range(5):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(DataError, match=r"holds more than 3 files; name the folder of the data"):
        adopt.plan(tmp_path, None, tmp_path / "Data")


def test_names(downloads, tmp_path, capsys):
    folder = downloads("PH2")
    (tmp_path / "PH2").mkdir()
    assert "PH2 exists, and nothing is overwritten; choose another --name" in run(
        capsys, folder, "--into", tmp_path, status=1
    )
    run(capsys, folder, "--into", tmp_path, "--name", "moles", "--write")
    assert data.set_name(tmp_path / "moles") == "moles"
    for name, said in (("../x", "expected letters, digits"), ("demo", "rename the folder")):
        assert said in run(capsys, folder, "--into", tmp_path, "--name", name, status=1)
