"""Ensembles: the mean of probabilities, as a run that everything else reads."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import study_folders
from scipy.stats import gmean

import experiments
from study import archive, ensembles, folds
from study.report import entries, record
from study.report.cross_validation import cross_validation
from study.report.entries import Study
from utils import evaluation, logger
from utils.logger.run import RunFolder
from utils.system.errors import RunError
from utils.system.files import read_table


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, RunFolder]:
    return study_folders.three(tmp_path)


def table(run: RunFolder, part: str = "test") -> pd.DataFrame:
    return read_table(run / f"predictions-{part}.csv")


def test_it_is_the_mean_and_scored_as_such(runs: dict[str, RunFolder]) -> None:
    made = ensembles.make(ensembles.Wanted.parse("team=3-1, 3-3"), runs)
    assert list(made) == ["team-s0"]
    team = made["team-s0"]
    mean = np.mean([table(run)[["melanoma", "benign"]] for run in runs.values()], axis=0)
    np.testing.assert_allclose(table(team)[["melanoma", "benign"]], mean, rtol=1e-12)
    scores = evaluation.score_files.read(team / "scores-test.json")
    expected = evaluation.labels.official(table(team)["label"], table(team).iloc[:, 2:])
    assert scores["official"]["mean_auc"]["value"] == pytest.approx(expected["mean_auc"])
    assert not list(team.path.glob("*.safetensors"))
    assert [run.path for run in evaluation.ensembles.members(team)] == [
        run.path.resolve() for run in runs.values()
    ]
    assert team.config["network"]["parameters"] == 3 * 8_020_000


def test_the_mean_of_logits_is_a_root_of_the_product(runs: dict[str, RunFolder]) -> None:
    baseline = experiments.get("0-2", "light")
    folder = runs["3-1-s0"].path.parent / "0-2-s0"
    parts = {"0-2-s0": study_folders.classifier(folder, baseline, 0.7), "3-1-s0": runs["3-1-s0"]}
    (team,) = ensembles.make(ensembles.Wanted.parse("team:logits=0-2,3-1"), parts).values()
    names = ["melanoma", "seborrheic_keratosis", "benign"]
    first, second = (table(run)[names].to_numpy() for run in parts.values())
    product = gmean([first, second], axis=0)
    expected = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(table(team)[names], expected, rtol=1e-6)
    # A network before a baseline: the first one's recipe stands for all.
    assert team.config["ensemble"] == {
        "name": "team",
        "rows": ["3-1", "0-2"],
        "members": ["../3-1-s0", "../0-2-s0"],
        "average": "logits",
    }
    assert team.config["row"]["name"] == "3-1"
    said = logger.overview({"team": team}).loc["team"]
    assert said["network"] == "mean of the logits of 2 runs"
    assert said["chosen on"] == "–"  # nothing was


def test_the_ensembles_in_the_archive_are_those_of_its_members() -> None:
    names = ["melanoma", "seborrheic_keratosis", "benign"]
    teams = [run for run in archive.kept() if evaluation.ensembles.members(run)]
    assert {run.path.name for run in teams} > {"informed-s0", "team-f1-s0"}
    for team in teams:
        (file,) = team.path.glob("predictions-*.csv")
        ours = read_table(file).set_index("id")
        parts = [
            read_table(one / file.name).set_index("id").loc[ours.index]
            for one in evaluation.ensembles.members(team)
        ]
        assert all(part["label"].equals(ours["label"]) for part in parts)
        least = np.finfo(np.float32).tiny
        product = gmean([part[names].clip(lower=least) for part in parts], axis=0)
        expected = product / product.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(ours[names], expected, rtol=1e-6)


def test_the_report_says_what_is_averaged_and_how_to_make_it(runs: dict[str, RunFolder]) -> None:
    said = {}
    for text in ("team=3-1,3-3", "team:logits=3-1,3-3"):
        (team,) = ensembles.make(ensembles.Wanted.parse(text), runs).values()
        (team / "predictions-test.csv").unlink()
        entry = entries.read("team-s0", team, "test", "Data/mine")
        said[entry.network] = " ".join(lack.command for lack in entry.lacks)
    assert list(said) == ["mean of 3-1, 3-3", "mean of the logits of 3-1, 3-3"]
    assert "--ensemble team=3-1,3-3" in said["mean of 3-1, 3-3"]
    assert "--ensemble team:logits=3-1,3-3" in said["mean of the logits of 3-1, 3-3"]


def test_it_is_found_by_its_name_and_not_by_that_of_a_member(
    runs: dict[str, RunFolder], demo_set: Path, tmp_path: Path
) -> None:
    made = ensembles.make(ensembles.Wanted.parse("team=3-1-s0,3-3"), runs)
    folder = runs["3-1-s0"].path.parent.rename(tmp_path / "demo-light")
    for run in folder.iterdir():
        (run / "best.safetensors").touch()
    where = {"data_dir": demo_set, "experiments": experiments.classification.ROWS}
    team, one, every = (
        logger.find(name, **where, models=tmp_path) for name in ("team", "3-3", None)
    )
    assert (list(team), list(one), set(every)) == (["team-s0"], ["3-3-s0"], {*runs, *made})
    assert logger.overview(every)["network"]["team-s0"] == "mean of 2 runs"


def test_folds_are_averaged_one_by_one(tmp_path: Path) -> None:
    runs = {}
    for name in ("3-1", "3-3"):
        for k in (1, 2):
            row = experiments.get(name, "light", epochs=2, fold=f"{k}/2")
            run = study_folders.classifier(tmp_path / row.folder(), row, 0.5)
            runs[row.folder()] = run
            held = table(run)
            held["id"] = [f"{k}-{number}" for number in range(len(held))]
            held.to_csv(run / "predictions-fold.csv", index=False)
            (run / "predictions-test.csv").unlink()
    fewer = {name: run for name, run in runs.items() if name != "3-3-f2-s0"}
    with pytest.raises(RunError, match=r"team-f2-s0 would lack 3-3-s0, which other folds have"):
        ensembles.make(ensembles.Wanted.parse("team=3-1,3-3"), fewer)
    made = ensembles.make(ensembles.Wanted.parse("team=3-1-s0,3-3"), runs)
    assert list(made) == ["team-f1-s0", "team-f2-s0"]
    lines = folds.table([*runs.values(), *made.values()])
    assert lines["row"].tolist() == ["3-1", "3-3", "team"]
    cost = archive.cost([*runs.values(), *made.values()])
    assert "| 3-3 |" in cost
    assert "team" not in cost
    grouped = evaluation.out_of_fold.grouped([*runs.values(), *made.values()])
    section = cross_validation(Study([], "test", "synthetic demo data", folds=grouped))
    assert "Fold by fold, team is the mean of 3-1, 3-3." in str(section)


def test_made_again_it_has_the_new_members(runs: dict[str, RunFolder]) -> None:
    ensembles.make(ensembles.Wanted.parse("team=3-1,3-3"), runs)
    (team,) = ensembles.make(ensembles.Wanted.parse("team=3-1"), runs).values()
    mean = (table(runs["3-1-s0"])["benign"] + table(runs["3-1-s1"])["benign"]) / 2
    np.testing.assert_allclose(table(team)["benign"], mean, rtol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "team",
        "=3-1",
        "3-1=3-3,3-4",
        "team=",
        "a/b=3-1",
        "team=,",
        "3-1-timm-x=3-1,3-3",
        "team-s0=3-1,3-3",
        "team-f1=3-1,3-3",
        "a-f1-s0=3-1,3-3",
        "seg-6-x=3-1,3-3",
        "team²=3-1,3-3",
    ],
)
def test_what_names_no_ensemble(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected NAME=ROW,ROW such as team=3-1,3-3"):
        ensembles.Wanted.parse(text)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["team=3-1,O-2"], r"O-2 is no row of a classifier; expected rows such as 3-1"),
        (["team=3-1,3-3", "more=team,3-4"], r"team is no row"),
        (["team=seg-6,3-3"], r"seg-6 is no row of a classifier"),
        (["team=3-1,3-2-s0"], r"3-2-s0 is not among the rows of this call \(3-1, 3-3, 3-4, 2-4\)"),
        (["team=3-1,3-3", "team:logits=3-1,3-4"], r"team is the name of two; give each its own"),
    ],
)
def test_a_slip_is_said_before_the_work(texts: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ensembles.all_wanted(texts, ["3-1", "3-3", "3-4", "2-4"])


def test_a_row_that_is_trained_as_another_stands_for_it() -> None:
    (wanted,) = ensembles.all_wanted(["team=2-4, 1-3-s1,3-1"], ["2-4", "3-1"])
    assert wanted.members == ("1-3", "1-3-s1", "3-1")


def test_what_cannot_be_the_average() -> None:
    with pytest.raises(ValueError, match=r"averages 'votes'; expected NAME=ROW,ROW for the mean"):
        ensembles.Wanted.parse("team:votes=3-1,3-3")


def test_what_cannot_be_averaged(runs: dict[str, RunFolder]) -> None:
    with pytest.raises(RunError, match=r"team cannot be made: 1-1 has no finished run among those"):
        ensembles.make(ensembles.Wanted.parse("team=3-1,1-1"), runs)
    with pytest.raises(RunError, match=r"of 3-3-s0 cannot be made: expected at least two"):
        ensembles.make(ensembles.Wanted.parse("team=3-3"), runs)
    (team,) = ensembles.make(ensembles.Wanted.parse("team=3-1,3-3"), runs).values()
    (runs["3-3-s0"] / "predictions-test.csv").unlink()
    with pytest.raises(RunError, match=r"its member .*3-3-s0 has no predictions-test\.csv"):
        evaluation.ensembles.predict(team, "test", table(team)["id"])
    other = table(runs["3-1-s0"])
    other.assign(id=other["id"] + "b").to_csv(runs["3-3-s0"] / "predictions-test.csv", index=False)
    with pytest.raises(RunError, match=r"is about other images than the first member of team-s0"):
        evaluation.ensembles.predict(team, "test", table(team)["id"])
    (alone,) = ensembles.make(ensembles.Wanted.parse("two=3-1"), runs).values()
    with pytest.raises(RunError, match=r"have predictions \(test\) of other images than these"):
        evaluation.ensembles.predict(alone, "test", pd.Series(["other"]))


def test_its_time_is_that_of_its_members_and_counted_once(runs: dict[str, RunFolder]) -> None:
    made = ensembles.make(ensembles.Wanted.parse("team=3-1,3-3"), runs)
    read = [entries.read(name, run, "test", "mine") for name, run in (runs | made).items()]
    text, table, _ = record.cost(Study(read, "test", "synthetic demo data")).blocks
    hours = sum(entry.timing["seconds"].sum() for entry in read[:3]) / 3600
    assert f"Training took {hours:.2f} hours in all" in text.text
    line = table.table.set_index("run").loc["team-s0"]
    assert (line["epochs"], line["s in all"]) == ("–", "–")
