"""A run that an early version began, kept as it was left: its settings name no task."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from small_run import CONFIG, parts, train

import experiments
from utils.logger import RunFolder
from utils.system.project import PROJECT

EARLY = PROJECT / "tests" / "golden" / "early-run"


def test_it_is_read_and_resumed(demo_set: Path, tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(EARLY, tmp_path / "1-3-s0"))
    settings = run.config["row"]
    assert "task" not in settings
    experiment = replace(CONFIG, epochs=2)
    assert experiments.restore(settings) == experiment
    # The files of the demo set are as its encoder made them: elsewhere they may be others.
    prepared, images = parts(demo_set)
    facts = run.config["data"] | {"fingerprint": prepared.fingerprint(images)}
    run.save_json("config.json", run.config | {"data": facts})
    before = (run / "history.csv").read_text().splitlines()
    train(demo_set, run.path, experiment)
    after = (run / "history.csv").read_text().splitlines()
    assert (after[:2], len(after)) == (before, 3)
    log = (run / "run.log").read_text(encoding="utf-8")
    assert "resuming epoch 2 at batch 1" in log
    assert "was begun by a version that cut patches in three steps" in log
    assert run.finished
    assert json.loads((run / "config.json").read_text())["row"] == settings
