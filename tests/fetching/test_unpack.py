"""Archives: what they hold lands where it should, or nothing does, whatever they are made of."""

import itertools
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from utils.fetching.unpack import UnpackError, unpack
from utils.system.errors import DataError
from utils.system.files import UnwritableError

OFFSETS = {"flags": 8, "crc": 16, "size": 24, "start": 42}  # of an entry


def noise(length: int, seed: int = 0) -> bytes:
    """Bytes that do not get shorter when they are packed."""
    return random.Random(f"{length} {seed}").randbytes(length)


IMAGES = {f"ISIC_{number:07d}.jpg": noise(1000 * number, number) for number in (1, 2, 3)}


def pack(file: Path, members: dict[str, bytes] | list, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write an archive; members are names (or ZipInfo) and contents."""
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, content)
    return file


def change(file: Path, field: str, value: int, number: int = 0, width: str = "<H") -> Path:
    """Overwrite a field of one entry in the archive's directory."""
    content = bytearray(file.read_bytes())
    place = content.index(b"PK\x01\x02")
    for _ in range(number):
        place = content.index(b"PK\x01\x02", place + 1)
    struct.pack_into(width, content, place + OFFSETS[field], value)
    file.write_bytes(content)
    return file


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(archive: Path, message: str) -> None:
    """The archive is refused with this message, and nothing at all is written."""
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(UnpackError, match=message):
        unpack(archive, archive.parent / "out")
    assert sorted(archive.parent.rglob("*")) == before


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """An archive made as the official ones are: one folder in it, and images."""
    members = {f"ISIC-2017_Training_Data/{name}": content for name, content in IMAGES.items()}
    return pack(tmp_path / "images.zip", {"ISIC-2017_Training_Data/": b"", **members})


def test_files_land_flat_and_the_rest_is_left_out(tmp_path):
    left_out = (
        "ISIC-2017_Training_Data/ISIC_0000001_superpixels.png",
        "__MACOSX/../../evil.jpg",
        "__MACOSX/ISIC-2017_Training_Data/._ISIC_0000001.jpg",
        "__MACOSX/ISIC_0000001.jpg",
        "ISIC-2017_Training_Data/.DS_Store",
        ".git/ISIC_0000002.jpg",
    )
    members = {
        "ISIC-2017_Training_Data/": b"",
        **dict.fromkeys(left_out, b"not wanted"),
        "ISIC-2017_Training_Data/ISIC_0000001.jpg": b"one",
        "a/b/c/ISIC_0000002.jpg": b"two",
        "./ISIC_0000003.jpg": b"three",
        "图像 一/ISIC_0000004.jpeg": b"four",
        "ISIC-2017_Training_Data_metadata.csv": b"",
    }
    home = tmp_path / "皮肤 病变　数据"
    home.mkdir()
    archive = pack(home / "训练 图像.zip", members)
    content = unpack(archive, home / "图像 文件夹")
    assert content.skipped == 6
    assert content.files["ISIC_0000001.jpg"] == zlib.crc32(b"one")
    assert [*content.files] == sorted(contents(home / "图像 文件夹"))
    assert contents(home / "图像 文件夹") == {
        "ISIC_0000001.jpg": b"one",
        "ISIC_0000002.jpg": b"two",
        "ISIC_0000003.jpg": b"three",
        "ISIC_0000004.jpeg": b"four",
        "ISIC-2017_Training_Data_metadata.csv": b"",
    }
    assert {path.name for path in home.iterdir()} == {"训练 图像.zip", "图像 文件夹"}


@pytest.mark.parametrize(
    "name",
    [
        *("../ISIC_1.jpg", "a/../../ISIC_1.jpg", "a/..", "../ISIC_1.jpg/", "/ISIC_1.jpg", "."),
        *("..\\ISIC_1.jpg", "\\\\server\\share\\ISIC_1.jpg", "a//ISIC_1.jpg", "C:/ISIC_1.jpg"),
        *("ISIC_1\n.jpg", "ISIC_1\x1b[2J.jpg", "ISIC_1.gpj.\u202e.jpg", "\u200bISIC_1.jpg"),
        *("ISIC_" + "1" * 197 + ".jpg", "ISIC_1.jpg.", "ISIC_1.jpg ", "ISIC_1.jpg:stream"),
        *("NUL", "con.jpg", "COM1.jpg", "ISIC_1.exe", "setup.py", "ISIC_\u00e9.jpg"),
    ],
)
def test_other_names_are_refused_and_nothing_leaves_the_folder(tmp_path, name):
    archive = pack(tmp_path / "a.zip", {"ISIC_2.jpg": b"1", name.removesuffix("/"): b"2"})
    refused(archive, r"a.zip was not unpacked: it holds unexpected files: .* official archives are")


def test_a_null_byte_does_not_cut_a_name(tmp_path):
    archive = pack(tmp_path / "a.zip", {"ISIC_1.jpg#.exe": b"1"})
    archive.write_bytes(archive.read_bytes().replace(b"#", b"\0"))
    refused(archive, r"'ISIC_1.jpg\\x00.exe'")


def test_up_to_five_offenders_are_named(tmp_path):
    archive = pack(tmp_path / "a.zip", {f"../{number}.jpg": b"" for number in range(7)})
    refused(archive, r"4.jpg' … \(7 in all\)")


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO, stat.S_IFREG | 0o4755, 0])
def test_whatever_kind_a_member_claims_a_plain_file_is_written(tmp_path, mode):
    special = zipfile.ZipInfo("a/ISIC_1.jpg")
    special.external_attr = mode << 16
    unpack(pack(tmp_path / "a.zip", [(special, b"/etc/passwd")]), tmp_path / "out")
    file = tmp_path / "out/ISIC_1.jpg"
    assert stat.S_ISREG(file.lstat().st_mode)
    assert stat.S_IMODE(file.lstat().st_mode) & 0o7111 == 0
    assert file.read_bytes() == b"/etc/passwd"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("one", "other"),
    [("ISIC_1.jpg", "ISIC_1.jpg"), ("a/ISIC_1.jpg", "b/ISIC_1.jpg"), ("ISIC_a.jpg", "ISIC_A.jpg")],
)
def test_two_files_with_one_name_are_refused(tmp_path, one, other):
    archive = pack(tmp_path / "a.zip", [(one, b"1"), (other, b"2")])
    refused(archive, r"it holds several files of one name; expected one of each name.*download it")


