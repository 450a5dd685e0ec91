"""Training and prediction: one loop for every network, task, device and precision.

`fit` resumes exactly. Everything random is a function of (seed, epoch, batch), the learning rate a
function of the epoch, and `last.pt` holds the rest: a run killed anywhere and started again ends
with the weights and the history of a run that was never interrupted (CPU, fp32: to the last bit).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader

from utils.data.loaders import EpochSampler, LesionDataset, batches
from utils.data.workers import faults_in_words
from utils.logger.folders import clear_unfinished, forget_results
from utils.logger.run import RunFolder, require_settings
from utils.logger.runs import best_epoch
from utils.model.checkpoints import (
    Progress,
    check_best,
    finished_progress,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from utils.model.forward import OutputError, predict
from utils.model.inspection import attention_weights, peak_memory
from utils.model.recipe import (
    accelerator,
    arithmetic,
    autocast,
    can_compile,
    choose_precision,
    device_name,
    learning_rate,
    make_optimizer,
)
from utils.model.starts import begin_again, keep_start
from utils.system.console import duration, progress
from utils.system.errors import listed
from utils.system.experiment import Experiment
from utils.system.machine import refuse_several_processes

SAVE_EVERY = 300.0  # seconds between two checkpoints within an epoch

Predict = Callable[[DataLoader], Any]
Score = Callable[[Predict], dict[str, float]]


class TrainingError(RuntimeError):
    """Training cannot go on; the message says where it stopped and what to try."""


def seed_torch(*numbers: int) -> None:
    """Seed torch's generators with a mix of the numbers (seed, epoch, …)."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


def fit(
    network: nn.Module,
    loss: nn.Module,
    loader: DataLoader,
    score: Score,
    run: RunFolder,
    experiment: Experiment,
    predict: Callable[[nn.Module, DataLoader, str], Any] = predict,
) -> pd.DataFrame:
    """Train the network, keep the best epoch, and return the history (one row an epoch).

    loss takes (logits, labels) and gives a scalar. score is called after each epoch with a function
    that turns an evaluation loader into predictions, and gives named scores; that function is
    predict(network, loader, precision): probabilities here, counts of pixels for a segmenter. The
    epoch with the highest experiment.select_score is kept in `best.safetensors`, and loaded into
    the network at the end. Of the experiment the recipe fields of `model.recipe` and epochs, seed,
    precision, compile_network, clip_norm, patience, select_score are read.

    A run that was interrupted goes on where it stopped; one that is finished is only loaded. One
    that stopped before there was anything to go on from begins again with the weights that the
    network first came with, even where it is the same network. Raises TrainingError when the loss,
    or what an epoch is scored by, is not finite, naming the images of the batch; RunError when the
    folder was opened for another experiment, or the network trained for another before;
    BlockingIOError when another process trains in the folder.
    """
    refuse_several_processes()
    require_settings(run, experiment)
    with run.lock(), keep_start(network, experiment):
        training = _Training(network, loss, loader, run, experiment, predict)
        training.resume()
        while not training.progress.finished:
            training.train_epoch()
            training.end_epoch(score)
        training.load_best()
    return pd.DataFrame(training.progress.history)


