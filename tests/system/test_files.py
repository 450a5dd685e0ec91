"""Files are whole or not there, and a lock dies with its process."""

import errno
import json
import math
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from utils.system.files import (
    UnwritableError,
    locked,
    read_table,
    require_writable,
    write_atomic,
    write_json,
    write_table,
)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_writes_text_bytes_and_what_a_function_writes(tmp_path):
    file = tmp_path / "new" / "folder" / "file"
    write_atomic(file, "α ≤ 1\n")
    assert file.read_bytes() == "α ≤ 1\n".encode()
    write_atomic(file, b"\x00\xff")
    assert file.read_bytes() == b"\x00\xff"
    write_atomic(file, lambda open_file: open_file.write(b"own"))
    assert file.read_bytes() == b"own"
    assert names(file.parent) == ["file"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_old_content_stays_when_writing_fails(tmp_path, error):
    def write(file):
        file.write(b"half of the new")
        file.flush()
        raise error

    write_atomic(tmp_path / "file", "old")
    with pytest.raises(type(error)):
        write_atomic(tmp_path / "file", write)
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]
    with pytest.raises(type(error)):
        write_atomic(tmp_path / "other", write)
    assert names(tmp_path) == ["file"]


def test_reader_never_sees_half_a_file(tmp_path):
    seen = []
    write_atomic(tmp_path / "file", "old")

    def write(file):
        file.write(b"new")
        file.flush()
        seen.append((tmp_path / "file").read_text())

    write_atomic(tmp_path / "file", write)
    assert seen == ["old"]
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "file", "text")
        assert os.umask(umask) == umask  # and it is left as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_only_regular_files_are_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, found in (("folder", "a folder"), ("pipe", "a device"), ("loop", "links that")):
        for write in (require_writable, lambda path: write_atomic(path, "text")):
            with pytest.raises(
                OSError, match=rf"{name} cannot be written \(.*{found}.*; choose an"
            ):
                write(tmp_path / name)
    with pytest.raises(OSError, match="it is a device or a pipe"):
        write_atomic(Path(os.devnull), "text")
    assert not Path(os.devnull).is_file()
    assert sorted(names(tmp_path)) == ["folder", "loop", "pipe"]


def test_a_link_stays_and_the_file_behind_it_is_written(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere/file")
    for text in ("new", "newer"):
        write_atomic(tmp_path / "link", text)
        assert (tmp_path / "elsewhere/file").read_text() == text
    assert (tmp_path / "link").is_symlink()


def test_json_is_strict(tmp_path):
    content = {
        "nan": math.nan, "inf": [math.inf, -math.inf], "numpy": np.float64("nan"),
        "number": 0.1, "tuple": (1, None, True), "path": Path("a"), 3: "key", "text": "α",
    }  # fmt: skip
    write_json(tmp_path / "file.json", content)

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    assert json.loads((tmp_path / "file.json").read_text(), parse_constant=refuse) == {
        "nan": None, "inf": [None, None], "numpy": None,
        "number": 0.1, "tuple": [1, None, True], "path": "a", "3": "key", "text": "α",
    }  # fmt: skip


HOLDER = """
import sys
from pathlib import Path
from utils.system.files import locked

with locked(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_lock_names_the_holder_and_dies_with_it(tmp_path):
    lock = tmp_path / "folder" / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        try:
            assert holder.stdout.readline() == b"held\n"
            busy, entered = "another process trains here", False
            with pytest.raises(BlockingIOError, match=busy), locked(lock, busy):
                entered = True
            assert not entered
        finally:
            holder.kill()  # no chance to tidy up
    with locked(lock, busy):
        entered = True
    assert entered


def test_lock_is_freed_when_the_work_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock", "busy"):
        1 / 0  # noqa: B018
    with locked(tmp_path / "lock", "busy"):
        pass


def test_waiting_for_the_lock(tmp_path):
    order, started = [], threading.Event()

    def second():
        started.set()
        with locked(tmp_path / "lock", "busy", wait=True):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path / "lock", "busy"):
        thread.start()
        started.wait()
        thread.join(timeout=0.2)
        assert thread.is_alive()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


FULL = """
import resource, signal, sys
from pathlib import Path
from utils.system.files import write_atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomic(Path(sys.argv[1]), b"x" * 5000)
except OSError as error:
    sys.exit(error.errno)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sets no such limit")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes(b"old")
    ended = subprocess.run([sys.executable, "-c", FULL, file], check=False)
    assert ended.returncode == errno.EFBIG
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("name", ["fsync", "replace", "mkdir"])
@pytest.mark.parametrize(
    ("code", "cure"),
    [
        (errno.ENOSPC, r"12\.0 kB are needed, .* are free\. Make room, and run it again"),
        (errno.EDQUOT, r"12\.0 kB are needed, .* are free\. Make room, and run it again"),
        (errno.EROFS, "make its folder writable, or choose another one"),
        (errno.EIO, "choose another place, or repair this one"),
    ],
)
def test_what_the_system_refuses_is_put_into_words(name, code, cure, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os if name == "fsync" else Path, name, refuse)
    with pytest.raises(UnwritableError, match=rf"file cannot be written \(.*\); {cure}") as error:
        write_atomic(tmp_path / "file", b"x" * 12000)
    assert error.value.errno == code
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1-3", "@x", "\tx", "\r=1"])
def test_no_text_becomes_a_formula_in_a_spreadsheet(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame({"run": [name, "1-3"], "value": [-0.5, 1.0], name: ["a", None]})
    write_table(tmp_path / "results.csv", table)
    read = pd.read_csv(tmp_path / "results.csv", lineterminator="\n")
    assert read["run"].tolist() == [f"'{name}", "1-3"]
    assert read.columns.tolist() == ["run", "value", f"'{name}"]
    assert read["value"].tolist() == [-0.5, 1.0]
    assert table["run"][0] == name  # what was given stays as it is


def test_an_id_is_read_as_it_is_written(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["NA", "007", "nan"], "score": [0.5, float("nan"), 1.0]})
    write_table(tmp_path / "table.csv", table)
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv"), table)
