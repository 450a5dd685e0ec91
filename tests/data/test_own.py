"""Data of one's own: read, or one sentence; groups are never on both sides."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import own_sets
import pandas as pd
import pytest

import experiments
from utils import data
from utils.data import folds
from utils.system.errors import DataError


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images of three classes, with masks, splits and pairs of one lesion. Copied by tests."""
    return own_sets.make(tmp_path_factory.mktemp("own") / "three", own_sets.table(24))


@pytest.fixture
def three(painted: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(painted, tmp_path / "three"))


def changed(**columns: object) -> Callable[[Path], object]:
    """Rewrites labels.csv with these columns in place of its own; None removes one."""

    def change(folder: Path) -> None:
        table = pd.read_csv(folder / "labels.csv", dtype=str)
        for name, cells in columns.items():
            table = table.drop(columns=name) if cells is None else table.assign(**{name: cells})
        table.to_csv(folder / "labels.csv", index=False)

    return change


def cell(column: str, text: str, row: int = 0) -> Callable[[Path], object]:
    """Rewrites one cell of labels.csv."""

    def change(folder: Path) -> None:
        table = pd.read_csv(folder / "labels.csv", dtype=str)
        table.loc[row, column] = text
        table.to_csv(folder / "labels.csv", index=False)

    return change


