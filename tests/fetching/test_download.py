"""Files come whole or not at all, whatever the server, the disk and the user do meanwhile."""

import hashlib
import io
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
import tenacity
from hostile_server import Hostile, Step

from utils.fetching import download, http
from utils.fetching.checksums import read_record
from utils.fetching.download import DownloadError, Job, fetch, fetch_all, size_of
from utils.system import console
from utils.system.console import amount
from utils.system.errors import DataError
from utils.system.files import UnwritableError


def archive(seed: int = 0, size: int = 100_000) -> bytes:
    """A zip of one incompressible file."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("ISIC_0000000.jpg", random.Random(seed).randbytes(size))
    return content.getvalue()


ZIP, OTHER_ZIP = archive(0), archive(1)
CSV = b"image_id,melanoma,seborrheic_keratosis\nISIC_0000000,0.0,1.0\nISIC_0000001,0.0,0.0\n"
PAGE = b"<!DOCTYPE html><html><title>Please log in</title>" + b" " * 200 + b"</html>"
CURES = (
    r"another mirror \(--base-url\).*by hand from https://challenge\.isic-archive\.com/data/#2017"
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 3)
    monkeypatch.setattr(download, "WAIT", tenacity.wait_none())
    monkeypatch.setattr(http, "TIMEOUT", (2, 1))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Hostile({"/a.zip": ZIP, "/b.zip": OTHER_ZIP, "/c.csv": CSV}) as hostile:
        yield hostile


def job(server: Hostile, folder: Path, name: str = "a.zip", **fields: str) -> Job:
    return Job(f"{server.url}/{name}", folder / name, **fields)


def bring(wanted: Job) -> str:
    """Ask for the size, and fetch the file: what `fetch_set` does."""
    return fetch(wanted, size_of(wanted))


def seen(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def leave_part(folder: Path, size: int = 50_000, content: bytes = ZIP) -> None:
    """What an interrupted call leaves of a.zip."""
    (folder / "a.zip.part").write_bytes(content[:size])


# --- what a server may do ---

BAD = Step(status=503)
# By name: the answers to the first requests (the first one asks for the size), and to all others.
MENDED: dict[str, tuple[list[Step], Step]] = {
    "well": ([], Step()),
    "dropped at random bytes": (
        [Step(drop_at=random.Random(n).randrange(1, 12_000)) for n in range(12)],
        Step(),
    ),
    "reset, and chunks that break": (
        [Step(), Step(drop_at=30_000, reset=True), Step(drop_at=30_000, chunked=True)],
        Step(),
    ),
    "silent for a while": ([Step(stall_at=0), Step(), Step(stall_at=20_000)], Step()),
    "slow": ([], Step(rate=60_000)),
    "out of order for a while": ([BAD, BAD, Step(), BAD, BAD, Step(drop_at=9), BAD], Step()),
    "without ranges": ([Step(), Step(drop_at=60_000), Step(drop_at=9)], Step(ranges=False)),
    "a rest that begins elsewhere": ([Step(), Step(drop_at=40_000), Step(shift=3)], Step()),
    "less than was asked for": ([Step(), Step(drop_at=1000)], Step(piece=30_000)),
    "an error page on the way": ([Step(), Step(drop_at=40_000), Step(body=PAGE)], Step()),
    "a wrong encoding": ([], Step(headers={"Content-Encoding": "gzip"})),
    "redirected": ([], Step(status=302, headers={"Location": "/moved.zip"})),
}


@pytest.mark.parametrize("case", MENDED)
def test_what_patience_mends(server, tmp_path, case):
    server.files["/moved.zip"] = ZIP
    server.script["/a.zip"], server.usual["/a.zip"] = list(MENDED[case][0]), MENDED[case][1]
    folder = tmp_path / "new" / "数据 folder"
    assert bring(job(server, folder)) == sha256(ZIP)
    assert (folder / "a.zip").read_bytes() == ZIP
    assert seen(folder) == ["a.zip"]
    assert not server.script["/a.zip"]
    server.log.clear()
    assert bring(job(server, folder)) == sha256(ZIP)
    assert server.log == []


REFUSED: dict[str, tuple[list[Step], Step, str]] = {
    **{
        f"status {status}": ([], Step(status=status), rf"/a\.zip answered {status} \w+.*{CURES}")
        for status in (401, 403, 404, 410)
    },
    **{
        f"status {status}": ([], Step(status=status), rf"the server answered {status} \w+.*{CURES}")
        for status in (408, 429, 500, 502, 503, 504)
    },
    "redirected to nothing": (
        [],
        Step(status=301, headers={"Location": "/gone.zip"}),
        r"404 Not Found \(redirected to .*/gone\.zip\)",
    ),
    "redirected for ever": (
        [],
        Step(status=301, headers={"Location": "/a.zip"}),
        rf"/a\.zip cannot be requested \(.*redirects.*{CURES}",
    ),
    "silent": ([], Step(stall_at=0), r"the connection failed \(timed out\)"),
    "empty": ([], Step(body=b""), "because the answer was empty"),
    "a page": ([], Step(body=PAGE), r"answered 200 with content that begins b.<!DOCTYPE.*Use an"),
    "a table": ([], Step(body=CSV), "200 with content that begins b'image_id.*expected a zip file"),
    "no size": ([], Step(chunked=True), rf"answered without the size of the file\. Use {CURES}"),
    "no progress": (
        [Step(), *[Step(drop_at=1000)] * 5],
        Step(drop_at=0),
        rf"/a\.zip: 3 attempts .* The 5\.0 kB received are kept; .*{CURES}",
    ),
    "no ranges and no end": ([Step()], Step(ranges=False, drop_at=30_000), "made no progress"),
    "too long": ([], Step(length=len(ZIP) + 500), "made no progress"),
    "too short": ([], Step(length=len(ZIP) - 500), r"is damaged: 99\.6 kB .*zip file .*nothing of"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_does_not_mend_is_an_error(server, tmp_path, case):
    server.script["/a.zip"], server.usual["/a.zip"] = list(REFUSED[case][0]), REFUSED[case][1]
    with pytest.raises(DownloadError, match=REFUSED[case][2]):
        bring(job(server, tmp_path))
    assert set(seen(tmp_path)) <= {"a.zip.part"}
    assert len(server.log) <= 8 or "redirected" in case
    server.usual.clear()
    bring(job(server, tmp_path))
    assert (tmp_path / "a.zip").read_bytes() == ZIP


@pytest.mark.parametrize(
    "body",
    [PAGE, ZIP, b'{"error": "not found", "code": 404}', b'<?xml version="1.0"?><Error></Error>'],
    ids=["page", "zip", "json", "xml"],
)
def test_what_is_no_table_is_an_error(server, tmp_path, body):
    server.usual["/c.csv"] = Step(body=body)
    with pytest.raises(DownloadError, match=r"200 with content that begins b.*expected a csv file"):
        bring(job(server, tmp_path, "c.csv"))
    assert seen(tmp_path) == []
    server.usual["/c.csv"] = Step(length=len(CSV) - 9)
    with pytest.raises(DownloadError, match=r"is damaged: .*line 3 has 1 cells, the first 3\)\)"):
        bring(job(server, tmp_path, "c.csv"))
    assert seen(tmp_path) == []


@pytest.mark.parametrize("url", ["", "no-url", "ftp://127.0.0.1/a.zip", "http://"])
def test_what_is_no_url(tmp_path, url):
    with pytest.raises(DownloadError, match=rf"{url} cannot be requested .*{CURES}"):
        bring(Job(url, tmp_path / "a.zip"))


def test_no_server(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # but nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a.zip"
        with pytest.raises(DownloadError, match=rf"the connection failed \(.*refused.*{CURES}"):
            bring(Job(url, tmp_path / "a.zip"))
    assert seen(tmp_path) == []


# --- parts of earlier calls ---


def test_a_part_is_continued_and_no_byte_comes_twice(server, tmp_path):
    leave_part(tmp_path)
    server.script["/a.zip"] = [Step(), Step(drop_at=1000)]
    bring(job(server, tmp_path))
    assert (tmp_path / "a.zip").read_bytes() == ZIP
    assert [(r.start, r.status) for r in server.log] == [(0, 200), (50_000, 206), (51_000, 206)]
    assert seen(tmp_path) == ["a.zip"]


def test_a_complete_part_only_gets_its_name(server, tmp_path):
    leave_part(tmp_path, len(ZIP))
    bring(job(server, tmp_path))
    assert (tmp_path / "a.zip").read_bytes() == ZIP
    assert len(server.log) == 1


@pytest.mark.parametrize("size", [50_000, len(ZIP) + 1], ids=["changed", "shorter"])
def test_a_file_that_changed_meanwhile_is_fetched_anew(server, tmp_path, capsys, size):
    leave_part(tmp_path, size, OTHER_ZIP + b"?")
    changed = time.time() + 60 if size < len(ZIP) else None
    server.usual["/a.zip"] = Step(modified=changed)
    bring(job(server, tmp_path))
    assert (tmp_path / "a.zip").read_bytes() == ZIP
    assert f"on the server has changed since {amount(size)} of it" in capsys.readouterr().out


def test_a_change_that_the_server_conceals_is_not_taken(server, tmp_path):
    leave_part(tmp_path, content=OTHER_ZIP)
    with pytest.raises(DownloadError, match=r"recorded: .* Remove a\.zip\.part"):
        bring(job(server, tmp_path, sha256=sha256(ZIP)))
    assert seen(tmp_path) == ["a.zip.part"]


# --- files that are here, and checksums ---


def test_another_hash_than_recorded(server, tmp_path):
    wanted = sha256(OTHER_ZIP)
    both = (
        rf"SHA-256 {sha256(ZIP)}, but {wanted} is recorded: .* Remove a\.zip.*record of checksums"
    )
    with pytest.raises(DownloadError, match=both):
        bring(job(server, tmp_path, sha256=wanted))
    assert seen(tmp_path) == ["a.zip.part"]
    # The archive has really changed its file: what came is not fetched again.
    assert bring(job(server, tmp_path, sha256=sha256(ZIP))) == sha256(ZIP)
    assert sum(request.status == 206 for request in server.log) == 0
    with pytest.raises(DownloadError, match=both):  # found, not fetched
        bring(job(server, tmp_path, sha256=wanted))


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"a.zip": {"size": 3}}', '{"a.zip": {"sha256": "xyz"}}', "\udcff"],
)  # fmt: skip
def test_a_damaged_record(tmp_path, text):
    record = tmp_path / "downloads.json"
    record.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=r"downloads\.json is not a readable record .* Remove it"):
        read_record(record)


@pytest.mark.parametrize("content", [b"", PAGE, ZIP[:50_000]], ids=["empty", "page", "truncated"])
def test_a_damaged_file_that_is_there(server, tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(
        DownloadError, match=r"a\.zip is already here, but it is not a complete zip .* Remove it"
    ):
        bring(job(server, tmp_path))
    assert server.log == []


def test_a_file_that_was_fetched_by_hand_ends_the_part(server, tmp_path):
    leave_part(tmp_path)
    (tmp_path / "a.zip").write_bytes(ZIP)
    bring(job(server, tmp_path))
    assert seen(tmp_path) == ["a.zip"]
    assert server.log == []


# --- disks ---


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_full_disk(server, tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        with pytest.raises(UnwritableError, match=r"part cannot be .*too large\); .* Make room"):
            bring(job(server, tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    bring(job(server, tmp_path))
    assert (tmp_path / "a.zip").read_bytes() == ZIP
    assert server.log[-1].start == 40_000


def test_a_folder_that_cannot_be(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match=r"a\.zip\.part cannot be written \(.*choose another"):
        fetch(job(server, tmp_path / "file"), len(ZIP))


# --- several at once ---


def bring_all(jobs: list[Job], workers: int = 4) -> list[str]:
    return fetch_all(jobs, [size_of(one) for one in jobs], workers)


def test_all_come_in_the_order_of_the_jobs_and_at_once(server, tmp_path):
    together = threading.Barrier(2, timeout=5)
    jobs = [job(server, tmp_path, name) for name in ("a.zip", "c.csv", "b.zip")]
    sizes = [size_of(one) for one in jobs]
    server.usual |= {
        f"/{n}.zip": Step(after=lambda sent: sent == 2000 and together.wait()) for n in "ab"
    }
    assert fetch_all(jobs, sizes, 3) == [sha256(content) for content in (ZIP, CSV, OTHER_ZIP)]
    assert fetch_all([], []) == []


def test_the_others_go_on_when_some_fail(server, tmp_path):
    jobs = [job(server, tmp_path, name) for name in ("a.zip", "c.csv", "b.zip")]
    sizes = [size_of(one) for one in jobs]
    server.usual |= {"/a.zip": Step(status=404), "/c.csv": Step(body=PAGE)}
    with pytest.raises(
        DownloadError,
        match=r"(?s)^2 of 3 files are missing:\n- \S*/a\.zip .*404.*\n- \S*/c\.csv.*announced",
    ):
        fetch_all(jobs, sizes, 1)
    assert seen(tmp_path) == ["b.zip"]
    with pytest.raises(DownloadError, match=r"^http\S*/a\.zip answered 404"):
        fetch_all([jobs[0], jobs[2]], [sizes[0], sizes[2]])


def test_a_defect_of_ours_is_not_hidden(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_fault", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bring_all([job(server, tmp_path, name) for name in ("c.csv", "a.zip")])


def test_a_stop_ends_it_within_a_chunk(server, tmp_path, monkeypatch):
    monkeypatch.setattr(http, "CHUNK", 1000)
    stop = threading.Event()
    server.usual["/a.zip"] = Step(rate=200_000, after=lambda sent: sent > 20_000 and stop.set())
    with pytest.raises(CancelledError):
        fetch(job(server, tmp_path), len(ZIP), stop)
    assert 20_000 <= (tmp_path / "a.zip.part").stat().st_size < len(ZIP)


def test_lines_in_a_log(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY", 0)
    monkeypatch.setattr(download, "MEGABYTE", 10_000)
    leave_part(tmp_path, 20_000)
    server.script["/b.zip"] = [Step(), Step(drop_at=50_000), Step(ranges=False)]
    bring_all([job(server, tmp_path), job(server, tmp_path, "b.zip")])
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    shown = [line for line in lines if re.fullmatch(r"fetching: \d+/18 MB, \d+ s left", line)]
    assert 3 < len(shown) <= 18
    assert f"a.zip: 100.1 kB, SHA-256 {sha256(ZIP)[:16]}…" in lines
    assert captured.err == ""
    assert "\r" not in captured.out


# --- processes that are killed ---

# Fetches a.zip in a forked child for each of the orders, and prints how each child ended.
CHILD = """
import os, signal, sys
from pathlib import Path
from utils.fetching import download, http

