"""Contenders in processes of their own take turns, an epoch each.

A process keeps what its library changes (threads, allocators, caches) from the others. Processor
time is that of all its threads and of its own processes, as workers are.
"""

import multiprocessing
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from importlib import import_module
from multiprocessing.connection import Connection
from os import devnull
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from bench.peers.job import Job


class Epoch(NamedTuple):
    """What an epoch took, in seconds."""

    wall: float
    cpu: float


class ContenderError(RuntimeError):
    """A contender has failed; the message is its traceback."""


class Contender:
    """A module of this package in a process of its own, which waits for its turn."""

    def __init__(self, name: str, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(name, job, other))
        self.process.start()
        other.close()
        self.way: dict[str, str] = self._answer()  # all is imported

    def epoch(self) -> Epoch:
        """Let it train an epoch; the first includes all that comes before, but for imports."""
        started, cpu = time.perf_counter(), self.cpu_seconds()
        self.connection.send(None)
        self._answer()
        return Epoch(time.perf_counter() - started, self.cpu_seconds() - cpu)

    def cpu_seconds(self) -> float:
        """Processor time of the process and all below it, those that have ended included."""
        parent, total = psutil.Process(self.process.pid), 0.0
        for process in (*parent.children(recursive=True), parent):
            with suppress(psutil.NoSuchProcess):  # it is in its parent's sum now
                total += sum(process.cpu_times()[:4])
        return total

    def stop(self) -> None:
        """End the process, wherever it is."""
        self.connection.close()
        self.process.join(timeout=30)
        self.process.kill()
        self.process.join()

    def _answer(self) -> dict[str, str]:
        try:
            answer = self.connection.recv()
        except EOFError:
            answer = "its process has ended"
        if isinstance(answer, str):
            raise ContenderError(f"{self.name}: {answer}")
        return answer


def _serve(name: str, job: Job, connection: Connection) -> None:
    """What the process of a contender does; what it prints is not kept."""

    def wait() -> None:
        try:
            connection.recv()
        except EOFError:  # nobody asks for another epoch
            raise SystemExit from None

    def turn() -> None:
        connection.send({})
        wait()

    # Its workers start as they would without us: a process that was spawned would spawn others.
    multiprocessing.set_start_method(None, force=True)
    with Path(devnull).open("w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        try:
            contender = import_module(f"bench.peers.{name}")
            if job.line != "defaults":
                torch.set_num_threads(1)
            torch.manual_seed(0)
            connection.send(contender.WAY)
            wait()
            contender.train(job, turn)
        except Exception:
            connection.send(traceback.format_exc())


@contextmanager
def started(jobs: Mapping[str, Job]) -> Iterator[list[Contender]]:
    """The contenders, ready for their first turn; stopped at the end."""
    contenders: list[Contender] = []
    try:
        for name, job in jobs.items():
            contenders.append(Contender(name, job))
        yield contenders
    finally:
        for contender in contenders:
            contender.stop()


def race(contenders: Sequence[Contender], epochs: int) -> dict[str, list[Epoch]]:
    """Epochs of every contender, in turns, in the reverse order every other time."""
    taken: dict[str, list[Epoch]] = {contender.name: [] for contender in contenders}
    for number in range(epochs):
        for contender in contenders[:: -1 if number % 2 else 1]:
            taken[contender.name].append(contender.epoch())
    return taken
