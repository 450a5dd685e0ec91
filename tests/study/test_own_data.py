"""reproduce.py, baselines.py and seg_main.py plan runs on data of one's own."""

import shutil
from pathlib import Path

import own_sets
import pytest

import baselines
import seg_main
from study.plan import plan
from study.preview import show_plan
from utils import data, logger
from utils.system import project


@pytest.fixture
def moles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """36 images of three classes without a validation split, in a project of its own."""
    monkeypatch.setattr(project, "PROJECT", tmp_path)
    rows = own_sets.table(36)
    rows["split"] = rows["split"].replace("validation", "train")
    return own_sets.make(tmp_path / "Data" / "my moles-2", rows)


def test_rows_are_planned_on_the_classes_of_the_set(moles: Path, tmp_path: Path) -> None:
    planned = plan(["3-1", "1-4", "2-1", "seg-6", "0-1"], [0], "light", data.locate(moles))
    assert not planned.refused
    rows = {run.job.name: run.experiment for run in planned.runs}
    weights = {"3-1-s0": "balanced", "1-4-s0": None, "2-1-s0": (1, 1, 1), "0-1-s0": None}
    for name, expected in weights.items():
        assert rows[name].classes == ("melanoma", "basal_cell_carcinoma", "nevus")
        assert rows[name].class_weights == expected
    assert {row.select_on for row in rows.values()} == {"holdout"}
    home = tmp_path / "model" / "my_moles_2-light"
    assert {run.job.folder.parent for run in planned.runs} == {home}


def test_a_dry_run_says_what_cannot_be_trained(moles: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.rmtree(moles / "masks")
    where = data.locate(moles)
    assert not show_plan(plan(["3-1", "seg-6"], [0], "light", where), where)
    assert show_plan(plan(["3-1"], [0], "light", where), where)
    said = " ".join(capsys.readouterr().out.split())
    assert "seg-6-s0 cannot run: images without a mask" in said
    assert "3-1-s0 cannot run" not in said


def test_what_needs_lists_of_isic_2017_is_refused_before_the_work(moles: Path) -> None:
    planned = plan(["3-1", "1-4"], [0], "paper", data.locate(moles))
    assert not planned.runs
    for why in planned.refused.values():
        assert "which exists for ISIC 2017 alone; use 'official'" in why


def test_the_command_of_segmenters_knows_that_there_is_no_validation_split(moles: Path) -> None:
    parameters = {"experiment": "seg-6", "profile": "light"}
    assert seg_main.experiment_of(parameters).select_on == "validation"
    on_moles = parameters | {"data_dir": str(moles)}
    assert seg_main.experiment_of(on_moles).select_on == "holdout"
    asked = on_moles | {"select_on": "validation"}
    assert seg_main.experiment_of(asked).select_on == "validation"


def test_a_baseline_is_made_by_its_script(moles: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        baselines.main(["0-1", "--data-dir", str(moles), "--profile", "demo"])
    assert ended.value.code == 0
    run = logger.run.RunFolder(tmp_path / "model" / "my_moles_2-demo" / "0-1-s0")
    assert run.finished
    assert run.config["row"]["classes"] == list(data.classes(moles))
    assert run.config["data"]["set"] == "my moles-2"
