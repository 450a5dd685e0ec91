"""The data at the door: what is read, and every way in which it can be wrong."""

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trees
from trees import images, table

from utils import data
from utils.system.errors import DataError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The official tree: 5 training, 3 validation and 3 test images."""
    return trees.add_all(tmp_path)


def classes(rows: pd.DataFrame, split: str) -> list[str]:
    return [data.CLASSES[label] for label in rows.loc[rows["split"] == split, "label"]]


# --- what is read ---


def test_official_tree(tree):
    rows = data.read(tree)
    assert rows["split"].value_counts().to_dict() == {"train": 5, "validation": 3, "test": 3}
    assert rows.loc[rows["split"] == "test", "id"].tolist() == trees.ids("test", 3)
    for row in rows.itertuples():
        assert Path(row.image).stem == row.id
        assert Path(row.mask).name == f"{row.id}_segmentation.png"
        assert Path(row.image).is_file()
        assert Path(row.mask).is_file()


SPELLINGS = {
    "ending": lambda id_: f"{id_}.jpg",
    "ending in capitals": lambda id_: f"{id_}.JPG",
    "small letters": str.lower,
    "spaces": lambda id_: f" {id_}\N{NO-BREAK SPACE}",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_ids_spelled_otherwise_than_the_files(tree, spelling):
    expected = data.read(tree)
    spell = SPELLINGS[spelling]
    trees.metadata(tree, "ISIC_0000001,55,male\n")
    for file in tree.glob("*.csv"):
        file.write_text(re.sub(r"ISIC_\d+", lambda id_: spell(id_[0]), file.read_text()))
    rows = data.read(tree)
    assert rows["age"][0] == 55
    pd.testing.assert_frame_equal(
        rows.drop(columns=["age", "sex"]), expected.drop(columns=["age", "sex"])
    )


def test_the_names_of_the_images_count_for_their_masks(tree):
    expected = data.read(tree)
    for file in images(tree).iterdir():
        file.rename(file.with_stem(file.stem.lower()))
    rows = data.read(tree)
    assert rows["id"].tolist()[:2] == ["isic_0000001", "isic_0000002"]
    assert rows["mask"].tolist() == expected["mask"].tolist()


def test_ids_in_another_unicode_form(tree):
    composed, decomposed = "Läsion_1", "La\N{COMBINING DIAERESIS}sion_1"
    image = images(tree) / "ISIC_0000001.jpg"
    image.rename(image.with_stem(decomposed))
    mask = trees.masks(tree) / "ISIC_0000001_segmentation.png"
    mask.rename(mask.with_name(f"{composed}_segmentation.png"))
    table(tree).write_text(table(tree).read_text().replace("ISIC_0000001", composed), "utf-8")
    row = data.read(tree).iloc[0]
    assert row["id"] == Path(row["image"]).stem  # as the file system gives it
    assert row["mask"]


def test_ids_that_differ_in_case_alone_are_two_images_where_both_are_there(tree):
    image = images(tree) / "ISIC_0000002.jpg"
    other = image.with_stem("isic_0000002")
    if other.exists():
        pytest.skip("this file system takes both for one")
    trees.write_image(other, 9)
    with table(tree).open("a") as file:
        file.write("isic_0000002,0,0\n")
    assert {"ISIC_0000002", "isic_0000002"} < set(data.read(tree)["id"])


def test_an_age_that_nobody_has_is_unknown(tree):
    trees.metadata(
        tree, "".join(f"ISIC_{k:07d},{age},F\n" for k, age in enumerate((-1, 999, "inf", 110), 1))
    )
    rows = data.read(tree)
    assert rows["age"].tolist()[3] == 110
    assert rows["age"][:3].isna().all()


def test_class_order(tree):
    assert data.CLASSES == ("melanoma", "seborrheic_keratosis", "benign")
    rows = data.read(tree)
    assert rows["label"].dtype == np.int64
    assert classes(rows, "train") == [
        "melanoma", "seborrheic_keratosis", "benign", "benign", "benign",
    ]  # fmt: skip
    assert classes(rows, "test") == ["benign", "seborrheic_keratosis", "melanoma"]


def test_labels_written_as_decimals(tree):
    before = data.read(tree)
    text = table(tree).read_text()
    table(tree).write_text(re.sub(r",([01])(?=[,\n])", r",\1.0", text))
    assert ",1.0,0.0" in table(tree).read_text()
    pd.testing.assert_frame_equal(data.read(tree), before)


def test_coursework_tree(tmp_path):
    extended = "ISIC-2017_Training_Aug_Part3_GroundTruth.csv"
    trees.add_split(tmp_path, "train", "mkbbm", images="Aug_Training_Data", table=extended)
    trees.add_split(tmp_path, "validation", "mkb")
    labels = "ISIC-2017_Test_Part3_GroundTruth.csv"
    trees.add_split(tmp_path, "test", "bkm", images="ISIC-2017_Test_Data", table=labels)
    rows = data.read(data.locate(tmp_path), train_list="extended")
    assert rows["split"].value_counts().to_dict() == {"train": 5, "validation": 3, "test": 3}
    assert classes(rows, "train")[-1] == "melanoma"
    assert Path(rows["image"][0]).parent.name == "Aug_Training_Data"
    assert Path(rows["image"].iloc[-1]).parent.name == "ISIC-2017_Test_Data"


def test_the_enlarged_list_alone_does_not_say_what_is_official(tmp_path):
    extended = "ISIC-2017_Training_Aug_Part3_GroundTruth.csv"
    trees.add_split(tmp_path, "train", "mkbbm", images="Aug_Training_Data", table=extended)
    with pytest.raises(DataError, match="does not say which images are the official ones"):
        data.read(tmp_path)
    rows = data.read(tmp_path, "extended")
    assert not rows["official"].any()
    with pytest.raises(DataError, match="each class; found none"):
        data.training_images(rows, "holdout", seed=0)


def test_masks_may_be_missing(tree):
    masks = tree / "ISIC-2017_Training_Part1_GroundTruth"
    (masks / "ISIC_0000002_segmentation.png").unlink()
    for file in (tree / "ISIC-2017_Test_v2_Part1_GroundTruth").iterdir():
        file.unlink()
    rows = data.read(tree)
    assert rows.loc[rows["mask"] == "", "id"].tolist() == ["ISIC_0000002", *trees.ids("test", 3)]


@pytest.mark.parametrize("inside", [False, True], ids=["beside the images", "among the images"])
def test_age_and_sex(tree, inside):
    # The official training archive keeps the table among the images.
    folder = images(tree) if inside else tree
    (folder / "ISIC-2017_Training_Data_metadata.csv").write_text(
        "image_id,age_approximate,sex\n"
        "ISIC_0000003,unknown,unknown\nISIC_0000001,55,female\nISIC_0000002,60.0,male\n"
    )
    rows = data.read(tree)
    assert rows["age"].tolist()[:2] == [55.0, 60.0]
    assert rows["sex"].tolist()[:2] == ["female", "male"]
    # "unknown", no row in the table, and a split without a table
    assert all(math.isnan(age) for age in rows["age"][2:])
    assert set(rows["sex"][2:]) == {"unknown"}


def test_class_counts(tree, tmp_path):
    counts = data.class_counts(data.read(tree))
    assert counts.index.tolist() == ["train", "validation", "test"]
    assert counts.columns.tolist() == [*data.CLASSES, "all"]
    assert counts.loc["train"].tolist() == [1, 1, 3, 5]
    absent = data.read(trees.add_split(tmp_path / "benign", "train", "bb"))
    assert data.class_counts(absent).loc["train"].tolist() == [0, 0, 2, 2]


def test_demo_set_is_read_as_the_official_tree(demo_set, demo_rows, tree):
    assert data.class_counts(demo_rows)["all"].tolist() == [24, 8, 8]
    assert (data.class_counts(demo_rows) > 0).all().all()
    assert (data.set_name(demo_set), data.note(demo_set)) == ("demo", "synthetic demo data")
    assert (data.set_name(tree), data.note(tree)) == ("isic2017", "ISIC 2017")


# --- what is refused ---


def test_ids_without_image(tree):
    rows = trees.labels("train", "mkbbb") + [(f"ISIC_000005{k}", 0, 0) for k in range(7)]
    trees.write_labels(table(tree), rows)
    named = "ISIC_0000050, ISIC_0000051, ISIC_0000052, ISIC_0000053, ISIC_0000054 … (7 in all)"
    with pytest.raises(DataError, match="train list without an image") as error:
        data.read(tree)
    assert named in str(error.value)
    assert "ISIC_0000055" not in str(error.value)


def test_allow_missing_leaves_them_out(tree):
    (images(tree) / "ISIC_0000002.jpg").unlink()
    with pytest.raises(DataError, match=r"without an image in .*: ISIC_0000002; .*allow_missing"):
        data.read(tree)
    rows = data.read(tree, allow_missing=True)
    assert rows["id"].tolist()[:4] == [f"ISIC_000000{k}" for k in (1, 3, 4, 5)]
    assert rows.index.tolist() == list(range(10))


def test_official_list_beside_the_enlarged_one(tree):
    # Images of the enlarged list may lie among the official ones: they are not unlisted.
    extended = tree / "ISIC-2017_Training_Aug_Part3_GroundTruth.csv"
    trees.write_labels(extended, [*trees.labels("train", "mkbbb"), ("ISIC_0000050", 1, 0)])
    trees.write_image(images(tree) / "ISIC_0000050.jpg", 50)
    assert "ISIC_0000050" not in data.read(tree)["id"].to_numpy()
    rows = data.read(tree, train_list="extended").set_index("id")
    assert rows.loc["ISIC_0000050", "label"] == 0


def test_the_official_folder_comes_before_that_of_the_coursework(tree):
    trees.write_image(tree / "Aug_Training_Data" / "ISIC_0000001.jpg", 99)
    assert data.read(tree)["image"][0] == str(images(tree) / "ISIC_0000001.jpg")


@pytest.mark.parametrize("value", ["2", "0.5", "-1"])
def test_labels_that_are_not_0_or_1(tree, value):
    trees.write_labels(table(tree), [*trees.labels("train", "mkbb"), ("ISIC_0000005", value, 0)])
    with pytest.raises(DataError, match=r"labels other than 0 and 1 in .*csv for ISIC_0000005"):
        data.read(tree)


def test_unknown_choices(tree):
    with pytest.raises(ValueError, match="train_list is 'all'; expected one of official, extended"):
        data.read(tree, train_list="all")
    rows = data.read(tree)
    expected = "select_on is 'test'; expected one of validation, holdout"
    with pytest.raises(ValueError, match=expected):
        data.training_images(rows, "test", 0)


# --- the enlarged training list ---


def test_extended_needs_its_list(tree):
    expected = r"needs ISIC-2017_Training_Aug_Part3_GroundTruth.csv in .*missing.*official"
    with pytest.raises(DataError, match=expected):
        data.read(tree, train_list="extended")


def test_extended_counts_missing_images(tree):
    extra = [(f"ISIC_000005{k}", 0, 1) for k in range(8)]
    extended = tree / "ISIC-2017_Training_Aug_Part3_GroundTruth.csv"
    trees.write_labels(extended, trees.labels("train", "mkbbb") + extra)
    trees.write_image(images(tree) / "ISIC_0000057.jpg", 57)
    with pytest.raises(DataError, match=r"ISIC_0000050, .* \(7 in all\); .*allow_missing=True"):
        data.read(tree, train_list="extended")
    rows = data.read(tree, train_list="extended", allow_missing=True)
    assert rows.loc[rows["split"] == "train", "id"].tolist() == [
        *trees.ids("train", 5), "ISIC_0000057",
    ]  # fmt: skip


# --- which rows to train on, to choose the epoch on, and to score ---


def many_rows(count: int = 2000, further: int = 0) -> pd.DataFrame:
    """Rows with the class counts of the official training list, and 10 validation rows."""
    ids = [f"ISIC_{k:07d}" for k in range(count + further + 10)]
    # The real list is in no order of classes either; 7 and 2000 have no common factor.
    order = [7 * k % count for k in range(count)]
    labels = [(k >= 374) + (k >= 628) for k in order] + [0] * further + [2] * 10
    split = ["train"] * (count + further) + ["validation"] * 10
    official = [True] * count + [False] * further + [True] * 10
    return pd.DataFrame({"id": ids, "split": split, "label": labels, "official": official})


def test_select_on_validation(tree):
    train, select = data.training_images(data.read(tree), "validation", 0)
    assert train["id"].tolist() == trees.ids("train", 5)
    assert select["id"].tolist() == trees.ids("validation", 3)
    assert select.index.tolist() == [0, 1, 2]


def test_holdout_is_stratified_and_disjoint():
    rows = many_rows()
    train, held_out = data.training_images(rows, "holdout", seed=0)
    assert (len(train), len(held_out)) == (1700, 300)
    assert set(train["id"]) | set(held_out["id"]) == set(rows["id"][:2000])
    # 15 % of 374, 254 and 1372
    assert held_out["label"].value_counts().to_dict() == {2: 206, 0: 56, 1: 38}
    assert train.index.tolist() == list(range(1700))
    again, other = (data.training_images(rows, "holdout", seed)[1] for seed in (0, 1))
    pd.testing.assert_frame_equal(held_out, again)
    common = set(held_out["id"]) & set(other["id"])
    assert 0 < len(common) < 100  # 45 are expected of two independent draws


def test_holdout_comes_from_the_official_images():
    rows = many_rows(further=1320)
    train, held_out = data.training_images(rows, "holdout", seed=0)
    assert (len(train), len(held_out)) == (3020, 300)
    official = data.training_images(many_rows(), "holdout", seed=0)[1]
    assert held_out["id"].tolist() == official["id"].tolist()


def test_a_part_of_the_training_images_is_drawn_by_class_and_fixed_by_the_seed():
    rows, _ = data.training_images(many_rows(), "holdout", seed=0)
    some, again, other = (data.drawn(rows, 170, seed) for seed in (0, 0, 1))
    # a tenth of 318, 216 and 1166, to the next whole numbers that make 170
    assert some["label"].value_counts().to_dict() == {2: 117, 0: 32, 1: 21}
    pd.testing.assert_frame_equal(some, again)
    assert set(some["id"]) != set(other["id"])
    assert some["id"].is_unique
    assert set(some["id"]) <= set(rows["id"])
    assert some.index.tolist() == list(range(170))
    for everything in (None, len(rows), 5000):
        assert data.drawn(rows, everything, 0) is rows


def test_too_small_a_part_of_the_training_images_is_refused():
    rows, _ = data.training_images(many_rows(), "holdout", seed=0)
    for count in (2, 1698):
        expected = rf"train_images is {count} of 1700; expected at least 3.*at most 1697"
        with pytest.raises(DataError, match=expected):
            data.drawn(rows, count, 0)


def test_training_needs_its_splits(tmp_path):
    trees.add_split(tmp_path, "test", "mkb")
    with pytest.raises(DataError, match=r"'holdout' needs the train split; found test\."):
        data.training_images(data.read(tmp_path), "holdout", 0)
    trees.add_split(tmp_path, "train", "mkb")
    expected = (
        r"needs the train and the validation split; found test, train.*or select on 'holdout'"
    )
    with pytest.raises(DataError, match=expected):
        data.training_images(data.read(tmp_path), "validation", 0)


def test_evaluation_split(tree):
    rows = data.read(tree)
    assert data.evaluation_split(rows) == "test"
    assert data.evaluation_split(rows, "validation") == "validation"
    without = rows[rows["split"] != "test"]
    assert data.evaluation_split(without) == "validation"
    with pytest.raises(DataError, match=r"no images of split 'test' .*found train, validation"):
        data.evaluation_split(without, "test")


# --- where the data lies ---


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """An empty project folder, and no ISIC 2017 in the environment; demo sets are not painted."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setattr("utils.system.project.PROJECT", folder)
    monkeypatch.setattr(data.splits.demo, "generate", lambda folder: folder)
    monkeypatch.delenv("ISIC2017_DIR", raising=False)
    return folder


