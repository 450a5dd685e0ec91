"""Training, prediction, checkpoints: it learns, it repeats, and it survives being killed."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import small_run
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file
from small_run import CONFIG, SmallNet, same_files, train
from torch import nn
from torch.optim.swa_utils import AveragedModel

import nets
from utils import evaluation, logger, model
from utils.data import loaders, patches
from utils.model import checkpoints, device, inspection, recipe, steps
from utils.model.averaging import Average
from utils.system import errors


@pytest.fixture(scope="module")
def finished(demo_set: Path, mktemp: Callable[[str], Path]) -> Path:
    """The run folder of a small finished run."""
    folder = mktemp("runs") / "small"
    train(demo_set, folder)
    return folder


def test_a_run_leaves_the_files_that_everything_else_reads(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    tables = {"history.csv", "timing.csv"}
    assert names == {"config.json", "last.pt", "best.safetensors", "run.log"} | tables
    history = pd.read_csv(finished / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert {"loss", "learning_rate", "auc_mean", "auc_melanoma", "α alpha"} <= set(history)
    assert logger.RunFolder(finished).config["precision"] == "fp32"
    first, second, third = re.findall(r"epoch \d/3 .*", (finished / "run.log").read_text())
    for line in (first, second):
        assert re.search(r"\d s, about \d+ \w+ of training left$", line)
    assert re.search(r"epoch 3/3 .* \d s$", third)


def test_a_run_repeats_to_the_last_bit(finished: Path, demo_set: Path, tmp_path: Path) -> None:
    train(demo_set, tmp_path / "again")
    same_files(finished, tmp_path / "again")


def test_another_seed_gives_another_run(finished: Path, demo_set: Path, tmp_path: Path) -> None:
    train(demo_set, tmp_path / "other", replace(CONFIG, seed=1))
    assert (tmp_path / "other/history.csv").read_text() != (finished / "history.csv").read_text()


@pytest.mark.whole
@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_a_run_killed_anywhere_ends_like_one_that_was_not(
    workers: int, demo_set: Path, tmp_path: Path
) -> None:
    script = Path(small_run.__file__)
    command = [sys.executable, str(script), str(demo_set), str(tmp_path), str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming epoch" in (tmp_path / "killed/run.log").read_text()
    same_files(tmp_path / "whole", tmp_path / "killed")
    assert not list((tmp_path / "killed").glob(".*.tmp"))


def test_the_number_of_workers_changes_nothing(
    finished: Path, demo_set: Path, tmp_path: Path
) -> None:
    train(demo_set, tmp_path / "workers", replace(CONFIG, workers=1))
    same_files(finished, tmp_path / "workers")


def test_a_finished_run_is_loaded_not_trained(
    finished: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def refuse(*_):
        raise AssertionError("a finished run must not train")

    monkeypatch.setattr(model.training._Training, "train_batch", refuse)
    history = train(demo_set, finished)
    assert len(history) == 3
    assert "is finished after 3 epochs" in capsys.readouterr().out


def test_fit_leaves_the_best_epoch_in_the_network(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.6, 0.9, 0.7])
    monkeypatch.setattr(
        evaluation.labels, "epoch_scores", lambda *_: {"auc_mean": next(scores), "other": 0.0}
    )
    networks = []
    original = model.training.save_weights

    def keep(network: nn.Module, path: Path) -> None:
        networks.append({name: t.clone() for name, t in network.state_dict().items()})
        original(network, path)

    monkeypatch.setattr(model.training, "save_weights", keep)
    train(demo_set, tmp_path / "run")
    assert len(networks) == 2  # epochs 1 and 2 were the best so far
    stored = load_file(tmp_path / "run/best.safetensors")
    assert all(torch.equal(stored[name], tensor) for name, tensor in networks[1].items())


def test_early_stopping_counts_epochs_without_improvement(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.5, 0.9, 0.8, 0.7, 0.95, 0.95])
    monkeypatch.setattr(evaluation.labels, "epoch_scores", lambda *_: {"auc_mean": next(scores)})
    history = train(demo_set, tmp_path / "run", replace(CONFIG, epochs=20, patience=2))
    assert len(history) == 4  # the best was epoch 2, then two without improvement


def test_the_kept_epoch_is_the_earliest_of_equals_or_the_last() -> None:
    history = [{"s": 0.5}, {"s": 0.7}, {"s": 0.7}, {"s": 0.6}]
    assert logger.kept_epoch(history, "s") == 2
    assert logger.kept_epoch(history, "s", "last") == 4


def test_the_last_epoch_is_kept_where_none_may_be_chosen(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.6, 0.9, 0.7])
    monkeypatch.setattr(evaluation.labels, "epoch_scores", lambda *_: {"auc_mean": next(scores)})
    row = replace(CONFIG, select_on="fold", fold="1/5", keep="last")
    network = SmallNet(row.num_classes)
    train(demo_set, tmp_path / "run", row, network)
    stored = torch.load(tmp_path / "run/last.pt", weights_only=True)["network"]
    assert all(torch.equal(stored[name], now) for name, now in network.state_dict().items())


class TestMovingAverage:
    """Of the weights: what is scored and kept, in place of the last step's."""

    ROW = replace(CONFIG, ema_decay=0.9, mixup=0.4)

    def test_it_is_that_of_torch(self) -> None:
        torch.manual_seed(0)
        network = nets.build("arl18")
        rates = iter([0.1, 2 / 11, 0.25])  # (1 + steps) / (10 + steps)
        theirs = AveragedModel(
            network,
            avg_fn=lambda mean, now, _: mean + (1 - rate) * (now - mean),
            use_buffers=True,
        )
        ours = Average(network, 0.99)
        theirs.n_averaged += 1  # else its first call copies
        for done in range(3):
            rate = next(rates)
            with torch.no_grad():
                for tensor in network.state_dict().values():
                    tensor.add_(1)
            ours.update(done)
            theirs.update_parameters(network)
        for name, mean in theirs.module.state_dict().items():
            if mean.is_floating_point():
                torch.testing.assert_close(ours.network.state_dict()[name], mean)
        assert ours.network.bn1.num_batches_tracked == 3

    def test_it_is_kept_and_survives_a_kill(self, demo_set: Path, tmp_path: Path) -> None:
        train(demo_set, tmp_path / "whole", self.ROW)
        state = torch.load(tmp_path / "whole/last.pt", weights_only=True)
        best = load_file(tmp_path / "whole/best.safetensors")
        assert not torch.equal(state["average"]["fc.weight"], state["network"]["fc.weight"])
        assert any(torch.equal(best["fc.weight"], state[kind]["fc.weight"]) for kind in ["average"])

        def killed() -> None:
            small_run.die_at(4, model.training._Training, "train_batch")
            model.training.SAVE_EVERY = 0.0
            train(demo_set, tmp_path / "killed", self.ROW)

        assert small_run.in_child(killed) == -signal.SIGKILL
        train(demo_set, tmp_path / "killed", self.ROW)
        same_files(tmp_path / "whole", tmp_path / "killed")


