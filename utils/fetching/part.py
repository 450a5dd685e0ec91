"""An unfinished download: the bytes so far are kept until the rest has arrived.

The bytes are in `<name>.part`; `<name>.part.json` says of which file on the server they are. With
its ETag as If-Range, a server sends the rest only if the file is unchanged, and otherwise all of
the new one (RFC 9110, sections 13.1.5 and 14).
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
    """The unfinished file of path; moved is called with the number of bytes received or dropped."""

    def __init__(self, path: Path, moved: Callable[[int], None] = lambda _: None) -> None:
        self.name, self.moved = path.name, moved
        self.path = path.with_name(f"{path.name}.part")
        self.note = path.with_name(f"{path.name}.part.json")
        self.most = self.size  # the most bytes it ever had
        self.faults = 0  # how often all announced bytes arrived, but were not a complete file

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self.path.stat().st_size if self.path.exists() else 0

    def origin(self, url: str) -> Origin | None:
        """The file on the server that the bytes belong to; None if they cannot be continued."""
        try:
            note = json.loads(self.note.read_bytes())
            origin = Origin(note["url"], note["size"], note["etag"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return origin if self.size and origin.url == url and origin.etag else None

    def remove(self) -> None:
        """Remove the bytes, and only then the note: it must never describe other bytes."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def drop(self) -> None:
        """Remove the bytes, because they have to be fetched again."""
        self.moved(-self.size)
        self.remove()

    def take(self, response: requests.Response, origin: Origin, kind: str) -> None:
        """Write the complete file from the answer, unless its first bytes show an error page."""
        chunks = http.chunks(response)
        head = b""
        while len(head) < HEAD and (chunk := next(chunks, b"")):
            head += chunk
        if not head:
            raise TransientError("the answer was empty")
        if not begins_as(kind, head):
            raise RefusedError(
                f"answered 200 with content that begins {head[:40]!r}; expected a {KINDS[kind]} "
                "(is it an error or login page?); nothing of it was kept"
            )
        if self.size:
            say(
                f"{self.name}: starting over; the {amount(self.size)} here are of another version "
                "or address, or the server cannot send only the rest"
            )
        self.drop()
        write_json(self.note, asdict(origin))
        self.append(itertools.chain([head], chunks))

    def append(self, chunks: Iterable[bytes]) -> None:
        """Write the chunks, each flushed at once: it outlives this process."""
        with self.path.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                file.flush()
                self.moved(len(chunk))
            os.fsync(file.fileno())


def fill(
    part: Part, url: str, kind: str, policy: RetryPolicy, sleep: Callable[[float], None]
) -> None:
    """Fetch the rest of the part; the policy's attempts count anew whenever bytes arrive.

    Raises RefusedError, or the last TransientError when the policy allows no further attempt.
    """

    def count_anew(state: tenacity.RetryCallState) -> None:
        if part.size > part.most:
            part.most, state.attempt_number = part.size, 1

    def announce(state: tenacity.RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        say(f"{part.name}: {failure}; next attempt in {state.upcoming_sleep:.0f} s")

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
    origin = part.origin(url)
    headers = {"Range": f"bytes={part.size}-", "If-Range": origin.etag} if origin else {}
    with http.answer(url, policy, headers) as response:
        if origin and response.status_code != 200:
            origin = _same(part, origin, response)
            part.append(http.chunks(response) if response.status_code == 206 else ())
        else:
            etag = response.headers.get("ETag", "")
            origin = Origin(url, http.content_length(response), etag)
            part.take(response, origin, kind)
    if origin.size not in (None, part.size):
        raise TransientError(
            f"the answer ended after {amount(part.size)} of {amount(origin.size or 0)}"
        )
    if fault := fault_of(part.path, kind):
        received = f"{amount(part.size)} arrived, as the server had announced, but {fault}"
        part.drop()
        part.faults += 1
        if part.faults == 1:  # only one more attempt: these may be gigabytes
            raise TransientError(received)
        raise RefusedError(f"is damaged: twice {received}")


def _same(part: Part, origin: Origin, response: requests.Response) -> Origin:
    """The origin of the part, if the answer is the rest of the same file.

    Otherwise drops the part, and raises TransientError.
    """
    start, size = http.content_range(response)
    size = size or origin.size  # S3 does not always send it
    now = Origin(origin.url, size, response.headers.get("ETag", origin.etag))
    if response.status_code == 416:  # nothing is left
        start = size
    if start != part.size or now != replace(origin, size=origin.size or size):
        held = part.size
        part.drop()
        raise TransientError(
            f"the file on the server has changed since {held} bytes of it were fetched "
            f"({size} bytes now, {origin.size} before)"
        )
    return now