@dataclass
class _Training:
    """One run between two checkpoints: what `last.pt` holds, and what is needed to go on."""

    network: nn.Module
    loss: nn.Module
    loader: DataLoader
    run: RunFolder
    experiment: Experiment
    predict: Callable[[nn.Module, DataLoader, str], Any]
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        """Choose device and precision, and hand network, optimiser and loader to Accelerate."""
        self.sampler = cast(EpochSampler, self.loader.sampler)
        self.dataset = cast(LesionDataset, self.loader.dataset)
        self.accelerator = accelerator()
        self.device = self.accelerator.device
        self.samples_per_batch = self.loader.batch_size or 1
        precision = choose_precision(self.experiment.precision, self.network, self.device)
        self.precision = self.run.remember("precision", precision)
        self.run.remember("device", device_name(self.device))
        self.run.remember("arithmetic", arithmetic(self.device))
        self.network.to(self.device).to(memory_format=torch.channels_last)
        if self.experiment.compile_network and can_compile(self.device, self.run.say):
            self.network.compile()
        self.loss.to(self.device)
        optimizer = make_optimizer(self.network, self.experiment)
        self.model, self.optimizer, self.loader = self.accelerator.prepare(
            self.network, optimizer, self.loader
        )
        self.batches_per_epoch = len(self.loader)
        self.saved_at = time.monotonic()

    @faults_in_words()
    def train_epoch(self) -> None:
        """The batches of the current epoch that are still to be done."""
        done = self.progress
        self.sampler.start_at(done.epoch, done.batch * self.samples_per_batch)
        self.model.train()
        left = self.batches_per_epoch - done.batch
        later = self.batches_per_epoch * (self.experiment.epochs - done.epoch - 1)
        what = f"epoch {done.epoch + 1}/{self.experiment.epochs}"
        started = time.monotonic()
        for batch in progress(batches(self.loader), what, "batches", total=left, more=later):
            self.train_batch(batch)
            now = time.monotonic()
            done.seconds, started = done.seconds + now - started, now
            if now - self.saved_at > SAVE_EVERY:
                self.save()

    def train_batch(self, batch: dict[str, torch.Tensor]) -> None:
        """One step of the optimiser."""
        done = self.progress
        for group in self.optimizer.param_groups:
            place = done.epoch + done.batch / self.batches_per_epoch
            group["lr"] = learning_rate(self.experiment, place)
        # Dropout and its like draw from here: the same numbers whether or not the run was resumed.
        seed_torch(self.experiment.seed, done.epoch, done.batch)
        with autocast(self.device, self.precision):
            logits = self.model(batch["image"])
        loss = self.loss(logits.float(), batch["label"])
        value = loss.item()
        if not np.isfinite(value):
            raise TrainingError(self.not_finite(value, batch["index"].tolist()))
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        if self.experiment.clip_norm:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.experiment.clip_norm)
        self.optimizer.step()
        done.batch += 1
        done.loss_sum += value

    def not_finite(self, value: float, indices: list[int]) -> str:
        """The message for a loss that is not finite."""
        ids = listed(self.dataset.ids[index] for index in indices)
        return (
            f"the loss became {value} in epoch {self.progress.epoch + 1}, batch "
            f"{self.progress.batch + 1}, on the images {ids}. Look at these images, {self.cure()}"
        )

    def cure(self) -> str:
        """What helps where numbers are not finite, and what is left of the run."""
        last = self.run / "last.pt"
        kept = f" The last good state is kept in {last}." if last.exists() else ""
        return (
            f"lower learning_rate (it is {self.experiment.learning_rate}) or use precision='fp32', "
            f"with resume='restart'.{kept}"
        )

    def end_epoch(self, score: Score) -> None:
        """Score, keep the network if it is the best so far, decide whether to go on, save."""
        done = self.progress
        try:
            scores = score(lambda loader: self.predict(self.network, loader, self.precision))
        except OutputError as error:
            raise TrainingError(
                f"scoring epoch {done.epoch + 1}, {error.found}. Training has diverged: "
                f"{self.cure()}"
            ) from error
        chosen_by = self.experiment.select_score
        if chosen_by not in scores:
            raise ValueError(f"select_score is {chosen_by!r}; the scores are {', '.join(scores)}.")
        if not np.isfinite(scores[chosen_by]):
            raise TrainingError(
                f"{chosen_by} is undefined on the images that choose the epoch: one of the classes "
                "is missing there. Choose the epoch on other images (select_on)."
            )
        rate = learning_rate(self.experiment, done.epoch + done.batch / self.batches_per_epoch)
        row = {"epoch": done.epoch + 1, "learning_rate": rate, "loss": done.loss_sum / done.batch}
        row |= {name: float(value) for name, value in scores.items()}
        row |= {f"α {name}": value for name, value in attention_weights(self.network).items()}
        images = done.batch * self.samples_per_batch
        done.close_epoch(row, {"images": images, "peak_memory_mb": peak_memory(self.device)})
        best = best_epoch(done.history, chosen_by)
        patience = self.experiment.patience
        done.finished = done.epoch >= self.experiment.epochs or 0 < patience <= done.epoch - best
        if best == done.epoch:
            save_weights(self.network, self.run / "best.safetensors")
        self.save()
        self.say_epoch(row, best)

    def say_epoch(self, row: dict[str, float], best: int) -> None:
        """One line an epoch, for the terminal, the notebook and the log alike."""
        seconds, name = self.progress.timing[-1]["seconds"], self.experiment.select_score
        each = float(np.mean([epoch["seconds"] for epoch in self.progress.timing]))
        left = each * (self.experiment.epochs - self.progress.epoch)
        more = "" if self.progress.finished else f", about {duration(left)} of training left"
        self.run.say(
            f"epoch {row['epoch']}/{self.experiment.epochs}  loss {row['loss']:.4f}  "
            f"{name} {row[name]:.4f}{' (best)' if best == row['epoch'] else ''}  "
            f"{seconds:.0f} s{more}"
        )

    def save(self) -> None:
        """Write `last.pt`, then `history.csv` and `timing.csv` from what it holds."""
        self.saved_at = time.monotonic()
        save_checkpoint(self.run / "last.pt", self.network, self.optimizer, self.progress)
        self.save_tables()

    def save_tables(self) -> None:
        """Write what `last.pt` holds for other tools to read."""
        self.run.save_table("history.csv", pd.DataFrame(self.progress.history))
        self.run.save_table("timing.csv", pd.DataFrame(self.progress.timing))

    def resume(self) -> None:
        """Take up `last.pt`, if there is one, and clear away what a killed write left."""
        clear_unfinished(self.run.path)
        path = self.run / "last.pt"
        if path.exists():
            self.progress = load_checkpoint(path, self.network, self.optimizer)
            self.save_tables()  # a kill may have come between the checkpoint and its tables
            best = self.run / "best.safetensors"
            check_best(
                best, self.network, self.progress, self.experiment.select_score, self.run.say
            )
        elif self.run.finished:  # nobody needs its `last.pt` any more
            self.progress = finished_progress(self.run / "history.csv")
        else:
            forget_results(self.run.path)  # of weights that are no longer here
            begin_again(self.network, self.experiment, self.run.say)
            return
        done = self.progress
        if done.finished:
            self.run.say(f"{self.run.path} is finished after {done.epoch} epochs; nothing to train")
        else:
            self.run.say(f"resuming epoch {done.epoch + 1} at batch {done.batch}")

    def load_best(self) -> None:
        """Put the best epoch's weights into the network; the last word of a run."""
        self.run.remember("finished", True)
        load_weights(self.network, self.run / "best.safetensors")
