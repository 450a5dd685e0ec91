"""Scores, curves, tests and thresholds of any classes; scikit-learn is the referee."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import answers_of
from sklearn import metrics as referee

from utils import evaluation
from utils.data.names import CLASSES
from utils.evaluation import conventions, paired, results, score_files, score_tables, trust
from utils.evaluation.intervals import Interval, mean_of_shares, wilson
from utils.evaluation.labels import checked, epoch_scores, one_vs_rest, scheme, set_classes
from utils.logger.run import RunFolder
from utils.system.errors import RunError

TWO = ("malignant", "benign")
THREE = ("nevus", "scar", "wart")
SEVEN = ("melanoma", "actinic_keratosis", "basal_cell_carcinoma", "benign_keratosis",
         "dermatofibroma", "nevus", "vascular_lesion")  # fmt: skip
SETS = [TWO, THREE, SEVEN]


def split(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and probabilities (n, C)."""
    return table["label"].to_numpy(), table[evaluation.classes_in(table)].to_numpy()


def scored(table: pd.DataFrame, names: tuple[str, ...], resamples: int = 50) -> dict:
    return conventions.classification_scores(*split(table), resamples, classes=names)


# --- scores ---


@pytest.mark.parametrize("names", SETS)
def test_one_convention_against_scikit_learn(names: tuple[str, ...]) -> None:
    labels, probabilities = split(answers_of(names))
    answer = probabilities.argmax(axis=1)
    found = one_vs_rest(labels, probabilities, classes=names)
    assert [*found] == [*names, "accuracy", "mean_auc", "balanced_accuracy"]
    for number, name in enumerate(names):
        truth, said = labels == number, answer == number
        assert found[name] == pytest.approx(
            {
                "auc": referee.roc_auc_score(truth, probabilities[:, number]),
                "accuracy": referee.accuracy_score(truth, said),
                "sensitivity": referee.recall_score(truth, said),
                "specificity": referee.recall_score(truth, said, pos_label=0),
            },
            abs=1e-12,
        )
    score = probabilities[:, 1] if len(names) == 2 else probabilities
    macro = referee.roc_auc_score(labels, score, multi_class="ovr", average="macro")
    assert found["mean_auc"] == pytest.approx(macro, abs=1e-12)
    balanced = referee.balanced_accuracy_score(labels, answer)
    assert found["balanced_accuracy"] == pytest.approx(balanced, abs=1e-12)
    assert found["accuracy"] == pytest.approx(referee.accuracy_score(labels, answer), abs=1e-12)
    matrix = evaluation.confusion_matrix(labels, answer, len(names))
    np.testing.assert_array_equal(matrix, referee.confusion_matrix(labels, answer))
    of_epoch = epoch_scores(labels, probabilities, classes=names)
    assert of_epoch["auc_mean"] == found["mean_auc"]
    assert [*of_epoch] == [*(f"auc_{name}" for name in names), "auc_mean"]


@pytest.mark.parametrize("names", SETS)
def test_the_score_file_has_this_convention_alone(names: tuple[str, ...]) -> None:
    table = answers_of(names)
    found = scored(table, names)
    assert not {"official", "coursework"} & found.keys()
    counts = table["label"].value_counts().sort_index().tolist()
    assert found["counts"] == dict(zip(names, counts, strict=True))
    for path, score in conventions.flattened({"one_vs_rest": found["one_vs_rest"]}).items():
        assert score["low"] < score["value"] < score["high"], path
    assert [*score_files.headline(found)] == [
        *(f"AUC {name.replace('_', ' ')}" for name in names), "mean AUC", "balanced accuracy",
    ]  # fmt: skip
    table = score_tables.label_table(found)
    assert table.index.get_level_values("class").tolist() == [
        *(name.replace("_", " ") for name in names), "all classes", "mean",
    ]  # fmt: skip
    assert (
        table["SE"].iloc[-1].startswith(f"{found['one_vs_rest']['balanced_accuracy']['value']:.3f}")
    )


def test_the_classes_of_isic_2017_keep_their_conventions_whatever_the_data_are() -> None:
    table = answers_of(CLASSES)
    assert list(scored(table, CLASSES))[-2:] == ["official", "coursework"]
    assert scheme(CLASSES) == scheme(CLASSES[:1])
    assert scheme(THREE) == ("one_vs_rest", THREE, THREE[:1])
    # The same three in another order are not those of ISIC 2017.
    assert scheme(CLASSES[::-1]).main == "one_vs_rest"


def test_one_logit_of_other_classes() -> None:
    table = answers_of(SEVEN, columns=1)
    found = scored(table, SEVEN)
    assert [*found["one_vs_rest"]] == ["melanoma"]
    assert sum(found["counts"].values()) == len(table)
    truth, said = table["label"] == 0, table["melanoma"] >= 0.5
    assert found["one_vs_rest"]["melanoma"]["sensitivity"]["value"] == pytest.approx(
        referee.recall_score(truth, said), abs=1e-12
    )
    names = [*epoch_scores(*split(answers_of(THREE, columns=1)), classes=THREE)]
    assert names == ["auc_nevus", "accuracy_nevus"]
    # What the other labels are called is known to whoever knows the set.
    assert set_classes(table, SEVEN) == SEVEN
    assert set_classes(answers_of(SEVEN)) == list(SEVEN)