def test_locate_goes_from_the_named_folder_to_the_demo_set(project, tmp_path, monkeypatch):
    assert data.locate() == project / "Data" / "demo"
    elsewhere = trees.add_split(tmp_path / "elsewhere", "train")
    monkeypatch.setenv("ISIC2017_DIR", str(elsewhere))
    assert data.locate() == elsewhere
    standard = trees.add_split(project / "Data" / "ISIC2017", "train")
    assert data.locate() == standard
    named = trees.add_split(tmp_path / "named", "train")
    assert data.locate(named) == named
    assert data.locate(str(named)) == named


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_an_empty_data_folder_and_a_file_in_its_place_are_skipped(project, make):
    (project / "Data").mkdir()
    make(project / "Data" / "ISIC2017")
    assert data.locate() == project / "Data" / "demo"


def test_demo_wins_whatever_is_there(project, tmp_path, monkeypatch):
    trees.add_split(project / "Data" / "ISIC2017", "train")
    monkeypatch.setenv("ISIC2017_DIR", str(trees.add_split(tmp_path / "elsewhere", "train")))
    assert data.locate("demo") == project / "Data" / "demo"
    monkeypatch.setenv("ISIC2017_DIR", "/nowhere")
    assert data.locate("demo") == project / "Data" / "demo"


