"""Boxes of lesions: each from the network that had not seen the image, kept, and used again."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import fold_segmenters
import numpy as np
import pandas as pd
import pytest
from fold_segmenters import BOXES, DRAWERS, SIDE, Drawer
from sklearn.model_selection import StratifiedGroupKFold

import experiments
from utils import data, evaluation, logger, model
from utils.data import store
from utils.evaluation import boxes
from utils.system.errors import RunError
from utils.system.files import read_table


def kept_in(folder: Path) -> Path:
    """The file of boxes."""
    (file,) = folder.glob("boxes-demo-seg-6-*.csv")
    return file


@pytest.fixture
def folder(demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the demo set; runs are looked for beside it."""
    monkeypatch.setattr("utils.system.project.PROJECT", tmp_path)
    return Path(
        shutil.copytree(demo_set, tmp_path / "demo", ignore=shutil.ignore_patterns("prepared*"))
    )


@pytest.fixture
def models(folder: Path) -> Path:
    models = logger.models_of(folder, "demo")
    fold_segmenters.make(models, folder)
    return models


ROW = experiments.get("3-5", "demo", stored_size=64, image_size=32, workers=0)


def by_hand(box: tuple[int, ...]) -> list[float]:
    """left, top, width, height that a box of the drawn image gives in one of 96×72 px."""
    left, right = (box[k] / SIDE * 96 for k in (0, 2))
    top, bottom = (box[k] / SIDE * 72 for k in (1, 3))
    side = 1.4 * max(right - left, bottom - top)
    x = min(max((left + right) / 2 - side / 2, 0), 96 - side)
    y = min(max((top + bottom) / 2 - side / 2, 0), 72 - side)
    return [x / 96, y / 72, side / 96, side / 72]


@pytest.mark.usefixtures("models")
def test_a_training_image_is_cut_by_the_network_that_had_not_seen_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = data.read(folder)
    kept = evaluation.prepared(ROW, folder, images, DRAWERS)
    assert re.fullmatch("prepared-64-demo-seg-6-[0-9a-f]{8}", kept.folder.name)
    table = read_table(kept_in(folder)).set_index("id")
    assert set(table.index) == set(images["id"])
    train = images[images["split"] == "train"]
    splitter = StratifiedGroupKFold(3, shuffle=True, random_state=0)
    parts = list(splitter.split(train, train["label"], train["id"]))
    sides = ["left", "top", "width", "height"]
    for number, (_, held) in enumerate(parts):
        own = table.loc[train["id"].iloc[held]]
        assert set(own["fold"]) == {f"{number + 1}/3"}
        np.testing.assert_allclose(own[sides], [by_hand(BOXES[number])] * len(own), atol=2e-6)
    # At two of three is more than a half: the mean of all is lesion there.
    rest = table.loc[images.loc[images["split"] != "train", "id"]]
    assert set(rest["fold"]) == {"mean"}
    np.testing.assert_allclose(rest[sides], [by_hand((8, 6, 24, 18))] * len(rest), atol=2e-6)
    assert "boxes of demo-seg-6: 40 images, 0 without a plausible" in capsys.readouterr().out


