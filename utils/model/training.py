"""Training: one loop for every network, task, device and precision.

`fit` resumes exactly. Everything random is a function of (seed, epoch, batch), the learning rate a
function of the epoch, and `last.pt` holds the rest: a run that was killed anywhere and resumed ends
with the weights and the history of an uninterrupted one (CPU, fp32: to the last bit).
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
from utils.data.resident import ResidentLoader, loader_kind
from utils.data.workers import faults_in_words
from utils.logger.about import kept_epoch
from utils.logger.folders import clear_unfinished, forget_results
from utils.logger.run import RunFolder, require_loader, require_settings
from utils.model import device as devices
from utils.model.averaging import Average
from utils.model.checkpoints import (
    Progress,
    check_best,
    finished_progress,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from utils.model.compiling import Compiling
from utils.model.forward import OutputError, predict
from utils.model.inspection import attention_weights, peak_memory
from utils.model.memory import memory_in_words
from utils.model.recipe import autocast, choose_precision, learning_rate, make_optimizer
from utils.model.starts import begin_again, keep_start
from utils.model.steps import Draws, NotFiniteError, Steps, mixed, mixing_share, noisy
from utils.model.steps import seed_torch as seed_torch
from utils.model.words import epoch_line, start_line
from utils.system.console import progress
from utils.system.errors import listed
from utils.system.experiment import Experiment
from utils.system.machine import refuse_several_processes

SAVE_EVERY = 300.0  # seconds between two checkpoints within an epoch

Predict = Callable[[DataLoader], Any]
Score = Callable[[Predict], dict[str, float]]


class TrainingError(RuntimeError):
    """Training cannot continue; the message says where it stopped and what to try."""


def fit(
    network: nn.Module,
    loss: nn.Module,
    loader: DataLoader | ResidentLoader,
    score: Score,
    run: RunFolder,
    experiment: Experiment,
    predict: Callable[[nn.Module, DataLoader, str], Any] = predict,
) -> pd.DataFrame:
    """Train the network, keep the best epoch, and return the history (one row per epoch).

    loss takes (logits, labels) and returns a scalar. After each epoch score returns named scores,
    given a function that turns an evaluation loader into predictions: predict(network, loader,
    precision), probabilities by default, pixel counts for a segmenter. The epoch with the highest
    experiment.select_score, or the last (experiment.keep), is kept in `best.safetensors`, and
    loaded into the network at the end; with experiment.ema_decay, the mean of the weights.

    An interrupted run resumes where it stopped; a finished one is only loaded; one that stopped
    before its first checkpoint restarts from the network's initial weights, even where it is the
    same network. Raises TrainingError when a loss or a score is not finite, naming the images;
    RunError when the folder was opened, or the network trained before, for another experiment;
    DeviceError where experiment.device cannot be used, MemoryFullError where its memory is full;
    BlockingIOError when another process trains in the folder.
    """
    refuse_several_processes()
    require_settings(run, experiment)
    with (
        run.lock(),
        keep_start(network, experiment),
        memory_in_words(experiment, network, loss),
    ):
        return _trained(_Training(network, loss, loader, run, experiment, predict), score)


def _trained(training: "_Training", score: Score) -> pd.DataFrame:
    training.resume()
    if not training.progress.finished:
        kind, workers = loader_kind(training.loader), training.loader.num_workers
        training.run.say(start_line(training.device, training.precision, kind, workers))
    while not training.progress.finished:
        training.train_epoch()
        training.end_epoch(score)
    training.load_best()
    return pd.DataFrame(training.progress.history)


@dataclass
class _Training:
    """A run in progress: what `last.pt` holds, and what training needs besides."""

    network: nn.Module
    loss: nn.Module
    loader: DataLoader | ResidentLoader
    run: RunFolder
    experiment: Experiment
    predict: Callable[[nn.Module, DataLoader, str], Any]
    progress: Progress = field(default_factory=Progress)
    said_rate: bool = False

    def __post_init__(self) -> None:
        """Choose device and precision, and hand network, optimiser and loader to Accelerate."""
        self.sampler = cast(EpochSampler, self.loader.sampler)
        self.dataset = cast(LesionDataset, self.loader.dataset)
        self.device = devices.choose_device(self.experiment.device, self.run.say)
        self.accelerator = devices.accelerator(self.device)
        self.samples_per_batch = self.loader.batch_size or 1
        precision = choose_precision(self.experiment.precision, self.network, self.device)
        self.precision = self.run.remember("precision", precision)
        self.run.remember("device", devices.device_name(self.device))
        self.run.remember("arithmetic", devices.arithmetic(self.device))
        require_loader(self.run, loader_kind(self.loader))
        devices.placed(self.network, self.device)
        decay = self.experiment.ema_decay
        self.average = Average(self.network, decay) if decay else None
        self.averaged = self.average.network if self.average else None
        self.scored = self.averaged or self.network
        self.compiling = Compiling(self.network, self.run, self.experiment, self.device)
        self.loss.to(self.device)
        optimizer = make_optimizer(self.network, self.experiment)
        self.steps = Steps(self.network, optimizer, self.device)
        self.draws = Draws(self.device)
        self.model, self.optimizer, self.loader = self.accelerator.prepare(
            self.network, optimizer, self.loader
        )
        self.batches_per_epoch = len(self.loader)
        self.saved_at = time.monotonic()

    @faults_in_words()
    def train_epoch(self) -> None:
        """Train on the remaining batches of the current epoch."""
        done = self.progress
        self.sampler.start_at(done.epoch, done.batch * self.samples_per_batch)
        self.model.train()
        left = self.batches_per_epoch - done.batch
        later = self.batches_per_epoch * (self.experiment.epochs - done.epoch - 1)
        title = f"epoch {done.epoch + 1}/{self.experiment.epochs}"
        started = time.monotonic()
        for batch in progress(batches(self.loader), title, "batches", total=left, more=later):
            # What is drawn is the same whether or not the run was resumed.
            with self.draws.seeded(self.experiment.seed, done.epoch, done.batch):
                self.train_batch(batch)
            if done.batch == self.batches_per_epoch:
                self.read_losses()
            now = time.monotonic()
            done.seconds, started = done.seconds + now - started, now
            if now - self.saved_at > SAVE_EVERY:
                self.save()

    def train_batch(self, batch: dict[str, torch.Tensor]) -> None:
        """One step of the optimiser, without waiting for the device but every few batches."""
        done = self.progress
        rate = learning_rate(self.experiment, done.epoch + done.batch / self.batches_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        share = mixing_share(self.experiment.mixup, self.experiment.seed, done.epoch, done.batch)
        self.steps.begin()
        with autocast(self.device, self.precision):
            images = noisy(mixed(batch["image"], share), self.experiment.noise)
            logits = self.model(devices.laid_out(images, self.device)).float()
        loss = self.loss(logits, batch["label"])
        if share < 1:
            loss = share * loss + (1 - share) * self.loss(logits, batch["label"].roll(1, 0))
        norm = loss
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        if limit := self.experiment.clip_norm:
            norm = self.accelerator.clip_grad_norm_(self.model.parameters(), limit)
        self.steps.judge(loss, norm, done.batch, batch["index"])
        if self.steps.due:
            self.read_losses()
        self.optimizer.step()
        if self.average:
            self.average.update(done.epoch * self.batches_per_epoch + done.batch)
        done.batch += 1

    def read_losses(self) -> None:
        """Add up the losses of the steps since the last call. TrainingError where one is no number.

        Nothing is saved, scored or decided before.
        """
        done = self.progress
        try:
            for value in self.steps.read():
                done.loss_sum += value
        except NotFiniteError as error:
            ids = listed(self.dataset.ids[index] for index in error.indices)
            raise TrainingError(
                f"{error.what} in epoch {done.epoch + 1}, batch {error.batch + 1}, on the "
                f"images {ids}. Look at these images, {self.cure()}"
            ) from error

    def cure(self) -> str:
        """What to try where numbers are not finite, and what is left of the run."""
        last = self.run / "last.pt"
        kept = f" The last good state is kept in {last}." if last.exists() else ""
        return (
            f"lower learning_rate (it is {self.experiment.learning_rate}) or use precision='fp32', "
            f"with resume='restart'.{kept}"
        )

    def end_epoch(self, score: Score) -> None:
        """Score, keep the network if it is the best so far, decide whether to stop, save."""
        self.read_losses()
        done = self.progress
        try:
            scores = score(lambda loader: self.predict(self.scored, loader, self.precision))
        except OutputError as error:
            raise TrainingError(
                f"scoring epoch {done.epoch + 1}, {error.found}. Training has diverged: "
                f"{self.cure()}"
            ) from error
        criterion, patience = self.experiment.select_score, self.experiment.patience
        if criterion not in scores:
            raise ValueError(f"select_score is {criterion!r}; the scores are {', '.join(scores)}.")
        if not np.isfinite(scores[criterion]):
            raise TrainingError(
                f"{criterion} is undefined on the images that select the epoch: one of the classes "
                "is missing there. Select the epoch on other images (select_on)."
            )
        rate = learning_rate(self.experiment, done.epoch + done.batch / self.batches_per_epoch)
        row = {"epoch": done.epoch + 1, "learning_rate": rate, "loss": done.loss_sum / done.batch}
        row |= {name: float(value) for name, value in scores.items()}
        row |= {f"α {name}": value for name, value in attention_weights(self.scored).items()}
        images = done.batch * self.samples_per_batch
        if not self.said_rate and done.seconds:
            self.run.say(f"trained on {images / done.seconds:.0f} images a second")
            self.said_rate = True
        done.close_epoch(row, {"images": images, "peak_memory_mb": peak_memory(self.device)})
        best = kept_epoch(done.history, criterion)
        done.finished = done.epoch >= self.experiment.epochs or 0 < patience <= done.epoch - best
        if self.kept_epoch() == done.epoch:
            save_weights(self.scored, self.run / "best.safetensors")
        left = 0 if done.finished else self.experiment.epochs - done.epoch
        self.compiling.after_epoch(done.timing[-1]["seconds"], self.batches_per_epoch, left)
        self.save()
        self.run.say(epoch_line(row, criterion, best, done, self.experiment.epochs))

    def kept_epoch(self) -> int:
        """The epoch whose weights are kept so far."""
        rules = self.experiment.select_score, self.experiment.keep
        return kept_epoch(self.progress.history, *rules)

    def save(self) -> None:
        """Write `last.pt`, then `history.csv` and `timing.csv` from what it holds."""
        self.read_losses()
        self.saved_at = time.monotonic()
        path, state = self.run / "last.pt", (self.network, self.optimizer, self.progress)
        save_checkpoint(path, *state, self.averaged)
        self.save_tables()

    def save_tables(self) -> None:
        """Write the tables that `last.pt` holds, for other tools."""
        self.run.save_table("history.csv", pd.DataFrame(self.progress.history))
        self.run.save_table("timing.csv", pd.DataFrame(self.progress.timing))

    def resume(self) -> None:
        """Load `last.pt` where it exists, and remove temporary files of a killed process."""
        clear_unfinished(self.run.path)
        path, say = self.run / "last.pt", self.run.say
        if path.exists():
            loaded = load_checkpoint(path, self.network, self.optimizer, self.averaged)
            done = self.progress = loaded
            self.save_tables()  # the process may have been killed before it wrote them
            best = self.run / "best.safetensors"
            if done.history:
                check_best(best, self.scored, done, self.kept_epoch(), say)
        elif self.run.finished:  # it needs no `last.pt`
            done = self.progress = finished_progress(self.run / "history.csv")
        else:
            forget_results(self.run.path)  # their weights are gone
            begin_again(self.network, self.experiment, say)
            return
        if done.finished:
            say(f"{self.run.path} is finished after {done.epoch} epochs; nothing to train")
        else:
            say(f"resuming epoch {done.epoch + 1} at batch {done.batch}")

    def load_best(self) -> None:
        """Load the best epoch's weights into the network, and mark the run as finished."""
        self.run.remember("finished", True)
        load_weights(self.network, self.run / "best.safetensors")
