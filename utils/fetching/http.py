"""One request for a file, or for the rest of it, and what the server's answer means.

The body is taken byte for byte, never decoded.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import requests
import urllib3

CHUNK = 1 << 20  # bytes read at most at once
# Busy, or out of order for a while: worth another attempt (RFC 9110, 15.5.9 and 15.6; RFC 6585).
_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait for a server (seconds), and how often to ask it again."""

    connect: float = 10.0
    read: float = 30.0  # without a byte
    attempts: int = 6  # in a row without progress
    first_wait: float = 1.0  # doubles from attempt to attempt
    longest_wait: float = 60.0


POLICY = RetryPolicy()


class TransientError(Exception):
    """A failure that may pass, such as a dropped connection."""


class RefusedError(Exception):
    """A failure that another attempt would repeat."""


@contextmanager
def answer(
    url: str, policy: RetryPolicy, headers: Mapping[str, str], method: str = "GET"
) -> Iterator[requests.Response]:
    """The answer, its body not read yet: the file or, if a Range was asked for, 206 or 416.

    Raises TransientError or RefusedError for other answers, and for failures while it is read.
    """
    headers = {"Accept-Encoding": "identity", **headers}
    timeout = (policy.connect, policy.read)
    try:
        with requests.request(
            method, url, headers=headers, timeout=timeout, stream=True, allow_redirects=True
        ) as response:
            if response.status_code not in ((200, 206, 416) if "Range" in headers else (200,)):
                raise _failure(response)
            yield response
    except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as error:
        raise TransientError(f"no data for {policy.read:g} s") from error
    except requests.ConnectTimeout as error:
        raise TransientError(f"no connection within {policy.connect:g} s") from error
    except (requests.ConnectionError, urllib3.exceptions.HTTPError) as error:
        raise TransientError(f"the connection failed ({_innermost(error)})") from error
    except requests.RequestException as error:  # an invalid URL, too many redirects, …
        raise RefusedError(f"cannot be requested ({error})") from error


def content_length(response: requests.Response) -> int | None:
    """Bytes of the body, None if the answer does not say."""
    return _number(response.headers.get("Content-Length"))


def content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte of the body and size of the complete file, None where the answer does not say."""
    header = response.headers.get("Content-Range", "")
    span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", header.strip())
    return (_number(span[1]), _number(span[2])) if span else (None, None)


def chunks(response: requests.Response) -> Iterator[bytes]:
    """The body as it arrives."""
    # read1 returns what has arrived: when the connection breaks, no received byte is lost.
    while chunk := response.raw.read1(CHUNK, decode_content=False):
        yield chunk


def _failure(response: requests.Response) -> TransientError | RefusedError:
    status = f"answered {response.status_code} {response.reason or ''}".rstrip()
    if response.history:
        status += f" (redirected to {response.url})"
    if response.status_code not in _TRANSIENT_STATUS:
        return RefusedError(f"{status} instead of the file")
    return TransientError(f"the server {status}")


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d+", text) else None


def _innermost(error: BaseException) -> str:
    while inner := error.__cause__ or error.__context__:
        error = inner
    return str(error) or type(error).__name__
