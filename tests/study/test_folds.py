"""Cross-validation: the tables of folds, what is kept of runs, and the tables made from it."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import study_folders
from scipy import stats
from sklearn.metrics import roc_auc_score
from study_folders import of_fold

import experiments
from study import archive, folds, plan
from utils import logger
from utils.logger.run import RunFolder
from utils.system.errors import RunError


@pytest.fixture
def five(tmp_path: Path) -> list[RunFolder]:
    return [of_fold(tmp_path / "isic2017-best", f"{k}/5", skill=0.5 * k) for k in range(1, 6)]


def test_names_of_all_folds() -> None:
    assert folds.names(None) == []
    assert folds.names(3, "series") == ["series 1/3", "series 2/3", "series 3/3"]
    for number, by in ((0, "chance"), (1, "chance"), (51, "series")):
        with pytest.raises(ValueError, match=f"--folds is {number} with --fold-by {by}; expected"):
            folds.names(number, by)
    with pytest.raises(ValueError, match=r"--fold-by series says how .*; give their number: --fol"):
        folds.names(None, "series")


def test_the_table_has_mean_deviation_and_students_interval(five: list[RunFolder]) -> None:
    table = folds.table(five)
    areas = []
    for run in five:
        held = pd.read_csv(run / "predictions-fold.csv")
        areas.append(roc_auc_score(held["label"] == 0, held["melanoma"]))
    mean, deviation = np.mean(areas), np.std(areas, ddof=1)
    low, high = stats.t.interval(0.95, 4, mean, deviation / np.sqrt(5))
    expected = f"{mean:.3f} ± {deviation:.3f} [{low:.3f}, {min(high, 1):.3f}]"
    assert table["auc_melanoma"].tolist() == [expected]
    assert table[["row", "folds", "seed"]].to_numpy().tolist() == [["3-1", "5 of 5", 0]]


def test_fewer_than_three_folds_have_no_interval(five: list[RunFolder]) -> None:
    texts = [folds.table(five[:count])["auc_mean"][0] for count in (1, 2, 3)]
    patterns = (r"0\.\d{3}", r"0\.\d{3} ± 0\.\d{3}", r"0\.\d{3} ± 0\.\d{3} \[.*\]")
    assert all(re.fullmatch(*pair) for pair in zip(patterns, texts, strict=True))


def test_out_of_fold_predictions_are_written_when_all_folds_are_there(
    five: list[RunFolder],
) -> None:
    assert folds.write(five[:4]) == []
    (file,) = folds.write(five)
    assert file == (five[0].path.parent / "3-1-folds-s0.csv").resolve()
    table = pd.read_csv(file)
    assert table["id"].is_unique
    assert table["fold"].value_counts().to_dict() == {f"{k}/5": 60 for k in range(1, 6)}


def test_classifiers_and_segmenters_have_a_table_each(tmp_path: Path) -> None:
    runs = [of_fold(tmp_path, "series 1/5"), of_fold(tmp_path, "series 1/5", "seg-6")]
    labels, masks = folds.tables(runs)
    assert labels["folds"].tolist() == ["series 1 of 5"]
    assert {"jaccard", "sensitivity"} <= set(masks)


def test_a_rows_name_is_that_of_its_whole_runs(five: list[RunFolder], tmp_path: Path) -> None:
    whole = study_folders.classifier(
        tmp_path / "isic2017-best/3-1-s0", experiments.get("3-1", "best", epochs=2)
    )
    for run in (*five, whole):
        config = run.config
        run.save_json("config.json", config | {"data": config["data"] | {"set": "ISIC 2017"}})
        (run / "best.safetensors").touch()
    where = {"data_dir": tmp_path, "experiments": experiments.classification.ROWS}
    found = [logger.find(name, **where, models=tmp_path) for name in (None, "3-1", "3-1-f2-s0")]
    assert [list(runs) for runs in found] == [["3-1-s0"], ["3-1-s0"], ["3-1-f2-s0"]]


def test_folds_are_planned_as_runs_of_their_own(demo_set: Path) -> None:
    planned = plan.plan(["1-3", "2-4"], [0, 1], "demo", demo_set, folds=folds.names(2, "series"))
    names = [run.job.name for run in planned.runs]
    assert names == [f"1-3-series-f{k}-s{seed}" for seed in (0, 1) for k in (1, 2)]
    assert planned.same["2-4-series-f1-s0"] == "1-3-series-f1-s0"
    first = planned.runs[0]
    assert first.job.parameters["fold"] == "series 1/2"
    assert (first.experiment.select_on, first.experiment.keep) == ("fold", "last")


def test_folds_that_saw_boxes_of_other_networks_are_a_group_of_their_own(
    five: list[RunFolder],
) -> None:
    for number, run in enumerate(five):
        facts = run.config["data"] | {"segmenter": "old" if number < 2 else "new"}
        run.save_json("config.json", run.config | {"data": facts})
    assert folds.table(five)["folds"].tolist() == ["2 of 5", "3 of 5"]
    assert folds.write(five) == []


def test_what_is_kept_makes_the_same_tables(five: list[RunFolder], tmp_path: Path) -> None:
    for run in five:
        folder = archive.keep(run, tmp_path / "kept")
        assert not {"last.pt", "best.safetensors"} & {file.name for file in folder.iterdir()}
        assert sum(file.stat().st_size for file in folder.iterdir()) < 200_000
    kept = archive.kept(tmp_path / "kept")
    text = "before\n<!-- table: cross_validation -->\nold\n<!-- end -->\nafter\n"
    new = archive.rewritten(text, kept)
    row = folds.table(five)["auc_mean"][0]
    assert new.startswith("before\n<!-- table: cross_validation -->\n| row | set and profile |")
    assert f"| {row} |" in new
    assert new.endswith("<!-- end -->\nafter\n")
    assert archive.rewritten(new, kept) == new
    assert archive.real(kept) == []  # of drawn images
    line = "| 3-1 | isic2017-best | lite0 | 384 | 2 | fp32 | cpu | 0123456 | 5 | 11 |"
    assert line in archive.cost(kept)
    for run in kept:  # as if the same were kept of another set
        shutil.copytree(run.path, tmp_path / "kept/mine-best" / run.path.name)
    both = archive.kept(tmp_path / "kept")
    assert archive.cross_validation(both).count("| 5 of 5 |") == 2
    assert line in archive.cost(both)
    config = five[1].config
    row = config["row"] | {"fold": "2/3", "epochs": 1}
    five[1].save_json("config.json", config | {"row": row})
    with pytest.raises(RunError, match=r"run of this name: .*fold is '2/5' there and '2/3'"):
        archive.keep(five[1], tmp_path / "kept")
    (five[0] / "predictions-fold.csv").rename(five[0] / "kept-apart.csv")
    assert not (archive.keep(five[0], tmp_path / "kept") / "predictions-fold.csv").exists()
    assert "No run was kept yet." in archive.rewritten(text, [])
    with pytest.raises(ValueError, match="no table is called 'x'; expected cross_validation"):
        archive.rewritten("<!-- table: x -->\n<!-- end -->", kept)


def test_the_tables_of_results_are_those_of_the_kept_runs() -> None:
    text = archive.RESULTS.read_text(encoding="utf-8")
    assert archive.rewritten(text, archive.kept()) == text
