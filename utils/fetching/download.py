"""Files over HTTP: resumed where they were interrupted, several at once, checked to the last byte.

A file is fetched into `<name>.part` (`part`) and gets its name when it is whole: no file that bears
its name is unfinished.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread

import requests

from utils.fetching import http
from utils.fetching.checksums import Fetched, digest, fault_of
from utils.fetching.http import PassingError, Patience, RefusedError
from utils.fetching.meters import Meter, display
from utils.fetching.part import Part, files_of, fill
from utils.fetching.sources import PAGE
from utils.system.console import amount, say
from utils.system.disk import free_space
from utils.system.errors import DataError
from utils.system.files import locked

PATIENCE = Patience()
POLL = 0.2  # seconds between two looks at threads that work, or at a lock


class DownloadError(DataError):
    """A file could not be fetched, or is not the expected one."""


@dataclass(frozen=True)
class Job:
    """One file to fetch: from where, to where, what it is ("zip", "csv"), its hash where known."""

    url: str
    path: Path
    kind: str
    sha256: str | None = None


def fetch(job: Job, patience: Patience = PATIENCE, meter: Meter | None = None) -> Fetched:
    """The file of the job: fetched, gone on with, or, where it is there already, checked.

    Its SHA-256 is compared with the job's. A second process that fetches the same file waits for
    the first. Raises DownloadError when the file cannot be had or stored, or is another one than
    expected. What came of an unfinished file is kept.
    """
    meter = meter or Meter(job.path.name)
    try:
        with _turn(job.path, meter):
            if job.path.exists():
                return _found(job, meter)
            fetched = _download(job, patience, meter)
            say(f"{job.path.name}: {amount(fetched.size)}, SHA-256 {fetched.sha256[:16]}…")
            return fetched
    except OSError as error:
        raise DownloadError(
            f"{error.filename or job.path} cannot be read or written "
            f"({error.strerror or error}; {meter} done). Make room or give access there, or use "
            "another --data-dir; the same command goes on with what came."
        ) from error
    finally:
        meter.finish()


def sizes(jobs: list[Job], patience: Patience = PATIENCE) -> int:
    """Bytes of the jobs that are still to come; a size that no server tells counts 0 and is said.

    Nothing is asked about files that are there.
    """
    asked = [job for job in jobs if not job.path.exists()]
    futures = _in_threads(partial(_left_of, patience=patience), asked, len(asked))
    while wait(futures, POLL).not_done:
        pass
    return sum(future.result() for future in futures)


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise DownloadError when the disk of the folder has less than needed bytes free for what."""
    if (free := free_space(folder)) < needed:
        raise DownloadError(
            f"{what} needs {amount(needed)} in {folder}, but {amount(free)} are free there. Make "
            "room, name a folder on another disk with --data-dir, fetch less at a time (--parts, "
            "--splits), or let each archive go once it is unpacked (--remove-archives)."
        )


