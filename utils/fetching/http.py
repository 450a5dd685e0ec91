"""One request for a file, or for the rest of it, and what the server's answer means.

The body is taken byte for byte, never decoded.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import requests
import urllib3

TIMEOUT = (10.0, 30.0)  # seconds to connect, and without a byte
CHUNK = 1 << 20  # bytes read at most at once
# Busy, or out of order for a while: worth another attempt (RFC 9110, 15.5.9 and 15.6; RFC 6585).
_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}


class TransientError(Exception):
    """A failure that may pass, such as a dropped connection."""


class RefusedError(Exception):
    """A failure that another attempt would repeat."""


@contextmanager
def answer(url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
    """The answer, its body not read yet: the file or, if a Range was asked for, 206, 412 or 416.

    Raises TransientError or RefusedError for other answers, and for failures while it is read.
    """
    wanted = (200, 206, 412, 416) if headers else (200,)
    headers = {"Accept-Encoding": "identity", **headers}
    try:
        with requests.get(url, headers=headers, timeout=TIMEOUT, stream=True) as response:
            if response.status_code not in wanted:
                raise _failure(response)
            yield response
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        raise TransientError(f"the connection failed ({_innermost(error)})") from error
    except requests.RequestException as error:  # an invalid URL, too many redirects, …
        raise RefusedError(f"cannot be requested ({error})") from error


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


def _innermost(error: BaseException) -> str:
    while inner := error.__cause__ or error.__context__:
        error = inner
    return str(error) or type(error).__name__
