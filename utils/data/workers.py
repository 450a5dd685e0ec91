"""Worker processes of a loader: how many have room, and a plain error where one fails.

On Linux a worker passes its batches through /dev/shm, of which a container has 64 MB by default.
Where it is full a worker dies, or waits forever.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from utils.system.console import amount, say
from utils.system.disk import free_space
from utils.system.errors import DataError
from utils.system.machine import cores

SHARED = Path("/dev/shm")
AHEAD = 2  # batches that each worker loads before they are asked for
# Seconds to wait for a batch; workers may take long to start, as they import torch. Without
# SIGCHLD (Windows) a limit would hide a dead worker for as long.
PATIENCE = 600 if hasattr(signal, "SIGCHLD") else 0
_MORE = "give the container more of it (docker run --shm-size=2g)"


def default_workers() -> int:
    """0 without a GPU, where training leaves no core idle; else one per core, 8 at most."""
    return min(8, cores()) if torch.cuda.is_available() else 0


def with_room(workers: int, batch: int, must: bool) -> int:
    """The number of workers, or fewer where no more fit; batch is the size of one in bytes.

    Raises DataError where all of them must fit, and do not.
    """
    if sys.platform != "linux" or not SHARED.is_dir():
        return workers
    free = free_space(SHARED)
    fitting = max(0, free // batch - 1) // AHEAD  # one more batch is in use
    if workers <= fitting:
        return workers
    needed = (AHEAD * workers + 1) * batch
    what = f"{workers} workers need {amount(needed)} in {SHARED}, where {amount(free)} are free"
    if not must:
        _say_once(f"{what}: {fitting} are used. For more of them {_MORE}.")
        return fitting
    fewer = f"workers={fitting} or workers=0" if fitting else "workers=0"
    raise DataError(f"{what}; use {fewer}, or {_MORE}.")


@cache
def _say_once(text: str) -> None:
    say(text)


class WorkerError(RuntimeError):
    """A worker has died, or hangs; the message says what to do."""


@contextmanager
def faults_in_words() -> Iterator[None]:
    """Turn torch's errors about failed workers into a WorkerError; others pass unchanged.

    A context, or a decorator, around all code during which workers run: torch reports a dead one by
    a signal, in the middle of any computation.
    """
    try:
        yield
    except WorkerError:
        raise
    except RuntimeError as error:
        message = str(error)
        died = "killed" in message or "exited unexpectedly" in message
        if "DataLoader worker" in message and died:
            what = f"a worker that loads images has died ({message.splitlines()[0].strip(' .')})"
            cure = "it probably ran out of memory"
        elif "DataLoader timed out" in message:
            what = f"the workers that load images have sent nothing for {PATIENCE} s"
            cure = f"check whether the disk with the data responds and {SHARED} has room"
        else:
            raise
        raise WorkerError(
            f"{what}; {cure}. Use fewer workers, or workers=0, and call it again: a run resumes "
            "from its last checkpoint."
        ) from error