def test_two_images_are_mixed_by_a_share_of_their_step_alone() -> None:
    shares = [steps.mixing_share(0.2, 0, 1, batch) for batch in range(2000)]
    assert shares == [steps.mixing_share(0.2, 0, 1, batch) for batch in range(2000)]
    assert all(0.5 <= share <= 1 for share in shares)
    reference = np.random.default_rng(0).beta(0.2, 0.2, 20_000)
    assert np.mean(shares) == pytest.approx(np.maximum(reference, 1 - reference).mean(), abs=0.01)
    assert steps.mixing_share(0.0, 0, 1, 2) == 1.0
    images = torch.tensor([[100], [200], [0]], dtype=torch.uint8).reshape(3, 1, 1, 1)
    assert steps.mixed(images, 0.75).flatten().tolist() == [75, 175, 50]
    assert steps.mixed(images, 1.0) is images


def test_an_undefined_score_stops_instead_of_choosing_epoch_1(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation.labels, "epoch_scores", lambda *_: {"auc_mean": float("nan")})
    with pytest.raises(model.TrainingError, match=r"auc_mean is undefined .* classes is missing"):
        train(demo_set, tmp_path / "run")


def unfinished(run: Path, *lost: str) -> None:
    """Make a finished run one that is not, without these files."""
    config = json.loads((run / "config.json").read_text()) | {"finished": False}
    (run / "config.json").write_text(json.dumps(config))
    for name in lost:
        (run / name).unlink()


