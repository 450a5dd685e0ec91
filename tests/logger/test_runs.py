"""Finished runs are found by any of their names; a missing one is answered with its command."""

import dataclasses
import json
import math
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

import experiments
from experiments import ROWS
from utils.data import demo
from utils.logger import about, outputs, runs
from utils.logger.run import RunFolder
from utils.system.errors import RunError


def leave_run(
    folder: Path, row: str, profile: str = "demo", finished: bool = True, **changes: object
) -> None:
    seed = int(folder.name.split("-s")[1].split(".")[0])
    config = {"row": dataclasses.asdict(experiments.get(row, profile, seed=seed, **changes))}
    config["data"] = {"set": "ISIC 2017" if "isic" in str(folder) else "synthetic demo data"}
    config["precision"] = "fp32"
    RunFolder(folder).save_table("history.csv", pd.DataFrame({"epoch": [1], "auc_mean": [0.5]}))
    RunFolder(folder).save_json("config.json", config | ({"finished": True} if finished else {}))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder that says it is the demo set."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / demo.MARKER).touch()
    return tmp_path / "data"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Three finished runs, one unfinished, one moved aside, one on other data, one of no row."""
    folder = tmp_path / "model"
    leave_run(folder / "demo-demo/1-3-s10", "1-3")
    leave_run(folder / "demo-demo/1-3-s2", "1-3")
    leave_run(folder / "demo-demo/3-1-s0", "3-1", finished=False)
    leave_run(folder / "demo-demo/1-3-s0.1", "1-3")
    leave_run(folder / "demo-best/1-1-s0", "1-1", "best")
    leave_run(folder / "demo-paper/1-5-s3", "1-5", "paper", finished=False)
    leave_run(folder / "isic2017-best/1-2-s0", "1-2", "best")
    (folder / "demo-demo/evaluation-cls-test").mkdir()
    return folder


def found(wanted: str | list[str] | None, data_dir: Path, models: Path) -> list[str]:
    return list(runs.find(wanted, data_dir, experiments.ROWS, experiments.SAME_RUN, models))


def test_all_finished_runs_by_default_in_the_order_of_the_table(data_dir, models) -> None:
    assert found(None, data_dir, models) == ["1-1-s0", "1-3-s2", "1-3-s10"]


def test_where_nothing_was_trained_the_runs_in_the_box_are_shown(data_dir, models, capsys) -> None:
    box = models / "released"
    for name in ("1-3-s0", "0-1-s0"):  # the second is what an evaluation leaves
        leave_run(box / name, name[:3])
        RunFolder(box / name).save_json("config.json", RunFolder(box / name).config)
    isic = RunFolder(box / "1-3-s0")
    isic.save_json("config.json", isic.config | {"data": {"set": "ISIC 2017"}})
    (box / "1-3-s0/README.md").touch()
    assert "released/1-3-s0" not in found(None, data_dir, models)  # others are finished
    for folder in (models / "demo-demo", models / "demo-best", models / "demo-paper"):
        shutil.rmtree(folder)
    assert found(None, data_dir, models) == ["1-3-s0"]
    assert "so those in the box are shown" in capsys.readouterr().out
    assert found("released/1-3-s0", data_dir, models) == ["1-3-s0"]
    leave_run(models / "demo-demo/1-3-s7", "1-3", finished=False)
    with pytest.raises(RunError, match="none is finished; resume with"):
        found(None, data_dir, models)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("1-3", ["1-3-s2", "1-3-s10"]),
        ("1-3-s10", ["1-3-s10"]),
        ("demo-best/1-1-s0", ["1-1-s0"]),
        ("1-3-s10, 1-1,", ["1-3-s10", "1-1-s0"]),
        ("2-4-s2", ["1-3-s2"]),
        (["1-1", "1-3-s2", "1-1-s0"], ["1-1-s0", "1-3-s2"]),
    ],
)
def test_a_run_is_named_in_any_of_its_ways(wanted, names, data_dir, models) -> None:
    assert found(wanted, data_dir, models) == names


def test_a_folder_anywhere_is_a_name_too(data_dir, models, tmp_path) -> None:
    leave_run(tmp_path / "elsewhere/my run-s0", "2-1")
    chosen = runs.find(str(tmp_path / "elsewhere/my run-s0"), data_dir, ROWS, models=models)
    assert [run.path.name for run in chosen.values()] == ["my run-s0"]


def test_names_show_the_profile_where_it_tells_runs_apart(data_dir, models) -> None:
    leave_run(models / "demo-best/1-3-s2", "1-3", "best")
    assert found("1-3-s2", data_dir, models) == ["demo-best/1-3-s2", "demo-demo/1-3-s2"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("2-1", r"no run '2-1'; make it with\n    python reproduce.py 2-1 --profile demo --data-d"),
        ("2-4-s7", r"no run '1-3-s7'; make it with\n    python reproduce.py 1-3 --profile demo"),
        ("1-5", r"1-5-s3 is not finished; resume it with\n.*1-5 --profile paper .* --seeds 3"),
        (["1-3", 3], r"runs is \['1-3', 3\]; expected None, a name such as"),
        (3.5, r"runs is 3.5; expected None"),
        (3, r"'3' is neither a run folder nor a row"),
        ("", r"runs names no run; expected at least one name"),
        ("1-3-s7", r"no run '1-3-s7'.*\n.* 1-3 --profile demo --data-dir \".*/data\" --seeds 7"),
        ("demo-paper/1-3-s0", r"make it with\n    python reproduce.py 1-3 --profile paper"),
        ("3-1", r"demo-demo/3-1-s0 is not finished; resume it with\n    python reproduce.py 3-1"),
        ("9-9", r"'9-9' is neither a run folder nor a row; .* or 'demo-demo/1-1-s0'\. The rows"),
        ("isic2017-best/1-2-s0", r"trained on ISIC 2017, and this is synthetic demo data .*name"),
    ],
)
def test_a_missing_run_is_answered_with_the_command(wanted, message, data_dir, models) -> None:
    with pytest.raises(RunError, match=rf"(?s){message}"):
        found(wanted, data_dir, models)


def test_a_folder_of_another_experiment_is_refused(data_dir, models) -> None:
    few = {name: ROWS[name] for name in ("1-3", "3-1")}
    with pytest.raises(RunError, match=r"1-1-s0 holds row 1-1; expected one of 1-3, 3-1"):
        runs.find(str(models / "demo-best/1-1-s0"), data_dir, few, models=models)


def test_no_run_at_all_is_answered_with_the_first_command(data_dir, tmp_path) -> None:
    with pytest.raises(RunError, match=r"no finished run under .*demo-\*.*\n    python reproduce"):
        found(None, data_dir, tmp_path / "nothing")


def test_runs_of_one_name_in_two_places_are_both_there(data_dir, models, tmp_path) -> None:
    other = tmp_path / "other/demo-demo/1-3-s2"
    leave_run(other, "1-3")
    assert len(found(["1-3-s2", str(other)], data_dir, models)) == 2


def test_an_unfinished_run_elsewhere_goes_on_where_it_is(data_dir, models, tmp_path) -> None:
    leave_run(tmp_path / "mine/x-s0", "1-3", finished=False)
    with pytest.raises(RunError, match=r"papermill ARL-CNN.ipynb .* -p run_dir \".*/mine/x-s0\""):
        found(str(tmp_path / "mine/x-s0"), data_dir, models)


def test_a_damaged_run_is_passed_over_unless_it_is_asked_for(data_dir, models, capsys) -> None:
    (models / "demo-demo/1-3-s2/config.json").write_text("{")
    assert found(None, data_dir, models) == ["1-1-s0", "1-3-s10"]
    assert "skipped: " in capsys.readouterr().out
    with pytest.raises(RunError, match=r"1-3-s2/config.json is damaged .*resume='restart'"):
        found("1-3-s2", data_dir, models)


def test_where_none_is_finished_the_begun_ones_are_named(data_dir, tmp_path) -> None:
    leave_run(tmp_path / "m/demo-demo/4-1-s2", "4-1", finished=False)
    with pytest.raises(RunError, match=r"none is finished; resume with\n.* 4-1 .* --seeds 2$"):
        found(None, data_dir, tmp_path / "m")


def test_scores_tell_that_a_run_of_an_early_version_is_finished(data_dir, models) -> None:
    folder = models / "demo-paper/1-5-s3"
    for name in ("scores-test.json", "best.safetensors"):
        (folder / name).touch()
    assert found("1-5", data_dir, models) == ["1-5-s3"]


def test_an_evaluation_lies_beside_the_first_of_its_runs(tmp_path) -> None:
    one, far = RunFolder(tmp_path / "a-b/1"), RunFolder(tmp_path / "a-c/1")
    assert outputs.begin([one, far], "evaluation").path == tmp_path / "a-b/evaluation"


def test_an_overview_says_which_epoch_was_kept(data_dir, models) -> None:
    chosen = runs.find("1-3", data_dir, experiments.ROWS, models=models)
    for run, scores in zip(chosen.values(), ([0.6, 0.8, 0.7], [0.9, 0.5, 0.9]), strict=True):
        history = pd.DataFrame({"epoch": [1, 2, 3], "auc_mean": scores})
        run.save_table("history.csv", history)
    table = about.overview(chosen)
    assert table.index.tolist() == ["1-3-s2", "1-3-s10"]
    assert table[["seed", "epochs (kept)", "chosen on"]].to_numpy().tolist() == [
        [2, "3 (2)", "validation: auc_mean 0.800"],
        [10, "3 (1)", "validation: auc_mean 0.900"],
    ]
    config = chosen["1-3-s2"].config
    chosen["1-3-s2"].save_json("config.json", config | {"row": config["row"] | {"keep": "last"}})
    line = about.overview(chosen).loc["1-3-s2"]
    assert line["epochs (kept)"] == "3 (3)"
    assert line["chosen on"] == "last epoch, validation: auc_mean 0.700"
    assert set(table["weights"]) == {"random"}


def with_entry(config: dict, place: str, value: object) -> str:
    """The settings as text, with this value at a place such as "row.seed"."""
    *parents, name = place.split(".")
    entries = json.loads(json.dumps(config))
    inner = entries
    for parent in parents:
        inner = inner[parent]
    inner[name] = value
    return json.dumps(entries)


WRONG = [
    *[("row", value) for value in (None, [], "x", {}, {"name": "1-3"}, {"name": []})],
    *[("row.seed", value) for value in (None, "x", -1, 1.5, [0], True, 10**30, math.nan)],
    *[("row.image_size", value) for value in (None, {}, "64", [64, 64], 0, 10**400)],
    *[("row.name", value) for value in (None, 3, "", "9-9")],
    *[("row.published", value) for value in (None, 3, [3], [{"x": 1}], [{"source": 1}])],
    *[("row.profile", None), ("row.select_score", "x"), ("row.select_score", []), ("row.x", 1)],
    *[("row.class_weights", ["x"]), ("row.weights", 3), ("row.views", None), ("row.network", 3)],
    *[("data", value) for value in (None, [], "x", {"set": 3}, {})],
    *[("precision", value) for value in (None, "fp8", "", 3, [])],
    *[("versions", []), ("machine", "x"), ("machine", {"memory_gb": "x"}), ("git", 3)],
    *[("network", {"parameters": "many"}), ("network", 3)],
]


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_settings_of_any_kind_are_passed_over_or_refused(
    place, value, data_dir, models, capsys
) -> None:
    file = models / "demo-demo/1-3-s2/config.json"
    file.write_text(with_entry(json.loads(file.read_text()), place, value))
    one_is_damaged(data_dir, models, capsys)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[" * 99_999, b'{"a":' * 9_999, b"x" * 10_000_000, b"9" * 9_999, None]
)
def test_a_file_of_settings_of_any_kind(content, data_dir, models, capsys) -> None:
    file = models / "demo-demo/1-3-s2/config.json"
    file.unlink()
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    one_is_damaged(data_dir, models, capsys)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_not_waited_for(data_dir, models, capsys) -> None:
    (models / "demo-demo/1-3-s2/config.json").unlink()
    os.mkfifo(models / "demo-demo/1-3-s2/config.json")
    one_is_damaged(data_dir, models, capsys)


@pytest.mark.parametrize("content", [None, "", "epoch\n1\n", "epoch,auc_mean\n1,x\n", "\0"])
def test_a_history_that_tells_nothing(content, data_dir, models, capsys) -> None:
    file = models / "demo-demo/1-3-s2/history.csv"
    file.unlink()
    if content is None:
        file.mkdir()
    else:
        file.write_text(content)
    one_is_damaged(data_dir, models, capsys)


def one_is_damaged(data_dir: Path, models: Path, capsys) -> None:
    """1-3-s2 is skipped with a message, the others are found; asked for, it is refused."""
    chosen = runs.find(None, data_dir, ROWS, models=models)
    assert list(chosen) == ["1-1-s0", "1-3-s10"]
    assert len(about.overview(chosen)) == 2
    passed = capsys.readouterr().out
    assert "skipped: " not in passed or "1-3-s2" in passed
    with pytest.raises(RunError, match=r"1-3-s2|9-9"):
        runs.find(str(models / "demo-demo/1-3-s2"), data_dir, ROWS, models=models)


def test_a_folder_without_settings_is_no_run(data_dir, models) -> None:
    (models / "demo-demo/1-3-s2/config.json").unlink()
    with pytest.raises(RunError, match=r"1-3-s2 holds no config.json; train it again"):
        found("1-3-s2", data_dir, models)


def test_runs_with_a_librarys_network_are_not_those_of_the_row(data_dir, models) -> None:
    folder, network = models / "demo-demo", "timm:convnext_tiny"
    other = "3-1-timm-convnext_tiny"
    leave_run(folder / "3-1-s0", "3-1")
    leave_run(folder / f"{other}-s0", "3-1", network=network)
    leave_run(folder / f"{other}-f2-s0", "3-1", network=network, fold="2/5")
    assert found(None, data_dir, models)[-2:] == ["3-1-s0", f"{other}-s0"]
    assert found("3-1", data_dir, models) == ["3-1-s0"]
    assert found(other, data_dir, models) == [f"{other}-s0"]
    assert found(f"{other}-f2-s0", data_dir, models) == [f"{other}-f2-s0"]
    leave_run(folder / f"{other}-s0", "3-1", finished=False, network=network)
    with pytest.raises(RunError, match=r"3-1 --profile demo .* -p network timm:convnext_tiny$"):
        found(other, data_dir, models)
