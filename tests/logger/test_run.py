"""The run folder keeps what is in it."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from run_folders import DATA, Row, names

from utils import logger
from utils.logger.run import RunFolder, start_run
from utils.system import project
from utils.system.errors import RunError

# --- opening a run folder ---


def test_new_run_writes_its_settings(tmp_path):
    run = start_run(tmp_path / "deep" / "run", Row(), DATA)
    config = json.loads((tmp_path / "deep" / "run" / "config.json").read_text())
    assert config == run.config
    assert config["row"]["network"] == "arl14"
    assert config["row"]["scales"] == [0.5, 1.0]
    assert config["row"]["question"] == "does it learn?"
    assert config["data"] == DATA
    assert config["versions"]["torch"].split(".")[0].isdigit()
    assert config["machine"]["cores"] == os.cpu_count()
    assert config["versions"]["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert isinstance(config["git"], str)


def trained_run(folder):
    """A run that has left something to go on from."""
    run = start_run(folder, Row(), DATA)
    (run / "last.pt").touch()
    return run


def test_a_run_that_never_trained_leaves_no_settings_behind(tmp_path):
    start_run(tmp_path / "run", Row(learning_rate=-1.0), DATA)
    run = start_run(tmp_path / "run", Row(), DATA)
    assert run.config["row"]["learning_rate"] == Row().learning_rate


def test_changed_code_is_said(tmp_path, monkeypatch, capsys):
    trained_run(tmp_path / "run")
    monkeypatch.setattr(logger.run, "git_revision", lambda: "0123456789ab")
    start_run(tmp_path / "run", Row(), DATA)
    assert "changed since this run began: git" in capsys.readouterr().out


def test_same_settings_go_on(tmp_path):
    first = trained_run(tmp_path / "run")
    first.remember("precision", "bf16")
    before = (tmp_path / "run" / "config.json").read_bytes()
    second = start_run(str(tmp_path / "run"), Row(), dict(DATA))
    assert second.config["precision"] == "bf16"
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    assert names(tmp_path) == ["run"]


def test_empty_folder_is_a_new_run(tmp_path):
    (tmp_path / "run" / "figures").mkdir(parents=True)
    assert start_run(tmp_path / "run", Row(), DATA).config["data"] == DATA


def test_other_settings_are_an_error_with_two_cures(tmp_path):
    trained_run(tmp_path / "run")
    before = (tmp_path / "run" / "config.json").read_bytes()
    other = Row(network="resnet14", scales=(0.5,), class_weights=(1.0, 2.0, 3.0))
    with pytest.raises(RunError) as error:
        start_run(tmp_path / "run", other, DATA)
    said = str(error.value)
    assert "network is 'arl14' there and 'resnet14' here" in said
    assert "scales is [0.5, 1.0] there and [0.5] here" in said
    assert "class_weights is None there and [1.0, 2.0, 3.0] here" in said
    assert "learning_rate" not in said
    assert "resume='restart'" in said
    assert "moved aside" in said
    assert "another run_dir" in said
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    assert names(tmp_path) == ["run"]


def test_other_data_is_an_error(tmp_path):
    trained_run(tmp_path / "run")
    expected = "data fingerprint is '0123456789abcdef' there and 'new' here"
    with pytest.raises(RunError, match=expected):
        start_run(tmp_path / "run", Row(), DATA | {"fingerprint": "new"})
    # The same images from another place are the same data.
    start_run(tmp_path / "run", Row(), DATA | {"folder": "elsewhere"})


def test_fields_that_change_no_result_are_free(tmp_path):
    trained_run(tmp_path / "run")
    other = Row(question="reworded", published=("a study",), workers=4)
    assert start_run(tmp_path / "run", other, DATA).config["row"]["workers"] is None
    free = {"question", "published", "deviations", "device", "workers", "loader"}
    assert free == logger.run.FREE_FIELDS


def test_field_that_a_run_does_not_know_yet(tmp_path):
    trained_run(tmp_path / "run")

    @dataclasses.dataclass(frozen=True)
    class Longer(Row):
        mixup: float = 0.2
        classes: tuple[str, ...] = ("melanoma", "benign")  # stored as a list

    start_run(tmp_path / "run", Longer(), DATA)  # the run had the default, without a name for it
    with pytest.raises(RunError, match=r"mixup is 0\.2 there and 0\.5 here"):
        start_run(tmp_path / "run", Longer(mixup=0.5), DATA)


def test_field_that_the_row_no_longer_has(tmp_path):
    run = trained_run(tmp_path / "run")
    run.save_json("config.json", run.config | {"row": run.config["row"] | {"mixup": 0.2}})
    with pytest.raises(RunError, match=r"mixup is 0\.2 there and 'no longer known' here"):
        start_run(tmp_path / "run", Row(), DATA)


def test_restart_moves_aside_and_deletes_nothing(tmp_path, capsys):
    for rate in (0.1, 0.2, 0.3):
        run = start_run(tmp_path / "run", Row(learning_rate=rate), DATA, resume="restart")
        (run / "last.pt").write_text(f"weights of {rate}")
    assert names(tmp_path) == ["run", "run.1", "run.2"]
    kept = {name: (tmp_path / name / "last.pt").read_text() for name in names(tmp_path)}
    assert kept == {"run.1": "weights of 0.1", "run.2": "weights of 0.2", "run": "weights of 0.3"}
    assert run.config["row"]["learning_rate"] == 0.3
    said = capsys.readouterr().out
    assert f"was in {tmp_path / 'run'} is now in {tmp_path / 'run.1'}" in said
    assert "run.2" in said


def test_unknown_way_to_resume(tmp_path):
    with pytest.raises(ValueError, match="resume is 'never'; expected one of auto, restart"):
        start_run(tmp_path / "run", Row(), DATA, resume="never")
    assert names(tmp_path) == []


HOLDER = """
import sys
from utils.logger.run import RunFolder