def test_a_class_without_images_is_undefined_and_said() -> None:
    table = answers_of(THREE)
    table = table[table["label"] != 2]
    found = scored(table, THREE)
    undefined = {"value": None, "low": None, "high": None}
    for name in ("mean_auc", "balanced_accuracy"):
        assert found["one_vs_rest"][name] == undefined
    assert found["one_vs_rest"]["wart"]["auc"] == undefined
    said = score_tables.summary(found | {"data": "mine", "split": "test"})
    assert "balanced accuracy: undefined (a class is missing)" in said


def test_the_interval_of_the_balanced_accuracy_covers() -> None:
    """Of seven classes, two of them with ten images; in 2000 studies."""
    rng, n = np.random.default_rng(0), np.array([10, 10, 20, 30, 40, 60, 100])
    true = np.array([0.95, 0.3, 0.9, 0.7, 0.8, 0.6, 0.97])
    hits = 0
    for right in rng.binomial(n, true, (2000, 7)):
        ends = np.transpose(wilson(right, n))
        low, high = mean_of_shares(right / n, [Interval(*one) for one in ends])
        hits += low <= true.mean() <= high
    assert 0.94 < hits / 2000 < 0.98


@pytest.mark.parametrize(
    ("labels", "probabilities", "classes", "message"),
    [
        ([0, 7], np.full((2, 7), 1 / 7), 7, r"not a class number in 1 of 2 .*expected 0 .. 6"),
        ([0], [[0.5, 0.5]], 7, r"shape \(1, 2\); expected \(n, 7\) or \(n, 1\)"),
        ([0], np.zeros((1, 0)), None, r"shape \(1, 0\); expected \(n, C\) or \(n, 1\)"),
        ([0], [[0.5] * 7], 7, "do not sum to 1"),
        ([20], [[0.5]], 3, r"not a class number .*expected 0 .. 19"),
        ([-1], [[0.5, 0.5]], 2, r"expected 0 .. 1"),
    ],
)  # fmt: skip
def test_what_is_refused(labels, probabilities, classes, message) -> None:
    with pytest.raises(ValueError, match=message):
        checked(labels, probabilities, classes)


# --- curves ---


@pytest.mark.parametrize("names", SETS)
def test_curves_against_scikit_learn(names: tuple[str, ...]) -> None:
    labels, probabilities = split(answers_of(names))
    roc = evaluation.roc_curves(labels, probabilities, 20, classes=names)
    precise = evaluation.precision_recall_curves(labels, probabilities, 20, classes=names)
    both = [] if len(names) == 2 else ["micro", "macro"]  # of two they would say nothing more
    assert [one.name for one in roc] == [one.name for one in precise] == [*names, *both]
    for number in range(len(names)):
        truth, score = labels == number, probabilities[:, number]
        assert roc[number].area == pytest.approx(referee.roc_auc_score(truth, score))
        expected = referee.average_precision_score(truth, score)
        assert precise[number].area == pytest.approx(expected)
    if both:
        micro = referee.roc_auc_score(np.eye(len(names))[labels].ravel(), probabilities.ravel())
        assert roc[-2].area == pytest.approx(micro)
    if len(names) == 2:  # each the other's mirror image
        assert roc[0].area == pytest.approx(roc[1].area)


# --- one run against another ---


@pytest.mark.parametrize("names", SETS)
def test_differences_of_every_area(names: tuple[str, ...]) -> None:
    tables = {"a": answers_of(names), "b": answers_of(names)}
    tables["b"][list(names)] = np.roll(tables["b"][list(names)], 1, axis=0)  # knows nothing
    found = paired.label_differences(tables)
    assert [*found.columns] == [*(f"AUC {n.replace('_', ' ')}" for n in names), "mean AUC"]
    labels = tables["a"]["label"].to_numpy()
    for number, name in enumerate(names):
        areas = [referee.roc_auc_score(labels == number, t[name]) for t in tables.values()]
        shown = found.loc["b", f"AUC {name.replace('_', ' ')}"]
        assert shown.startswith(f"{areas[1] - areas[0]:+.3f} [")
    whole = paired.paired_difference(
        tables["b"], tables["a"], ("one_vs_rest", "balanced_accuracy"), resamples=50
    )
    answers = [t[list(names)].to_numpy().argmax(axis=1) for t in (tables["b"], tables["a"])]
    expected = [referee.balanced_accuracy_score(labels, answer) for answer in answers]
    assert whole.value == pytest.approx(expected[0] - expected[1])


