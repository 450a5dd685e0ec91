"""The training cell run twice in one kernel ends as one training does, or names the cell to run."""

import errno
import gc
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import small_seg
import torch
from small_run import CONFIG, SmallNet, same_files, train

import experiments
from utils import evaluation, logger, model
from utils.model import starts
from utils.system import errors, files


@pytest.fixture(scope="module")
def undisturbed(demo_set: Path, mktemp: Callable[[str], Path]) -> Path:
    """A run of a network that was trained once."""
    folder = mktemp("runs") / "run"
    train(demo_set, folder, network=built())
    return folder


def built() -> SmallNet:
    """What the cell that builds the network leaves."""
    model.seed_torch(CONFIG.seed)
    return SmallNet()


@contextmanager
def interrupted(error: BaseException) -> Iterator[None]:
    """The second step of training ends in an error."""
    step, count = model.training._Training.train_batch, 0

    def counted(self: model.training._Training, batch: dict) -> None:
        nonlocal count
        count += 1
        step(self, batch)
        if count == 2:
            raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.training._Training, "train_batch", counted)
        with pytest.raises(type(error)):
            yield


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), torch.OutOfMemoryError("CUDA out of memory")],
    ids=["interrupted", "out of memory"],
)
def test_the_training_cell_run_again(error, undisturbed, demo_set, tmp_path, capsys) -> None:
    network = built()
    with interrupted(error):
        train(demo_set, tmp_path / "run", network=network)
    train(demo_set, tmp_path / "run", network=network)
    same_files(undisturbed, tmp_path / "run")
    assert "it restarts from its initial weights" in capsys.readouterr().out


def test_a_full_disk_in_the_first_epoch(undisturbed, demo_set, tmp_path) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    network = built()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.training, "save_weights", lambda *_: full())
        with pytest.raises(OSError, match="No space left"):
            train(demo_set, tmp_path / "run", network=network)
    train(demo_set, tmp_path / "run", network=network)
    same_files(undisturbed, tmp_path / "run")


def test_a_restart_without_the_cell_that_builds(undisturbed, demo_set, tmp_path) -> None:
    network = built()
    train(demo_set, tmp_path / "first", network=network)
    train(demo_set, tmp_path / "again", network=network)
    same_files(undisturbed, tmp_path / "again")


def test_a_network_that_was_changed_since_is_refused(demo_set, tmp_path) -> None:
    network, short = built(), replace(CONFIG, epochs=1)
    train(demo_set, tmp_path / "run", short, network)
    with torch.no_grad():
        network.fc.bias.add_(1)
    for _ in range(2):  # and stays refused
        with pytest.raises(
            errors.RunError, match=r"changed since; run the cell that builds the ne"
        ):
            train(demo_set, tmp_path / "other", short, network)
    train(demo_set, tmp_path / "run", short, network)  # whose weights the folder has


def test_a_network_that_was_built_for_another_seed_is_refused(demo_set, tmp_path) -> None:
    network, short = built(), replace(CONFIG, epochs=1)
    train(demo_set, tmp_path / "run", short, network)
    with pytest.raises(errors.RunError, match=r"settings were changed since; run the cell that bu"):
        train(demo_set, tmp_path / "other", replace(short, seed=1), network)


def test_a_run_goes_on_where_it_stopped_in_one_kernel(
    undisturbed, demo_set, tmp_path, monkeypatch
) -> None:
    network = built()
    monkeypatch.setattr(model.training, "SAVE_EVERY", 0.0)
    with interrupted(KeyboardInterrupt()):
        train(demo_set, tmp_path / "run", network=network)
    train(demo_set, tmp_path / "run", network=network)
    same_files(undisturbed, tmp_path / "run")
    assert "resuming epoch 1 at batch 1" in (tmp_path / "run/run.log").read_text()