def test_scores_of_lost_weights_are_not_reported_again(demo_set: Path, tmp_path: Path) -> None:
    train(demo_set, tmp_path / "run")
    (tmp_path / "run/scores-test.json").write_text("{}")
    unfinished(tmp_path / "run", "last.pt", "best.safetensors")
    train(demo_set, tmp_path / "run")
    assert not (tmp_path / "run/scores-test.json").exists()


def test_a_finished_run_without_its_last_state_is_loaded(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = train(demo_set, tmp_path / "run")
    files = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    (tmp_path / "run/last.pt").unlink()
    monkeypatch.setattr(model.training._Training, "train_batch", None)
    network = SmallNet()
    again = train(demo_set, tmp_path / "run", network=network)
    pd.testing.assert_frame_equal(again, history, check_exact=True)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert all(kept[name] == files[name] for name in kept if name != "run.log")
    assert kept.keys() == files.keys() - {"last.pt"}
    best = load_file(tmp_path / "run/best.safetensors")
    assert all(torch.equal(best[name], value) for name, value in network.state_dict().items())
    (tmp_path / "run/history.csv").unlink()
    with pytest.raises(errors.RunError, match=r"history.csv cannot be read.*no last.pt.*restart"):
        train(demo_set, tmp_path / "run")


def test_missing_best_weights_name_the_cure(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.6, 0.9, 0.7])
    monkeypatch.setattr(evaluation.labels, "epoch_scores", lambda *_: {"auc_mean": next(scores)})
    train(demo_set, tmp_path / "run")
    (tmp_path / "run/best.safetensors").unlink()
    with pytest.raises(errors.RunError, match=r"best.safetensors is missing.*resume='restart'"):
        train(demo_set, tmp_path / "run")


