"""Scores of segmenters: written once, read ever after, each beside its own convention."""

import json

import numpy as np
import pandas as pd
import pytest

import experiments
from utils import evaluation
from utils.evaluation import ranking, results, score_files, score_tables
from utils.evaluation.counts import counts_of
from utils.evaluation.full_size import THRESHOLDS
from utils.evaluation.paired import mask_differences
from utils.evaluation.results import Result
from utils.evaluation.settings import MaskSettings
from utils.logger.run import RunFolder
from utils.system.errors import RunError

SETTINGS = MaskSettings(batch_size=4)


def result_of(ids, seed: int = 0) -> Result:
    """Made-up results: id k finds more of its lesion than id k - 1."""
    rng = np.random.default_rng(seed)
    lesion = rng.integers(200, 400, len(ids))
    found = (lesion * np.linspace(0.5, 1, len(ids))).astype(int)
    table = pd.DataFrame({"id": ids, "width": 40, "height": 30, "tp": found, "fp": 20})
    table["fn"], table["tn"] = lesion - found, 1200 - lesion - 20
    scores = evaluation.masks.per_image(counts_of(table))
    cells = table[["id", "tp", "fp", "fn", "tn"]]
    steps = [cells.assign(threshold=step) for step in THRESHOLDS]
    order = ["id", "threshold", "tp", "fp", "fn", "tn"]
    return Result(table.assign(**scores), pd.concat(steps, ignore_index=True)[order])


@pytest.fixture
def rows():
    return pd.DataFrame({"id": [f"ISIC_{k}" for k in range(8)]})


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


def test_what_is_there_is_read(run, rows):
    calls = []
    first = results.per_image(run, "test", rows, lambda: calls.append(1) or result_of(rows["id"]))
    second = results.per_image(run, "test", rows, lambda: calls.append(1))
    assert calls == [1]
    for one, other in zip(first, second, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    backwards = results.per_image(run, "test", rows.iloc[::-1], lambda: calls.append(1))
    assert backwards.per_image["id"].tolist() == rows["id"].tolist()[::-1]


def test_masks_that_are_asked_for_later_are_written_then(run, rows, tmp_path):
    calls = []

    def evaluate() -> Result:
        calls.append(1)
        (tmp_path / "masks").mkdir(exist_ok=True)
        for name in rows["id"]:
            (tmp_path / "masks" / results.mask_name(name)).touch()
        return result_of(rows["id"])

    results.per_image(run, "test", rows, evaluate)
    (tmp_path / "masks/ISIC_3_segmentation.png").unlink()
    for _ in range(2):
        results.per_image(run, "test", rows, evaluate, tmp_path / "masks")
    assert len(calls) == 2


def test_a_result_half_written_is_made_again(run, rows):
    results.per_image(run, "test", rows, lambda: result_of(rows["id"]))
    (run / "thresholds-test.csv").unlink()
    results.per_image(run, "test", rows, lambda: result_of(rows["id"]))
    assert (run / "thresholds-test.csv").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:0], r"per-image-test.csv is damaged \(No columns.*Remove that file"),
        (lambda text: text.replace("jaccard", "iou", 1), r"damaged: expected the columns id, wid"),
        (lambda text: text.replace(",40,", ",,", 1), r"found .* 1 empty"),
        (lambda text: text.replace("ISIC_3", "ISIC_9"), r"other images; .*: ISIC_3, ISIC_9"),
        (lambda text: text + text.splitlines()[2] + "\n", r"holds ids twice: ISIC_1"),
    ],
)
def test_a_damaged_file_names_the_cure(run, rows, damage, message):
    results.per_image(run, "test", rows, lambda: result_of(rows["id"]))
    file = run / "per-image-test.csv"
    file.write_text(damage(file.read_text()))
    with pytest.raises(RunError, match=message):
        results.per_image(run, "test", rows, lambda: result_of(rows["id"]))


def test_scores_are_written_in_all_conventions(run, rows):
    row = {"select_on": "validation", "threshold": 0.5, "views": 1}
    run.save_json("config.json", {"row": row})
    table = result_of(rows["id"]).per_image
    found = score_files.mask_scores(run, "validation", table, "ISIC 2017", SETTINGS)
    assert json.loads((run / "scores-validation.json").read_text()) == found
    assert found["official"]["jaccard"]["value"] == pytest.approx(table["jaccard"].mean())
    assert found["lesion"]["jaccard"]["value"] == pytest.approx(
        table["tp"].sum() / table[["tp", "fp", "fn"]].sum().sum()
    )
    assert (found["threshold"], found["views"], found["n"]) == (0.5, 1, 8)
    lines = score_tables.summary(found).splitlines()
    assert lines[0] == "ISIC 2017, validation split, 8 images, 95 % intervals:"
    assert lines[1].startswith(f"  mean Jaccard: {table['jaccard'].mean():.3f} [")
    assert lines[-1].strip().startswith("the epoch was chosen on these very images")