@pytest.mark.usefixtures("models")
def test_boxes_are_computed_once_and_only_for_what_is_new(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = data.read(folder)
    asked: list[int] = []
    found = boxes._found
    monkeypatch.setattr(
        boxes, "_found", lambda *given: (asked.append(len(given[2])), found(*given))[1]
    )
    evaluation.prepared(ROW, folder, images[images["split"] == "test"], DRAWERS)
    first = pd.read_csv(kept_in(folder), index_col="id")
    evaluation.prepared(ROW, folder, images, DRAWERS)
    evaluation.prepared(ROW, folder, images, DRAWERS)
    assert asked == [8, 32]
    table = pd.read_csv(kept_in(folder), index_col="id")
    pd.testing.assert_frame_equal(table.loc[first.index], first)
    other = images["image"][4]
    shutil.copy(images["image"][7], other)
    with pytest.raises(RunError, match=r"seg-6-f\d-s0 was trained on other images than there are"):
        evaluation.prepared(ROW, folder, images, DRAWERS)
    kept_in(folder).write_text("damaged")
    with pytest.raises(RunError, match="was trained on other images"):
        evaluation.prepared(ROW, folder, images[images["split"] == "test"], DRAWERS)


def test_a_run_with_other_boxes_is_not_resumed_and_not_evaluated(
    folder: Path, models: Path, tmp_path: Path
) -> None:
    images = data.read(folder)
    train, select = data.training_images(images, ROW.select_on, ROW.seed)

    def begin() -> logger.RunFolder:
        facts = {"set": data.note(folder), "folder": folder.name}
        facts |= boxes.facts(ROW, folder)
        kept = evaluation.prepared(ROW, folder, images, DRAWERS)
        facts["fingerprint"] = kept.fingerprint(pd.concat([train, select]))
        return logger.start_run(tmp_path / "run", ROW, facts)

    run = begin()
    (run / "last.pt").touch()
    begin()
    evaluation.prepared(ROW, folder, images, DRAWERS, run)
    model.save_weights(Drawer((2, 2, 30, 30)), models / "seg-6-f2-s0/best.safetensors")
    with pytest.raises(RunError, match=r"run with other settings: data fingerprint is '\w{16}' th"):
        begin()
    with pytest.raises(RunError, match=r"trained on boxes of other fold runs of seg-6 than those"):
        evaluation.prepared(ROW, folder, images, DRAWERS, run)
    fold_segmenters.make(models, folder)
    begin()


def test_other_networks_change_nothing_under_a_training(folder: Path, models: Path) -> None:
    images = data.read(folder)
    first = evaluation.prepared(ROW, folder, images, DRAWERS)
    before = [first.image(place) for place in range(5)]
    model.save_weights(Drawer((2, 2, 30, 30)), models / "seg-6-f2-s0/best.safetensors")
    other = evaluation.prepared(ROW, folder, images, DRAWERS)
    assert other.folder != first.folder
    assert any((other.image(k) != image).any() for k, image in enumerate(before))
    np.testing.assert_array_equal([first.image(place) for place in range(5)], before)


def test_images_without_a_plausible_lesion_are_kept_whole(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing, speck = Drawer((0, 0, 0, 0)), Drawer((9, 9, 10, 10))
    models = logger.models_of(folder, "demo")
    fold_segmenters.make(models, folder, [nothing, speck, Drawer(BOXES[0])])
    images = data.read(folder)
    kept = evaluation.prepared(ROW, folder, images, DRAWERS)
    table = read_table(kept_in(folder)).set_index("id").loc[images["id"]]
    empty = ~table["found"].to_numpy()
    # A speck of one of 1024 px has 0.001: just below LEAST it would be whole.
    assert 1 / SIDE**2 < boxes.LEAST
    assert (table["fold"].isin(["1/3", "2/3", "mean"]) == empty).all()
    assert f"40 images, {empty.sum()} without a plausible lesion" in capsys.readouterr().out
    plain = store.prepare(folder, images, ROW.stored_size)
    for place in np.flatnonzero(empty)[:3]:
        np.testing.assert_array_equal(kept.image(place), plain.image(place))


@pytest.mark.usefixtures("models")
def test_images_without_a_mask_of_their_own_have_boxes_too(folder: Path) -> None:
    (masks,) = folder.glob("ISIC-2017_Test_v2_Part1_GroundTruth")
    shutil.rmtree(masks)
    images = data.read(folder)
    assert set(images.loc[images["split"] == "test", "mask"]) == {""}
    evaluation.prepared(ROW, folder, images, DRAWERS)
    assert pd.read_csv(kept_in(folder))["found"].all()


def test_the_box_of_a_region_is_one_of_the_image() -> None:
    probability = np.zeros((50, 100))
    probability[10:20, 30:70] = 0.9
    probability[40:42, 2:4] = 1.0  # a smaller part
    assert boxes.lesion_box(probability) == pytest.approx((0.3, 0.2, 0.4, 0.2))
    middle = (0.25, 0.25, 0.5, 0.5)
    assert boxes.lesion_box(probability, 0.5, middle) == pytest.approx((0.4, 0.35, 0.2, 0.1))
    assert boxes.lesion_box(probability, 0.95, middle) is None


# --- which fold runs ---


def test_missing_folds_are_answered_with_the_command(folder: Path) -> None:
    command = f'python reproduce.py seg-6 --profile demo --data-dir "{folder}" --folds'
    with pytest.raises(RunError, match=re.escape(f"with\n    {command} 5")):
        boxes.facts(ROW, folder)
    series = replace(ROW, crop_from="best/seg-6-series")
    with pytest.raises(
        RunError, match=r"seg-6-series-f1-s0, .*\n.*--profile best .*--folds 5 --fold-by"
    ):
        boxes.facts(series, folder)
    models = logger.models_of(folder, "demo")
    runs = fold_segmenters.make(models, folder)
    shutil.rmtree(runs[1].path)
    runs[2].save_json("config.json", runs[2].config | {"finished": False})
    with pytest.raises(RunError, match=r"run of seg-6-f2-s0, seg-6-f3-s0; make .*\n.*--folds 3$"):
        boxes.facts(ROW, folder)


def test_folds_that_do_not_belong_together_are_refused(folder: Path, models: Path) -> None:
    config = logger.RunFolder(models / "seg-6-f3-s0").config
    third = logger.RunFolder(models / "seg-6-f3-s0")

    def with_third(**changes: object) -> None:
        third.save_json("config.json", config | {"row": config["row"] | changes})
        boxes.facts(ROW, folder)

    with pytest.raises(
        RunError, match=r"3 \(seg-6-f1-s0, seg-6-f2-s0\) and 5 \(seg-6-f3-s0\) folds"
    ):
        with_third(fold="3/5")
    with pytest.raises(RunError, match=r"f3-s0 has another noise, image_size than seg-6-f1-s0"):
        with_third(image_size=[64, 64], noise=0.5)
    with pytest.raises(RunError, match=r"f3-s0 has train_list 'extended'; expected 'official'"):
        with_third(train_list="extended")
    third.save_json("config.json", config | {"data": config["data"] | {"set": "ISIC 2017"}})
    with pytest.raises(RunError, match=r"f3-s0 was trained on ISIC 2017; expected synthetic demo"):
        boxes.facts(ROW, folder)
    third.save_json("config.json", config)
    (third / "best.safetensors").rename(third / "kept")
    with pytest.raises(RunError, match=r"seg-6-f3-s0/best.safetensors is missing"):
        boxes.facts(ROW, folder)
    (third / "kept").rename(third / "best.safetensors")
    assert list(boxes.facts(ROW, folder)) == ["segmenter"]
    assert boxes.facts(replace(ROW, crop_from=None), folder) == {}
    series = replace(ROW, fold="series 1/3", select_on="fold", keep="last")
    with pytest.raises(RunError, match=r"fold 'series 1/3' holds out; take -p crop_from seg-6-"):
        boxes.facts(series, folder)
    with pytest.raises(RunError, match=r"no finished run of seg-6-series-f1-s0, (.|\n)*by series"):
        boxes.facts(replace(ROW, crop_from="seg-6-series"), folder)
    for number in (1, 2, 3):
        path = models / f"seg-6-series-f{number}-s0"
        shutil.copytree(models / f"seg-6-f{number}-s0", path)
        row = config["row"] | {"fold": f"series {number}/3"}
        logger.RunFolder(path).save_json("config.json", config | {"row": row})
    by_series = boxes.facts(replace(ROW, crop_from="seg-6-series"), folder)
    assert by_series != boxes.facts(ROW, folder)
    there = replace(ROW, profile="light", crop_from=f"{models}/seg-6")
    assert boxes.facts(there, folder) == boxes.facts(ROW, folder)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("seg-9", "no segmentation row called 'seg-9'; the segmentation rows are seg-1"),
        ("3-1", "no segmentation row called '3-1'"),
        (6, "no segmentation row called '6'"),
        ("seg-6-f1-s0", "no segmentation row called 'seg-6-f1-s0'"),
        (True, "crop_from is True; expected"),
    ],
)
def test_what_names_no_segmenter(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        experiments.get("3-1", crop_from=value)


def test_crops_of_images_have_no_boxes() -> None:
    with pytest.raises(ValueError, match="crop_from is for whole images, train_list 'patches' for"):
        experiments.get("1-4", "paper", crop_from="seg-6")
    assert experiments.get("3-5", crop_from="none").crop_from is None