def test_one_logit_is_compared_in_the_class_that_it_knows() -> None:
    tables = {"all": answers_of(THREE), "one": answers_of(THREE, columns=1)}
    found = paired.label_differences(tables)
    assert found.loc["one"].tolist()[0].startswith("+0.000 [")
    assert found.loc["one"].tolist()[1:] == ["", "", ""]
    alone = paired.label_differences({"a": tables["one"], "b": tables["one"]})
    assert alone.columns.tolist() == ["AUC nevus", "mean AUC"]
    assert alone.loc["b", "mean AUC"] == ""


def test_runs_of_other_classes_are_not_compared() -> None:
    renamed = answers_of(THREE).rename(columns={"scar": "mole"})
    words = "different classes: nevus, scar, wart in one, nevus, mole, wart in another. Compare"
    with pytest.raises(paired.OtherImagesError, match=words):
        paired.paired_difference(answers_of(THREE), renamed, ("one_vs_rest", "mean_auc"))


# --- thresholds, calibration, subgroups ---


@pytest.mark.parametrize("names", SETS)
@pytest.mark.parametrize("columns", [None, 1])
def test_thresholds_are_those_of_the_class_that_matters(
    names: tuple[str, ...], columns: int | None
) -> None:
    fitted, reported = (answers_of(names, seed=seed, columns=columns) for seed in (1, 2))
    n = len(reported)
    people = reported[["id"]].assign(age=np.arange(n) % 90, sex=["male", "female"] * (n // 2))
    found = trust.assess(fitted, reported, people, resamples=20)
    first = names[0]
    for name in ("operating", "read_off", "roc", "decision", "subgroups", "reliability"):
        assert getattr(found, name)["class"].unique().tolist() == [first], name
    answers = [] if columns else [trust.ANSWER]
    assert found.calibration["class"].unique().tolist() == [first, *answers]
    truth = reported["label"] == 0
    brier = referee.brier_score_loss(truth, reported[first])
    assert found.calibration["brier"].iloc[0] == pytest.approx(brier)
    if not columns:
        loss = referee.log_loss(reported["label"], reported[list(names)])
        of_answers = found.calibration[found.calibration["class"] == trust.ANSWER]
        assert of_answers["log_loss"].iloc[0] == pytest.approx(loss)
    rules = found.operating["rule"].tolist()
    challenge = columns == 1 and first == CLASSES[0]  # whose table is the same
    assert rules[-1] == ("0.5, as the challenge" if challenge else "0.5")
    threshold = found.operating["threshold"].iloc[1]
    assert referee.recall_score(fitted["label"] == 0, fitted[first] > threshold) >= 0.9


def test_images_of_one_kind_alone_fit_no_threshold() -> None:
    fitted = answers_of(THREE, seed=1)
    words = "are all of the class nevus, or none is: no threshold"
    for some in (fitted["label"] == 0, fitted["label"] > 0):
        assert words in trust.refusal(fitted[some], answers_of(THREE))
    assert "expected the same classes" in trust.refusal(fitted, answers_of(SEVEN))


# --- files ---


def run_of(folder: Path, names: tuple[str, ...], **row: object) -> RunFolder:
    run = RunFolder(folder)
    run.save_json("config.json", {"row": {"name": "3-1", "classes": list(names)} | row})
    return run


@pytest.mark.parametrize("names", SETS)
def test_predictions_are_written_with_the_classes_of_the_run(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    run, table = run_of(tmp_path / "run", names), answers_of(names, 40)
    images, given = table[["id", "label"]], table[list(names)].to_numpy()
    written = results.predictions(run, "test", images, lambda: given)
    pd.testing.assert_frame_equal(written, table)
    pd.testing.assert_frame_equal(results.stored_predictions(run, "test"), table)
    score_files.label_scores(run, "test", written, "mine")
    read = score_files.read(run / "scores-test.json")
    assert score_files.task_of(read) == "labels"
    assert read["one_vs_rest"] == scored(table, names, 2000)["one_vs_rest"]
    assert score_tables.label_points({"r": read}, {})["metric"].tolist()[-1] == "balanced accuracy"
    other = run_of(tmp_path / "other", ("x", *names[1:]))
    (other / "predictions-test.csv").write_bytes((run / "predictions-test.csv").read_bytes())
    with pytest.raises(RunError, match="expected the columns id, label, x"):
        results.stored_predictions(other, "test")


def test_a_damaged_score_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "scores-test.json"
    for text in (
        '{"data": "d", "split": "test", "n": 1}',
        '{"data": "d", "split": "test", "n": 1, "one_vs_rest": [1]}',
        '{"data": "d", "split": "test", "n": 1, "one_vs_rest": {"nevus": {"auc": 1}}}',
    ):
        file.write_text(text)
        with pytest.raises(RunError, match=r"scores-test.json is damaged: expected the scores"):
            score_files.read(file)


def test_nan_is_nowhere_where_all_classes_are_there() -> None:
    found = conventions.flattened({"one_vs_rest": scored(answers_of(SEVEN), SEVEN)["one_vs_rest"]})
    assert not any(math.isnan(score["value"]) for score in found.values())
