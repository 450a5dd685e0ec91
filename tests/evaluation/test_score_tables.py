"""Score files: written and read by one pair of functions, shown beside published numbers."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from made_up import predictions_of, results_of
from sklearn.metrics import roc_auc_score

import experiments
from utils import evaluation
from utils.data.splits import CLASSES
from utils.evaluation import score_files, score_tables
from utils.evaluation.conventions import classification_scores
from utils.evaluation.counts import counts_of
from utils.evaluation.intervals import interval_text
from utils.evaluation.paired import label_differences, mask_differences, paired_difference
from utils.evaluation.published import OTHER, SYNTHETIC, comparable, reason, trained_on
from utils.logger.run import RunFolder
from utils.system.errors import RunError

IDS = [f"ISIC_{k}" for k in range(30)]
SETTINGS = experiments.get("seg-6", image_size=(64, 64), views=1, clean_up=False)


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def of_labels(run: RunFolder, split: str = "test", note: str = "ISIC 2017", columns=3) -> dict:
    return score_files.label_scores(run, split, predictions_of(IDS, columns), note)


def of_masks(
    run: RunFolder, split: str = "test", note: str = "ISIC 2017", settings=SETTINGS, seed=0
) -> dict:
    per_image = results_of(IDS[:8], seed).per_image
    return score_files.mask_scores(run, split, per_image, note, settings)


# --- the file ---


@pytest.mark.parametrize("columns", [3, 1])
def test_scores_of_labels_are_written_as_they_are(run, columns):
    scores = of_labels(run, "test", "synthetic demo data", columns)

    def strict(name):
        raise AssertionError(f"{name} is no JSON")

    written = json.loads((run / "scores-test.json").read_text(), parse_constant=strict)
    assert written == scores == score_files.read(run / "scores-test.json")
    table = predictions_of(IDS, columns)
    expected = classification_scores(table["label"], table[list(CLASSES[:columns])])
    about = {"data": "synthetic demo data", "split": "test", "selected_on": ""}
    assert scores == about | expected
    assert of_labels(run, "test", "synthetic demo data", columns) == scores


def test_scores_without_a_class_are_null(run):
    table = predictions_of(IDS).assign(label=2)
    scores = score_files.label_scores(run, "test", table, "ISIC 2017")
    assert scores["official"]["melanoma"]["auc"]["value"] is None
    assert "NaN" not in (run / "scores-test.json").read_text()
    assert score_files.read(run / "scores-test.json") == scores


def test_scores_of_masks_are_written_in_all_conventions(run):
    run.save_json("config.json", {"row": {"select_on": "validation", "test_image": "centre crop"}})
    scores = of_masks(run, "validation")
    assert score_files.read(run / "scores-validation.json") == scores
    table = results_of(IDS[:8]).per_image
    assert scores["official"]["jaccard"]["value"] == pytest.approx(table["jaccard"].mean())
    pooled = table["tp"].sum() / table[["tp", "fp", "fn"]].sum().sum()
    assert scores["lesion"]["jaccard"]["value"] == pytest.approx(pooled)
    assert (scores["threshold"], scores["views"], scores["n"]) == (0.5, 1, 8)
    assert scores["test_image"] == "centre crop"


@pytest.mark.parametrize("make", [of_labels, of_masks])
def test_a_score_file_with_gaps_is_damaged(run, make):
    scores = make(run)
    file = run / "scores-test.json"
    headline = "jaccard" if "jaccard" in scores["official"] else "mean_auc"
    wrong = [{**scores, "n": "8"}, {**scores, "official": {**scores["official"], headline: 0.5}}]
    wrong += [{key: scores[key] for key in scores if key != gone} for gone in ("data", "official")]
    for content in (*map(json.dumps, wrong), "[]", "{", ""):
        file.write_text(content)
        with pytest.raises(RunError, match=r"scores-test.json is damaged: expected .* Remove it"):
            score_files.read(file)


# --- the summary ---


def test_summary_by_hand():
    def score(value, low=None, high=None) -> dict:
        return {"value": value, "low": low, "high": high}

    official = {
        "melanoma": {"auc": score(0.8, 0.7, 0.9), "accuracy": score(0.5, 0.4, 0.6)},
        "seborrheic_keratosis": {"auc": score(None)},  # no such image in the split
        "mean_auc": score(0.85, 0.75, 0.9),
    }
    scores = {"data": "synthetic demo data", "split": "test", "n": 8, "official": official}
    assert evaluation.summary(scores).splitlines() == [
        "synthetic demo data, test split, 8 images, 95 % intervals:",
        "  AUC melanoma: 0.800 [0.700, 0.900]",
        "  AUC seborrheic keratosis: undefined (a class is missing)",
        "  mean AUC: 0.850 [0.750, 0.900]",
    ]


@pytest.mark.parametrize("make", [of_labels, of_masks])
def test_scores_on_the_images_that_chose_the_epoch_say_so(run, make):
    run.save_json("config.json", {"row": {"select_on": "validation"}})
    for split in ("validation", "validation-8-views"):
        *_, last = evaluation.summary(make(run, split)).splitlines()
        assert last == "  the epoch was chosen on these very images: the scores flatter"
    assert "chosen on" not in evaluation.summary(make(run, "test"))


def test_another_way_to_make_masks_says_so(run):
    settings = replace(SETTINGS, views=8, threshold=0.4, clean_up=True)
    scores = of_masks(run, "validation-8-views", settings=settings)
    assert (scores["split"], scores["views"], scores["threshold"]) == ("validation", 8, 0.4)
    first, jaccard, *_ = evaluation.summary(scores).splitlines()
    way = "ISIC 2017, validation split, 8 views, cleaned up, 8 images, 95 % intervals:"
    assert first == way
    assert jaccard.startswith(f"  mean Jaccard: {scores['official']['jaccard']['value']:.3f} [")


# --- beside the published numbers ---

# What a score file says that is about the images of the published numbers.
COUNTS = {"melanoma": 117, "seborrheic_keratosis": 90, "benign": 393}
OFFICIAL_TEST = {"data": "ISIC 2017", "split": "test", "n": 600, "counts": COUNTS}
DEMO = OFFICIAL_TEST | {"data": "synthetic demo data"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"counts": {}}, OTHER),
        ({"split": "test-1-views"}, ""),
        ({"data": "synthetic demo data", "split": "validation"}, SYNTHETIC),
        ({"split": "validation"}, OTHER),
        ({"n": 599}, OTHER),
        ({"counts": COUNTS | {"melanoma": 116}}, OTHER),
    ],
)
def test_only_the_official_test_images_compare(changes: dict, why: str):
    assert reason(OFFICIAL_TEST | changes) == why


def test_a_segmenter_counts_no_classes_and_synthetic_images_are_no_official_list():
    assert reason({"data": "ISIC 2017", "split": "test", "n": 600}) == ""
    assert trained_on(OFFICIAL_TEST, "official") == "official list"
    assert trained_on(DEMO, "official") == "synthetic images"


def test_comparable_studies_come_once_and_beside_their_images_alone():
    def experiment(*sources: str) -> SimpleNamespace:
        return SimpleNamespace(published=[SimpleNamespace(source=name) for name in sources])

    known = {"real": experiment("a", "b"), "again": experiment("b", "c"), "none": experiment("d")}
    found = comparable({"real": OFFICIAL_TEST, "again": OFFICIAL_TEST}, known)
    assert [study.source for study in found] == ["a", "b", "c"]
    assert comparable({"real": DEMO}, known) == []
    assert comparable({"real": OFFICIAL_TEST | {"n": 150}}, known) == []


def test_classifiers_beside_two_studies(run):
    scores = of_labels(run)
    table = score_tables.label_comparison(scores, experiments.get("1-1"))
    metrics = ("AUC", "ACC", "SE", "SP")
    assert table.columns.tolist() == [f"{name} {m}" for name in ("M", "SK") for m in metrics]
    assert table.index.names == ["study", "trained on"]
    assert table.index.tolist() == [
        ("ours, row 1-1 (ISIC 2017, test split)", "official list"),
        ("Zhang et al. 2019, ARL-CNN50", "2000 official + 1320 archive images"),
        ("coursework, ARL-CNN50", "2000 official + 1320 archive images"),
    ]
    assert table.iloc[1].tolist() == [0.875, 0.850, 0.658, 0.896, 0.958, 0.868, 0.878, 0.867]
    assert table.iloc[2].tolist() == [0.861, 0.853, 0.590, 0.917, 0.959, 0.927, 0.722, 0.963]
    # Ours in the convention that the published numbers are in, which is not the official one.
    names = ("auc", "accuracy", "sensitivity", "specificity")
    ours, official = (
        [round(scores[convention][label][m]["value"], 3) for label in CLASSES[:2] for m in names]
        for convention in ("coursework", "official")
    )
    assert table.iloc[0].tolist() == ours != official
    demo = score_tables.label_comparison(scores | DEMO, experiments.get("1-1"))
    name = "ours, row 1-1 (synthetic demo data, test split)"
    assert demo.index.tolist() == [(name, "synthetic images")]


def test_classifiers_beside_a_study_of_melanoma_alone_and_beside_none(run):
    alone = of_labels(run, columns=1)
    table = score_tables.label_comparison(alone, experiments.get("1-4"))
    lists = table.index.get_level_values("trained on").tolist()
    assert lists == ["official list", "2000 official images"]
    shown = ["M AUC", "M ACC", "M SE", "M SP"]
    assert table[shown].iloc[1].tolist() == [0.872, 0.850, 0.487, 0.937]
    assert table[shown].iloc[0].notna().all()
    assert table.filter(like="SK").isna().all().all()
    experiment = experiments.get("3-1", train_list="extended")
    table = score_tables.label_comparison(of_labels(run), experiment)
    assert table.index.tolist() == [("ours, row 3-1 (ISIC 2017, test split)", "extended list")]
    assert table.notna().all().all()


def test_segmenters_beside_studies_in_their_own_convention(run):
    scores = of_masks(run)
    table = score_tables.mask_comparison(scores, experiments.get("seg-3"))
    (pooled, ours), *_ = table.index
    assert pooled.startswith("coursework")
    assert ours == "this run (ISIC 2017, test)"
    assert table.loc[(pooled, ours), "JSI"] == f"{scores['coursework']['jaccard']['value']:.4f}"
    theirs = (pooled, "coursework, Dense-UNet pretrained")
    assert table.loc[theirs, ["JSI", "DSC", "TJI"]].tolist() == ["0.8457", "0.9150", "0.7875"]
    official = table.xs(table.index[-1][0])
    assert official.loc[ours, "JSI"] == f"{scores['official']['jaccard']['value']:.4f}"
    assert official.loc["Yuan, 1st of the challenge", "JSI"] == "0.7650"
    assert "coursework, Dense-UNet pretrained" not in official.index
    assert official.loc["MB-DCNN, TMI 2020", "SE"] == ""
    lite = score_tables.mask_comparison(scores, experiments.get("seg-6"))
    assert len(set(lite.index.get_level_values(0))) == 1  # nothing pooled was published for it
    demo = scores | {"data": "synthetic demo data"}
    alone = score_tables.mask_comparison(demo, experiments.get("seg-3"))
    assert alone["trained on"].tolist() == ["synthetic images"] * 2  # ours in two conventions


@pytest.mark.parametrize("name", experiments.segmentation.ROWS)
def test_no_two_studies_of_a_segmenter_have_one_name(name):
    names = [(study.convention, study.source) for study in experiments.get(name).published]
    assert len(set(names)) == len(names)


# --- points of a figure ---


def test_points_of_classifiers_with_each_study_once(run):
    first, second = of_labels(run), of_labels(run, columns=1)
    runs = {"a": first | OFFICIAL_TEST, "b": second | OFFICIAL_TEST, "c": second | OFFICIAL_TEST}
    known = dict(zip("abc", map(experiments.get, ("1-3", "2-4", "1-4")), strict=True))
    table = score_tables.label_points(runs, known)
    assert table.columns.tolist() == ["run", "metric", "value", "low", "high", "published"]
    for metric, score in score_files.headline(first).items():
        ours = table[(table["run"] == "a") & (table["metric"] == metric)]
        assert ours[["value", "low", "high"]].to_numpy().tolist() == [list(score.values())]
    names = ["AUC melanoma", "AUC seborrheic keratosis", "mean AUC"]
    assert list(score_files.headline(first)) == names
    assert table[table["run"] == "b"]["metric"].tolist() == ["AUC melanoma"]
    assert table[~table["published"]]["run"].unique().tolist() == ["a", "b", "c"]
    studies = table[table["published"]]
    # 1-3 and 2-4 quote the same study; 1-4's knows melanoma alone.
    coursework = "coursework, ARL-CNN14 (2000 official + 1320 archive images)"
    alone = (
        "re-implementation, ARL-CNN50, melanoma only (AUC and SP cut, not rounded) "
        "(2000 official images)"
    )
    assert studies["run"].tolist() == [coursework] * 3 + [alone]
    assert studies["value"].tolist() == pytest.approx([0.882, 0.955, 0.9185, 0.872])
    assert studies[["low", "high"]].isna().all().all()
    for other in ({"n": 150}, {"split": "validation"}, {"data": "synthetic demo data"}):
        elsewhere = {name: scores | other for name, scores in runs.items()}
        assert not score_tables.label_points(elsewhere, known)["published"].any()


def test_points_of_segmenters(run):
    runs = {name: of_masks(run, seed=seed) for seed, name in enumerate("ab")}
    known = dict.fromkeys(runs, experiments.get("seg-1"))
    assert not score_tables.mask_points(runs, known)["published"].any()
    runs = {name: scores | {"n": 600} for name, scores in runs.items()}
    table = score_tables.mask_points(runs, known)
    ours, theirs = table[~table["published"]], table[table["published"]]
    assert ours["run"].unique().tolist() == ["a", "b"]
    assert (ours["low"] <= ours["value"]).all()
    assert theirs["low"].isna().all()
    assert not theirs["run"].str.startswith("coursework").any()  # of the other convention
    assert len(theirs) == len(theirs.drop_duplicates(["run", "metric"])) > 0


# --- differences ---


def test_a_class_that_is_missing_is_undefined(run):
    tables = {n: predictions_of(IDS, seed=k).query("label != 1") for k, n in enumerate("ab")}
    found = label_differences(tables)
    assert found.loc["b"].tolist()[1:] == ["undefined", "undefined"]
    assert found.loc["b", "AUC melanoma"] != "undefined"
    scores = score_files.label_scores(run, "test", tables["a"], "ISIC 2017")
    points = score_tables.label_points({"a": scores}, {})
    assert points["value"].isna().tolist() == [False, True, True]
    assert points["value"].dtype == points["low"].dtype == float


def test_differences_of_classifiers_are_those_of_the_paired_comparison():
    tables = {name: predictions_of(IDS, seed=seed) for seed, name in enumerate("ab")}
    tables["c"] = predictions_of(IDS, columns=1, seed=2)
    found = label_differences(tables)
    assert found.columns.tolist() == ["AUC melanoma", "AUC seborrheic keratosis", "mean AUC"]
    assert found.index.tolist() == ["b", "c"]
    assert found.index.name == "run"
    expected = paired_difference(tables["b"], tables["a"])
    cell = interval_text(expected.value, expected.low, expected.high, sign=True)
    assert found.loc["b", "mean AUC"] == cell
    areas = [roc_auc_score(tables[r]["label"] == 0, tables[r]["melanoma"]) for r in "ca"]
    assert found.loc["c", "AUC melanoma"].startswith(f"{areas[0] - areas[1]:+.3f} [")
    assert found.loc["c"].tolist()[1:] == ["", ""]


def test_differences_of_segmenters_are_paired():
    base = results_of(IDS[:8]).per_image
    better = base.assign(tp=base["tp"] + base["fn"] // 2, fn=base["fn"] - base["fn"] // 2)
    better = better.assign(**evaluation.masks.per_image(counts_of(better)))
    table: pd.DataFrame = mask_differences({"a": base, "b": better.iloc[::-1], "c": base})
    gain = (better["jaccard"] - base["jaccard"]).mean()
    assert table.loc["b", "mean Jaccard"].startswith(f"{gain:+.3f} [")
    assert table.loc["b", "better on"] == f"{(better['fn'] < base['fn']).sum()} of 8 images"
    assert table.loc["c", "mean Jaccard"] == "+0.000 [+0.000, +0.000]"
