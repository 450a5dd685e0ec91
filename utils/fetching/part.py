"""A file that is being fetched: what came of it, kept until the rest is there.

The bytes are in `<name>.part`; `<name>.part.json` says of which version of which URL they are.
"""

import hashlib
import itertools
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Self

import requests
import tenacity

from utils.fetching import http
from utils.fetching.checksums import HEAD, KINDS, begins_as, digest, fault_of
from utils.fetching.http import Answer, PassingError, Patience, RefusedError, StaleError, Version
from utils.fetching.meters import Meter
from utils.system.console import amount, say
from utils.system.files import write_json


class Part:
    """The unfinished file of path, open; its hash grows with it. A context: closes the file."""

    def __init__(self, path: Path, meter: Meter) -> None:
        self.name, (self.path, self.note) = path.name, files_of(path)
        self.meter, self.version = meter, None
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.path.open("a+b")
        self.sha256 = hashlib.sha256()
        self.size = self.most = 0  # bytes; the most that there ever were in this call
        self.faults = 0  # how often all that was announced came, and was no whole file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.file.close()  # on a full disk this fails, too
        finally:
            if self.path.exists() and self.path.stat().st_size == 0:
                self.path.unlink()
                self.note.unlink(missing_ok=True)

    def take_up(self, url: str) -> None:
        """Go on with what an earlier attempt left, when it is known to be of the file at url."""
        held = self.file.seek(0, os.SEEK_END)
        noted = _read_note(self.note)
        if held and noted and noted.url == url and noted.validator:
            self.version = noted
            self.size = held
            self.file.seek(0)
            self.meter.start("checking", 0, held)
            digest(self.file, self.meter.move, self.sha256)

    def begin(self, version: Version) -> None:
        """What comes next is the first byte of this version; says so where there were others."""
        if held := self.file.seek(0, os.SEEK_END):
            why = "the server cannot send the rest alone"
            if self.version is None or not version.agrees(self.version):
                why = "they are of another version or address"
            say(f"{self.name}: begins anew, not after the {amount(held)} that are there: {why}")
        self.drop()
        write_json(self.note, asdict(version))
        self.version = version

    def drop(self) -> None:
        """Forget all bytes. They go before the note does: it must never speak of other bytes."""
        self.file.truncate(0)
        self.note.unlink(missing_ok=True)
        self.size, self.sha256, self.version = 0, hashlib.sha256(), None

    def write(self, chunk: bytes) -> None:
        """Add what came; it is out of this process then, and outlives it."""
        self.file.write(chunk)
        self.file.flush()
        self.sha256.update(chunk)
        self.size += len(chunk)
        self.most = max(self.most, self.size)
        self.meter.move(len(chunk))

    def finish(self, path: Path) -> None:
        """Give the whole file its name."""
        os.fsync(self.file.fileno())
        self.file.close()
        self.path.replace(path)
        self.note.unlink()


def files_of(path: Path) -> tuple[Path, Path]:
    """Where the bytes of the unfinished file and their note are."""
    return path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")


def fill(part: Part, url: str, kind: str, patience: Patience) -> None:
    """Fetch what the part lacks, in as many attempts as bring something new, and a few more.

    Raises RefusedError, or the last PassingError when patience is at its end.
    """
    most = part.most

    def forget_failures(state: tenacity.RetryCallState) -> None:
        nonlocal most
        if part.most > most:
            most, state.attempt_number = part.most, 1

    def announce(state: tenacity.RetryCallState) -> None:
        say(f"{part.name}: {state.outcome.exception()}; again in {state.upcoming_sleep:.0f} s")

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(PassingError),
        after=forget_failures,
        stop=tenacity.stop_after_attempt(patience.attempts),
        wait=lambda state: _pause(state, patience),
        before_sleep=announce,
        sleep=part.meter.pause,
        reraise=True,
    )
    with requests.Session() as session:
        retrying(_attempt, session, part, url, kind, patience)


def _pause(state: tenacity.RetryCallState, patience: Patience) -> float:
    """Seconds to the next attempt: what the server asks for, or ever longer."""
    asked = state.outcome.exception().wait
    first, longest = patience.first_wait, patience.longest_wait
    if asked is None:
        return tenacity.wait_exponential_jitter(max=longest, jitter=first, multiplier=first)(state)
    return min(asked, longest)


def _attempt(
    session: requests.Session, part: Part, url: str, kind: str, patience: Patience
) -> None:
    try:
        with http.answer(session, url, part.size, part.version, patience) as answer:
            _take(part, answer, kind)
    except StaleError:
        part.drop()
        raise
    if part.version.size not in (None, part.size):
        raise PassingError(f"the answer ended after {part.meter}")
    if fault := fault_of(part.path, kind):
        came = f"{amount(part.size)} came, as the server had announced, but {fault}"
        part.drop()
        part.faults += 1
        # These may be gigabytes: they are fetched once more, not as often as patience has it.
        raise PassingError(came) if part.faults == 1 else RefusedError(f"is damaged: twice {came}")


def _take(part: Part, answer: Answer, kind: str) -> None:
    """Write what comes, after a look at the first bytes: an error page replaces nothing."""
    chunks = answer.chunks
    if answer.start == 0:
        head = b""
        while len(head) < HEAD and (chunk := next(chunks, b"")):
            head += chunk
        if not head:
            raise PassingError("the answer was empty")
        if not begins_as(kind, head):
            raise RefusedError(
                f"answered 200 with something that begins {head[:40]!r} where a {KINDS[kind]} was "
                "expected (an error or login page?); nothing of it was kept"
            )
        part.begin(answer.version)
        chunks = itertools.chain([head], chunks)
    part.version = answer.version
    part.meter.start("fetching", part.size, part.version.size)
    for chunk in chunks:
        part.write(chunk)


def _read_note(file: Path) -> Version | None:
    try:
        return Version(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