def both(*changes: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: [change(folder) for change in changes]


# --- what is read ---


@pytest.mark.parametrize("kinds", [2, 3, 7])
def test_classes_come_from_the_table(tmp_path, kinds):
    names = own_sets.NAMES[:kinds]
    rows = own_sets.table(4 * kinds, names)
    folder = own_sets.make(tmp_path / "set 1", rows, masks=False)
    assert data.locate(folder) == folder
    classes = data.classes(folder)
    others = sorted(name.replace(" ", "_") for name in names if name != "melanoma")
    assert classes == ("melanoma", *others)
    images = data.read(folder)
    assert data.classes_of(images) == classes
    called = dict(zip(rows["image"], rows["label"].str.replace(" ", "_"), strict=True))
    assert {i.id: classes[i.label] for i in images.itertuples()} == called
    assert images["split"].tolist() == sorted(images["split"], key=data.SPLITS.index)
    assert data.class_counts(images).to_numpy().sum() == 2 * len(rows)  # each and "all"
    assert data.class_counts(images).columns.tolist() == [*classes, "all"]
    assert data.set_name(folder) == "set_1"
    assert data.note(folder) == "set 1"
    assert data.splits_in(folder) == [s for s in data.SPLITS if s in set(rows["split"])]


def test_age_sex_group_and_mask_are_those_of_the_image(three):
    images = data.read(three).set_index("id")
    rows = own_sets.table(24).set_index("image").loc[images.index]
    for name in ("split", "age", "sex", "group"):
        assert images[name].tolist() == rows[name].tolist()
    for id_, image in images.iterrows():
        assert Path(image["image"]).stem == id_
        assert Path(image["mask"]).name == f"{id_}_segmentation.png"


def test_malignant_is_the_first_of_two_classes(three):
    changed(label=["benign", "malignant"] * 12)(three)
    assert data.classes(three) == ("malignant", "benign")
    changed(label=["0", "1"] * 12)(three)
    assert data.classes(three) == ("class_0", "class_1")


def test_spellings_of_spreadsheets_are_understood(three):
    text = (three / "labels.csv").read_text().replace("own_000,", "OWN_000.JPG,")
    (three / "labels.csv").write_text("\ufeff" + text.replace(",", ";") + "\n;;;;;\n")
    assert "own_000" in set(data.read(three)["id"])


def test_masks_alone_are_enough_for_segmenters(tmp_path):
    folder = own_sets.make(tmp_path / "masks", own_sets.table(12), labels=False)
    for mask in (folder / "masks").iterdir():
        mask.rename(mask.with_name(mask.name.replace("_segmentation", "")))
    images = data.read(data.locate(folder))
    assert data.classes(folder) == data.classes_of(images) == ()
    assert (images["mask"] != "").all()
    data.require_masks(images)
    assert data.class_counts(images).columns.tolist() == ["no label", "all"]
    train, held = data.training_images(images, "holdout", 0)
    assert len(train) + len(held) == (images["split"] == "train").sum()
    with pytest.raises(DataError, match=r"train split without labels: .*add labels.csv"):
        data.require_labels(images)
    changed_table = own_sets.table(12).drop(columns="label")
    (folder / "splits.csv").unlink()
    changed_table.to_csv(folder / "labels.csv", index=False)
    assert data.read(folder)["group"].nunique() == changed_table["group"].nunique()


def test_missing_images_can_be_left_out(three):
    (three / "images" / "own_000.jpg").unlink()
    images = data.read(three, allow_missing=True)
    assert len(images) == 23
    assert "own_000" not in set(images["id"])


def test_isic_2017_in_the_same_folder_stays_isic_2017(demo_set, three, tmp_path):
    folder = Path(shutil.copytree(demo_set, tmp_path / "isic"))
    shutil.copytree(three, folder, dirs_exist_ok=True)
    assert data.set_name(folder) == "demo"
    assert data.classes(folder) == data.CLASSES
    assert "group" not in data.read(folder)


# --- what is refused ---

HOSTILE = {
    "missing image": (
        lambda f: (f / "images" / "own_001.jpg").unlink(),
        r"labels.csv list without an image in .*: own_001; add the images, or set allow_missing",
    ),
    "image without a row": (
        lambda f: shutil.copy(f / "images" / "own_001.jpg", f / "images" / "more.jpg"),
        r"images without a row in labels.csv: more; add their rows",
    ),
    "two formats": (
        lambda f: shutil.copy(f / "images" / "own_001.jpg", f / "images" / "own_001.jpeg"),
        r"two files for the image own_001: own_001.jpeg, own_001.jpg; keep one",
    ),
    "BMP": (
        lambda f: (f / "images" / "own_001.jpg").rename(f / "images" / "own_001.bmp"),
        r"of an unsupported kind in .*images: own_001.bmp; save them as",
    ),
    "no images": (
        lambda f: [shutil.rmtree(f / "images"), (f / "images").mkdir()],
        r"images holds no images: found nothing",
    ),
    "images is a file": (
        lambda f: [shutil.rmtree(f / "images"), (f / "images").touch()],
        r"images is a file, expected a folder",
    ),
    "ids of another set": (
        changed(image=[f"other_{k}" for k in range(24)]),
        r"no id in labels.csv is the name of an image: found the ids other_0",
    ),
    "duplicate ids": (cell("image", "own_001"), r"duplicate ids in .*labels.csv: own_001; keep"),
    "one id spelled twice": (
        cell("image", "OWN_001"),
        r"differ only in spelling.*: OWN_001 and own_001 for own_001",
    ),
    "empty id": (cell("image", ""), r"rows without an id in .*labels.csv: row 1"),
    "id that leads out": (cell("image", "../own_000"), r"that are no file names: ../own_000"),
    "empty label": (cell("label", ""), r"rows without a label in .*: own_000; write it, or"),
    "one class": (changed(label="nevus"), r"has 1 class: nevus; expected 2 to 20 in the column"),
    "21 classes": (
        changed(label=[f"kind {min(k, 20)}" for k in range(24)]),
        r"has 21 classes: kind_0, .*; expected 2 to 20 in .*join rare classes",
    ),
    "one class in two spellings": (
        cell("label", "NEVUS"),
        r"labels in .* that differ only in spelling: NEVUS, nevus; write each class in one way",
    ),
    "label of signs": (cell("label", "?!"), r"that cannot be used: \?!; write a word"),
    "label of a column": (cell("label", "Mean"), r"be used: Mean; .* other than accuracy, all"),
    "no column label": (
        both(changed(label=None), lambda f: shutil.rmtree(f / "masks")),
        r"labels.csv lacks the column label; found image, split",
    ),
    "no column image": (changed(image=None), r"labels.csv lacks the column image; found label"),
    "two columns split": (
        lambda f: (f / "labels.csv").write_text("image,label,split,split\na,b,train,test\n"),
        r"has the column split twice; keep one",
    ),
    "no rows": (
        lambda f: (f / "labels.csv").write_text("image,label\n"),
        r"labels.csv has no rows under its column names",
    ),
    "no table": (lambda f: (f / "labels.csv").write_bytes(b"\xff\xd8"), r"is no readable csv"),
    "unknown split": (
        cell("split", "Training"),
        r"unknown splits in .*labels.csv: Training; write train, validation or test",
    ),
    "empty split": (cell("split", ""), r'unknown splits in .*: ""; write train'),
    "no splits": (
        changed(split=None),
        r"is not divided yet: .* no splits.csv; make it with\n    python prepare_data.py adopt ",
    ),
    "splits twice": (
        lambda f: (f / "splits.csv").write_text("image,split\nown_000,train\n"),
        r"has a column split, and .*splits.csv is there, too; keep one",
    ),
    "splits of fewer images": (
        both(
            changed(split=None),
            lambda f: (f / "splits.csv").write_text("image,split\nown_000,train\n"),
        ),
        r"images without a row in .*splits.csv: own_001, .*; move it elsewhere, and prepare_data",
    ),
    "splits of other images": (
        lambda f: [
            own_sets.table(25)[["image", "split"]].to_csv(f / "splits.csv", index=False),
            changed(split=None)(f),
        ],
        r"images that are not in the set, but in .*splits.csv: own_024",
    ),
    "group on both sides": (
        cell("group", "P03"),
        r"groups of .*labels.csv that are in several splits: P03 \(train, test\); put all images",
    ),
    "mask without an image": (
        lambda f: shutil.copy(
            f / "masks" / "own_001_segmentation.png", f / "masks" / "more_segmentation.png"
        ),
        r"masks without a row in labels.csv: more",
    ),
    "two masks": (
        lambda f: shutil.copy(
            f / "masks" / "own_001_segmentation.png", f / "masks" / "own_001.png"
        ),
        r"two masks for the image own_001: own_001.png, own_001_segmentation.png; keep one",
    ),
    "JPEG mask": (
        lambda f: (f / "masks" / "own_001_segmentation.png").rename(f / "masks" / "own_001.jpg"),
        r"not named like masks: own_001.jpg; a mask is a PNG",
    ),
    "name of another set": (
        lambda f: f.rename(f.with_name("ISIC2017")),
        r"whose runs would lie among those of ISIC2017; rename the folder",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_set_that_cannot_be_used_ends_in_one_sentence(three, case):
    break_it, said = HOSTILE[case]
    break_it(three)
    folder = three if three.exists() else three.with_name("ISIC2017")
    with pytest.raises(DataError, match=said) as caught:
        data.read(data.locate(folder))
    assert len(str(caught.value)) < 600


def test_the_groups_that_are_named_are_those_on_both_sides(three):
    table = own_sets.table(24)
    table.loc[table["image"] == "own_006", "group"] = "P00"
    expected = table.groupby("group")["split"].nunique()
    table.to_csv(three / "labels.csv", index=False)
    with pytest.raises(DataError) as caught:
        data.read(three)
    named = str(caught.value).partition("splits: ")[2]
    assert [name for name in expected.index if f"{name} (" in named] == [
        *expected.index[expected > 1]
    ]
    assert (expected > 1).any()


def test_masks_without_images_or_labels(tmp_path):
    folder = own_sets.make(tmp_path / "masks", own_sets.table(12), labels=False)
    (folder / "images" / "own_000.jpg").unlink()
    with pytest.raises(DataError, match=r"masks without an image in .*: own_000"):
        data.read(folder)
    shutil.rmtree(folder / "images")
    with pytest.raises(DataError, match=r"no ISIC 2017 data in .*Data of your own are images/"):
        data.locate(folder)


def test_other_training_lists_are_isic_2017s(three):
    for name in ("extended", "patches"):
        with pytest.raises(DataError, match=rf"train_list is '{name}', which exists for ISIC 2017"):
            data.read(three, name)


# --- groups ---


def many(groups: int = 400, seed: int = 0) -> pd.DataFrame:
    """A table of 1 to 5 images a group, seven classes as unlike as those of HAM10000."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, groups)
    shares = np.array([0.11, 0.67, 0.05, 0.03, 0.11, 0.01, 0.02])
    labels = np.concatenate([np.arange(7).repeat(3), rng.choice(7, groups - 21, p=shares)])
    images = pd.DataFrame(
        {
            "group": [f"G{number:03d}" for number in range(groups)],
            "label": labels,
        }
    ).loc[np.repeat(np.arange(groups), sizes)]
    images["id"] = [f"x_20_{number:04d}" for number in range(len(images))]  # as crops are named
    images = images.assign(split="train", official=True).sample(frac=1, random_state=1)
    images.attrs["classes"] = tuple("abcdefg")
    return images.reset_index(drop=True)


def apart(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return not set(one["group"]) & set(other["group"])


@pytest.mark.parametrize("seed", [0, 1])
def test_a_hold_out_has_whole_groups_and_a_like_share_of_each_class(seed):
    images = many()
    train, held = data.training_images(images, "holdout", seed)
    assert apart(train, held)
    assert sorted([*train["id"], *held["id"]]) == sorted(images["id"])
    share = held["label"].value_counts() / images["label"].value_counts()
    assert share[1] == pytest.approx(0.15, abs=0.01)
    assert (share > 0).all()
    assert data.training_images(images, "holdout", seed)[1].equals(held)
    shuffled = images.sample(frac=1, random_state=5)
    assert set(data.training_images(shuffled, "holdout", seed)[1]["id"]) == set(held["id"])
    other = data.training_images(images, "holdout", seed + 1)[1]
    assert set(other["id"]) != set(held["id"])


def test_folds_have_whole_groups():
    images = many()
    held = [data.training_images(images, "fold", 0, f"{k}/4") for k in (1, 2, 3, 4)]
    assert all(apart(*parts) for parts in held)
    assert sorted(pd.concat([part for _, part in held])["id"]) == sorted(images["id"])
    series = [data.training_images(images, "fold", 0, f"series {k}/4") for k in (1, 2, 3, 4)]
    assert all(apart(*parts) for parts in series)


def test_each_part_gets_its_share_and_rare_classes_are_in_all():
    images = many(2000)
    parts = folds.shared_out(images, (0.7, 0.1, 0.2), 0)
    assert len(set(zip(images["group"], parts, strict=True))) == 2000  # each in one part
    counts = pd.crosstab(images["label"], parts)
    shares = counts.div(counts.sum(axis=1), axis=0)
    np.testing.assert_allclose(shares, [[0.7, 0.1, 0.2]] * 7, atol=0.03)
    few = many(21)  # three groups a class
    assert (
        (pd.crosstab(few["label"], folds.shared_out(few, (0.7, 0.1, 0.2), 0)) > 0).to_numpy().all()
    )


def test_too_few_groups_for_a_hold_out():
    images = many()
    images = images[(images["label"] != 5) | (images["group"] == "G015")]
    assert (images["label"] == 5).sum() > 1
    with pytest.raises(DataError, match=r"needs at least 2 groups of each class; found a .*f 1, g"):
        data.training_images(images, "holdout", 0)


# --- what a classifier makes of it ---


def test_a_row_takes_the_classes_of_the_data(three):
    classes = data.classes(three)
    row = experiments.get("3-1", "light", classes=classes, splits=["train", "test"])
    assert (row.classes, row.num_classes) == (classes, 3)
    assert (row.class_weights, row.published, row.deviations) == ("balanced", (), ())
    assert row.select_on == "holdout"
    assert experiments.get("2-1", classes=classes).class_weights == (1, 1, 1)
    one = experiments.get("1-4", classes=classes[:2])
    assert (one.num_classes, one.class_weights, one.classes) == (1, None, classes[:2])
    given = experiments.get("3-1", classes=classes, select_on="validation", class_weights=[1, 2, 3])
    assert (given.select_on, given.class_weights) == ("validation", (1, 2, 3))
    assert experiments.get("3-1", classes=data.CLASSES) == experiments.get("3-1")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ["melanoma"]}, r"classes is \('melanoma',\); expected 2 or more"),
        ({"classes": [f"c{k}" for k in range(21)]}, "classes is .*; expected at most 20"),
        ({"classes": ["Melanoma", "nevus"]}, r"classes\[0\] is 'Melanoma'; expected small letters"),
        ({"classes": ["a/b", "nevus"]}, r"classes\[0\] is 'a/b'; expected small letters"),
        ({"classes": ["a", "b", "a"]}, r"classes are a, b, a; expected each once"),
        ({"classes": ["a", "b"], "num_classes": 3}, "num_classes is 3 for 2 classes; expected as"),
        ({"num_classes": 2}, "num_classes is 2 for 3 classes; expected as many, or 1 for the"),
        ({"class_weights": "equal"}, "class_weights is 'equal'; expected .*, 'balanced', or None"),
        ({"class_weights": [1, 2]}, r"class_weights is \[1.0, 2.0\]; expected 3 numbers"),
    ],
)
def test_a_row_on_impossible_classes(changes, said):
    settings = json.loads(json.dumps(dataclasses.asdict(experiments.get("3-1"))))
    with pytest.raises(ValueError, match=said):
        experiments.restore(settings | changes)


def test_segmenters_have_no_balanced_weights():
    with pytest.raises(ValueError, match="class_weights is 'balanced'; expected a list or None"):
        experiments.get("seg-6", class_weights="balanced")


def test_settings_of_before_have_isic_2017s_classes():
    settings = json.loads(json.dumps(dataclasses.asdict(experiments.get("1-3"))))
    del settings["classes"]
    assert experiments.restore(settings).classes == data.CLASSES


def test_balanced_weights_are_scikit_learns(three):
    from sklearn.utils.class_weight import compute_class_weight

    train = data.read(three).iloc[:11]
    row = experiments.get("3-1", classes=data.classes(three))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=train["label"])
    assert data.class_weights(row, train) == pytest.approx(expected)
    one = experiments.get("1-4", classes=data.classes(three), class_weights="balanced")
    rest = train["label"].clip(upper=1)
    expected = compute_class_weight("balanced", classes=np.arange(2), y=rest)
    assert data.class_weights(one, train) == pytest.approx(expected)
    assert data.class_weights(experiments.get("1-3"), train) == (2.5, 2.5, 0.5)


def test_a_class_that_cannot_be_learned_is_named(three):
    train, select = data.training_images(data.read(three), "validation", 0)
    data.require_classes(3, train, select)
    without = train[train["label"] != 2]
    with pytest.raises(DataError, match=r"found melanoma 4, basal_cell_carcinoma 4, nevus 0\."):
        data.require_classes(3, without, select)
    with pytest.raises(DataError, match=r"row 1-4 \(melanoma against the rest\)"):
        data.require_classes(3, without, select)


def test_the_prepared_store_takes_an_own_set(three):
    images = data.read(three)
    store = data.prepare(three, images, 32)
    assert store.image(0).shape == (32, 32, 3)
    assert store.index["label"].tolist() == images["label"].tolist()
    original = cv2.imread(images["mask"][3], cv2.IMREAD_GRAYSCALE)
    assert store.mask(3).mean() == pytest.approx(original.mean(), rel=0.1)
    prints = [store.fingerprint(images)]
    for change in (cell("label", "melanoma"), cell("group", "P01")):
        change(three)
        prints.append(store.fingerprint(data.read(three)))
    assert len(set(prints)) == 3
