"""Files over HTTP: resumed where they were interrupted, several at once, checked completely.

A file is fetched into `<name>.part` (`part`) and renamed when it is complete: no file under its own
name is unfinished.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import AsyncResult, ThreadPool
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event

from tenacity import sleep_using_event

from utils.fetching import http
from utils.fetching.checksums import fault_of
from utils.fetching.http import POLICY, RefusedError, RetryPolicy, TransientError
from utils.fetching.part import Part, fill
from utils.fetching.sources import PAGE
from utils.system.console import amount, progress, say
from utils.system.errors import DataError
from utils.system.files import writing

MEGABYTE = 10**6


class DownloadError(DataError):
    """A file could not be fetched, or is not the expected one."""


@dataclass(frozen=True)
class Job:
    """A file to fetch: its address, its place, its kind ("zip", "csv"), its hash if recorded."""

    url: str
    path: Path
    kind: str
    sha256: str | None = None


@dataclass(frozen=True)
class Fetched:
    """A complete file and where it comes from."""

    path: Path
    size: int
    sha256: str
    url: str


def fetch(
    job: Job,
    policy: RetryPolicy = POLICY,
    moved: Callable[[int], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Fetch or resume the job's file, or check the one that is already here.

    moved is called with the number of bytes received. Raises DownloadError for a file that the
    server does not send, that is damaged, or whose SHA-256 is not the job's; UnwritableError where
    it cannot be stored. The bytes of an unfinished file are kept.
    """
    part = Part(job.path, moved)
    if job.path.exists():
        say(f"{job.path.name} is already here; checking it")
        if fault := fault_of(job.path, job.kind):
            raise DownloadError(
                f"{job.path} is already here, but {fault}. Remove it to have it fetched again."
            )
        fetched = _checked(job, job.path)
    else:
        with writing(part.path):
            part.path.parent.mkdir(parents=True, exist_ok=True)
            _fill(part, job, policy, sleep)
            fetched = _checked(job, part.path)
            part.path.replace(job.path)
        say(f"{job.path.name}: {amount(fetched.size)}, SHA-256 {fetched.sha256[:16]}…")
    part.remove()
    return fetched


def _fill(part: Part, job: Job, policy: RetryPolicy, sleep: Callable[[float], None]) -> None:
    cures = (
        "Use another mirror (--base-url), or fetch the file by hand from "
        f"{PAGE} and put it at {job.path}."
    )
    try:
        fill(part, job.url, job.kind, policy, sleep)
    except RefusedError as error:
        raise DownloadError(f"{job.url} {error}. {cures}") from error
    except TransientError as error:
        raise DownloadError(
            f"{job.url}: {policy.attempts} attempts in a row made no progress, the last one "
            f"because {error}. The {amount(part.size)} received are kept; the same command resumes "
            f"the download. {cures}"
        ) from error


def _checked(job: Job, file: Path) -> Fetched:
    """The file, if it has the recorded SHA-256."""
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    if job.sha256 not in (None, sha256):
        raise DownloadError(
            f"{file} has the SHA-256 {sha256}, but {job.sha256} is recorded: it is damaged, or a "
            f"new version. Remove {file.name} to have it fetched again; if the archive has really "
            f"changed the file, remove the entry {job.path.name} from the record of checksums "
            "instead."
        )
    return Fetched(job.path, file.stat().st_size, sha256, job.url)


def remaining(job: Job, policy: RetryPolicy = POLICY) -> int | None:
    """Bytes of the job still to fetch; None, and a message, if the server does not tell."""
    if job.path.exists():
        return 0
    why = "the server does not tell"
    try:
        with http.answer(job.url, policy, {}, "HEAD") as response:
            size = http.content_length(response)
    except (TransientError, RefusedError) as error:
        size, why = None, str(error)
    if size is None:
        say(f"{job.path.name}: its size is unknown ({why})")
        return None
    return max(0, size - Part(job.path).size)


def fetch_all(
    jobs: list[Job], workers: int = 4, total: int | None = None, policy: RetryPolicy = POLICY
) -> list[Fetched]:
    """`fetch` for all jobs, workers at a time; shows the progress towards total bytes.

    A failure does not stop the other jobs: DownloadError names all that failed. KeyboardInterrupt
    ends it within two seconds. The bytes received are kept.
    """
    stop, counts = Event(), SimpleQueue[int]()

    def moved(count: int) -> None:
        if stop.is_set():
            raise CancelledError
        counts.put(count)

    work = partial(fetch, policy=policy, moved=moved, sleep=sleep_using_event(stop))
    # Not an executor of concurrent.futures: Python waits for its threads at exit, and one of them
    # may hang on a silent server for half a minute.
    with ThreadPool(max(1, min(workers, len(jobs)))) as pool:
        running = [pool.apply_async(work, (job,)) for job in jobs]
        try:
            megabytes = total // MEGABYTE if total else None
            for _ in progress(_megabytes(running, counts), "fetching", "MB", megabytes):
                pass
        finally:
            stop.set()
        return _results(running)


def _megabytes(running: list[AsyncResult], counts: SimpleQueue[int]) -> Iterator[int]:
    """One item for each MB received, until all jobs have ended."""
    received = shown = 0
    while not all(result.ready() for result in running):
        with suppress(Empty):
            received += counts.get(timeout=0.2)
        while shown < received // MEGABYTE:
            shown += 1
            yield shown


def _results(running: list[AsyncResult]) -> list[Fetched]:
    fetched, errors = [], []
    for result in running:
        try:
            fetched.append(result.get())
        except (DataError, OSError) as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        reasons = "\n".join(f"- {error}" for error in errors)
        raise DownloadError(f"{len(errors)} of {len(running)} files are missing:\n{reasons}")
    return fetched
