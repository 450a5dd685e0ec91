"""Predictions and scores: computed once, written whole, read ever after."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import experiments
from utils.data.splits import CLASSES
from utils.evaluation import ranking, results, score_files, score_tables
from utils.evaluation.conventions import classification_scores
from utils.evaluation.paired import label_differences, paired_difference
from utils.logger.run import RunFolder
from utils.system.errors import RunError


def rows_of(count: int = 30) -> pd.DataFrame:
    return pd.DataFrame(
        {"id": [f"ISIC_{k:07d}" for k in range(count)], "label": np.arange(count) % 3}
    )


def probabilities_of(count: int = 30, columns: int = 3) -> np.ndarray:
    """As a network gives them: float32."""
    drawn = np.random.default_rng(0).dirichlet([1, 1, 1], count).astype(np.float32)
    return drawn[:, :columns]


def refuse() -> np.ndarray:
    raise AssertionError("predicted again")


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "run")


# --- predictions ---


@pytest.mark.parametrize("columns", [3, 1])
def test_predictions_are_computed_once_and_then_read(run, columns):
    drawn = probabilities_of(columns=columns)
    first = results.predictions(run, "test", rows_of(), lambda: drawn)
    assert first.columns.tolist() == ["id", "label", *CLASSES[:columns]]
    assert first["id"].tolist() == rows_of()["id"].tolist()
    np.testing.assert_array_equal(first[list(CLASSES[:columns])], drawn)
    again = results.predictions(run, "test", rows_of(), refuse)
    pd.testing.assert_frame_equal(again, first, check_exact=True)


def test_predictions_are_a_file_that_others_can_read(run):
    results.predictions(run, "validation", rows_of(), probabilities_of)
    lines = (run / "predictions-validation.csv").read_text().splitlines()
    assert lines[0] == "id,label,melanoma,seborrheic_keratosis,benign"
    assert len(lines) == 31
    id_, label, *numbers = lines[5].split(",")
    assert (id_, label) == ("ISIC_0000004", "1")
    assert sum(map(float, numbers)) == pytest.approx(1, abs=1e-6)
    # Another split is another file.
    with pytest.raises(AssertionError, match="predicted again"):
        results.predictions(run, "test", rows_of(), refuse)


def test_predictions_of_other_images_are_refused(run):
    results.predictions(run, "test", rows_of(20), lambda: probabilities_of(20))
    named = "ISIC_0000020, ISIC_0000021, ISIC_0000022, ISIC_0000023, ISIC_0000024 "
    with pytest.raises(RunError, match=rf"{named}… \(10 in all\).*Remove that file to predict"):
        results.predictions(run, "test", rows_of(30), refuse)
    with pytest.raises(RunError, match=r"on one side: ISIC_0000019\."):
        results.predictions(run, "test", rows_of(19), refuse)


def test_predictions_that_fail_leave_no_file(run):
    with pytest.raises(AssertionError, match="predicted again"):
        results.predictions(run, "test", rows_of(), refuse)
    assert not (run / "predictions-test.csv").exists()


# --- scores ---


@pytest.mark.parametrize("columns", [3, 1])
def test_scores_are_written_as_they_are(run, columns):
    rows, drawn = rows_of(), probabilities_of(columns=columns)
    table = results.predictions(run, "test", rows, lambda: drawn)
    found = score_files.label_scores(run, "test", table, "synthetic demo data")

    def strict(name):
        raise AssertionError(f"{name} is no JSON")

    written = json.loads((run / "scores-test.json").read_text(), parse_constant=strict)
    assert written == found
    expected = classification_scores(rows["label"].to_numpy(), drawn.astype(float))
    about = {"data": "synthetic demo data", "split": "test", "selected_on": ""}
    assert found == about | expected


def test_scores_on_the_images_that_chose_the_epoch_say_so(run):
    run.save_json("config.json", {"row": {"select_on": "validation"}})
    table = results.predictions(run, "validation", rows_of(), probabilities_of)
    flattering = score_tables.summary(
        score_files.label_scores(run, "validation", table, "ISIC 2017")
    )
    assert "chosen on these very images" in flattering
    assert "chosen on" not in score_tables.summary(
        score_files.label_scores(run, "test", table, "ISIC 2017")
    )


def test_scores_repeat(run):
    table = results.predictions(run, "test", rows_of(), probabilities_of)
    first = score_files.label_scores(run, "test", table, "ISIC 2017")
    again = results.predictions(run, "test", rows_of(), refuse)
    assert score_files.label_scores(run, "test", again, "ISIC 2017") == first


def test_scores_without_a_class_are_null(run):
    rows = rows_of().assign(label=2)
    table = results.predictions(run, "test", rows, probabilities_of)
    found = score_files.label_scores(run, "test", table, "ISIC 2017")
    assert found["official"]["melanoma"]["auc"]["value"] is None
    assert "NaN" not in (run / "scores-test.json").read_text()


def test_summary_by_hand():
    def score(value, low=None, high=None) -> dict:
        return {"value": value, "low": low, "high": high}

    official = {
        "melanoma": {"auc": score(0.8, 0.7, 0.9), "accuracy": score(0.5, 0.4, 0.6)},
        "seborrheic_keratosis": {"auc": score(None)},  # no such image in the split
        "mean_auc": score(0.85, 0.75, 0.9),
    }
    found = {"data": "synthetic demo data", "split": "test", "n": 8, "official": official}
    assert score_tables.summary(found).splitlines() == [
        "synthetic demo data, test split, 8 images, 95 % intervals:",
        "  AUC melanoma: 0.800 [0.700, 0.900]",
        "  AUC seborrheic keratosis: undefined (a class is missing)",
        "  mean AUC: 0.850 [0.750, 0.900]",
    ]


# --- beside the published numbers ---


def scored(run: RunFolder, columns: int = 3) -> dict:
    drawn = probabilities_of(columns=columns)
    table = results.predictions(run, "test", rows_of(), lambda: drawn)
    return score_files.label_scores(run, "test", table, "ISIC 2017")


def test_comparison_on_synthetic_data_shows_ours_alone(run):
    found = scored(run) | {"data": "synthetic demo data"}
    table = score_tables.label_comparison(found, experiments.get("1-1"))
    assert table.index.tolist() == [
        ("ours, row 1-1 (synthetic demo data, test split)", "synthetic images")
    ]


def test_comparison_with_two_studies(run):
    found = scored(run)
    table = score_tables.label_comparison(found, experiments.get("1-1"))
    assert table.columns.tolist() == [
        "M AUC", "M ACC", "M SE", "M SP", "SK AUC", "SK ACC", "SK SE", "SK SP",
    ]  # fmt: skip
    assert table.index.names == ["study", "trained on"]
    assert table.index.tolist() == [
        ("ours, row 1-1 (ISIC 2017, test split)", "official list"),
        ("Zhang et al. 2019, ARL-CNN50", "2000 official + 1320 archive images"),
        ("coursework, ARL-CNN50", "2000 official + 1320 archive images"),
    ]
    assert table.iloc[1].tolist() == [0.875, 0.850, 0.658, 0.896, 0.958, 0.868, 0.878, 0.867]
    assert table.iloc[2].tolist() == [0.861, 0.853, 0.590, 0.917, 0.959, 0.927, 0.722, 0.963]
    # Ours in the convention that the published numbers are in, which is not the official one.
    metrics = ("auc", "accuracy", "sensitivity", "specificity")
    ours, official = (
        [round(found[convention][label][m]["value"], 3) for label in CLASSES[:2] for m in metrics]
        for convention in ("coursework", "official")
    )
    assert table.iloc[0].tolist() == ours != official


def test_comparison_of_a_network_that_knows_melanoma_alone(run):
    table = score_tables.label_comparison(scored(run, columns=1), experiments.get("1-4"))
    assert table.index.get_level_values("trained on").tolist() == [
        "official list", "2000 official images",
    ]  # fmt: skip
    assert table[["M AUC", "M ACC", "M SE", "M SP"]].iloc[1].tolist() == [
        0.872, 0.850, 0.487, 0.937,
    ]  # fmt: skip
    assert table[["M AUC", "M SP"]].iloc[0].notna().all()
    assert table.filter(like="SK").isna().all().all()


def test_comparison_without_a_study(run):
    row = experiments.get("3-1", train_list="extended")
    table = score_tables.label_comparison(scored(run), row)
    assert table.index.tolist() == [("ours, row 3-1 (ISIC 2017, test split)", "extended list")]
    assert table.notna().all().all()


# --- cases worth a look ---


def test_telling_cases_by_hand():
    table = pd.DataFrame(
        [
            ("sure-m", 0, 0.90, 0.05, 0.05),
            ("sure-b1", 2, 0.01, 0.00, 0.99),
            ("sure-b2", 2, 0.01, 0.01, 0.98),
            ("weak-k", 1, 0.30, 0.40, 0.30),
            ("wrong-b", 2, 0.80, 0.10, 0.10),
            ("worst-m", 0, 0.02, 0.03, 0.95),
            ("wrong-k", 1, 0.50, 0.30, 0.20),
        ],
        columns=["id", "label", *CLASSES],
    )
    chosen = ranking.telling_cases(table, each=3)
    # Right: the surest of each class before the second of any; wrong: the surest first.
    assert chosen["id"].tolist() == [
        "sure-b1", "sure-m", "weak-k", "worst-m", "wrong-b", "wrong-k",
    ]  # fmt: skip
    assert chosen.columns.tolist() == table.columns.tolist()
    assert ranking.telling_cases(table, each=4)["id"].tolist()[3] == "sure-b2"
    assert ranking.telling_cases(table, each=1)["id"].tolist() == ["sure-b1", "worst-m"]


def test_telling_cases_of_melanoma_against_the_rest():
    table = pd.DataFrame(
        [
            ("sure-m", 0, 0.95),
            ("missed-m", 0, 0.05),
            ("weak-m", 0, 0.60),
            ("sure-b", 2, 0.01),
            ("alarm-k", 1, 0.80),
            ("sure-k", 1, 0.02),
        ],
        columns=["id", "label", "melanoma"],
    )
    chosen = ranking.telling_cases(table)
    assert chosen["id"].tolist() == [
        "sure-b", "sure-k", "sure-m", "weak-m", "missed-m", "alarm-k",
    ]  # fmt: skip


def test_telling_cases_where_nothing_is_wrong():
    table = rows_of(6).assign(**dict(zip(CLASSES, np.eye(3)[np.arange(6) % 3].T, strict=True)))
    assert len(ranking.telling_cases(table)) == 4
    assert ranking.telling_cases(table, each=9)["id"].nunique() == 6


TABLE = pd.DataFrame(
    [
        ("right", 0, 0.90, 0.05, 0.05),
        ("close", 1, 0.30, 0.36, 0.34),
        ("worst", 0, 0.02, 0.03, 0.95),
        ("wrong", 2, 0.80, 0.10, 0.10),
        ("tie", 2, 0.40, 0.20, 0.40),  # of equals the first is taken: melanoma
    ],
    columns=["id", "label", *CLASSES],
)


def test_confident_mistakes_by_hand():
    wrong = ranking.confident_mistakes(TABLE)
    assert wrong.columns.tolist() == [*TABLE.columns, "predicted", "sureness"]
    assert wrong["id"].tolist() == ["worst", "wrong", "tie"]
    assert wrong["predicted"].tolist() == ["benign", "melanoma", "melanoma"]
    assert wrong["sureness"].tolist() == [0.95, 0.80, 0.40]
    assert wrong.index.tolist() == [0, 1, 2]
    pd.testing.assert_frame_equal(ranking.confident_mistakes(TABLE, each=2), wrong[:2])
    assert len(ranking.confident_mistakes(TABLE[:2])) == 0


def test_least_certain_by_hand():
    close = ranking.least_certain(TABLE)
    assert close.columns.tolist() == [*TABLE.columns, "predicted", "margin"]
    assert close["id"].tolist() == ["tie", "close", "wrong", "right", "worst"]
    assert close["margin"].tolist() == pytest.approx([0, 0.02, 0.7, 0.85, 0.92])
    assert close["predicted"][1] == "seborrheic keratosis"
    pd.testing.assert_frame_equal(ranking.least_certain(TABLE, each=2), close[:2])


def test_cases_of_melanoma_against_the_rest():
    table = pd.DataFrame(
        [("missed", 0, 0.05), ("alarm", 1, 0.80), ("sure", 2, 0.01), ("weak", 0, 0.60)],
        columns=["id", "label", "melanoma"],
    )
    wrong = ranking.confident_mistakes(table)
    assert wrong[["id", "predicted"]].to_numpy().tolist() == [
        ["missed", "the rest"], ["alarm", "melanoma"],
    ]  # fmt: skip
    assert wrong["sureness"].tolist() == pytest.approx([0.95, 0.80])
    close = ranking.least_certain(table)
    assert close["id"].tolist() == ["weak", "alarm", "missed", "sure"]
    assert close["margin"].tolist() == pytest.approx([0.2, 0.6, 0.9, 0.98])


# --- several runs ---


def table_of(seed: int, columns: int = 3, count: int = 60) -> pd.DataFrame:
    drawn = np.random.default_rng(seed).dirichlet([1, 1, 1], count)
    names = CLASSES[:columns]
    return rows_of(count).assign(**{name: drawn[:, k] for k, name in enumerate(names)})


# What a score file says that is about the images of the published numbers.
OFFICIAL_TEST = {"data": "ISIC 2017", "split": "test", "n": 600}
OFFICIAL_TEST |= {"counts": {"melanoma": 117, "seborrheic_keratosis": 90}}


def scores_of(table: pd.DataFrame) -> dict:
    names = [name for name in CLASSES if name in table]
    return classification_scores(table["label"], table[names].to_numpy(), 50)


def test_runs_side_by_side_with_each_study_once():
    found = {"a": scores_of(table_of(0)), "b": scores_of(table_of(1, columns=1))}
    found = {name: scores | OFFICIAL_TEST for name, scores in found.items()}
    found["c"] = found["b"]
    rows = {"a": experiments.get("1-3"), "b": experiments.get("2-4"), "c": experiments.get("1-4")}
    table = score_tables.label_points(found, rows)
    assert table.columns.tolist() == ["run", "metric", "value", "low", "high", "published"]
    official = found["a"]["official"]
    for metric, score in (
        ("AUC melanoma", official["melanoma"]["auc"]),
        ("AUC seborrheic keratosis", official["seborrheic_keratosis"]["auc"]),
        ("mean AUC", official["mean_auc"]),
    ):
        ours = table[(table["run"] == "a") & (table["metric"] == metric)]
        assert ours[["value", "low", "high"]].to_numpy().tolist() == [list(score.values())]
    assert table[table["run"] == "b"]["metric"].tolist() == ["AUC melanoma"]
    assert table[~table["published"]]["run"].unique().tolist() == ["a", "b", "c"]
    studies = table[table["published"]]
    # 1-3 and 2-4 quote the same study; 1-4's knows melanoma alone.
    coursework = "coursework, ARL-CNN14 (2000 official + 1320 archive images)"
    alone = "re-implementation, ARL-CNN50, melanoma only (2000 official images)"
    assert studies["run"].tolist() == [coursework] * 3 + [alone]
    assert studies["value"].tolist() == pytest.approx([0.882, 0.955, 0.9185, 0.872])
    for other in ({"n": 150}, {"split": "validation"}, {"data": "synthetic demo data"}):
        elsewhere = {name: scores | other for name, scores in found.items()}
        assert not score_tables.label_points(elsewhere, rows)["published"].any()
    assert studies[["low", "high"]].isna().all().all()


def test_side_by_side_where_a_class_is_missing():
    table = score_tables.label_points({"a": scores_of(table_of(0).query("label != 1"))}, {})
    assert table["value"].isna().tolist() == [False, True, True]
    assert table["value"].dtype == table["low"].dtype == float


def test_differences_are_those_of_the_paired_comparison():
    tables = {"a": table_of(0), "b": table_of(1), "c": table_of(2, columns=1)}
    found = label_differences(tables)
    assert found.columns.tolist() == ["AUC melanoma", "AUC seborrheic keratosis", "mean AUC"]
    assert found.index.tolist() == ["b", "c"]
    assert found.index.name == "run"
    expected = paired_difference(tables["b"], tables["a"])
    cell = f"{expected.value:+.3f} [{expected.low:+.3f}, {expected.high:+.3f}]"
    assert found.loc["b", "mean AUC"] == cell
    areas = [
        roc_auc_score(tables[run]["label"] == 0, tables[run]["melanoma"]) for run in ("c", "a")
    ]
    assert found.loc["c", "AUC melanoma"].startswith(f"{areas[0] - areas[1]:+.3f} [")
    assert found.loc["c"].tolist()[1:] == ["", ""]


def test_differences_that_are_undefined():
    tables = {name: table_of(seed).query("label != 1") for seed, name in enumerate("ab")}
    found = label_differences(tables)
    assert found.loc["b"].tolist()[1:] == ["undefined", "undefined"]
    assert found.loc["b", "AUC melanoma"] != "undefined"