@pytest.mark.parametrize("contents", [[b"1", bytes(3_000_000)], [bytes(900_000)] * 3], ids=len)
def test_a_bomb_is_refused(tmp_path, contents):
    """One large file, or several that are each too small to be one."""
    archive = pack(tmp_path / "a.zip", {f"ISIC_{k}.jpg": file for k, file in enumerate(contents)})
    size = sum(map(len, contents))
    refused(archive, rf"a bomb \({size} bytes in \d+; at most 20 to 1")


def test_what_shrinks_well_is_no_bomb(tmp_path):
    archive = pack(tmp_path / "a.zip", {"ISIC_black.png": bytes(1_000_000)})
    unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {"ISIC_black.png": bytes(1_000_000)}


def test_members_that_share_their_bytes_are_refused(tmp_path):
    """Fifield's way to a bomb: many entries, one body."""
    archive = pack(
        tmp_path / "a.zip", {f"ISIC_{number}.jpg": bytes(900_000) for number in range(40)}
    )
    for number in range(40):
        change(archive, "start", 0, number, "<L")
    refused(archive, r"a bomb \(36000000 bytes in")


def before_the_file(images: Path) -> None:
    content = bytearray(images.read_bytes())
    struct.pack_into("<L", content, content.index(b"PK\x05\x06") + 16, len(content))
    images.write_bytes(content)