@pytest.mark.usefixtures("project")
def test_environment_that_points_nowhere_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("ISIC2017_DIR", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"gone, which \$ISIC2017_DIR names: found nothing"):
        data.locate()


@pytest.mark.usefixtures("project")
def test_named_folder_without_data_says_what_it_found(tmp_path):
    for name in "abcdefg":
        (tmp_path / "other" / name).mkdir(parents=True)
    with pytest.raises(DataError, match=r"found a, b, c, d, e … \(7 in all\); expected .*'demo'"):
        data.locate(tmp_path / "other")
    with pytest.raises(DataError, match="found nothing; expected folders such as ISIC-2017_Train"):
        data.locate(tmp_path / "typo")


def test_relative_paths_resolve_against_the_project(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inside = trees.add_split(project / "mine", "train")
    assert data.locate("mine") == inside
    here = trees.add_split(tmp_path / "mine", "train")
    assert data.locate("mine") == here  # the working directory comes first


def test_home_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    trees.add_split(tmp_path / "isic", "train")
    assert data.locate("~/isic") == tmp_path / "isic"


# --- the real thing ---


def test_real_class_counts(isic2017):
    counts = data.class_counts(data.read(data.locate(isic2017)))
    expected = {"train": [374, 254, 1372], "validation": [30, 42, 78], "test": [117, 90, 393]}
    for split in counts.index:
        assert counts.loc[split, list(data.CLASSES)].tolist() == expected[split]


def test_real_holdout(isic2017):
    rows = data.read(data.locate(isic2017))
    train, held_out = data.training_images(rows, "holdout", seed=0)
    assert (len(train), len(held_out)) == (1700, 300)
    assert set(rows["sex"]) == {"male", "female", "unknown"}
    assert rows["age"].dropna().between(0, 100).all()


def test_the_hold_out_takes_no_archive_image_wherever_they_stand_in_the_list(tmp_path):
    extended = "ISIC-2017_Training_Aug_Part3_GroundTruth.csv"
    trees.add_split(tmp_path, "train", "mkbbm" * 8, images="Aug_Training_Data", table=extended)
    every_other = trees.labels("train", "mkbbm" * 8)[::2]
    trees.write_labels(tmp_path / "ISIC-2017_Training_Part3_GroundTruth.csv", every_other)
    rows = data.read(tmp_path, "extended")
    _, held_out = data.training_images(rows, "holdout", seed=0)
    assert set(held_out["id"]) <= {row[0] for row in every_other}
    assert rows["official"].sum() == 20


def test_images_without_labels_are_not_left_out_silently(tree):
    (tree / "ISIC-2017_Test_v2_Part3_GroundTruth.csv").unlink()
    rows = data.read(tree)
    assert rows.loc[rows["split"] == "test", "id"].tolist() == trees.ids("test", 3)
    with pytest.raises(
        DataError, match=r"images of the test split without labels: .*; put ISIC-2017_T"
    ):
        data.require_labels(rows)
    shutil.rmtree(trees.masks(tree, "test"))
    with pytest.raises(DataError, match=r"holds images, but ISIC-2017_Test_v2_Part3_GroundTru"):
        data.read(tree)


def test_masks_without_any_label_table(tree):
    expected = data.read(tree)
    for file in tree.glob("*_Part3_GroundTruth.csv"):
        file.unlink()
    assert data.locate(tree) == tree
    rows = data.read(tree)
    assert rows["label"].unique().tolist() == [data.tables.NO_LABEL]
    columns = ["id", "split", "official", "image", "mask", "age", "sex"]
    keys = ["split", "id"]
    pd.testing.assert_frame_equal(
        rows[columns].sort_values(keys).reset_index(drop=True),
        expected[columns].sort_values(keys).reset_index(drop=True),
    )
    counts = data.class_counts(rows)
    assert counts.loc["train"].tolist() == [0, 0, 0, 5, 5]
    assert counts.columns.tolist()[3:] == ["no label", "all"]
    train, held_out = data.training_images(rows, "holdout", seed=0)
    assert (len(train), len(held_out)) == (4, 1)
    assert len(data.drawn(train, 2, seed=0)) == 2
    (images(tree) / "ISIC_0000002.jpg").unlink()
    with pytest.raises(DataError, match=r"masks without an image in .*: ISIC_0000002; add the im"):
        data.read(tree)


def test_two_classes_serve_what_needs_no_third():
    rows = many_rows()
    rows = rows[rows["label"] != 1].reset_index(drop=True)
    rows.loc[rows["split"] == "validation", "label"] = [0, 2] * 5
    for select_on, fold in (("validation", None), ("holdout", None), ("fold", "1/2")):
        train, select = data.training_images(rows, select_on, 0, fold)
        assert set(train["label"]) == set(select["label"]) == {0, 2}
        assert set(data.drawn(train, 30, seed=0)["label"]) == {0, 2}
        data.require_classes(1, train, select)
        with pytest.raises(
            DataError, match=r"found .*keratosis 0, .* row 1-4 .* segmenters can be"
        ):
            data.require_classes(3, train, select)
        nevi = select[select["label"] == 2]
        with pytest.raises(DataError, match=r"keratosis 0, .*With these the segmenters can be tr"):
            data.require_classes(3, train, nevi)
    with pytest.raises(DataError, match=r"melanomas and others to train on; .*the segmenters can"):
        data.require_classes(1, nevi, nevi)


def test_choosing_on_images_without_a_class_has_a_cure_that_helps():
    train, select = data.training_images(many_rows(), "validation", seed=0)
    for classes in (1, 3):
        with pytest.raises(
            DataError, match=r"to choose the epoch on; .*\(select_on='holdout'\)\.$"
        ):
            data.require_classes(classes, train, select)
        data.require_classes(classes, *data.training_images(many_rows(), "holdout", seed=0))


def test_a_hold_out_of_too_few_images(tree):
    expected = (
        r"needs at least 2 images of each class; found melanoma 1.*\(select_on='validation'\)"
    )
    with pytest.raises(DataError, match=expected):
        data.training_images(data.read(tree), "holdout", seed=0)


def test_a_hold_out_needs_room_for_each_class():
    few = many_rows().groupby("label").head(4)
    with pytest.raises(DataError, match=r"hold-out of 15% of 12 training images has no room"):
        data.training_images(few, "holdout", seed=0)


def test_a_folder_without_any_split(tmp_path):
    with pytest.raises(DataError, match=r"no ISIC 2017 data in .*prepare_data\.py download"):
        data.read(tmp_path)


def test_a_folder_that_may_not_be_looked_into(tmp_path, monkeypatch):
    def refused(_: Path) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(data.splits, "splits_in", refused)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\); give access"):
        data.locate(tmp_path)