http.CHUNK = 1000

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def obey(order):
    chunks, replace = download.chunks, Path.replace
    def dying(response):
        came = 0
        for chunk in chunks(response):
            yield chunk
            came += len(chunk)
            if order.isdecimal() and came >= int(order):
                die()
    def named(self, other):
        if order == "named":
            replace(self, other)
        die()
    download.chunks = dying
    if order in ("whole", "named"):
        Path.replace = named

job = download.Job(sys.argv[1], Path(sys.argv[2]))
size = download.size_of(job)
for order in sys.argv[3:]:
    child = os.fork()
    if child == 0:
        obey(order)
        download.fetch(job, size)
        os._exit(0)
    print("end", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork and no SIGKILL")
def test_killed_anywhere_and_called_again(server, tmp_path):
    deaths = ["1", "20000", "57000", "whole", "named"]
    command = [sys.executable, "-c", CHILD, f"{server.url}/a.zip", str(tmp_path / "a.zip")]
    done = subprocess.run([*command, *deaths, "end"], stdout=subprocess.PIPE, text=True, check=True)
    assert re.findall("end (.*)", done.stdout) == [str(-signal.SIGKILL)] * len(deaths) + ["0"]
    assert (tmp_path / "a.zip").read_bytes() == ZIP
    assert seen(tmp_path) == ["a.zip"]
    starts = [request.start for request in server.log[1:]]
    for start, least in zip(starts, (0, 1, 20_001, 77_001), strict=True):
        assert least <= start <= least + 3000  # nothing that was written is fetched again


INTERRUPTED = """
import signal
import sys
from pathlib import Path
from utils.fetching.download import Job, fetch_all, size_of

# What a shell starts in the background ignores Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
jobs = [Job(f"{sys.argv[1]}/{n}.zip", Path(sys.argv[2]) / f"{n}.zip") for n in "ab"]
try:
    fetch_all(jobs, [size_of(job) for job in jobs])
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_stops_at_once_and_keeps_the_parts(server, tmp_path):
    """One server is silent, the other one slow."""
    server.script |= {"/a.zip": [Step()], "/b.zip": [Step()]}
    server.usual |= {"/a.zip": Step(stall_at=20_000), "/b.zip": Step(rate=20_000)}
    command = [sys.executable, "-c", INTERRUPTED, server.url, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while len(server.log) < 4 or min(request.sent for request in server.log) < 4000:
            time.sleep(0.01)
        time.sleep(0.1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert time.monotonic() - began < 12  # of the 30 s that the silent server is waited for
    assert process.returncode == 130
    assert err == b""
    assert seen(tmp_path) == ["a.zip.part", "b.zip.part"]
    server.usual.clear()
    server.log.clear()
    bring_all([job(server, tmp_path, name) for name in ("a.zip", "b.zip")])
    assert (tmp_path / "a.zip").read_bytes() == ZIP
    assert (tmp_path / "b.zip").read_bytes() == OTHER_ZIP
    assert sum(request.start > 0 for request in server.log) == 2