def test_best_weights_that_the_last_state_holds_too_are_written_again(
    demo_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    train(demo_set, tmp_path / "run", replace(CONFIG, epochs=1))
    whole = (tmp_path / "run/best.safetensors").read_bytes()
    (tmp_path / "run/best.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    train(demo_set, tmp_path / "run", replace(CONFIG, epochs=1))
    assert (tmp_path / "run/best.safetensors").read_bytes() == whole
    assert "was damaged or missing; restored from last.pt" in capsys.readouterr().out


def test_it_learns_what_can_be_learned(demo_set: Path, tmp_path: Path) -> None:
    history = train(demo_set, tmp_path / "run", replace(CONFIG, epochs=24, colour=0.0))
    assert history["loss"].iloc[-3:].mean() < 0.9 * history["loss"].iloc[:3].mean()


def test_a_loss_that_is_not_finite_names_the_images_and_keeps_the_last_state(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SmallNet.forward
    monkeypatch.setattr(SmallNet, "forward", lambda self, x: original(self, x) * float("nan"))
    with pytest.raises(model.TrainingError, match=r"nan in epoch 1, batch 1, .*DEMO_0.*8 in all"):
        train(demo_set, tmp_path / "run")


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_an_epoch_that_answers_no_numbers_is_not_scored(
    number: str, demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SmallNet.forward

    def diverged(self: SmallNet, images: torch.Tensor) -> torch.Tensor:
        answer = original(self, images)
        return answer if self.training else answer * float(number)

    monkeypatch.setattr(SmallNet, "forward", diverged)
    message = r"scoring epoch 1, the network gives nan or inf.*DEMO_1.*8 in all.* diverged: lower l"
    with pytest.raises(model.TrainingError, match=message) as error:
        train(demo_set, tmp_path / "run")
    assert "softmax" not in str(error.value)
    assert not (tmp_path / "run/best.safetensors").exists()


def test_an_unknown_select_score_lists_the_known_ones(demo_set: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="select_score is 'f1'; the scores are auc_melanoma"):
        train(demo_set, tmp_path / "run", replace(CONFIG, select_score="f1"))


def test_a_second_process_on_the_run_is_told_so(demo_set: Path, tmp_path: Path) -> None:
    run = logger.RunFolder(tmp_path / "run")
    with run.lock(), pytest.raises(BlockingIOError, match="another process is training in"):
        train(demo_set, tmp_path / "run")


def test_precision_is_kept_when_a_run_goes_on(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, precision="auto")
    monkeypatch.setattr(model.training, "choose_precision", lambda *_: "fp32")
    first = train(demo_set, tmp_path / "run", config)
    used = []
    monkeypatch.setattr(model.training, "choose_precision", lambda *_: "bf16")  # another machine
    kind = model.training._Training
    monkeypatch.setattr(kind, "resume", lambda self: used.append(self.precision))
    monkeypatch.setattr(kind, "train_epoch", lambda _: None)
    monkeypatch.setattr(kind, "end_epoch", lambda s, _: setattr(s.progress, "finished", True))
    train(demo_set, tmp_path / "run", config)
    assert used == ["fp32"]
    assert len(first) == 3


def test_bf16_trains_and_predicts(demo_set: Path, tmp_path: Path) -> None:
    history = train(demo_set, tmp_path / "run", replace(CONFIG, precision="bf16"))
    assert np.isfinite(history["loss"]).all()
    assert logger.RunFolder(tmp_path / "run").config["precision"] == "bf16"


class TestCheckpoints:
    def test_a_pickle_is_refused(self, tmp_path: Path) -> None:
        torch.save({"network": SmallNet()}, tmp_path / "last.pt")
        with pytest.raises(errors.RunError, match="could execute code"):
            checkpoints.load_checkpoint(tmp_path / "last.pt", SmallNet(), None)

    def test_a_text_file_is_no_pickle(self, tmp_path: Path) -> None:
        (tmp_path / "last.pt").write_text("<html>404</html>")
        with pytest.raises(errors.RunError, match=r"is damaged or no checkpoint|cannot be resumed"):
            checkpoints.load_checkpoint(tmp_path / "last.pt", SmallNet(), None)

    def test_a_turned_bit_is_noticed_wherever_it_matters(
        self, finished: Path, tmp_path: Path
    ) -> None:
        """Each bit is covered by a checksum, or by the loading; or what is loaded is the same.

        The last are dates, attributes, padding and such of the zip, and the name of the digest.
        """
        noticed = {"last.pt": 0, "best.safetensors": 0}
        for name in noticed:
            whole = (finished / name).read_bytes()
            before = self.loaded(finished / name)
            for place in range(0, len(whole) * 8, len(whole) * 8 // 60):
                turned = bytearray(whole)
                turned[place // 8] ^= 1 << place % 8
                (tmp_path / name).write_bytes(turned)
                try:
                    assert self.loaded(tmp_path / name) == before, place
                except errors.RunError:
                    noticed[name] += 1
        assert noticed["last.pt"] > 30  # of 60; of a small file much is padding
        assert noticed["best.safetensors"] > 50

    @pytest.mark.parametrize(("place", "bit"), [(38, 4), (10, 3)], ids=["folder", "packed"])
    def test_a_part_marked_otherwise_is_noticed(
        self, place: int, bit: int, finished: Path, tmp_path: Path
    ) -> None:
        """torch gives what lies in memory for a part that is a folder, by its zip's directory."""
        turned = bytearray((finished / "last.pt").read_bytes())
        entry = turned.rindex(b"PK\x01\x02", 0, turned.rindex(b"archive/data/1"))
        turned[entry + place] ^= 1 << bit
        (tmp_path / "last.pt").write_bytes(turned)
        with pytest.raises(errors.RunError, match="it is damaged: torch writes no such parts"):
            self.loaded(tmp_path / "last.pt")

    @pytest.mark.parametrize("error", [torch.OutOfMemoryError, torch.AcceleratorError])
    def test_what_fails_on_the_device_is_no_fault_of_the_file(
        self, error: type[Exception], finished: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: object) -> None:
            raise error("CUDA error: out of memory")

        monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", fails)
        with pytest.raises(error, match="CUDA"):
            self.loaded(finished / "last.pt")

    def loaded(self, path: Path) -> str:
        """What a file gives to a run, in a word."""
        network = SmallNet()
        if path.name == "best.safetensors":
            checkpoints.load_weights(network, path)
            return checkpoints.digest(network.state_dict())
        optimizer = recipe.make_optimizer(network, CONFIG)
        progress = checkpoints.load_checkpoint(path, network, optimizer)
        return f"{checkpoints.digest(network.state_dict())} {progress} {optimizer.state_dict()}"

    def test_what_can_be_gone_back_to_is_said(self, finished: Path, tmp_path: Path) -> None:
        whole = (finished / "last.pt").read_bytes()
        at = whole.index(b"PK", len(whole) // 2) - 40  # within the bytes of a tensor
        (tmp_path / "last.pt").write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(errors.RunError, match=r"resume='restart' .* aside\)\.$"):
            self.loaded(tmp_path / "last.pt")
        (tmp_path / "best.safetensors").write_bytes((finished / "best.safetensors").read_bytes())
        for content in ((tmp_path / "last.pt").read_bytes(), whole[: len(whole) // 2]):
            (tmp_path / "last.pt").write_bytes(content)
            with pytest.raises(errors.RunError, match=r"best weights so far .*: remove last\.pt"):
                self.loaded(tmp_path / "last.pt")

    def test_weights_without_a_digest_load_still(self, tmp_path: Path) -> None:
        network = SmallNet()
        save_file(network.state_dict(), tmp_path / "w.safetensors")
        checkpoints.load_weights(SmallNet(), tmp_path / "w.safetensors")

    def test_another_network_is_refused(self, finished: Path) -> None:
        network = SmallNet(classes=5)
        optimizer = recipe.make_optimizer(network, CONFIG)
        with pytest.raises(errors.RunError, match="cannot be resumed from"):
            checkpoints.load_checkpoint(finished / "last.pt", network, optimizer)

    def test_loading_never_executes_code(self, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self):
                return (os.mkdir, (str(tmp_path / "executed"),))

        with (tmp_path / "last.pt").open("wb") as file:
            pickle.dump({"network": Bomb()}, file, protocol=2)
        with pytest.raises(errors.RunError):
            checkpoints.load_checkpoint(tmp_path / "last.pt", SmallNet(), None)
        assert not (tmp_path / "executed").exists()

    def test_channels_last_weights_survive(self, tmp_path: Path) -> None:
        network = SmallNet().to(memory_format=torch.channels_last)
        checkpoints.save_weights(network, tmp_path / "w.safetensors")
        other = SmallNet()
        checkpoints.load_weights(other, tmp_path / "w.safetensors")
        assert torch.equal(other.conv.weight, network.conv.weight)


class TestPredict:
    @pytest.fixture
    def loader(self, demo_store, demo_rows):
        rows = demo_rows[demo_rows["split"] == "test"]
        return loaders.evaluation_loader(patches.TestViews(demo_store, rows, 32, 9), 16, 0)

    def test_gives_one_row_an_image_and_repeats(self, loader) -> None:
        network = SmallNet().train()
        first = model.training.predict(network, loader)
        assert first.shape == (8, 3)
        assert np.allclose(first.sum(axis=1), 1, atol=1e-6)
        assert np.array_equal(first, model.training.predict(network, loader))
        assert network.training

    def test_averages_probabilities_or_logits_over_the_views(self, loader) -> None:
        network = SmallNet().eval()
        views = loader.dataset[3]["image"]
        with torch.no_grad():
            logits = network(torch.from_numpy(views).movedim(-1, -3))
        by_probability = model.training.predict(network, loader)[3]
        by_logit = model.training.predict(network, loader, average="logits")[3]
        np.testing.assert_allclose(by_probability, logits.softmax(1).mean(0), atol=1e-6)
        np.testing.assert_allclose(by_logit, logits.mean(0).softmax(0), atol=1e-6)

    def test_one_logit_gives_a_sigmoid(self, loader) -> None:
        probabilities = model.training.predict(SmallNet(classes=1), loader)
        assert probabilities.shape == (8, 1)
        assert ((probabilities > 0) & (probabilities < 1)).all()

    @pytest.mark.parametrize("average", ["probabilities", "logits"])
    def test_answers_that_are_no_numbers_are_refused(self, loader, average) -> None:
        network = SmallNet(classes=1)
        with torch.no_grad():  # a sigmoid makes 1 of it, and nothing would be noticed
            network.fc.bias.fill_(float("inf"))
        with pytest.raises(
            model.forward.OutputError,
            match=r"for the images DEMO_.*weights are not finite either: fc\.bias\. .*another run",
        ):
            model.training.predict(network, loader, average=average)

    def test_unknown_average(self, loader) -> None:
        with pytest.raises(ValueError, match="expected 'probabilities' or 'logits'"):
            model.training.predict(SmallNet(), loader, average="votes")


ELSEWHERE = {
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
    "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
    "ACCELERATE_DOWNCAST_BF16": "true",
    "ACCELERATE_USE_FSDP": "true",
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_USE_MEGATRON_LM": "true",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "true",
    "PARALLELISM_CONFIG_TP_SIZE": "2",
    "FSDP_VERSION": "2",
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "1",
}


class TestTheRowDecides:
    def check(self) -> None:
        made = device.accelerator()
        assert made.mixed_precision == "no"
        assert made.gradient_accumulation_steps == 1
        assert made.state.dynamo_plugin.backend.value == "NO"
        assert made.distributed_type.value == "NO"
        assert made.num_processes == 1
        assert made.parallelism_config is None
        assert made.gradient_state.sync_gradients
        assert torch.get_float32_matmul_precision() == "highest"

    @pytest.mark.parametrize("name", ELSEWHERE)
    def test_not_the_environment(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, ELSEWHERE[name])
        self.check()
        assert os.environ[name] == ELSEWHERE[name]  # others may want it

    def test_nor_an_accelerator_that_was_there_before(self) -> None:
        AcceleratorState._reset_state(reset_partial_state=True)
        before = Accelerator(mixed_precision="bf16", gradient_accumulation_steps=4)
        before.gradient_state._set_sync_gradients(False)
        torch.set_float32_matmul_precision("medium")
        self.check()

    def test_a_run_under_such_settings_is_the_same_run(
        self, finished: Path, demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in ELSEWHERE.items():
            monkeypatch.setenv(name, value)
        train(demo_set, tmp_path / "run")
        same_files(finished, tmp_path / "run")

    def test_what_cannot_be_decided_is_recorded(
        self, finished: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert logger.RunFolder(finished).config["arithmetic"] == "ieee"
        gpu = torch.device("cuda")
        for capability, expected in (
            ((7, 5), "ieee"),
            ((9, 0), "convolutions tf32, the rest ieee"),
        ):
            monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_, c=capability: c)
            assert device.arithmetic(gpu) == expected
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
        assert device.arithmetic(gpu) == "as NVIDIA_TF32_OVERRIDE=0 says"


class TestRecipe:
    def row(self, **changes) -> SimpleNamespace:
        base = {"learning_rate": 0.1, "epochs": 100, "warmup_epochs": 0.0, "schedule": "cosine"}
        return SimpleNamespace(**(base | changes))

    def test_cosine_matches_torch(self) -> None:
        parameter = nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([parameter], lr=0.1)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
        for epoch in range(100):
            rate = recipe.learning_rate(self.row(), epoch)
            assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
            optimizer.step()
            scheduler.step()

    def test_halving_matches_torch(self) -> None:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 30, gamma=0.5)
        for epoch in range(100):
            rate = recipe.learning_rate(self.row(schedule="halve-30"), epoch + 0.99)
            assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-15)
            optimizer.step()
            scheduler.step()

    def test_warm_up_rises_to_the_full_rate(self) -> None:
        row = self.row(schedule="constant", warmup_epochs=2.0)
        rates = [recipe.learning_rate(row, t) for t in (0.0, 0.5, 1.0, 1.99, 2.0, 50.0)]
        assert rates == pytest.approx([0.001, 0.025, 0.05, 0.0995, 0.1, 0.1])

    def test_unknown_names_list_the_known(self) -> None:
        with pytest.raises(ValueError, match="expected one of cosine, halve-30, constant"):
            recipe.learning_rate(self.row(schedule="poly"), 0)
        with pytest.raises(ValueError, match="expected adamw or sgd"):
            recipe.make_optimizer(
                SmallNet(), self.row(optimizer="lion", weight_decay=0.0, decay="weights")
            )
        with pytest.raises(ValueError, match="expected one of auto, fp32, bf16"):
            recipe.choose_precision("fp16", SmallNet(), torch.device("cpu"))

    def test_weight_decay_spares_biases_norms_and_alpha(self) -> None:
        network = nets.build("arl14")
        optimizer = recipe.make_optimizer(network, CONFIG)
        decayed, spared = (group["params"] for group in optimizer.param_groups)
        assert optimizer.param_groups[1]["weight_decay"] == 0
        assert all(parameter.ndim >= 2 for parameter in decayed)
        named = {id(p): name for name, p in network.named_parameters()}
        names = [named[id(p)] for p in spared]
        assert sum(name.endswith("alpha") for name in names) == 4
        assert "fc.bias" in names
        assert len(decayed) + len(spared) == len(named)

    @pytest.mark.parametrize(
        ("amx", "avx512_bf16", "made_by", "dense", "depthwise"),
        [
            (True, True, "Intel", "bf16", "bf16"),  # Sapphire Rapids and later
            (False, True, "AMD", "bf16", "bf16"),  # Zen 4 and 5
            (False, True, "Intel", "fp32", "bf16"),  # Cooper Lake, or a machine that hides AMX
            (False, True, "", "fp32", "bf16"),
            (False, False, "AMD", "fp32", "fp32"),
            (False, False, "Intel", "fp32", "fp32"),
        ],
    )
    def test_auto_precision_follows_the_processor_and_the_network(
        self,
        amx: bool,
        avx512_bf16: bool,
        made_by: str,
        dense: str,
        depthwise: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        cpu = torch.device("cpu")
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
        bf16 = lambda: avx512_bf16  # noqa: E731
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", bf16, raising=False)
        monkeypatch.setattr(recipe, "vendor", lambda: made_by)
        with torch.device("meta"):
            networks = [nets.build(name) for name in ("arl14", "unet", "lite_unet", "lite0")]
        chosen = [recipe.choose_precision("auto", network, cpu) for network in networks]
        assert chosen == [dense, dense, dense, depthwise]
        assert recipe.choose_precision("bf16", networks[0], cpu) == "bf16"
        assert recipe.choose_precision("auto", networks[0], torch.device("mps")) == "fp32"

    def test_auto_precision_follows_the_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        gpu = torch.device("cuda")
        for supported, expected in ((True, "bf16"), (False, "fp32")):  # an H100, a T4
            monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, s=supported, **__: s)
            assert recipe.choose_precision("auto", SmallNet(), gpu) == expected
            assert recipe.choose_precision("bf16", SmallNet(), gpu) == "bf16"


def test_shapes_are_traced_through_every_part() -> None:
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    shapes = inspection.trace_shapes(nets.build("arl14"), images)
    assert shapes.loc["layer4", "output"] == (2, 2048, 2, 2)
    assert shapes.loc["fc", "output"] == (2, 3)
    lite = nets.build("lite0")
    traced = inspection.trace_shapes(lite, images)
    assert traced["parameters"].sum() == sum(p.numel() for p in lite.parameters())


@pytest.mark.parametrize("name", nets.SEGMENTERS)
def test_shapes_through_encoder_and_decoder(name: str) -> None:
    network = nets.build(name)
    traced = inspection.trace_shapes(network, torch.zeros(2, 3, 64, 96, dtype=torch.uint8))
    assert traced["output"].iloc[-1] == (2, 1, 64, 96)
    if name != "dense_unet":  # smp takes its transitions apart
        assert traced["parameters"].sum() == sum(p.numel() for p in network.parameters())