INCOMPLETE = "images.zip is not a complete zip archive .* Remove the archive and download it again"
UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda file: file.write_bytes(b""), INCOMPLETE),
    "a page": (lambda file: file.write_bytes(b"<!DOCTYPE html><html>"), INCOMPLETE),
    "a beginning only": (lambda file: file.write_bytes(b"PK\x03\x04" + bytes(400)), INCOMPLETE),
    "absent": (lambda file: file.unlink(), "is not a complete zip archive .*No such file"),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), INCOMPLETE),
    **{
        f"truncated by {count}": (
            lambda file, count=count: file.write_bytes(file.read_bytes()[:-count]),
            INCOMPLETE,
        )
        for count in (1, 22, 100, 3000)
    },
    "of nothing": (
        lambda file: file.write_bytes(b"PK\x05\x06" + bytes(18)),
        "was not unpacked: it holds no files to unpack; expected images",
    ),
    "packed otherwise": (
        lambda file: pack(file, IMAGES, zipfile.ZIP_LZMA),
        "it holds files packed by method 14; expected 0, 8",
    ),
    "before its first byte": (before_the_file, "unexpected files|is not a complete zip archive"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_unusable_archive_is_refused(images, case):
    spoil, message = UNUSABLE[case]
    spoil(images)
    refused(images, message)


def test_a_comment_at_the_end_is_no_damage(images, tmp_path):
    with zipfile.ZipFile(images, "a") as archive:
        archive.comment = b"ISIC 2017"
    unpack(images, tmp_path / "out")
    assert contents(tmp_path / "out") == IMAGES


def test_flipped_bytes_are_found_and_what_is_whole_is_kept(images, tmp_path):
    whole = images.read_bytes()
    place = whole.index(b"ISIC_0000002.jpg") + 700
    images.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(UnpackError, match=r"ISIC_0000002.jpg in .*images.zip is damaged \(.*again"):
        unpack(images, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    kept = tmp_path / ".out.partial"
    assert contents(kept) == {"ISIC_0000001.jpg": IMAGES["ISIC_0000001.jpg"]}
    first = (kept / "ISIC_0000001.jpg").stat()
    images.write_bytes(whole)
    unpack(images, tmp_path / "out")
    assert contents(tmp_path / "out") == IMAGES
    assert (tmp_path / "out/ISIC_0000001.jpg").stat().st_mtime_ns == first.st_mtime_ns


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        *(("size", size, "") for size in (10, 1999, 2001, 90_000)),
        *(("flags", flags, ".*encrypt") for flags in (0x1, 0x41)),
    ],
)
def test_a_member_that_lies_or_is_encrypted_is_named(images, tmp_path, field, value, why):
    change(images, field, value, number=2, width="<L" if field == "size" else "<H")
    with pytest.raises(UnpackError, match=rf"ISIC_0000002.jpg in .* is damaged \({why}.*again"):
        unpack(images, tmp_path / "out")
    assert {*contents(tmp_path / ".out.partial")} == {"ISIC_0000001.jpg"}


def test_a_size_that_lies_with_the_right_crc_is_found(tmp_path):
    """The declared CRC is that of what is packed; only the count tells."""
    archive = pack(tmp_path / "a.zip", {"ISIC_x.jpg": bytes(1000)})
    change(archive, "size", 4000, width="<L")
    with pytest.raises(UnpackError, match=r"ISIC_x.jpg in .*1000 bytes, but 4000 are declared"):
        unpack(archive, tmp_path / "out")