def test_another_way_to_make_masks_says_so(run, rows):
    run.save_json("config.json", {"row": {"select_on": "validation"}})
    settings = MaskSettings(batch_size=4, views=8, threshold=0.4, clean_up=True)
    table = result_of(rows["id"]).per_image
    found = score_files.mask_scores(run, "validation-8-views", table, "ISIC 2017", settings)
    assert (found["split"], found["views"], found["threshold"]) == ("validation", 8, 0.4)
    first, *_, last = score_tables.summary(found).splitlines()
    assert first.startswith("ISIC 2017, validation split, 8 views, cleaned up, 8 images")
    assert "the scores flatter" in last


def test_published_rows_stand_in_their_own_convention(run, rows):
    found = score_files.mask_scores(
        run, "test", result_of(rows["id"]).per_image, "ISIC 2017", SETTINGS
    )
    table = score_tables.mask_comparison(found, experiments.get("seg-3"))
    (pooled, ours), *_ = table.index
    assert pooled.startswith("coursework")
    assert ours == "this run (ISIC 2017, test)"
    assert table.loc[(pooled, ours), "JSI"] == f"{found['coursework']['jaccard']['value']:.4f}"
    theirs = (pooled, "coursework, Dense-UNet pretrained")
    assert table.loc[theirs, ["JSI", "DSC", "TJI"]].tolist() == ["0.8457", "0.9150", "0.7875"]
    official = table.xs(table.index[-1][0])
    assert official.loc[ours, "JSI"] == f"{found['official']['jaccard']['value']:.4f}"
    assert official.loc["Yuan, 1st of the challenge", "JSI"] == "0.7650"
    assert "coursework, Dense-UNet pretrained" not in official.index
    assert official.loc["MB-DCNN, TMI 2020", "SE"] == ""
    lite = score_tables.mask_comparison(found, experiments.get("seg-6"))
    assert len(set(lite.index.get_level_values(0))) == 1  # nothing pooled was published for it
    alone = score_tables.mask_comparison(
        found | {"data": "synthetic demo data"}, experiments.get("seg-3")
    )
    assert alone["trained on"].tolist() == ["synthetic images"] * 2  # ours in two conventions


def test_points_of_the_forest_plot(run, rows):
    found = {
        name: score_files.mask_scores(
            run, "test", result_of(rows["id"], seed).per_image, "d", SETTINGS
        )
        for seed, name in enumerate(("a", "b"))
    }
    assert not score_tables.mask_points(found, dict.fromkeys(found, experiments.get("seg-1")))[
        "published"
    ].any()
    found = {name: scores | {"n": 600} for name, scores in found.items()}
    table = score_tables.mask_points(found, dict.fromkeys(found, experiments.get("seg-1")))
    ours, theirs = table[~table["published"]], table[table["published"]]
    assert ours["run"].unique().tolist() == ["a", "b"]
    assert (ours["low"] <= ours["value"]).all()
    assert theirs["low"].isna().all()
    assert not theirs["run"].str.startswith("coursework").any()  # of the other convention
    assert len(theirs) == len(theirs.drop_duplicates(["run", "metric"]))


def test_differences_are_paired(rows):
    base = result_of(rows["id"]).per_image
    better = base.assign(tp=base["tp"] + base["fn"] // 2, fn=base["fn"] - base["fn"] // 2)
    better = better.assign(**evaluation.masks.per_image(counts_of(better)))
    table = mask_differences({"a": base, "b": better.iloc[::-1], "c": base})
    gain = (better["jaccard"] - base["jaccard"]).mean()
    assert table.loc["b", "mean Jaccard"].startswith(f"{gain:+.3f} [")
    assert table.loc["b", "better on"] == f"{(better['fn'] < base['fn']).sum()} of 8 images"
    assert table.loc["c", "mean Jaccard"] == "+0.000 [+0.000, +0.000]"


def test_best_middle_and_worst(rows):
    table = result_of(rows["id"]).per_image
    groups = ranking.ranked(table, 2)
    order = table.sort_values("jaccard", ascending=False)["id"].tolist()
    assert groups["best"]["id"].tolist() == order[:2]
    assert groups["median"]["id"].tolist() == order[3:5]
    assert groups["worst"]["id"].tolist() == order[-1:-3:-1]


@pytest.mark.parametrize("images", range(1, 9))
def test_no_image_is_among_the_best_and_the_worst(rows, images):
    table = result_of(rows["id"]).per_image.head(images)
    groups = ranking.ranked(table, 20)
    ssettingsn = pd.concat(groups.values())["id"]
    assert ssettingsn.is_unique
    assert len(ssettingsn) == images - images % 3 if images >= 3 else images
    assert list(groups) == ["best", "median", "worst"]


def test_failures_are_below_the_challenges_threshold(rows):
    table = result_of(rows["id"]).per_image
    failed = ranking.failures(table)
    assert 0 < len(failed) < len(table)
    assert (failed["jaccard"] < 0.65).all()
    assert failed["jaccard"].is_monotonic_increasing
    assert set(failed["id"]) == set(table.loc[table["jaccard"] < 0.65, "id"])