def test_a_segmenter_too(demo_set, tmp_path) -> None:
    row = experiments.get("seg-6", "demo", **small_seg.SMALL)
    small_seg.train(demo_set, tmp_path / "one", row, small_seg.SmallSegmenter)
    model.seed_torch(row.seed)
    network = small_seg.SmallSegmenter()
    with interrupted(KeyboardInterrupt()):
        small_seg.train(demo_set, tmp_path / "two", row, lambda: network)
    small_seg.train(demo_set, tmp_path / "two", row, lambda: network)
    same_files(tmp_path / "one", tmp_path / "two")


def test_what_is_kept_goes_with_its_network() -> None:
    network = built()
    with starts.keep_start(network, CONFIG):
        gc.collect()
        before = len(starts._STARTS)
    del network
    gc.collect()
    assert len(starts._STARTS) == before - 1


def test_cells_run_out_of_order_are_named(demo_set, tmp_path, monkeypatch) -> None:
    opened = logger.start_run

    def other(path, row, *rest):
        return opened(path, replace(row, learning_rate=0.5), *rest)

    monkeypatch.setattr(logger, "start_run", other)
    with pytest.raises(
        errors.RunError, match=r"learning_rate is 0\.5 there and 0\.01 here. Run the cell with star"
    ):
        train(demo_set, tmp_path / "run")
    monkeypatch.setattr(logger, "start_run", lambda path, *_: logger.RunFolder(path))
    with pytest.raises(errors.RunError, match="holds no settings; run the cell with start_run aga"):
        train(demo_set, tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def whole(demo_set: Path, mktemp: Callable[[str], Path]) -> Path:
    """The run on a disk with room, each epoch better than the one before."""
    folder = mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation.labels, "epoch_scores", rising())
        train(demo_set, folder, network=built())
    return folder


class TestFullDisk:
    """Every file that a training writes; the disk is full the second time."""

    @pytest.mark.parametrize("name", ["fsync", pytest.param("replace", marks=pytest.mark.slow)])
    @pytest.mark.parametrize(
        "file", ["last.pt", "best.safetensors", "history.csv", "timing.csv", "config.json"]
    )
    def test_the_last_good_state_survives(self, name, file, whole, demo_set, tmp_path) -> None:
        owner = files.os if name == "fsync" else Path
        real, written = getattr(owner, name), []

        def refuse(what: object, *rest: object) -> object:
            path = Path(f"/proc/self/fd/{what}").readlink() if name == "fsync" else what
            written.extend([path] * (f".{file}." in str(path)))
            if len(written) == 2:
                written.append("from now on there is room")
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(what, *rest)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, refuse)
            patch.setattr(evaluation.labels, "epoch_scores", rising())
            with pytest.raises(
                OSError, match=rf"{file} cannot be written \(No space left.*; .* are needed"
            ):
                train(demo_set, tmp_path / "run", network=built())
        assert not list((tmp_path / "run").glob(".*.tmp"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(evaluation.labels, "epoch_scores", rising(*history(tmp_path / "run")))
            train(demo_set, tmp_path / "run", network=built())
        same_files(whole, tmp_path / "run")

    @pytest.mark.slow
    @pytest.mark.skipif(shutil.which("mount") is None, reason="mounts a small disk")
    def test_a_disk_that_is_really_full(self, demo_set, tmp_path) -> None:
        (tmp_path / "disk").mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(tmp_path / "disk")]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("may not mount a small disk")
        try:
            said = r"cannot be written \(No space left on device\); .* are needed, .* free"
            with pytest.raises(files.UnwritableError, match=said):
                train(demo_set, tmp_path / "disk/run", network=built())
            assert not list((tmp_path / "disk/run").glob(".*.tmp"))
        finally:
            subprocess.run(["umount", str(tmp_path / "disk")], check=True)


def history(run: Path) -> list[float]:
    """The scores of the epochs that a run has done."""
    if not (run / "last.pt").exists():
        return []
    return [row["auc_mean"] for row in torch.load(run / "last.pt")["progress"]["history"]]


def rising(*done: float) -> Callable:
    """Scores of epochs that are better each time, after those that are done."""
    scores = iter([0.5, 0.6, 0.7][len(done) :])
    return lambda *_: {"auc_mean": next(scores)}