def test_a_second_call_changes_nothing(images, tmp_path):
    first = unpack(images, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert unpack(images, tmp_path / "out") == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_folder_gets_what_it_lacks_and_keeps_its_own(images, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "ISIC_0000002.jpg").write_bytes(IMAGES["ISIC_0000002.jpg"])
    (folder / "mine.txt").write_text("mine")
    unpack(images, folder)
    assert contents(folder) == {**IMAGES, "mine.txt": b"mine"}


OTHERS: dict[str, Callable[[Path], object]] = {
    "size": lambda path: path.write_bytes(b"other"),
    "content": lambda path: path.write_bytes(noise(2000, seed=9)),
    "folder": lambda path: path.mkdir(),
    "broken link": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_has_the_name_of_a_member_is_named_and_kept(images, tmp_path, kind):
    folder = tmp_path / "out"
    folder.mkdir()
    OTHERS[kind](folder / "ISIC_0000002.jpg")
    before = (folder / "ISIC_0000002.jpg").lstat()
    with pytest.raises(UnpackError, match=r"files of .*out differ from .*: ISIC_0000002.jpg. Move"):
        unpack(images, folder)
    assert [path.name for path in folder.iterdir()] == ["ISIC_0000002.jpg"]
    assert (folder / "ISIC_0000002.jpg").lstat() == before


def test_an_empty_folder_is_filled_and_a_file_is_refused(images, tmp_path):
    (tmp_path / "out").mkdir()
    unpack(images, tmp_path / "out")
    assert contents(tmp_path / "out") == IMAGES
    (tmp_path / "file").touch()
    with pytest.raises(UnpackError, match=r"file is a file; expected a folder, or nothing. Move"):
        unpack(images, tmp_path / "file")


def test_a_link_to_another_folder_stays_one(images, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk/images")
    unpack(images, tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert contents(tmp_path / "disk/images") == IMAGES


def test_a_disk_with_too_little_room_is_refused(images, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5999))
    with pytest.raises(DataError, match=r"unpacking images.zip would take .*choose another --data"):
        unpack(images, tmp_path / "out")
    assert not list(tmp_path.glob("*out*/*"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=6000))
    unpack(images, tmp_path / "out")


def test_a_place_where_nothing_can_be_written_is_named(images, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        UnwritableError, match=r"ISIC_0000001\.jpg cannot be written .*choose another place"
    ):
        unpack(images, tmp_path / "file/out")


# Unpacks in a forked child that is killed at the first point, the second one and so on, until a
# child comes to its end; prints how many files were in the folder, and beside it, after each kill.
CHILD = """
import itertools, os, shutil, signal, sys
from pathlib import Path
from utils.fetching.unpack import unpack

archive, folder = Path(sys.argv[1]), Path(sys.argv[2])

def killed_at(point):
    count = itertools.count(1)
    def hook(event, args):
        if (event.startswith("os.") or event == "open") and folder.name in str(args):
            if next(count) == point:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

def attempt(point):
    if (pid := os.fork()) == 0:
        killed_at(point)
        unpack(archive, folder)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

for point in itertools.count(1):
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(partial, ignore_errors=True)
    code = attempt(point)
    done, left = ([*place.glob("ISIC*")] for place in (folder, partial))
    files = {path.name: path.read_bytes() for path in done + left}
    print(code, len(done), len(left), flush=True)
    if code == 0:
        break
    attempt(2)  # killed once more
    assert attempt(0) == 0, point
    again = {path.name: path.read_bytes() for path in folder.glob("ISIC*")}
    assert len(again) == 3 and files.items() <= again.items(), point
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_point_the_next_call_ends_with_the_right_bytes(tmp_path):
    archive = pack(tmp_path / "a.zip", IMAGES)
    command = [sys.executable, "-c", CHILD, str(archive), str(tmp_path / "target")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ends = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    killed = -signal.SIGKILL
    unfinished = {(killed, 0, number) for number in range(4)}  # no folder is half full
    assert unfinished | {(0, 3, 0)} <= {*ends} <= unfinished | {(killed, 3, 0), (0, 3, 0)}
    files = tmp_path.glob("target/ISIC*")
    assert {path.name: path.read_bytes() for path in files} == IMAGES


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_full_disk(images, tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, before[1]))
    try:
        with pytest.raises(UnwritableError, match=r"3\.jpg cannot be .*too large\); .*Make room"):
            unpack(images, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {*contents(tmp_path / ".out.partial")} == {"ISIC_0000001.jpg", "ISIC_0000002.jpg"}
    assert not (tmp_path / "out").exists()
    unpack(images, tmp_path / "out")
    assert contents(tmp_path / "out") == IMAGES


def test_progress_is_shown(images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("utils.system.console.LINE_EVERY", 0)
    ticks = itertools.count(0, 10)
    monkeypatch.setattr("utils.system.console.time.monotonic", lambda: next(ticks))
    unpack(images, tmp_path / "out")
    monkeypatch.undo()
    assert "unpacking images.zip: 2/3 files, 10 s left\n" in capsys.readouterr().out
