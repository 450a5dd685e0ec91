"""Files over HTTP: resumed where they were interrupted, several at once, checked completely.

A file is fetched into `<name>.part` and renamed when it is complete: no file under its own name is
unfinished. Its bytes are taken as they are, never decoded.
"""

import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from multiprocessing.pool import AsyncResult, ThreadPool
from pathlib import Path
from threading import Event
from typing import TypeVar

import tenacity

from utils.data.tables import read_labels
from utils.fetching.http import RefusedError, TransientError, answer, chunks
from utils.fetching.sources import PAGE
from utils.system.console import amount, progress, say
from utils.system.errors import DataError
from utils.system.files import writing

ATTEMPTS = 6  # in a row without progress
WAIT = tenacity.wait_exponential_jitter(max=60)  # seconds before the next attempt: 1, 2, 4, …
MEGABYTE = 10**6
HEAD = 64  # bytes that tell an archive or a table from an error page
# How a file begins; no HTML page and no JSON does.
_BEGINNINGS = {".zip": rb"PK\x03\x04", ".csv": rb'(\xef\xbb\xbf)?"?\w+"?\s*[,;]'}
Result = TypeVar("Result")


class DownloadError(DataError):
    """A file could not be fetched, or is not the expected one."""


@dataclass(frozen=True)
class Job:
    """A zip or csv file to fetch: its address, its place, its SHA-256 if recorded."""

    url: str
    path: Path
    sha256: str | None = None

    @property
    def part(self) -> Path:
        """The unfinished file."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def held(self) -> int:
        """Bytes on the disk, of the finished file or of the part."""
        for path in (self.path, self.part):
            with suppress(FileNotFoundError):
                return path.stat().st_size
        return 0

    @property
    def cures(self) -> str:
        """What else brings the file."""
        return (
            "Use another mirror (--base-url), or fetch the file by hand from "
            f"{PAGE} and put it at {self.path}."
        )


def size_of(job: Job) -> int:
    """Bytes of the complete file; the server is asked unless it is here.

    Raises DownloadError for a server that does not send the file, or not its size.
    """
    return job.path.stat().st_size if job.path.exists() else _retried(job, _asked_size, Event())


def fetch(job: Job, size: int, stop: Event | None = None) -> str:
    """Fetch or resume the job's file of that size, or check the one that is already here.

    Returns its SHA-256. Raises DownloadError for a file that the server does not send, that is
    damaged, or whose SHA-256 is not the job's; UnwritableError where it cannot be stored;
    CancelledError once stop is set. The bytes of an unfinished file are kept.
    """
    if job.path.exists():
        say(f"{job.path.name} is already here; checking it")
        if fault := _fault(job, job.path):
            raise DownloadError(
                f"{job.path} is already here, but {fault}. Remove it to have it fetched again."
            )
        sha256 = _checked(job, job.path)
    else:
        stop = stop or Event()
        with writing(job.part):
            job.part.parent.mkdir(parents=True, exist_ok=True)
            _retried(job, lambda job: _receive(job, size, stop), stop)
            if fault := _fault(job, job.part):
                job.part.unlink()
                raise DownloadError(
                    f"{job.url} is damaged: {amount(size)} arrived, as the server had announced, "
                    f"but {fault}; nothing of it was kept. Run the same command again. {job.cures}"
                )
            sha256 = _checked(job, job.part)
            job.part.replace(job.path)
        say(f"{job.path.name}: {amount(size)}, SHA-256 {sha256[:16]}…")
    job.part.unlink(missing_ok=True)
    return sha256


def _fault(job: Job, file: Path) -> str:
    """Why the file is incomplete, or not of its kind; "" for a file that looks right.

    A zip has its directory at the end, so a truncated one is always noticed.
    """
    try:
        if job.path.suffix == ".csv":
            read_labels(file)
        else:
            zipfile.ZipFile(file).close()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        reason = str(error).partition("; ")[0]
        return f"it is not a complete {job.path.suffix[1:]} file ({reason})"
    return ""


def _checked(job: Job, file: Path) -> str:
    """The file's SHA-256, if it is the recorded one."""
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    if job.sha256 not in (None, sha256):
        raise DownloadError(
            f"{file} has the SHA-256 {sha256}, but {job.sha256} is recorded: it is damaged, or a "
            f"new version. Remove {file.name} to have it fetched again; if the archive has really "
            f"changed the file, remove the entry {job.path.name} from the record of checksums "
            "instead."
        )
    return sha256


