"""Compiled or not: what ran is recorded, a resumed run keeps it, and "auto" changes no number."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import CONFIG, SmallNet, same_files, train
from torch import nn

from utils import logger, model
from utils.model import compiling
from utils.system import errors

SIX = replace(CONFIG, epochs=6)
AUTO = replace(SIX, compile_network="auto")
AFTER_EPOCH, CAN_COMPILE = compiling.Compiling.after_epoch, compiling.can_compile
COMPILE = nn.Module.compile
FASTER, SLOWER = (9.0, 6.0, 70.0, 3.0), (9.0, 3.0, 70.0, 6.0)  # seconds of three batches


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compiled is what dynamo captures, and torch runs as before; it always works."""

    def captured(self: nn.Module) -> None:
        self._compiled_call_impl = torch.compile(self._call_impl, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", captured)
    monkeypatch.setattr(compiling, "can_compile", lambda *_: True)
    yield
    torch.compiler.reset()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each training step was compiled."""
    seen: list[bool] = []
    original = model.training._Training.train_batch

    def watched(self: model.training._Training, batch: dict) -> None:
        seen.append(self.network._compiled_call_impl is not None)
        original(self, batch)

    monkeypatch.setattr(model.training._Training, "train_batch", watched)
    return seen


def epochs_take(monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, ...]) -> None:
    """Let "auto" try it on a CPU, too, where the epochs of a process seem to take so long."""
    times = iter(seconds)

    def timed(self: compiling.Compiling, _: float, batches: int, left: int) -> None:
        AFTER_EPOCH(self, next(times, 1.0), batches, left)

    monkeypatch.setattr(compiling.Compiling, "after_epoch", timed)
    monkeypatch.setattr(compiling, "TRIED_ON", ("cpu",))
    monkeypatch.setattr(compiling, "WORTH", 2.0)


def recorded(folder: Path) -> bool | None:
    return logger.RunFolder(folder).config.get("compiled")


def said(folder: Path) -> str:
    return (folder / "run.log").read_text()


@contextmanager
def stopping(after: int) -> Iterator[None]:
    """Training is interrupted when so many epochs are complete."""
    original = model.training._Training.train_epoch

    def until(self: model.training._Training) -> None:
        if self.progress.epoch == after:
            raise KeyboardInterrupt
        original(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(model.training._Training, "train_epoch", until)
        yield


@pytest.mark.parametrize(
    ("seconds", "left", "expected"),
    [
        ([], 15, (False, False)),
        ([900], 14, (False, False)),  # the first may have decoded images
        ([900, 60], 10, (False, True)),  # ten minutes
        ([9, 60], 11, (True, False)),
        ([9, 60, 1], 10, (True, False)),  # it compiles
        ([9, 60, 90, 41], 9, (True, True)),
        ([9, 60, 1, 60], 9, (False, True)),
        ([9, 60, 90, 41], 0, (True, True)),
        ([9], 0, (False, True)),  # stopped early
        ([9, 60, 90], 0, (True, True)),
    ],
)
def test_the_rule(seconds: list[float], left: int, expected: tuple[bool, bool]) -> None:
    assert compiling.next_epoch(seconds, left) == expected


@pytest.mark.parametrize(("seconds", "kept"), [(FASTER, True), (SLOWER, False)])
def test_auto_keeps_what_is_faster_and_changes_no_bit(
    seconds: tuple[float, ...],
    kept: bool,
    demo_set: Path,
    tmp_path: Path,
    steps: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(demo_set, tmp_path / "eager", SIX)
    assert steps == [False] * 18
    steps.clear()
    epochs_take(monkeypatch, seconds)
    train(demo_set, tmp_path / "auto", AUTO)
    assert steps == [False] * 6 + [True] * 6 + [kept] * 6
    assert recorded(tmp_path / "auto") is kept
    how = "compiled: 1000 against 2000" if kept else "not compiled: 2000 against 1000"
    took = seconds[2] - seconds[3]
    assert f" {how} ms a batch, compiling took {took:.0f} s\n" in said(tmp_path / "auto")
    same_files(tmp_path / "eager", tmp_path / "auto")


def test_auto_leaves_short_runs_and_other_devices_alone(
    demo_set: Path, tmp_path: Path, steps: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(demo_set, tmp_path / "cpu", AUTO)
    assert "compile_network is 'auto', which compiles nothing on cpu" in said(tmp_path / "cpu")
    epochs_take(monkeypatch, (9.0, 0.5))
    train(demo_set, tmp_path / "short", AUTO)
    assert "not compiled: about 2 s of training left" in said(tmp_path / "short")
    assert not any(steps)
    assert recorded(tmp_path / "cpu") is recorded(tmp_path / "short") is False


def test_auto_needs_a_compiler(
    demo_set: Path, tmp_path: Path, steps: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs_take(monkeypatch, FASTER)
    monkeypatch.setattr(compiling, "can_compile", lambda *_: False)
    train(demo_set, tmp_path / "run", AUTO)
    assert not any(steps)
    assert recorded(tmp_path / "run") is False


@pytest.mark.parametrize(("after", "seconds"), [(5, FASTER), (5, SLOWER), (3, FASTER)])
def test_an_interrupted_run_goes_on_as_chosen_or_tries_again(
    after: int,
    seconds: tuple[float, ...],
    demo_set: Path,
    tmp_path: Path,
    steps: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(demo_set, tmp_path / "whole", SIX)
    epochs_take(monkeypatch, seconds)
    with stopping(after), pytest.raises(KeyboardInterrupt):
        train(demo_set, tmp_path / "run", AUTO)
    chosen = recorded(tmp_path / "run")
    assert chosen is (None if after == 3 else seconds == FASTER)
    steps.clear()
    epochs_take(monkeypatch, (9.0, 9.0, 9.0))
    train(demo_set, tmp_path / "run", AUTO)
    assert steps == ([False] * 6 + [True] * 3 if chosen is None else [chosen] * 3)
    same_files(tmp_path / "whole", tmp_path / "run")
    steps.clear()
    train(demo_set, tmp_path / "run", AUTO)  # finished: only loaded
    assert not steps
    assert recorded(tmp_path / "run") is not None


@pytest.mark.parametrize(
    ("worked", "works", "expected"),
    [
        (True, True, ""),
        (True, False, "was compiled so far; from here on it rounds a little differently"),
        (False, True, "was begun without torch.compile, and goes on without it"),
    ],
)
def test_a_compiled_run_resumes_as_it_began(
    worked: bool,
    works: bool,
    expected: str,
    demo_set: Path,
    tmp_path: Path,
    steps: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(CONFIG, compile_network=True)
    monkeypatch.setattr(compiling, "can_compile", lambda *_: worked)
    with stopping(1), pytest.raises(KeyboardInterrupt):
        train(demo_set, tmp_path, config)
    monkeypatch.setattr(compiling, "can_compile", lambda *_: works)
    train(demo_set, tmp_path, config)
    assert steps == [worked] * 3 + [worked and works] * 6
    assert recorded(tmp_path) is worked
    assert expected in said(tmp_path)


@pytest.mark.parametrize("asked", [True, False])
def test_an_old_run_goes_on_as_asked(
    asked: bool, demo_set: Path, tmp_path: Path, steps: list[bool]
) -> None:
    config = replace(CONFIG, compile_network=asked)
    with stopping(1), pytest.raises(KeyboardInterrupt):
        train(demo_set, tmp_path, config)
    settings = json.loads((tmp_path / "config.json").read_text())
    del settings["compiled"]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    train(demo_set, tmp_path, config)
    assert steps == [asked] * 9
    assert recorded(tmp_path) is asked


def test_a_network_that_was_compiled_before_is_not_in_the_next_run(
    demo_set: Path, tmp_path: Path, steps: list[bool]
) -> None:
    network = SmallNet()
    network.compile()
    train(demo_set, tmp_path, network=network)
    assert not any(steps)


def test_a_damaged_record_is_refused(demo_set: Path, tmp_path: Path) -> None:
    train(demo_set, tmp_path)
    run = logger.RunFolder(tmp_path)
    run.save_json("config.json", run.config | {"compiled": "auto"})
    with pytest.raises(errors.RunError, match=r"damaged \(it says that compiled is 'auto'\)"):
        train(demo_set, tmp_path)


def test_where_it_cannot_work_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("no C++ compiler\nlong trace")

    monkeypatch.setattr(torch, "compile", broken)
    lines: list[str] = []
    assert not CAN_COMPILE(torch.device("cpu"), lines.append)
    assert lines == [
        "torch.compile does not work here (no C++ compiler); training continues without it"
    ]


@pytest.mark.slow
def test_real_code_trains_like_the_network(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.Module, "compile", COMPILE)
    monkeypatch.setattr(SmallNet, "dropped", 0.0)  # compiled code draws other random numbers
    eager = train(demo_set, tmp_path / "eager")
    compiled = train(demo_set, tmp_path / "compiled", replace(CONFIG, compile_network=True))
    np.testing.assert_allclose(compiled["loss"], eager["loss"], rtol=1e-4)