def fetch_all(jobs: list[Job], workers: int = 4, patience: Patience = PATIENCE) -> list[Fetched]:
    """`fetch` for all jobs, workers at a time; shows how far each one is.

    When some fail the others are fetched all the same. Raises DownloadError that names all that
    failed, and KeyboardInterrupt within two seconds of Ctrl-C; what came is kept.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; expected at least 1.")
    stop = Event()
    meters = [Meter(job.path.name, stop) for job in jobs]

    def work(pair: tuple[Job, Meter]) -> Fetched:
        return fetch(pair[0], patience, pair[1])

    futures = _in_threads(work, list(zip(jobs, meters, strict=True)), workers)
    try:
        with display(meters) as show:
            while wait(futures, POLL).not_done:
                show()
    except KeyboardInterrupt:
        stop.set()
        wait(futures, timeout=1)  # those that wait for a silent server end with the process
        say("stopped. What came is kept: the same command goes on.")
        raise
    finally:
        stop.set()
    return _results(futures)


def _results(futures: list[Future]) -> list[Fetched]:
    errors = [future.exception() for future in futures if future.exception()]
    for error in errors:
        if len(errors) == 1 or not isinstance(error, DataError):
            raise error
    if errors:
        reasons = "\n".join(f"- {error}" for error in errors)
        raise DownloadError(f"{len(errors)} of {len(futures)} files are missing:\n{reasons}")
    return [future.result() for future in futures]


def _in_threads(work: Callable, items: list, workers: int) -> list[Future]:
    """As an executor does it, but when python ends it does not wait for these threads.

    One of them may hang on a silent server for half a minute.
    """
    futures = [Future() for _ in items]
    todo = iter(list(zip(futures, items, strict=True)))

    def run() -> None:
        for future, item in todo:  # the threads share it
            try:
                future.set_result(work(item))
            except BaseException as error:  # it belongs to whoever asks for the result
                future.set_exception(error)

    for _ in range(min(workers, len(items))):
        Thread(target=run, daemon=True).start()
    return futures


@contextmanager
def _turn(path: Path, meter: Meter) -> Iterator[None]:
    """Wait until no other process or thread fetches the file."""
    busy = f"{path.name}: another process is fetching it; waiting for that"
    with ExitStack() as held:
        for attempt in itertools.count():
            meter.pause(POLL if attempt else 0)
            try:
                held.enter_context(locked(path.with_name(f".{path.name}.lock"), busy))
            except BlockingIOError:
                if attempt == 0:
                    say(busy)
            else:
                break
        yield


def _found(job: Job, meter: Meter) -> Fetched:
    """The file that is there; raises DownloadError unless it is whole and the expected one."""
    sha256 = hashlib.sha256()
    with job.path.open("rb") as file:
        meter.start("checking", 0, job.path.stat().st_size)
        digest(file, meter.move, sha256)
    if fault := fault_of(job.path, job.kind):
        raise DownloadError(
            f"{job.path} is there already, but {fault}. Remove it, and it is fetched again."
        )
    _compare(job.path, sha256.hexdigest(), job.sha256)
    for left in files_of(job.path):  # of an earlier attempt, before the file was put here
        left.unlink(missing_ok=True)
    return Fetched(job.path, meter.done, sha256.hexdigest(), job.url)


def _download(job: Job, patience: Patience, meter: Meter) -> Fetched:
    cures = (
        "Use another mirror (--base-url), or fetch the file by hand from "
        f"{PAGE} and put it at {job.path}."
    )
    with Part(job.path, meter) as part:
        part.take_up(job.url)
        try:
            fill(part, job.url, job.kind, patience)
        except RefusedError as error:
            raise DownloadError(f"{job.url} {error}. {cures}") from error
        except PassingError as error:
            raise DownloadError(
                f"{job.url}: {patience.attempts} attempts in a row brought nothing new, the last "
                f"one because {error}. What came is kept ({amount(part.size)}), the same command "
                f"goes on. {cures}"
            ) from error
        sha256 = part.sha256.hexdigest()
        _compare(part.path, sha256, job.sha256)
        part.finish(job.path)
        return Fetched(job.path, part.size, sha256, job.url)


def _left_of(job: Job, patience: Patience) -> int:
    """Bytes of the job that are still to come; 0 and a line where no one knows."""
    held = files_of(job.path)[0]
    try:
        with requests.Session() as session:
            size = http.size_of(session, job.url, patience)
        why = "the server does not tell"
    except (PassingError, RefusedError) as error:
        size, why = None, str(error)
    if size is None:
        say(f"{job.path.name}: its size is not known ({why})")
        return 0
    return max(0, size - (held.stat().st_size if held.exists() else 0))


def _compare(path: Path, sha256: str, expected: str | None) -> None:
    if expected not in (None, sha256):
        raise DownloadError(
            f"{path} has the SHA-256 {sha256}, but {expected} is recorded: it is damaged, or a "
            f"new version. Remove {path.name} to have it fetched again; if the archive has really "
            f"changed the file, remove the entry {path.name.removesuffix('.part')} from the record "
            "of checksums instead."
        )
