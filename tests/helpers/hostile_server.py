"""A file server on localhost that misbehaves by a script, and keeps a log of what it was asked.

`Hostile({"/a.zip": content})` serves its files well. `server.script["/a.zip"] = [Step(drop_at=9)]`
lets the first GET of that path go wrong, `server.usual["/a.zip"] = Step(ranges=False)` all of them.
"""

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

LATEST = "Fri, 31 Dec 2100 23:59:59 GMT"
PIECE = 2000  # bytes sent at once


@dataclass(frozen=True)
class Step:
    """How one request is answered; as it stands, well."""

    status: int | None = None  # answer with this and no file
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None  # instead of the file
    length: int | None = None  # what Content-Length says
    drop_at: int | None = None  # the connection ends after so many bytes of the answer
    reset: bool = False  # and not politely
    ranges: bool = True
    modified: float | None = None  # when the file last changed, in seconds since 1970
    chunked: bool = False
    piece: int | None = None  # of what a range asks for, so many bytes at most
    shift: int = 0  # the rest that is sent starts so many bytes too late
    stall_at: int | None = None  # nothing comes any more after so many bytes
    rate: float | None = None  # bytes a second
    after: Callable[[int], None] = lambda _sent: None  # called after each piece


@dataclass
class Request:
    """What was asked, and how it was answered."""

    path: str
    start: int  # the first byte that was asked for
    status: int = 0
    sent: int = 0  # bytes of the body; whoever reads the head only may be gone before


class Hostile:
    """The server, a context. url: without a slash at the end; log: all requests."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.script: dict[str, list[Step]] = {}
        self.usual: dict[str, Step] = {}
        self.log: list[Request] = []
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"hostile": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _Handler(BaseHTTPRequestHandler):
    hostile: Hostile
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        script = self.hostile.script.get(self.path)
        step = script.pop(0) if script else self.hostile.usual.get(self.path, Step())
        with contextlib.suppress(ConnectionError):  # the other side is gone
            self.answer(step)

    def answer(self, step: Step) -> None:
        """Log the request, and answer it as the step says."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        entry = Request(self.path, start)
        self.hostile.log.append(entry)
        body = self.hostile.files.get(self.path) if step.body is None else step.body
        entry.status = step.status or (404 if body is None else 200)
        whole = body if entry.status == 200 else b"no such luck"
        body, headers = whole, dict(step.headers)
        since = parsedate_to_datetime(self.headers.get("If-Unmodified-Since", LATEST)).timestamp()
        if step.modified is not None and since < step.modified:
            entry.status, body = 412, b"another file"
        elif entry.status == 200 and asked and step.ranges:
            if start >= len(whole):
                entry.status, body = 416, b"nothing left"
            else:
                first = start + step.shift
                entry.status, body = 206, whole[first:][: step.piece]
                headers["Content-Range"] = f"bytes {first}-{first + len(body) - 1}/{len(whole)}"
        self.send(step, entry, body, headers)

    def send(self, step: Step, entry: Request, body: bytes, headers: dict[str, str]) -> None:
        """The head of the answer, and as much of the body as the step allows."""
        self.send_response(entry.status)
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        if step.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(step.length or len(body)))
        self.end_headers()
        last = min([len(body), *(at for at in (step.drop_at, step.stall_at) if at is not None)])
        self.send_pieces(step, entry, body[:last])
        if step.stall_at is not None:
            self.hostile.closing.wait(20)
        elif last < len(body) and step.reset:
            linger = struct.pack("ii", 1, 0)  # closing sends RST
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif step.chunked and last == len(body):
            self.wfile.write(b"0\r\n\r\n")

    def send_pieces(self, step: Step, entry: Request, body: bytes) -> None:
        for at in range(0, len(body), PIECE):
            piece = body[at : at + PIECE]
            entry.sent += len(piece)  # before the other side can know
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if step.chunked else piece)
            self.wfile.flush()
            step.after(entry.sent)
            if step.rate and self.hostile.closing.wait(len(piece) / step.rate):
                return
