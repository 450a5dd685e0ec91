"""Our official scores against those of the organisers' own scorer, kept by `make referee`."""

import json
import re
from pathlib import Path

import pytest
from referee.build import PACKAGES, main
from referee.cases import PARTS, classification_cases, fingerprint

from utils.curves import average_precision
from utils.data import CLASSES, PROJECT
from utils.evaluation import OFFICIAL_CLASSES, official
from utils.statistics import classification_scores

GOLDEN = json.loads((PROJECT / "tests/golden/official-scores.json").read_text(encoding="utf-8"))
REQUIREMENTS = PROJECT / "tests/referee/requirements.txt"
TABLES = classification_cases()
METRICS = ("auc", "accuracy", "sensitivity", "specificity")


def exactly(value: float):
    return pytest.approx(value, rel=0, abs=1e-12)


def referee(case: str) -> dict:
    return GOLDEN["classification"][case]["scores"]


@pytest.mark.parametrize("command", PARTS)
def test_the_golden_file_holds_every_case_with_the_inputs_of_today(command, tmp_path):
    part = PARTS[command]
    today = {}
    for name, case in part.cases().items():
        (tmp_path / name).mkdir()
        today[name] = fingerprint(part.write(tmp_path / name, case))
    kept = {name: entry["inputs"] for name, entry in GOLDEN[command].items()}
    assert kept == today, "the cases have changed: run `make referee` and look at what it changes"


def test_the_golden_file_was_made_by_the_versions_that_are_required():
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", line) for line in lines)
    required = dict(line.split("==") for line in lines)
    assert GOLDEN["versions"] == {name: required[name] for name in PACKAGES}
    assert set(GOLDEN) == {"versions", *PARTS}


@pytest.mark.parametrize("case", TABLES)
def test_official_scores_are_the_referees(case):
    table, theirs = TABLES[case], referee(case)
    ours = official(table["label"], table[list(CLASSES)])
    for name in OFFICIAL_CLASSES:
        for metric in METRICS:
            assert ours[name][metric] == exactly(theirs["per_category"][metric][name]), metric
    # The ranking of 2017 is the mean of both AUCs: what the scorer calls overall with --metric auc.
    assert ours["mean_auc"] == exactly(theirs["overall"])
    assert ours["mean_auc"] == exactly(theirs["macro_average"]["auc"])


@pytest.mark.parametrize("case", TABLES)
def test_the_score_file_holds_the_referees_scores(case):
    table, theirs = TABLES[case], referee(case)
    ours = classification_scores(table["label"], table[list(CLASSES)], resamples=2)["official"]
    found = {
        name: {metric: ours[name][metric]["value"] for metric in METRICS}
        for name in OFFICIAL_CLASSES
    }
    for name in OFFICIAL_CLASSES:
        expected = {metric: theirs["per_category"][metric][name] for metric in METRICS}
        assert found[name] == exactly(expected)
    assert ours["mean_auc"]["value"] == exactly(theirs["overall"])


@pytest.mark.parametrize("case", TABLES)
def test_average_precision_is_the_referees(case):
    table, theirs = TABLES[case], referee(case)["per_category"]["ap"]
    for number, name in enumerate(OFFICIAL_CLASSES):
        truth, score = (table["label"] == number).to_numpy(), table[name].to_numpy()
        assert average_precision(truth, score) == exactly(theirs[name])


# What needs no computer to be known: a referee that gets these wrong was asked wrongly.
@pytest.mark.parametrize(
    ("kind", "auc", "sensitivity", "specificity"),
    [("perfect", 1, 1, 1), ("reversed", 0, 0, None), ("half", 0.5, 0, 1)],
)
@pytest.mark.parametrize("n", [20, 150])
def test_the_referee_gives_the_scores_that_are_known_beforehand(
    kind, n, auc, sensitivity, specificity
):
    scores = referee(f"{kind}-{n}")["per_category"]
    for name in OFFICIAL_CLASSES:
        assert scores["auc"][name] == auc
        assert scores["sensitivity"][name] == sensitivity
        # Reversed, each class is taken for the other one: every positive of the other is false.
        other = {"melanoma": n // 4, "seborrheic_keratosis": n // 5}[name]
        own = {"melanoma": n // 5, "seborrheic_keratosis": n // 4}[name]
        expected = 1 - other / (n - own) if specificity is None else specificity
        assert scores["specificity"][name] == exactly(expected)


def test_tied_cases_hold_many_scores_of_exactly_a_half():
    for n in (20, 150):
        scores = TABLES[f"tied-{n}"][list(OFFICIAL_CLASSES)]
        assert ((scores == 0.5).sum() > n / 10).all()
        assert (scores.nunique() <= 5).all()


def test_the_real_predictions_are_those_of_the_validation_split():
    table = TABLES["real-150"]
    assert table["label"].value_counts().sort_index().tolist() == [30, 42, 78]
    assert referee("real-150")["overall"] == pytest.approx(0.917, abs=5e-4)  # RESULTS.md, row 3-1


def test_a_fingerprint_sees_every_change(tmp_path: Path):
    truth, masks = tmp_path / "truth.csv", tmp_path / "masks"
    truth.write_text("a")
    masks.mkdir()
    (masks / "1.png").write_bytes(b"1")
    first = fingerprint((truth, masks))
    assert fingerprint((truth, masks)) == first
    (masks / "2.png").write_bytes(b"2")
    second = fingerprint((truth, masks))
    truth.write_text("b")
    assert len({first, second, fingerprint((truth, masks)), fingerprint((masks, truth))}) == 4


def test_what_the_scorer_refuses_stops_the_build_with_its_words(tmp_path):
    (tmp_path / "bin").mkdir()
    programs = {
        "python": "echo '{}'",
        "isic-challenge-scoring": "echo 'No such column' >&2; exit 3",
    }
    for name, line in programs.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    expected = r"(?s)classification --metric auc .*prediction\.csv\nended with 3:\nNo such column"
    with pytest.raises(RuntimeError, match=expected):
        main(tmp_path, tmp_path / "scores.json")
    assert not (tmp_path / "scores.json").exists()
