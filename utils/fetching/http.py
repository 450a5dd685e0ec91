"""One request for a file, or for the rest of it: what the server's answer means.

Ranges, If-Range and validators as RFC 9110 (sections 8.8, 13.1.5, 14) has them; what comes is taken
byte for byte, never decoded.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests
import urllib3

CHUNK = 1 << 20  # bytes read at most at once; fewer are taken as they come
# Busy, or out of order for a while: worth another attempt (RFC 9110, 15.5.9 and 15.6; RFC 6585).
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for (seconds), and how often it is asked again."""

    connect: float = 10.0
    read: float = 30.0  # without a byte
    attempts: int = 6  # in a row that bring nothing new
    first_wait: float = 1.0  # it doubles from attempt to attempt
    longest_wait: float = 60.0

    @property
    def timeout(self) -> tuple[float, float]:
        """As requests wants it."""
        return self.connect, self.read


class PassingError(Exception):
    """A failure that may pass, such as a dropped connection; wait: seconds, where known."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class StaleError(PassingError):
    """What is on disk cannot be continued: the server has another file now."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, wait=0)


class RefusedError(Exception):
    """A failure that another attempt would repeat."""


@dataclass(frozen=True)
class Version:
    """Which bytes the server has at the URL; a part is continued only while they are the same."""

    url: str
    size: int | None = None
    etag: str = ""
    modified: str = ""

    @property
    def validator(self) -> str:
        """For If-Range, which needs a strong one; "" where the server gave none."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def agrees(self, other: "Version") -> bool:
        """Whether nothing that both say differs."""
        pairs = zip(
            (self.url, self.size, self.etag, self.modified),
            (other.url, other.size, other.etag, other.modified),
            strict=True,
        )
        return all(ours == theirs for ours, theirs in pairs if ours and theirs)


@dataclass(frozen=True)
class Answer:
    """The bytes of a version from start on, as they come."""

    version: Version
    start: int
    chunks: Iterator[bytes]


@contextmanager
def answer(
    session: requests.Session, url: str, held: int, known: Version | None, patience: Patience
) -> Iterator[Answer]:
    """Ask for the file; with held bytes of the known version, for the rest of it.

    A server that cannot go on, or has another version now, answers with the whole file: start 0.
    Raises PassingError, StaleError or RefusedError, also out of the chunks.
    """
    headers = {"Accept-Encoding": "identity"}
    if held:
        headers |= {"Range": f"bytes={held}-", "If-Range": known.validator}
    options = {"headers": headers, "timeout": patience.timeout, "stream": True}
    with _translated(patience), session.get(url, **options) as response:
        yield _understood(response, url, held, known)


def size_of(session: requests.Session, url: str, patience: Patience) -> int | None:
    """Size of the file in bytes, None where the server does not say.

    Where HEAD is refused the first byte is asked for. Raises PassingError or RefusedError.
    """
    headers = {"Accept-Encoding": "identity"}
    options = {"timeout": patience.timeout, "allow_redirects": True}
    with _translated(patience):
        with session.head(url, headers=headers, **options) as response:
            if response.ok:
                return _whole_number(response.headers.get("Content-Length"))
        headers["Range"] = "bytes=0-0"
        with session.get(url, headers=headers, stream=True, **options) as response:
            if response.status_code == 206:
                return _content_range(response)[1]
            _check_status(response)
            return _whole_number(response.headers.get("Content-Length"))


def _understood(response: requests.Response, url: str, held: int, known: Version | None) -> Answer:
    status, headers = response.status_code, response.headers
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if held and status in (206, 416):
        start, size = _content_range(response)
        if status == 416:  # nothing is left; S3 does not always say of how many bytes
            start, size = held, size or known.size
        version = Version(url, size, etag, modified)
        if start != held or not version.agrees(known) or (status == 416 and size != held):
            raise StaleError(
                f"the file on the server is not the one that {held} bytes are there of "
                f"({size} bytes now, {known.size} before)"
            )
        merged = Version(url, size or known.size, known.etag, known.modified)
        return Answer(merged, held, _chunks(response) if status == 206 else iter(()))
    _check_status(response)
    size = _whole_number(headers.get("Content-Length"))
    return Answer(Version(url, size, etag, modified), 0, _chunks(response))


def _check_status(response: requests.Response) -> None:
    if response.status_code == 200:
        return
    said = f"answered {response.status_code} {response.reason or ''}".rstrip()
    if response.history:
        said += f" (redirected to {response.url})"
    if response.status_code not in _PASSING_STATUS:
        raise RefusedError(f"{said} where the file was expected")
    raise PassingError(f"the server {said}", _retry_after(response))


def _retry_after(response: requests.Response) -> float | None:
    try:
        return urllib3.Retry().parse_retry_after(response.headers.get("Retry-After", ""))
    except urllib3.exceptions.InvalidHeader:
        return None


def _whole_number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d+", text) else None


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and size of the whole, as far as the answer says."""
    said = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", said.strip())
    return (_whole_number(found[1]), _whole_number(found[2])) if found else (None, None)


def _chunks(response: requests.Response) -> Iterator[bytes]:
    # read1 hands on what is there: when the connection breaks, nothing that came is lost.
    while chunk := response.raw.read1(CHUNK, decode_content=False):
        yield chunk


@contextmanager
def _translated(patience: Patience) -> Iterator[None]:
    """Failures of the network as ours. Both libraries raise: requests up to the first byte."""
    try:
        yield
    except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as error:
        raise PassingError(f"nothing came for {patience.read:g} s") from error
    except requests.ConnectTimeout as error:
        raise PassingError(f"no connection within {patience.connect:g} s") from error
    except (requests.ConnectionError, urllib3.exceptions.HTTPError) as error:
        raise PassingError(f"the connection failed ({_innermost(error)})") from error
    except requests.RequestException as error:  # no URL, too many redirects, …
        raise RefusedError(f"cannot be asked for ({error})") from error


def _innermost(error: BaseException) -> str:
    while inner := error.__cause__ or error.__context__:
        error = inner
    return str(error) or type(error).__name__
