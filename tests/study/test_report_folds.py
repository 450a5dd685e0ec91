"""The section on cross-validation, against numbers computed another way."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import study_folders
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests
from study_folders import of_fold

import experiments
from study import report
from study.report import cross_validation as section
from study.report import pairs
from study.report.entries import Study
from study.report.page import Fold, Items, Table, Text
from utils.evaluation import out_of_fold
from utils.evaluation.paired import paired_difference
from utils.logger.run import RunFolder

CHANCE = {"1-3": 1.5, "4-1": 0.5, "seg-6": 0.8}


@pytest.fixture(scope="module", autouse=True)
def _fewer_resamples() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "RESAMPLES", 2000)
        yield


@pytest.fixture(scope="module")
def models(mktemp: Callable[[str], Path]) -> Path:
    """Three folds by chance of three rows, and two of three by series of one."""
    folder = mktemp("study") / "model"
    for row, skill in CHANCE.items():
        for number in (1, 2, 3):
            of_fold(folder, f"{number}/3", row, skill)
    for number in (1, 2):
        of_fold(folder, f"series {number}/3", "1-3", 1.0)
    whole = experiments.get("1-3", "best", epochs=2, weights="none")
    study_folders.classifier(folder / "1-3-s0", whole)
    return folder


def blocks_of(models: Path) -> list:
    groups = out_of_fold.grouped(out_of_fold.beside(RunFolder(models / "1-3-s0")))
    return list(section.cross_validation(Study([], "test", "ISIC 2017", folds=groups)).blocks)


@pytest.fixture(scope="module")
def blocks(models: Path) -> list:
    return blocks_of(models)


def tables(blocks: list) -> dict[str, pd.DataFrame]:
    found = [one for one in blocks if isinstance(one, Table)]
    found += [one for fold in blocks if isinstance(fold, Fold) for one in fold.blocks]
    return {one.caption: one.table for one in found}


def held_out(models: Path, row: str) -> list[pd.DataFrame]:
    return [pd.read_csv(models / f"{row}-f{k}-s0/predictions-fold.csv") for k in (1, 2, 3)]


def area(table: pd.DataFrame, number: int = 0) -> float:
    name = ("melanoma", "seborrheic_keratosis")[number]
    return roc_auc_score(table["label"] == number, table[name])


def test_means_and_all_images_stand_side_by_side(models: Path, blocks: list) -> None:
    table = tables(blocks)["Classifiers: held-out training images"]
    line = table[(table["row"] == "1-3") & (table["score"] == "AUC melanoma")].iloc[0]
    folds = held_out(models, "1-3")
    areas = [area(one) for one in folds]
    mean, deviation = np.mean(areas), np.std(areas, ddof=1)
    low, high = stats.t.interval(0.95, 2, mean, deviation / np.sqrt(3))
    ends = f"[{max(low, 0):.3f}, {min(high, 1):.3f}]"
    assert line["mean, by chance"] == f"{mean:.3f} ± {deviation:.3f} {ends}"
    assert line["folds by chance"] == "3 of 3"
    pooled = area(pd.concat(folds))
    assert re.fullmatch(rf"{pooled:.3f} \[0\.\d+, [01]\.\d+\]", line["all images, by chance"])
    # Two of three folds: no interval, and no table of all images.
    assert re.fullmatch(r"0\.\d{3} ± 0\.\d{3}", line["mean, by series"])
    assert (line["folds by series"], line["all images, by series"]) == ("2 of 3", "–")
    plain = table[(table["row"] == "4-1") & (table["score"] == "mean AUC")].iloc[0]
    assert plain["mean, by series"] == "–"


def test_each_fold_has_its_value(models: Path, blocks: list) -> None:
    table = tables(blocks)["Classifiers: the score of each fold"].set_index(["row", "folds"])
    lines = table.loc[("4-1", "by chance")].set_index("score")
    expected = [f"{area(one, 1):.3f}" for one in held_out(models, "4-1")]
    assert lines.loc["AUC seborrheic keratosis", ["1/3", "2/3", "3/3"]].tolist() == expected
    series = table.loc[("1-3", "by series")].set_index("score")
    assert series.loc["mean AUC", "3/3"] == "–"


def test_segmenters_have_a_table_of_their_own(models: Path, blocks: list) -> None:
    table = tables(blocks)["Segmenters: held-out training images"].set_index("score")
    runs = [pd.read_csv(models / f"seg-6-f{k}-s0/per-image-fold.csv") for k in (1, 2, 3)]
    pooled = pd.concat(runs)["jaccard"].mean()
    assert table.loc["mean Jaccard", "all images, by chance"].startswith(f"{pooled:.3f} [")
    assert "mean, by series" not in table


def test_rows_are_compared_on_the_same_images(models: Path, blocks: list) -> None:
    table = tables(blocks)["Rows against one another on out-of-fold predictions"]
    assert set(zip(table["folds"], table["row"], table["against"], strict=True)) == {
        ("by chance", "4-1", "1-3")
    }
    line = table[table["test"] == "bootstrap"].iloc[0]
    sides = [held_out(models, row) for row in ("4-1", "1-3")]
    found = paired_difference(*(pd.concat(side) for side in sides), resamples=2000)
    signed = f"{found.value:+.3f}".replace("-", "−")
    assert line["difference"].startswith(signed)
    assert found.high < 0
    assert line["verdict"] == "lower"
    means = [[(area(one) + area(one, 1)) / 2 for one in side] for side in sides]
    gains = np.subtract(*means)
    words = f"{gains.mean():+.3f} ± {gains.std(ddof=1):.3f}".replace("-", "−")
    assert line["difference of the folds"] == f"{words}, ahead in {(gains > 0).sum()} of 3"


def test_rows_stand_beside_the_baselines_of_the_same_folds(tmp_path: Path) -> None:
    for row, skill in (("1-3", 1.5), ("4-1", 0.1), ("0-2", 0.5), ("seg-6", 0.8), ("seg-0-1", 0.3)):
        for number in (1, 2, 3):
            of_fold(tmp_path, f"{number}/3", row, skill)
    of_fold(tmp_path, "series 1/3", "0-3", 0.5)  # of which no row has all
    groups = out_of_fold.grouped([RunFolder(path) for path in sorted(tmp_path.iterdir())])
    blocks = section.cross_validation(Study([], "test", "ISIC 2017", folds=groups)).blocks
    found = tables(list(blocks))
    table = found["Classifiers minus baselines, images held out by chance"]
    assert table["row"].tolist() == ["1-3", "4-1"]
    assert set(table["baseline"]) == {"0-2: Age and sex alone, by logistic regression"}
    sides = [pd.concat(held_out(tmp_path, row)) for row in ("1-3", "0-2")]
    expected = paired_difference(*sides, resamples=2000)
    words = f"{expected.value:+.3f} [{expected.low:+.3f}, {expected.high:+.3f}]"
    line = table.iloc[0]
    assert line["mean AUC, difference"] == words.replace("-", "−")
    assert line["its mean AUC"] == f"{np.mean([area(sides[1], k) for k in (0, 1)]):.3f}"
    masks = found["Segmenters minus baselines, images held out by chance"]
    assert masks["row"].tolist() == ["seg-6"]
    (said,) = [one.text for one in blocks if isinstance(one, Text) and "Beside" in one.text]
    assert "Not shown to know more than age and sex alone, without an image (row 0-2)" in said
    assert "1 of 2 rows: 4-1" in said
    assert "More than Otsu's threshold (row seg-0-1): seg-6." in said


def test_damaged_folds_are_named(tmp_path: Path) -> None:
    for number in (1, 2):
        of_fold(tmp_path, f"{number}/2", "1-3")
    study_folders.classifier(tmp_path / "1-3-s0", experiments.get("1-3", "best", epochs=2))
    (tmp_path / "1-3-f2-s0/predictions-fold.csv").unlink()
    (items,) = [one for one in blocks_of(tmp_path) if isinstance(one, Items)]
    assert len(items.items) == 1
    assert re.match(r"1-3, by chance, seed 0: .*1-3-f2-s0/predictions-fold\.csv", items.items[0])


def test_without_folds_the_command_is_named() -> None:
    (text,) = section.cross_validation(Study([], "test", "ISIC 2017")).blocks
    assert isinstance(text, Text)
    assert "python reproduce.py ROW --folds 5" in text.text


def test_the_page_says_where_it_was_fitted(models: Path, demo_set: Path) -> None:
    page = report.write({"1-3-s0": RunFolder(models / "1-3-s0")}, demo_set, "test")
    parts = re.findall(r'<section id="(\w+)">(.*?)</section>', page.read_text(), re.DOTALL)
    texts = dict(parts)
    assert "Student&#39;s t" in texts["folds"]
    assert "<td>180 out-of-fold predictions of 1-3</td>" in texts["trust"]


def test_one_table_is_one_family_of_tests(tmp_path: Path) -> None:
    """By chance and by series stand in one table, and Holm's correction knows all of it."""
    for row, skill in (("1-3", 0.6), ("4-1", 0.5)):
        for kind in ("", "series "):
            for number in (1, 2, 3):
                of_fold(tmp_path, f"{kind}{number}/3", row, skill)
    runs = [RunFolder(path) for path in sorted(tmp_path.iterdir())]
    groups = out_of_fold.grouped(runs)
    found = section.cross_validation(Study([], "test", "ISIC 2017", folds=groups)).blocks
    table = tables(list(found))["Rows against one another on out-of-fold predictions"]
    assert len(table) == 2 * 4
    p, adjusted = (
        table[name].str.removeprefix("< ").astype(float).to_numpy() for name in ("p", "p (Holm)")
    )
    told = p >= 0.002  # the others are rounded
    expected = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(adjusted[told], expected[told], atol=0.006)
