"""The notebook runs three ways, from any folder, twice in a row with the same outcome."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import torch

import experiments
import nets
import reproduce
from utils import data, logger, loss

NOTEBOOK = data.PROJECT / "ARL-CNN.ipynb"
OUTPUTS = {
    "config.json",
    "last.pt",
    "best.safetensors",
    "history.csv",
    "timing.csv",
    "predictions-test.csv",
    "scores-test.json",
    "run.log",
    "figures",
}


def run(command: list[str], folder: Path) -> str:
    """Run a command in folder, without a display; returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    environment["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout + done.stderr


def script(folder: Path, first_lines: str = "", **parameters: object) -> Path:
    """The converted notebook in folder, with these parameters written into it."""
    run([sys.executable, "-m", "nbconvert", "--to", "script", str(NOTEBOOK),
         "--output-dir", str(folder)], folder)  # fmt: skip
    file = folder / "ARL-CNN.py"
    text = file.read_text(encoding="utf-8")
    for name, value in parameters.items():
        line = next(line for line in text.splitlines() if line.startswith(f"{name} = "))
        text = text.replace(line, f"{name} = {value!r}", 1)
    file.write_text(first_lines + text, encoding="utf-8")
    return file


def contents(folder: Path) -> dict[str, bytes]:
    """The results of a run that must not change: everything but logs."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.name: path.read_bytes() for path in files if path.name != "run.log"}


def test_papermill_with_other_parameters_from_another_folder(
    demo_set: Path, tmp_path: Path
) -> None:
    options = {"experiment": "2-2", "epochs": "1", "image_size": "64", "data_dir": str(demo_set),
               "run_dir": str(tmp_path / "run")}  # fmt: skip
    pairs = [part for name, value in options.items() for part in ("-p", name, value)]
    run([sys.executable, "-m", "papermill", str(NOTEBOOK), "out.ipynb", *pairs], tmp_path)
    assert {path.name for path in (tmp_path / "run").iterdir()} == OUTPUTS
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert (config["row"]["loss"], config["row"]["epochs"]) == ("focal", 1)
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == len(list((tmp_path / "run/figures").glob("*.png"))) == 4
    assert not [o for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "epoch 1/1  loss" in printed
    assert "synthetic demo data" in printed


def test_a_converted_script_in_another_folder_twice_in_a_row(
    demo_set: Path, tmp_path: Path
) -> None:
    where = {"data_dir": str(demo_set), "run_dir": str(tmp_path / "run")}
    file = script(tmp_path, experiment="1-3", epochs=2, image_size=64, **where)
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    printed = run([sys.executable, str(file)], elsewhere)
    assert "epoch 2/2  loss" in printed
    assert not list(elsewhere.iterdir())
    first = contents(tmp_path / "run")
    assert "predictions-test.csv" in first
    again = run([sys.executable, str(file)], elsewhere)
    assert "is finished after 2 epochs; nothing to train" in again
    assert contents(tmp_path / "run") == first
    table = pd.read_csv(tmp_path / "run/predictions-test.csv")
    assert table.columns.tolist() == ["id", "label", *data.CLASSES]
    assert len(table) == 8


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_start_from_a_converted_script(method: str, demo_set: Path, tmp_path: Path) -> None:
    first = f"import multiprocessing\nmultiprocessing.set_start_method({method!r})\n"
    where = {"data_dir": str(demo_set), "run_dir": str(tmp_path / "run")}
    small = {"experiment": "1-3", "epochs": 1, "image_size": 32, "workers": 1}
    file = script(tmp_path, first, **small, **where)
    printed = run([sys.executable, str(file)], tmp_path)
    assert printed.count("epoch 1/1  loss") == 1
    assert (tmp_path / "run/scores-test.json").exists()


def test_a_wrong_parameter_is_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match=r"ARL-CNN.ipynb has no parameter epoch; it has experim"):
        reproduce.check_parameters(NOTEBOOK, {"experiment": "1-3", "epoch": 3})


def test_every_row_of_every_profile_can_be_built() -> None:
    for name, profile in itertools.product(experiments.ROWS, experiments.PROFILES):
        row = experiments.get(name, profile, weights="none")
        with torch.device("meta"):
            nets.build(row.network, row.num_classes, row.weights, **row.network_options())
        loss.build(row.loss, row.class_weights, row.gamma)


def test_a_finished_row_is_left_alone_and_a_changed_one_refused(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(reproduce.data, "PROJECT", tmp_path)
    row = experiments.get("1-3", "demo", seed=0)
    run = logger.start_run(tmp_path / "model/demo-demo/1-3-s0", row, {"fingerprint": "x"})
    (run / "last.pt").touch()
    run.remember("finished", True)
    run.save_json("scores-test.json", {"data": "d", "split": "test", "n": 1, "official": {}})
    monkeypatch.setattr(reproduce, "execute", lambda *_: pytest.fail("it must not run again"))
    reproduce.main(["1-3", "--profile", "demo", "--data-dir", str(demo_set)])
    assert "1-3-s0 is finished" in capsys.readouterr().out
    run.save_json("config.json", run.config | {"row": run.config["row"] | {"epochs": 99}})
    with pytest.raises(SystemExit, match=r"epochs is 99 there and 16 here.*--resume restart"):
        reproduce.main(["1-3", "--profile", "demo", "--data-dir", str(demo_set)])
