"""What an ensemble averages, and what it refuses: other images, labels, classes, data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import study_folders
from scipy.stats import gmean

import experiments
from study import ensembles
from study.report import entries
from utils import evaluation
from utils.evaluation.ensembles import averaged
from utils.logger.run import RunFolder
from utils.system.errors import RunError
from utils.system.files import read_table


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, RunFolder]:
    return study_folders.three(tmp_path)


def table(run: RunFolder, part: str = "test") -> pd.DataFrame:
    return read_table(run / f"predictions-{part}.csv")


def test_the_mean_of_logits_of_one_column() -> None:
    answers = np.array([[[0.9], [0.2]], [[0.5], [0.2]]])
    odds = gmean(answers / (1 - answers), axis=0)
    np.testing.assert_allclose(averaged(answers, "logits"), odds / (1 + odds), rtol=1e-6)
    np.testing.assert_allclose(averaged(answers, "probabilities"), [[0.7], [0.2]], rtol=1e-12)
    sure = np.array([[[0.0], [1e-30]], [[1.0], [1.0]]])  # as sure as each other, and opposite
    np.testing.assert_allclose(averaged(sure, "logits"), [[0.5], [0.5]], rtol=1e-6)


def test_one_that_cannot_be_made_anew_stays_as_it_was(runs: dict[str, RunFolder]) -> None:
    wanted = ensembles.Wanted.parse("team=3-1,3-3")
    (team,) = ensembles.make(wanted, runs).values()
    (team / "predictions-of-a-colleague.csv").touch()
    before = {file.name: file.read_bytes() for file in team.path.iterdir()}
    held, file = table(runs["3-3-s0"]), runs["3-3-s0"] / "predictions-test.csv"
    turned = held.assign(label=(held["label"] + 1) % 3)
    for changed, said in (
        (held.drop(columns=["seborrheic_keratosis", "benign"]), "answers melanoma, and the first"),
        (turned, "has other labels than the first member of team-s0"),
        (pd.concat([held, held]), "has duplicate ids"),
        (held.assign(melanoma=2.0), "is damaged: "),
    ):
        changed.to_csv(file, index=False)
        with pytest.raises(RunError, match=said):
            ensembles.make(wanted, runs)
    assert before == {file.name: file.read_bytes() for file in team.path.iterdir()}
    held.to_csv(file, index=False)
    ensembles.make(wanted, runs)
    assert (team / "predictions-of-a-colleague.csv").exists()


def test_members_of_other_data_are_refused(runs: dict[str, RunFolder]) -> None:
    theirs = runs["3-3-s0"]
    theirs.save_json("config.json", theirs.config | {"data": {"set": "mine", "fingerprint": "x"}})
    with pytest.raises(RunError, match=r"runs of different data cannot be compared"):
        ensembles.make(ensembles.Wanted.parse("team=3-1,3-3"), runs)


def test_what_was_interrupted_is_not_finished(
    runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    ensembles.make(ensembles.Wanted.parse("team:logits=3-1,3-3"), runs)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluation.score_files, "label_scores", stopped)
        with pytest.raises(KeyboardInterrupt):
            ensembles.make(ensembles.Wanted.parse("team=3-1"), runs)
    team = RunFolder(runs["3-1-s0"].path.parent / "team-s0")
    assert not team.finished
    assert not list(team.path.glob("scores-*"))
    ensembles.make(ensembles.Wanted.parse("team=3-1"), runs)
    assert team.finished


def test_a_split_that_its_new_members_lack_does_not_stay(runs: dict[str, RunFolder]) -> None:
    for run in runs.values():
        table(run).to_csv(run / "predictions-validation.csv", index=False)
    (team,) = ensembles.make(ensembles.Wanted.parse("team=3-1"), runs).values()
    assert (team / "scores-validation.json").exists()
    (runs["3-3-s0"] / "predictions-validation.csv").unlink()
    ensembles.make(ensembles.Wanted.parse("team=3-1,3-3"), runs)
    assert not (team / "scores-validation.json").exists()


def test_hold_outs_of_several_seeds_are_left_out(runs: dict[str, RunFolder]) -> None:
    wanted = ensembles.Wanted.parse("team=3-1")
    for number, run in enumerate(runs.values()):
        held = table(run)
        held["id"] = [f"{number}-{k}" for k in range(len(held))]
        held.to_csv(run / "predictions-holdout.csv", index=False)
        config = run.config
        config["row"] |= {"select_on": "holdout", "keep": "best"}
        run.save_json("config.json", config)
    (team,) = ensembles.make(wanted, runs).values()
    assert not (team / "predictions-holdout.csv").exists()
    assert (team / "predictions-test.csv").exists()
    experiment = experiments.restore(team.config["row"])
    fitted = evaluation.fitting.predictions(team, experiment)
    assert (fitted.table, fitted.part) == (None, "")
    assert fitted.where == "its members did not hold out the same images."


def test_one_whose_member_was_trained_again_is_outdated(runs: dict[str, RunFolder]) -> None:
    (team,) = ensembles.make(ensembles.Wanted.parse("team:logits=3-1,3-3"), runs).values()
    assert evaluation.ensembles.among(runs | {"team": team}) == ["team"]
    changed = table(runs["3-3-s0"])[["id", "label"]]
    changed[["melanoma", "seborrheic_keratosis", "benign"]] = [0.25, 0.25, 0.5]
    changed.to_csv(runs["3-3-s0"] / "predictions-test.csv", index=False)
    said = r"averages other .*\(test\).* again with reproduce\.py --ensemble team:logits=3-1,3-3\."
    with pytest.raises(RunError, match=said):
        evaluation.ensembles.among(runs | {"team": team})
    entry = entries.read("team-s0", team, "test", "Data/mine")
    assert entry.results.empty
    assert [lack.why for lack in entry.lacks] == ["outdated: a member was trained again"]
    (runs["3-3-s0"] / "predictions-test.csv").unlink()  # of one that is gone nothing is known
    assert evaluation.ensembles.among({"team": team}) == ["team"]
