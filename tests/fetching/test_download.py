"""Files come whole or not at all, whatever the server, the disk and the user do meanwhile."""

import errno
import hashlib
import io
import json
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
from pathlib import Path

import pytest
from hostile_server import Hostile, Step

from utils.fetching import download, http
from utils.fetching.checksums import begins_as, fault_of, read_record
from utils.fetching.download import DownloadError, Fetched, Job, fetch, fetch_all, remaining
from utils.fetching.http import RetryPolicy
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
QUICK = RetryPolicy(connect=2, read=2, attempts=3, first_wait=0.01, longest_wait=60)
CURES = (
    r"another mirror \(--base-url\).*by hand from https://challenge\.isic-archive\.com/data/#2017"
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Hostile({"/a.zip": ZIP, "/b.zip": OTHER_ZIP, "/c.csv": CSV}) as hostile:
        yield hostile


def job(server: Hostile, folder: Path, name: str = "a.zip", **fields: str) -> Job:
    return Job(f"{server.url}/{name}", folder / name, name.rpartition(".")[2], **fields)


def seen(folder: Path) -> list[str]:
    """Names in the folder, without lock files."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def leave_part(server: Hostile, folder: Path, size: int, **step: object) -> None:
    """What an interrupted call leaves of a.zip."""
    server.script["/a.zip"] = [Step(drop_at=size, **step)]
    with pytest.raises(DownloadError, match="attempts in a row"):
        fetch(job(server, folder), policy=RetryPolicy(attempts=1))
    assert (folder / "a.zip.part").stat().st_size == size
    server.log.clear()


# --- a server that does well ---


def test_a_file_comes_whole_and_once(server, tmp_path):
    fetched = fetch(job(server, tmp_path / "new" / "数据 folder"))
    assert fetched == Fetched(fetched.path, len(ZIP), sha256(ZIP), f"{server.url}/a.zip")
    assert fetched.path.read_bytes() == ZIP
    assert seen(fetched.path.parent) == ["a.zip"]
    assert fetch(job(server, fetched.path.parent)) == fetched
    assert len(server.log) == 1


def test_bytes_are_taken_as_they_are(server, tmp_path):
    server.usual["/a.zip"] = Step(headers={"Content-Encoding": "gzip"})  # it is not
    assert remaining(job(server, tmp_path)) == len(ZIP)
    fetch(job(server, tmp_path))
    assert {request.encoding for request in server.log} == {"identity"}
    assert (tmp_path / "a.zip").read_bytes() == ZIP


@pytest.mark.parametrize("name", ["a.zip", "c.csv"])
def test_chunked_answer_without_length(server, tmp_path, name):
    server.usual[f"/{name}"] = Step(chunked=True)
    fetch(job(server, tmp_path, name))
    assert (tmp_path / name).read_bytes() == server.files[f"/{name}"]


def test_redirects(server, tmp_path):
    server.usual["/a.zip"] = Step(status=302, headers={"Location": "/b.zip"})
    server.script["/b.zip"] = [Step(drop_at=5000)]
    fetch(job(server, tmp_path), policy=QUICK)
    assert (tmp_path / "a.zip").read_bytes() == OTHER_ZIP
    assert [request.start for request in server.gets("/b.zip")] == [0, 5000]


# --- connections that break ---


@pytest.mark.parametrize("seed", range(4))
def test_drops_at_random_bytes(server, tmp_path, seed):
    draw = random.Random(seed)
    drops = [draw.randrange(1, 12_000) for _ in range(12)]
    server.script["/a.zip"] = [Step(drop_at=at) for at in drops]
    fetched = fetch(job(server, tmp_path), policy=QUICK)
    assert fetched.path.read_bytes() == ZIP
    assert fetched.sha256 == sha256(ZIP)
    assert sum(request.sent for request in server.log) == len(ZIP)  # no byte came twice
    assert [request.start for request in server.log[:3]] == [0, drops[0], sum(drops[:2])]


def test_connections_that_are_reset_and_chunks_that_break(server, tmp_path):
    steps = [Step(drop_at=30_000, reset=True), Step(drop_at=30_000, chunked=True)] * 2
    server.script["/a.zip"] = steps
    assert fetch(job(server, tmp_path), policy=QUICK).path.read_bytes() == ZIP
    assert len(server.log) > 2


def test_an_interrupted_file_goes_on_in_the_next_call(server, tmp_path):
    leave_part(server, tmp_path, 60_000)
    assert seen(tmp_path) == ["a.zip.part", "a.zip.part.json"]
    note = json.loads((tmp_path / "a.zip.part.json").read_text())
    assert note == {"url": f"{server.url}/a.zip", "size": len(ZIP), "etag": '"one"'}
    fetched = fetch(job(server, tmp_path))
    assert fetched.path.read_bytes() == ZIP
    assert fetched.sha256 == sha256(ZIP)
    assert [(r.start, r.if_range, r.status) for r in server.log] == [(60_000, '"one"', 206)]
    assert server.log[0].sent == len(ZIP) - 60_000
    assert seen(tmp_path) == ["a.zip"]


def test_it_gives_up_after_attempts_that_bring_nothing(server, tmp_path):
    server.script["/a.zip"] = [Step(drop_at=1000)] * 5 + [Step(drop_at=0)] * 5
    with pytest.raises(
        DownloadError,
        match=rf"/a\.zip: 3 attempts .* The 5\.0 kB received are kept; .*{CURES}",
    ):
        fetch(job(server, tmp_path), policy=QUICK)
    assert len(server.log) == 5 + 2  # the attempt that brought the last byte is the first of three
    assert seen(tmp_path) == ["a.zip.part", "a.zip.part.json"]


def test_no_server(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # but nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a.zip"
        with pytest.raises(DownloadError, match=rf"the connection failed \(.*refused.*{CURES}"):
            fetch(Job(url, tmp_path / "a.zip", "zip"), policy=QUICK)
    assert seen(tmp_path) == []


def test_a_server_that_stalls(server, tmp_path):
    server.script["/a.zip"] = [Step(stall_at=20_000), Step(stall_at=0)]
    patience = RetryPolicy(read=0.6, first_wait=0.01)
    assert fetch(job(server, tmp_path), policy=patience).path.read_bytes() == ZIP
    assert [request.start for request in server.log] == [0, 20_000, 20_000]


def test_a_slow_server_is_no_broken_one(server, tmp_path):
    server.usual["/a.zip"] = Step(rate=60_000)
    fetch(job(server, tmp_path), policy=RetryPolicy(read=1.2))
    assert len(server.log) == 1


def test_a_silent_server_is_named(server, tmp_path):
    server.usual["/a.zip"] = Step(stall_at=0)
    with pytest.raises(DownloadError, match=r"because no data for 0\.1 s"):
        fetch(job(server, tmp_path), policy=RetryPolicy(read=0.1, attempts=1))


# --- what the status says ---


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_file_that_is_not_there(server, tmp_path, status):
    server.usual["/a.zip"] = Step(status=status)
    path = re.escape(str(tmp_path / "a.zip"))
    with pytest.raises(
        DownloadError, match=rf"{server.url}/a\.zip answered {status} \w+.*{CURES} .*at {path}\."
    ):
        fetch(job(server, tmp_path), policy=QUICK)
    assert len(server.log) == 1
    assert seen(tmp_path) == []


def test_a_redirect_to_nothing_is_named(server, tmp_path):
    server.usual["/a.zip"] = Step(status=301, headers={"Location": "/gone.zip"})
    with pytest.raises(DownloadError, match=r"404 Not Found \(redirected to .*/gone\.zip\)"):
        fetch(job(server, tmp_path), policy=QUICK)
    server.usual["/a.zip"] = Step(status=301, headers={"Location": "/a.zip"})
    with pytest.raises(DownloadError, match=rf"/a\.zip cannot be requested \(.*redirects.*{CURES}"):
        fetch(job(server, tmp_path), policy=QUICK)


@pytest.mark.parametrize("url", ["", "no-url", "ftp://127.0.0.1/a.zip", "http://"])
def test_what_is_no_url(tmp_path, url):
    with pytest.raises(DownloadError, match=rf"{url} cannot be requested .*{CURES}"):
        fetch(Job(url, tmp_path / "a.zip", "zip"), policy=QUICK)
    assert seen(tmp_path) == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_that_is_out_of_order_for_a_while(server, tmp_path, status):
    server.script["/a.zip"] = [Step(status=status)] * 2
    assert fetch(job(server, tmp_path), policy=QUICK).path.read_bytes() == ZIP
    server.script["/c.csv"] = [Step(status=status)] * 3
    with pytest.raises(DownloadError, match=rf"because the server answered {status} \w+"):
        fetch(job(server, tmp_path, "c.csv"), policy=QUICK)
    assert seen(tmp_path) == ["a.zip"]


def test_waits_grow_and_begin_anew_with_new_bytes(server, tmp_path):
    bad = [Step(status=500)] * 4
    server.script["/a.zip"] = [*bad, Step(drop_at=1000), *bad]
    pauses: list[float] = []
    fetch(job(server, tmp_path), policy=RetryPolicy(longest_wait=5), sleep=pauses.append)
    expected = [1, 2, 4, 5, 1, 2, 4, 5, 5]
    for pause, least in zip(pauses, expected, strict=True):
        assert least <= pause <= min(least + 1, 5)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.zip", PAGE),
        ("c.csv", PAGE),
        ("a.zip", CSV),
        ("c.csv", ZIP),
        ("c.csv", b'{"error": "not found", "code": 404}'),
        ("c.csv", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
    ],
    ids=["page for zip", "page for csv", "csv for zip", "zip for csv", "json", "xml"],
)
def test_something_else_with_status_200(server, tmp_path, name, body):
    server.usual[f"/{name}"] = Step(body=body)
    said = re.escape(repr(body[:10])[2:-1])
    with pytest.raises(
        DownloadError,
        match=rf"answered 200 with content that begins b.{said}.*kept\. Use {CURES}",
    ):
        fetch(job(server, tmp_path, name), policy=QUICK)
    assert len(server.log) == 1
    assert seen(tmp_path) == []


def test_an_error_page_costs_nothing_that_came_before(server, tmp_path):
    leave_part(server, tmp_path, 50_000)
    server.script["/a.zip"] = [Step(body=PAGE, etag=None)]
    with pytest.raises(DownloadError, match="login page"):
        fetch(job(server, tmp_path), policy=QUICK)
    assert fetch(job(server, tmp_path)).path.read_bytes() == ZIP
    assert server.log[-1].start == 50_000


def test_an_empty_answer(server, tmp_path):
    server.usual["/c.csv"] = Step(body=b"")
    with pytest.raises(DownloadError, match="because the answer was empty"):
        fetch(job(server, tmp_path, "c.csv"), policy=QUICK)
    assert seen(tmp_path) == []


# --- lengths that are wrong ---


@pytest.mark.parametrize(
    ("name", "wrong", "why"),
    [
        ("a.zip", 500, "the connection failed|has changed since"),
        ("a.zip", -500, r"is damaged: twice 99\.6 kB arrived, as .* not a complete zip archive"),
        ("c.csv", 9, "the connection failed|has changed since"),
        ("c.csv", -9, r"its last line, 'ISIC_0000001', has 1 fields where the first has 3"),
    ],
    ids=["zip, too long", "zip, too short", "csv, too long", "csv, too short"],
)
def test_a_wrong_length_is_tried_again_then_an_error(server, tmp_path, name, wrong, why):
    content = server.files[f"/{name}"]
    lie = Step(length=len(content) + wrong)
    server.script[f"/{name}"] = [lie]
    assert fetch(job(server, tmp_path, name), policy=QUICK).path.read_bytes() == content
    (tmp_path / name).unlink()
    server.usual[f"/{name}"] = lie
    server.log.clear()
    with pytest.raises(DownloadError, match=why):
        fetch(job(server, tmp_path, name), policy=QUICK)
    assert len(server.log) == (2 if wrong < 0 else 3)
    assert name not in seen(tmp_path)


def test_a_rest_that_begins_elsewhere_is_not_taken(server, tmp_path):
    server.script["/a.zip"] = [Step(drop_at=40_000), Step(shift=3)]
    assert fetch(job(server, tmp_path), policy=QUICK).path.read_bytes() == ZIP


def test_a_server_that_sends_less_than_it_was_asked_for(server, tmp_path):
    server.usual["/a.zip"] = Step(piece=30_000)
    server.script["/a.zip"] = [Step(drop_at=1000)]
    assert fetch(job(server, tmp_path), policy=QUICK).path.read_bytes() == ZIP
    assert [request.start for request in server.log] == [0, 1000, 31_000, 61_000, 91_000]


# --- going on, or not ---


def test_a_server_without_ranges_begins_anew(server, tmp_path, capsys):
    server.usual["/a.zip"] = Step(ranges=False)
    server.script["/a.zip"] = [Step(drop_at=at, ranges=False) for at in (30_000, 10_000, 60_000)]
    fetched = fetch(job(server, tmp_path), policy=QUICK)
    assert fetched.path.read_bytes() == ZIP
    assert fetched.sha256 == sha256(ZIP)
    assert [(r.start, r.status) for r in server.log] == [
        (0, 200), (30_000, 200), (10_000, 200), (60_000, 200)
    ]  # fmt: skip
    said = capsys.readouterr().out
    assert "starting over; the 60.0 kB here are of another version or address, or" in said


def test_a_server_that_never_comes_further_is_given_up(server, tmp_path):
    server.usual["/a.zip"] = Step(ranges=False, drop_at=30_000)
    with pytest.raises(DownloadError, match="3 attempts in a row made no progress"):
        fetch(job(server, tmp_path), policy=QUICK)
    assert len(server.log) == 3


@pytest.mark.parametrize("if_range", [True, False], ids=["honours If-Range", "ignores If-Range"])
def test_a_file_that_changed_meanwhile_begins_anew(server, tmp_path, if_range, capsys):
    leave_part(server, tmp_path, 50_000)
    server.files["/a.zip"] = OTHER_ZIP
    server.usual["/a.zip"] = Step(if_range=if_range, etag='"two"')
    fetched = fetch(job(server, tmp_path), policy=QUICK)
    assert fetched.path.read_bytes() == OTHER_ZIP
    assert fetched.sha256 == sha256(OTHER_ZIP)
    said = capsys.readouterr().out
    assert "another version or address" in said or "has changed since 50000 bytes" in said


def test_without_an_etag_a_part_is_not_continued(server, tmp_path):
    leave_part(server, tmp_path, 50_000, etag=None)
    server.usual["/a.zip"] = Step(etag=None)
    assert fetch(job(server, tmp_path), policy=QUICK).path.read_bytes() == ZIP
    assert [request.start for request in server.log] == [0]


def test_a_part_of_an_earlier_version_of_this_program_goes_on(server, tmp_path):
    leave_part(server, tmp_path, 50_000)
    note = {"url": f"{server.url}/a.zip", "size": len(ZIP), "etag": '"one"', "modified": "Mon"}
    (tmp_path / "a.zip.part.json").write_text(json.dumps(note))
    assert fetch(job(server, tmp_path), policy=QUICK).path.read_bytes() == ZIP
    assert [request.start for request in server.log] == [50_000]


@pytest.mark.parametrize("damage", ["no note", "no JSON", "other fields", "another address"])
def test_a_part_of_unknown_origin_is_replaced(server, tmp_path, damage, capsys):
    leave_part(server, tmp_path, 50_000)
    (tmp_path / "a.zip.part").write_bytes(b"?" * 50_000)
    note = tmp_path / "a.zip.part.json"
    texts = {"no JSON": "{", "other fields": '{"link": "x"}'}
    if damage == "no note":
        note.unlink()
    elif damage in texts:
        note.write_text(texts[damage])
    here = job(server, tmp_path)
    if damage == "another address":
        server.files["/d/a.zip"] = ZIP
        here = Job(f"{server.url}/d/a.zip", tmp_path / "a.zip", "zip")
    assert fetch(here, policy=QUICK).path.read_bytes() == ZIP
    assert server.log[0].start == 0
    assert "another version or address" in capsys.readouterr().out


def test_a_mirror_that_lacks_the_file_costs_nothing_that_came(server, tmp_path):
    leave_part(server, tmp_path, 50_000)
    with pytest.raises(DownloadError, match=r"/gone/a\.zip answered 404"):
        fetch(Job(f"{server.url}/gone/a.zip", tmp_path / "a.zip", "zip"), policy=QUICK)
    fetch(job(server, tmp_path))
    assert server.log[-1].start == 50_000


@pytest.mark.parametrize("said", [True, False], ids=["size said", "size not said"])
def test_416_when_nothing_is_missing(server, tmp_path, said):
    leave_part(server, tmp_path, 50_000)
    with (tmp_path / "a.zip.part").open("ab") as file:
        file.write(ZIP[50_000:])  # killed before the file got its name
    if not said:
        server.script["/a.zip"] = [Step(status=416)]
    assert fetch(job(server, tmp_path), policy=QUICK).path.read_bytes() == ZIP
    assert [(r.start, r.status) for r in server.log] == [(len(ZIP), 416)]


def test_416_when_there_is_too_much(server, tmp_path):
    leave_part(server, tmp_path, 50_000)
    with (tmp_path / "a.zip.part").open("ab") as file:
        file.write(ZIP)
    assert fetch(job(server, tmp_path), policy=QUICK).path.read_bytes() == ZIP
    assert [(r.start, r.status) for r in server.log] == [(50_000 + len(ZIP), 416), (0, 200)]


# --- checksums ---


def test_another_hash_than_expected(server, tmp_path):
    wanted = sha256(OTHER_ZIP)
    both = (
        rf"SHA-256 {sha256(ZIP)}, but {wanted} is recorded: .* Remove a\.zip.*record of checksums"
    )
    with pytest.raises(DownloadError, match=both):
        fetch(job(server, tmp_path, sha256=wanted), policy=QUICK)
    assert seen(tmp_path) == ["a.zip.part", "a.zip.part.json"]
    # The archive has really changed its file: what came is not fetched again.
    assert fetch(job(server, tmp_path, sha256=sha256(ZIP))).path.read_bytes() == ZIP
    assert server.log[-1].status == 416
    with pytest.raises(DownloadError, match=both):  # found, not fetched
        fetch(job(server, tmp_path, sha256=wanted))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"a.zip": 3}', '{"a.zip": {"size": 3}}', '{"a.zip": {"sha256": "xyz"}}',
     '{"a.zip": {"sha256": null}}', "\udcff"],
)  # fmt: skip
def test_a_damaged_record(tmp_path, text):
    record = tmp_path / "downloads.json"
    record.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=r"downloads\.json is not a readable record .* Remove it"):
        read_record(record)


def test_a_damaged_file_that_is_there(server, tmp_path):
    (tmp_path / "a.zip").write_bytes(ZIP[:50_000])
    with pytest.raises(
        DownloadError, match=r"a\.zip is already here, but it is not a complete zip .* Remove it"
    ):
        fetch(job(server, tmp_path))
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(DownloadError, match="it begins with b''"):
        fetch(job(server, tmp_path))
    assert server.log == []


def test_a_file_that_was_fetched_by_hand_ends_the_part(server, tmp_path):
    leave_part(server, tmp_path, 50_000)
    (tmp_path / "a.zip").write_bytes(ZIP)
    fetch(job(server, tmp_path))
    assert seen(tmp_path) == ["a.zip"]
    assert server.log == []


@pytest.mark.parametrize(
    ("kind", "head", "right"),
    [
        ("zip", ZIP, True),
        ("zip", b"PK\x05\x06" + bytes(18), False),  # an archive of nothing
        ("zip", b"", False),
        ("csv", CSV, True),
        ("csv", b"\xef\xbb\xbf" + CSV, True),
        ("csv", b'"image_id";"melanoma"\r\n', True),
        ("csv", b"\n<html>", False),
        ("csv", b"Not found", False),
    ],
)
def test_first_bytes(kind, head, right):
    assert begins_as(kind, head[:64]) is right


def test_faults_of_a_table(tmp_path):
    file = tmp_path / "c.csv"
    for whole in (CSV, CSV.strip(), CSV.replace(b",", b";").replace(b"\n", b"\r\n"), b"a,b\n"):
        file.write_bytes(whole)
        assert fault_of(file, "csv") == ""
    for broken, fault in ((CSV[:-10], "has 1 fields"), (b"a,b\xff", "not a complete csv file")):
        file.write_bytes(broken)
        assert fault in fault_of(file, "csv")


# --- disks ---


def test_a_full_disk(server, tmp_path, monkeypatch):
    came = []

    def moved(count):
        came.append(count)
        if sum(came) > 40_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(http, "CHUNK", 5000)
    with pytest.raises(UnwritableError, match=r"No space left on device\); .* Make room, and run"):
        fetch(job(server, tmp_path), policy=QUICK, moved=moved)
    assert seen(tmp_path) == ["a.zip.part", "a.zip.part.json"]
    assert fetch(job(server, tmp_path)).path.read_bytes() == ZIP
    assert server.log[-1].start > 40_000


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_disk_that_fails_at_the_end(server, tmp_path, monkeypatch, name):
    def fail(*_):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(*((os, "fsync") if name == "fsync" else (Path, "replace")), fail)
    with pytest.raises(UnwritableError, match="quota exceeded"):
        fetch(job(server, tmp_path), policy=QUICK)
    assert "a.zip" not in seen(tmp_path)


def test_a_folder_that_cannot_be(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match=r"a\.zip\.part cannot be written \(.*choose another"):
        fetch(job(server, tmp_path / "file"))


# --- sizes ---


def test_how_much_is_still_to_come(server, tmp_path, capsys):
    jobs = [job(server, tmp_path, name) for name in ("a.zip", "b.zip", "c.csv")]
    assert [remaining(one) for one in jobs] == [len(ZIP), len(OTHER_ZIP), len(CSV)]
    assert {request.method for request in server.log} == {"HEAD"}
    leave_part(server, tmp_path, 50_000)
    fetch(jobs[1])
    assert [remaining(one) for one in jobs] == [len(ZIP) - 50_000, 0, len(CSV)]
    assert "/b.zip" not in [r.path for r in server.log if r.method == "HEAD"]
    assert "unknown" not in capsys.readouterr().out


def test_sizes_that_nobody_tells(server, tmp_path, capsys):
    server.heads |= {"/a.zip": Step(chunked=True), "/b.zip": Step(status=404)}
    jobs = [job(server, tmp_path, name) for name in ("a.zip", "b.zip", "c.csv")]
    assert [remaining(one, QUICK) for one in jobs] == [None, None, len(CSV)]
    said = capsys.readouterr().out
    assert "a.zip: its size is unknown (the server does not tell)" in said
    assert "b.zip: its size is unknown (answered 404 Not Found" in said


# --- several at once ---


def test_all_come_in_the_order_of_the_jobs_and_at_once(server, tmp_path):
    together = threading.Barrier(2, timeout=5)
    server.usual |= {
        f"/{n}.zip": Step(after=lambda sent: sent == 2000 and together.wait()) for n in "ab"
    }
    names = ["a.zip", "c.csv", "b.zip"]
    fetched = fetch_all([job(server, tmp_path, name) for name in names], 3)
    assert [result.path.name for result in fetched] == names
    for name in names:
        assert (tmp_path / name).read_bytes() == server.files[f"/{name}"]
    assert fetch_all([]) == []


def test_the_others_go_on_when_some_fail(server, tmp_path):
    server.usual |= {"/a.zip": Step(status=404), "/c.csv": Step(body=PAGE)}
    jobs = [job(server, tmp_path, name) for name in ("a.zip", "c.csv", "b.zip")]
    with pytest.raises(
        DownloadError,
        match=r"(?s)^2 of 3 files are missing:\n- \S*/a\.zip .*404.*\n- \S*/c\.csv .*200",
    ):
        fetch_all(jobs, 1, policy=QUICK)
    assert seen(tmp_path) == ["b.zip"]
    with pytest.raises(DownloadError, match=r"^http\S*/a\.zip answered 404"):
        fetch_all([jobs[0], jobs[2]], policy=QUICK)


def test_a_defect_of_ours_is_not_hidden(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "fault_of", lambda *_: 1 / 0)
    (tmp_path / "a.zip").write_bytes(ZIP)
    with pytest.raises(ZeroDivisionError):
        fetch_all([job(server, tmp_path, name) for name in ("c.csv", "a.zip")], policy=QUICK)


# --- what is shown ---


def test_lines_in_a_log(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY", 0)
    monkeypatch.setattr(download, "MEGABYTE", 10_000)
    server.script["/a.zip"] = [Step(drop_at=50_000), Step(ranges=False)]  # 50 kB come twice
    jobs = [job(server, tmp_path), job(server, tmp_path, "b.zip")]
    fetch_all(jobs, total=len(ZIP) + len(OTHER_ZIP), policy=QUICK)
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    shown = [line for line in lines if re.fullmatch(r"fetching: \d+/20 MB, \d+ s left", line)]
    assert 3 < len(shown) <= 20
    assert f"a.zip: 100.1 kB, SHA-256 {sha256(ZIP)[:16]}…" in lines
    assert captured.err == ""
    assert "\r" not in captured.out


def test_amounts():
    sizes = (0, 812, 12_340, 45_600_000, 5_824_000_000)
    assert [amount(size) for size in sizes] == [
        "0 bytes", "812 bytes", "12.3 kB", "45.6 MB", "5.82 GB"
    ]  # fmt: skip


# --- processes that are killed ---

# Fetches a.zip in a forked child for each of the orders, and prints how each child ended.
CHILD = """
import os, resource, signal, sys
from pathlib import Path
from utils.fetching import http, part
from utils.fetching.download import Job, fetch

http.CHUNK = 1000

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def obey(order, value):
    came = 0
    def moved(count):
        nonlocal came
        came += count
        if order == "bytes" and came >= int(value):
            die()
    replace = Path.replace
    if order == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(value), int(value)))
    elif order == "note":
        part.write_json = die
    elif order in ("whole", "named"):
        def named(self, other):
            if self.suffix == ".part":
                order == "named" and replace(self, other)
                die()
            replace(self, other)
        Path.replace = named
    return moved

