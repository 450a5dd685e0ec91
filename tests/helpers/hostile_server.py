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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

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
    if_range: bool = True
    etag: str | None = '"one"'
    chunked: bool = False
    piece: int | None = None  # of what a range asks for, so many bytes at most
    shift: int = 0  # the rest that is sent starts so many bytes too late
    stall_at: int | None = None  # nothing comes any more after so many bytes
    rate: float | None = None  # bytes a second
    after: Callable[[int], None] = lambda _sent: None  # called after each piece


@dataclass
class Request:
    """What was asked, and how it was answered."""

    method: str
    path: str
    start: int  # the first byte that was asked for
    if_range: str | None
    encoding: str | None
    status: int = 0
    promised: int = 0  # bytes of the body, as the head of the answer says
    sent: int = 0  # bytes of the body; whoever reads the head only may be gone before


class Hostile:
    """The server, a context. url: without a slash at the end; log: all requests."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.script: dict[str, list[Step]] = {}
        self.usual: dict[str, Step] = {}
        self.heads: dict[str, Step] = {}
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

    def gets(self, path: str) -> list[Request]:
        """All GET requests of the path."""
        return [entry for entry in self.log if (entry.method, entry.path) == ("GET", path)]


class _Handler(BaseHTTPRequestHandler):
    hostile: Hostile
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer_while_asked(self.hostile.heads.get(self.path, Step()))

    def do_GET(self) -> None:
        script = self.hostile.script.get(self.path)
        self.answer_while_asked(
            script.pop(0) if script else self.hostile.usual.get(self.path, Step())
        )

    def answer_while_asked(self, step: Step) -> None:
        with contextlib.suppress(ConnectionError):  # the other side is gone
            self.answer(step)

    def answer(self, step: Step) -> None:
        """Log the request, and answer it as the step says."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), asked[2]) if asked else (0, "")
        if_range = self.headers.get("If-Range")
        encoding = self.headers.get("Accept-Encoding")
        entry = Request(self.command, self.path, start, if_range, encoding)
        self.hostile.log.append(entry)
        body = self.hostile.files.get(self.path) if step.body is None else step.body
        entry.status = step.status or (404 if body is None else 200)
        whole = body if entry.status == 200 else b"no such luck"
        body, headers = whole, dict(step.headers)
        stale = step.if_range and if_range not in (None, step.etag)
        if entry.status == 200 and asked and step.ranges and not stale:
            if start >= len(whole):
                entry.status, body = 416, b"nothing left"
                headers["Content-Range"] = f"bytes */{len(whole)}"
            else:
                first = start + step.shift
                body = whole[first : int(end) + 1 if end else None][: step.piece]
                entry.status = 206
                headers["Content-Range"] = f"bytes {first}-{first + len(body) - 1}/{len(whole)}"
        if step.etag and entry.status < 300:
            headers["ETag"] = step.etag
        self.send(step, entry, body, headers)

    def send(self, step: Step, entry: Request, body: bytes, headers: dict[str, str]) -> None:
        """The head of the answer, and as much of the body as the step allows."""
        entry.promised = len(body)
        self.send_response(entry.status)
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        if step.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(step.length or len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
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
