"""A file that is being fetched: what came of it is kept until the rest is there.

The bytes are in `<name>.part`; `<name>.part.json` says of which file on the server they are. With
its ETag as If-Range, a server sends the rest only of the very same file, and else all of the new
one (RFC 9110, sections 13.1.5 and 14).
"""

import itertools
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import requests
import tenacity

from utils.fetching import http
from utils.fetching.checksums import HEAD, KINDS, begins_as, fault_of
from utils.fetching.http import RefusedError, RetryPolicy, TransientError
from utils.system.console import amount, say
from utils.system.files import write_json


@dataclass(frozen=True)
class Origin:
    """The file on the server."""

    url: str
    size: int | None
    etag: str


class Part:
    """The unfinished file of path; moved is told the number of bytes that came, or were dropped."""

    def __init__(self, path: Path, moved: Callable[[int], None]) -> None:
        self.name, (self.path, self.note), self.moved = path.name, files_of(path), moved
        self.most = self.size  # bytes that there ever were
        self.faults = 0  # how often all that was announced came, and was no whole file

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return held(self.path)

    def origin(self, url: str) -> Origin | None:
        """What the bytes are of; None for no bytes, and for those that cannot be continued."""
        try:
            note = json.loads(self.note.read_bytes())
            origin = Origin(note["url"], note["size"], note["etag"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return origin if self.size and origin.url == url and origin.etag else None

    def drop(self) -> None:
        """Forget all bytes. They go before the note does: it must never speak of other bytes."""
        self.moved(-self.size)
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def take(self, response: requests.Response, origin: Origin, kind: str) -> None:
        """Write the whole file that comes, after a look at its first bytes.

        An error page replaces nothing.
        """
        chunks = http.chunks(response)
        head = b""
        while len(head) < HEAD and (chunk := next(chunks, b"")):
            head += chunk
        if not head:
            raise TransientError("the answer was empty")
        if not begins_as(kind, head):
            raise RefusedError(
                f"answered 200 with something that begins {head[:40]!r} where a {KINDS[kind]} was "
                "expected (an error or login page?); nothing of it was kept"
            )
        if self.size:
            say(
                f"{self.name}: starting over; the {amount(self.size)} that are here are of another "
                "version or address, or the server cannot send the rest alone"
            )
        self.drop()
        write_json(self.note, asdict(origin))
        self.append(itertools.chain([head], chunks))

    def append(self, chunks: Iterable[bytes]) -> None:
        """Write what comes; each chunk is out of this process then, and outlives it."""
        with self.path.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                file.flush()
                self.moved(len(chunk))
            os.fsync(file.fileno())


def files_of(path: Path) -> tuple[Path, Path]:
    """Where the bytes of the unfinished file and their note are."""
    return path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")


def held(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def fill(
    part: Part, url: str, kind: str, policy: RetryPolicy, sleep: Callable[[float], None]
) -> None:
    """Fetch what the part lacks, in as many attempts as bring something new, and a few more.

    Raises RefusedError, or the last TransientError when the policy allows no further attempt.
    """

    def count_anew(state: tenacity.RetryCallState) -> None:
        if part.size > part.most:
            part.most, state.attempt_number = part.size, 1

    def announce(state: tenacity.RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        say(f"{part.name}: {failure}; again in {state.upcoming_sleep:.0f} s")

    first, longest = policy.first_wait, policy.longest_wait
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        after=count_anew,
        stop=tenacity.stop_after_attempt(policy.attempts),
        wait=tenacity.wait_exponential_jitter(max=longest, jitter=first, multiplier=first),
        before_sleep=announce,
        sleep=sleep,
        reraise=True,
    )
    retrying(_attempt, part, url, kind, policy)


def _attempt(part: Part, url: str, kind: str, policy: RetryPolicy) -> None:
    origin, held = part.origin(url), part.size
    headers = {"Range": f"bytes={held}-", "If-Range": origin.etag} if origin else {}
    with http.answer(url, policy, headers) as response:
        if origin and response.status_code != 200:
            origin = _same(part, origin, response)
            part.append(http.chunks(response) if response.status_code == 206 else ())
        else:
            size, etag = http.content_length(response), response.headers.get("ETag", "")
            origin = Origin(url, size, etag)
            part.take(response, origin, kind)
    if origin.size not in (None, part.size):
        raise TransientError(
            f"the answer ended after {amount(part.size)} of {amount(origin.size or 0)}"
        )
    if fault := fault_of(part.path, kind):
        came = f"{amount(part.size)} came, as the server had announced, but {fault}"
        part.drop()
        part.faults += 1
        # These may be gigabytes: they are fetched once more, not as often as the policy has it.
        raise (
            TransientError(came) if part.faults == 1 else RefusedError(f"is damaged: twice {came}")
        )


def _same(part: Part, origin: Origin, response: requests.Response) -> Origin:
    """The origin of the part, if the answer is the rest of that very file.

    Else drops the part, and raises TransientError.
    """
    start, size = http.content_range(response)
    size = size or origin.size  # S3 does not always say it
    now = Origin(origin.url, size, response.headers.get("ETag", origin.etag))
    if response.status_code == 416:  # nothing is left
        start = size
    if start != part.size or now != replace(origin, size=origin.size or size):
        came = part.size
        part.drop()
        raise TransientError(
            f"the file on the server is not the one that {came} bytes are here of "
            f"({size} bytes now, {origin.size} before)"
        )
    return now