url, path = sys.argv[1], Path(sys.argv[2])
for order in sys.argv[3:]:
    child = os.fork()
    if child == 0:
        moved = obey(*order.partition("=")[::2])
        try:
            fetch(Job(url, path, "zip"), moved=moved)
        except OSError as error:
            print(error, flush=True)
            os._exit(3)
        os._exit(0)
    print("end", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def ends(server: Hostile, folder: Path, *orders: str) -> str:
    """What the child prints."""
    command = [sys.executable, "-c", CHILD, f"{server.url}/a.zip", str(folder / "a.zip"), *orders]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork and no SIGKILL")
def test_killed_anywhere_and_called_again(server, tmp_path):
    deaths = ["note", "bytes=1", "bytes=20000", "bytes=57000", "whole", "named"]
    said = ends(server, tmp_path, *deaths, "to the end")
    codes = [int(line.split()[1]) for line in said.splitlines() if line.startswith("end")]
    assert codes == [-signal.SIGKILL] * len(deaths) + [0]
    assert (tmp_path / "a.zip").read_bytes() == ZIP
    assert seen(tmp_path) == ["a.zip"]
    starts = [request.start for request in server.log]
    assert starts == sorted(starts)
    for least in (1, 20_001, 77_001):  # nothing that was written is fetched again
        assert any(least <= start <= least + 3000 for start in starts)
    # After "whole" nothing is missing, after "named" nothing is asked for.
    assert [request.status for request in server.log[-2:]] == [206, 416]
    assert len(server.log) == len(deaths)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_disk_that_takes_no_more(server, tmp_path):
    said = ends(server, tmp_path, "limit=40000", "limit=40000")
    assert said.count("end 3\n") == 2
    assert re.search(r"a\.zip\.part cannot be written \(File too large\); .* Make room", said)
    assert seen(tmp_path) == ["a.zip.part", "a.zip.part.json"]
    fetch(job(server, tmp_path))
    assert (tmp_path / "a.zip").read_bytes() == ZIP
    assert server.log[-1].start == 40_000


INTERRUPTED = """
import signal
import sys
from pathlib import Path
from utils.fetching.download import Job, fetch_all

# What a shell starts in the background ignores Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
jobs = [Job(f"{sys.argv[1]}/{n}.zip", Path(sys.argv[2]) / f"{n}.zip", "zip") for n in "ab"]
try:
    fetch_all(jobs)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_stops_at_once_and_keeps_the_parts(server, tmp_path):
    """One server is silent, the other one slow."""
    server.usual |= {"/a.zip": Step(stall_at=20_000), "/b.zip": Step(rate=20_000)}
    command = [sys.executable, "-c", INTERRUPTED, server.url, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while len(server.log) < 2 or min(request.sent for request in server.log) < 4000:
            time.sleep(0.01)
        time.sleep(0.1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert time.monotonic() - began < 12  # of the 30 s that the silent server is waited for
    assert process.returncode == 130
    assert err == b""
    assert [name for name in seen(tmp_path) if name.endswith(".part")] == [
        "a.zip.part",
        "b.zip.part",
    ]
    server.usual.clear()
    server.log.clear()
    fetch_all([job(server, tmp_path, name) for name in ("a.zip", "b.zip")])
    assert (tmp_path / "a.zip").read_bytes() == ZIP
    assert (tmp_path / "b.zip").read_bytes() == OTHER_ZIP
    assert all(request.start > 0 for request in server.log)