with RunFolder(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_finished_run_does_not_need_its_last_state(tmp_path):
    run = trained_run(tmp_path / "run")
    run.remember("finished", True)
    (run / "last.pt").rename(run / "best.safetensors")
    before = (run / "config.json").read_bytes()
    start_run(tmp_path / "run", Row(), DATA)
    with pytest.raises(RunError, match=r"learning_rate is 0\.1 there and 0\.2 here"):
        start_run(tmp_path / "run", Row(learning_rate=0.2), DATA)
    assert (run / "config.json").read_bytes() == before
    (run / "best.safetensors").unlink()
    with pytest.raises(RunError, match=r"has no best.safetensors, though the run is finished; put"):
        start_run(tmp_path / "run", Row(), DATA)
    start_run(tmp_path / "run", Row(learning_rate=0.2), DATA, "restart")
    assert names(tmp_path) == ["run", "run.1"]


def test_an_unfinished_run_is_not_trained_over(tmp_path):
    run = start_run(tmp_path / "run", Row(), DATA)
    (run / "best.safetensors").touch()
    start_run(tmp_path / "run", Row(), DATA)  # killed in the first epoch, before last.pt
    (run / "history.csv").touch()
    with pytest.raises(RunError, match=r"has no last.pt, and the run is not finished; put .* back"):
        start_run(tmp_path / "run", Row(), DATA)


@pytest.mark.parametrize("resume", ["auto", "restart"])
def test_folder_in_which_another_process_trains(tmp_path, resume):
    start_run(tmp_path / "run", Row(), DATA)
    expected = r"another process is training in .*run; wait for it, .* another run_dir"
    with (
        RunFolder(tmp_path / "run").lock(),
        pytest.raises(BlockingIOError, match=expected),
    ):
        start_run(tmp_path / "run", Row(), DATA, resume)
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("resume", ["auto", "restart"])
def test_two_links_to_a_folder_have_one_lock(tmp_path, resume):
    start_run(tmp_path / "run", Row(), DATA)
    (tmp_path / "link").symlink_to("run")
    with RunFolder(tmp_path / "run").lock(), pytest.raises(BlockingIOError, match="another proc"):
        start_run(tmp_path / "link", Row(), DATA, resume)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_lock_that_cannot_be_made_is_no_other_process():
    with pytest.raises(OSError, match=r"^/proc/\.run\.lock cannot be written \(.*; choose another"):
        start_run("/proc/run", Row(), DATA)


def test_folder_of_a_killed_process_is_free_again(tmp_path):
    start_run(tmp_path / "run", Row(), DATA)
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(BlockingIOError, match="another process is training"):
                start_run(tmp_path / "run", Row(), DATA)
        finally:
            holder.kill()
    start_run(tmp_path / "run", Row(), DATA)


# --- what lies in it ---


def test_remembered_values_stay(tmp_path):
    run = start_run(tmp_path / "run", Row(), DATA)
    assert run.remember("precision", "bf16") == "bf16"
    assert run.remember("precision", "fp32") == "bf16"
    assert RunFolder(tmp_path / "run").config["precision"] == "bf16"
    assert run.config["data"] == DATA


def test_folder_without_a_run_has_no_settings(tmp_path):
    assert RunFolder(tmp_path / "nothing").config == {}
    assert names(tmp_path) == []


def test_tables_keep_every_digit(tmp_path):
    table = pd.DataFrame({"epoch": [1, 2], "loss": [0.1 + 0.2, 1 / 3], "auc": [np.nan, 1.0]})
    path = RunFolder(tmp_path).save_table("history.csv", table)
    assert path == tmp_path / "history.csv"
    assert path.read_bytes().startswith(b"epoch,loss,auc\n1,0.30000000000000004,\n")
    read = pd.read_csv(path)
    pd.testing.assert_frame_equal(read, table, check_exact=True)


def test_scores_are_strict_json(tmp_path):
    path = RunFolder(tmp_path).save_json("scores-test.json", {"auc": float("nan"), "n": 3})
    assert json.loads(path.read_text()) == {"auc": None, "n": 3}
    assert "NaN" not in path.read_text()


def test_log_keeps_what_was_said(tmp_path, capsys):
    run = RunFolder(tmp_path / "run")
    run.say("epoch 1/2  α 0.1")
    run.say("epoch 2/2")
    assert capsys.readouterr().out == "epoch 1/2  α 0.1\nepoch 2/2\n"
    lines = (tmp_path / "run" / "run.log").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["epoch 1/2  α 0.1", "epoch 2/2"]
    stamps = pd.to_datetime([line.split(" ", 1)[0] for line in lines], utc=True)
    assert abs(pd.Timestamp.now("UTC") - stamps[1]) < pd.Timedelta(minutes=1)


def test_figures_are_files_and_their_place_is_said(tmp_path, capsys):
    figure = Figure(figsize=(2, 1))
    path = RunFolder(tmp_path).show("curves", figure)
    assert path == tmp_path / "figures" / "curves.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"figure: {path}\n"
    assert names(tmp_path / "figures") == ["curves.png"]


def test_figures_are_shown_where_a_notebook_runs(tmp_path, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(logger.run, "in_kernel", lambda: True)
    monkeypatch.setattr(logger.run, "display", shown.append)
    figure = Figure(figsize=(3, 2))
    path = RunFolder(tmp_path).show("curves", figure)
    assert [image.data for image in shown] == [path.read_bytes()]
    assert (shown[0].width, shown[0].alt) == (300, "curves")
    figure.suptitle("Loss and score")
    RunFolder(tmp_path).show("curves", figure)
    assert shown[1].alt == "Loss and score"
    assert capsys.readouterr().out == ""


# --- where it comes from ---


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A folder in which the project seems to lie."""
    monkeypatch.setattr(project, "PROJECT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_revision_outside_git(checkout):
    assert checkout.is_dir()
    assert project.git_revision() == ""


def test_revision_without_git(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert project.git_revision() == ""


def test_revision_says_when_files_differ(checkout):
    git(checkout, "init", "--quiet")
    assert project.git_revision() == ""  # nothing is committed yet
    (checkout / "file").write_text("one")
    git(checkout, "add", "file")
    git(checkout, "commit", "--quiet", "--message", "first")
    known = git(checkout, "rev-parse", "HEAD")[:12]
    assert project.git_revision() == known
    (checkout / "scratch").write_text("untracked files do not count")
    assert project.git_revision() == known
    (checkout / "file").write_text("two")
    assert project.git_revision() == f"{known}+changes"


def notebook(answer: str = "42", parameter: str = "seed = 0", **more: object) -> str:
    """A notebook of two cells, one of them the parameters."""
    code = {"cell_type": "code", "source": [f"print({answer})"], "metadata": {}} | more
    chosen = {"cell_type": "code", "source": parameter, "metadata": {"tags": ["parameters"]}}
    return json.dumps({"cells": [chosen, code], "metadata": {}})


def test_what_jupyter_saves_in_a_notebook_is_no_change(checkout):
    git(checkout, "init", "--quiet")
    for name in ("one.ipynb", "two.ipynb"):
        (checkout / name).write_text(notebook())
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message", "first")
    known = git(checkout, "rev-parse", "HEAD")[:12]
    executed = notebook(outputs=[{"text": "α"}], execution_count=7, source="print(42)")
    (checkout / "one.ipynb").write_text(executed, encoding="utf-8")
    assert project.git_revision() == known
    (checkout / "one.ipynb").write_text(notebook(parameter="seed = 1"))  # the row says it, too
    assert project.git_revision() == known
    for other in (notebook("43"), "no JSON", "[]"):
        (checkout / "one.ipynb").write_text(other)
        assert project.git_revision() == f"{known}+changes"
    (checkout / "one.ipynb").write_text(executed)
    (checkout / "two.ipynb").unlink()
    assert project.git_revision() == f"{known}+changes"


def test_versions():
    versions = logger.versions()
    assert {"python", "platform", "torch", "numpy", "albumentations"} <= set(versions)
    assert "not installed as a package" not in versions.values()
    assert os.sep not in versions["torch"]