def _retried(job: Job, work: Callable[[Job], Result], stop: Event) -> Result:
    """What the work returns; its attempts count anew whenever the job has more bytes than ever."""
    most = job.held

    def count_anew(state: tenacity.RetryCallState) -> None:
        nonlocal most
        if job.held > most:
            most, state.attempt_number = job.held, 1

    def announce(state: tenacity.RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        say(f"{job.path.name}: {failure}; next attempt in {state.upcoming_sleep:.0f} s")

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        after=count_anew,
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=WAIT,
        before_sleep=announce,
        sleep=tenacity.sleep_using_event(stop),
        reraise=True,
    )
    try:
        return retrying(work, job)
    except RefusedError as error:
        raise DownloadError(f"{job.url} {error}. {job.cures}") from error
    except TransientError as error:
        raise DownloadError(
            f"{job.url}: {ATTEMPTS} attempts in a row made no progress, the last one because "
            f"{error}. The {amount(job.held)} received are kept; the same command resumes the "
            f"download. {job.cures}"
        ) from error


def _asked_size(job: Job) -> int:
    with answer(job.url, {}) as response:
        head = b""
        while len(head) < HEAD and (chunk := next(chunks(response), b"")):
            head += chunk
    if not head:
        raise TransientError("the answer was empty")
    if not re.match(_BEGINNINGS[job.path.suffix], head):
        raise RefusedError(
            f"answered 200 with content that begins {head[:40]!r}; expected a "
            f"{job.path.suffix[1:]} file (is it an error or login page?)"
        )
    if not (size := response.headers.get("Content-Length", "")).isdecimal():
        raise RefusedError("answered without the size of the file")
    return int(size)


def _receive(job: Job, size: int, stop: Event) -> None:
    """Append the bytes that the part lacks, or write all where the server sends all."""
    held = job.held
    if held == size:
        return
    changed = formatdate(job.part.stat().st_mtime, usegmt=True) if held else ""
    headers = {"Range": f"bytes={held}-", "If-Unmodified-Since": changed} if held else {}
    with answer(job.url, headers) as response:
        if response.status_code in (412, 416):
            job.part.unlink()
            raise TransientError(
                f"the file on the server has changed since {amount(held)} of it were fetched"
            )
        mode, name, expected = "wb", "Content-Length", str(size)
        if response.status_code == 206:
            mode, name, expected = "ab", "Content-Range", rf"bytes {held}-\d+/({size}|\*)"
        announced = response.headers.get(name, "")
        if not re.fullmatch(expected, announced):
            raise TransientError(
                f"the server announced {name} {announced!r}, though the file has {size} bytes and "
                f"{held} of them are here"
            )
        if held and mode == "wb":
            say(f"{job.path.name}: starting over; the server cannot send only the rest")
        with job.part.open(mode) as file:
            for chunk in chunks(response):
                if stop.is_set():
                    raise CancelledError
                file.write(chunk)
                file.flush()  # it outlives this process
            os.fsync(file.fileno())
    if job.held != size:
        raise TransientError(f"the answer ended after {amount(job.held)} of {amount(size)}")


def fetch_all(jobs: list[Job], sizes: list[int], workers: int = 4) -> list[str]:
    """`fetch` for all jobs, workers at a time; shows the progress.

    A failure does not stop the other jobs: DownloadError names all that failed. KeyboardInterrupt
    ends it within two seconds. The bytes received are kept.
    """
    stop = Event()

    def attempt(job: Job, size: int) -> str | Exception:
        try:
            return fetch(job, size, stop)
        except (DataError, OSError) as error:
            return error

    # Not an executor of concurrent.futures: Python waits for its threads at exit, and one of them
    # may hang on a silent server for half a minute.
    with ThreadPool(max(1, min(workers, len(jobs)))) as pool:
        running = pool.starmap_async(attempt, zip(jobs, sizes, strict=True), chunksize=1)
        try:
            megabytes = sum(sizes) // MEGABYTE - _received(jobs)
            for _ in progress(_arriving(running, jobs), "fetching", "MB", megabytes):
                pass
        finally:
            stop.set()
        results = running.get()
    errors = [result for result in results if isinstance(result, Exception)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        reasons = "\n".join(f"- {error}" for error in errors)
        raise DownloadError(f"{len(errors)} of {len(jobs)} files are missing:\n{reasons}")
    return [result for result in results if isinstance(result, str)]


def _received(jobs: list[Job]) -> int:
    return sum(job.held for job in jobs) // MEGABYTE


def _arriving(running: AsyncResult, jobs: list[Job]) -> Iterator[int]:
    """One item for each MB received, until all jobs have ended."""
    shown = _received(jobs)
    while not running.ready():
        running.wait(0.2)
        while shown < _received(jobs):
            shown += 1
            yield shown
