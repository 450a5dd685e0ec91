"""Archives: what they hold lands where it should, or nothing does, whatever they are made of."""

import itertools
import json
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import unicodedata
import zipfile
import zlib
from pathlib import Path

import pytest

from utils.fetching import archives
from utils.fetching.archives import UnpackError, select
from utils.fetching.unpack import unpack
from utils.system.errors import DataError
from utils.system.files import UnwritableError

OFFSETS = {"flags": 8, "crc": 16, "packed": 20, "size": 24, "mode": 40, "start": 42}  # of an entry


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
        "图像 一/图 1.jpg": b"four",
        "ISIC-2017_Training_Data_metadata.csv": b"",
    }
    home = tmp_path / "皮肤 病变　数据"
    home.mkdir()
    archive = pack(home / "训练 图像.zip", members)
    content = unpack(archive, home / "图像 文件夹")
    assert content.skipped == 5
    assert content.files["ISIC_0000001.jpg"] == zlib.crc32(b"one")
    assert [*content.files] == sorted(contents(home / "图像 文件夹"))
    assert contents(home / "图像 文件夹") == {
        "ISIC_0000001.jpg": b"one",
        "ISIC_0000002.jpg": b"two",
        "ISIC_0000003.jpg": b"three",
        "图 1.jpg": b"four",
        "ISIC-2017_Training_Data_metadata.csv": b"",
    }
    assert {path.name for path in home.iterdir()} == {"训练 图像.zip", "图像 文件夹"}


@pytest.mark.parametrize(
    "name",
    [
        *("../evil.jpg", "a/../../evil.jpg", "__MACOSX/../../evil.jpg", "a/..", "../", ".", "/"),
        *("..\\evil.jpg", "a\\evil.jpg", "\\\\server\\share\\evil.jpg", "a//evil.jpg"),
        *("/etc/evil.jpg", "//evil.jpg", "C:/evil.jpg", "c:evil.jpg", "a/c:evil.jpg"),
        *("evil\n.jpg", "evil\x1b[2J.jpg", "evil\x7f.jpg", "gpj.\u202eevil", "\u200bevil.jpg"),
        *("a" * 197 + ".jpg", "evil.jpg.", "evil.jpg ", "evil?.jpg", "evil.jpg:stream"),
        *("NUL", "con.jpg", "a/Aux/1.jpg", "COM1.tar.jpg", "lpt9 .jpg", "COM².jpg"),
    ],
)
def test_unsafe_names_are_refused(tmp_path, name):
    archive = pack(tmp_path / "a.zip", {"fine.jpg": b"1", name: b"2"})
    refused(archive, r"a.zip was not unpacked: it holds unsafe members: .* \(an unsafe path\)")


@pytest.mark.parametrize("name", ["company.jpg", "null.jpg", "a" * 196 + ".jpg", "..a.jpg"])
def test_names_that_only_look_unsafe(tmp_path, name):
    unpack(pack(tmp_path / "a.zip", {f"x..y/{name}": b"1", "fine.jpg": b"2"}), tmp_path / "out")
    assert set(contents(tmp_path / "out")) == {name, "fine.jpg"} - {"..a.jpg"}  # a dot file


def test_a_null_byte_does_not_cut_a_name(tmp_path):
    archive = pack(tmp_path / "a.zip", {"evil.exe#.jpg": b"1"})
    archive.write_bytes(archive.read_bytes().replace(b"#", b"\0"))
    refused(archive, r"'evil.exe\\x00.jpg' \(an unsafe path\)")


def test_a_second_name_is_not_used(images):
    """Some versions of zipfile take `filename` from an extra field."""
    member = zipfile.ZipInfo("a/fine.jpg")
    member.filename, member.header_offset = "../evil.jpg", 0
    assert select(images, [member]) == ({"fine.jpg": member}, 0)


def test_up_to_five_offenders_are_named(tmp_path):
    archive = pack(tmp_path / "a.zip", {f"../{number}.jpg": b"" for number in range(7)})
    refused(archive, r"4.jpg' \(an unsafe path\) … \(7 in all\)")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_special_files_are_refused(tmp_path, kind):
    special = zipfile.ZipInfo("link.jpg")
    special.external_attr = (kind | 0o777) << 16
    archive = pack(tmp_path / "a.zip", [("fine.jpg", b"1"), (special, b"/etc/passwd")])
    refused(archive, r"'link.jpg' \(a link or special file\)")


def test_archives_of_any_system(tmp_path):
    """Modes of regular files and folders, and none at all, as Windows writes it."""
    modes = {"a/": stat.S_IFDIR | 0o755, "a/1.jpg": stat.S_IFREG | 0o4755, "a/2.jpg": 0}
    members = []
    for name, mode in modes.items():
        members.append((zipfile.ZipInfo(name), b"" if name == "a/" else b"1"))
        members[-1][0].external_attr = mode << 16
    unpack(pack(tmp_path / "a.zip", members), tmp_path / "out")
    assert set(contents(tmp_path / "out")) == {"1.jpg", "2.jpg"}
    assert stat.S_IMODE((tmp_path / "out/1.jpg").stat().st_mode) & 0o7111 == 0


@pytest.mark.parametrize("flags", [0x1, 0x41, 0x2000])
def test_encrypted_members_are_refused(images, flags):
    refused(change(images, "flags", flags, number=2), r"ISIC_0000002.jpg' \(encrypted\)")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x.jpg", "x.jpg"),
        ("a/x.jpg", "b/x.jpg"),
        ("x.jpg", "a/x.JPG"),
        ("straße.jpg", "STRASSE.jpg"),
    ],
)
def test_two_files_with_one_name_are_refused(tmp_path, one, other):
    archive = pack(tmp_path / "a.zip", [(one, b"1"), (other, b"2")])
    refused(archive, r"it holds several files named .*expected one of each name.*download it again")


def test_letters_of_two_signs_are_refused(tmp_path):
    """On macOS they are the same as the letter of one sign."""
    archive = pack(tmp_path / "a.zip", {unicodedata.normalize("NFD", "\u00e9.jpg"): b"1"})
    refused(archive, "an unsafe path")


@pytest.mark.parametrize("contents", [[b"1", bytes(3_000_000)], [bytes(900_000)] * 3], ids=len)
def test_a_bomb_is_refused(tmp_path, contents):
    """One large file, or several that are each too small to be one."""
    archive = pack(tmp_path / "a.zip", {f"{k}.jpg": file for k, file in enumerate(contents)})
    size = sum(map(len, contents))
    refused(archive, rf"a bomb \({size} bytes in \d+; at most 20 to 1")


def test_what_shrinks_well_is_no_bomb(tmp_path):
    archive = pack(tmp_path / "a.zip", {"black.png": bytes(1_000_000)})
    unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {"black.png": bytes(1_000_000)}


def test_members_that_share_their_bytes_are_refused(tmp_path):
    """Fifield's way to a bomb: many entries, one body."""
    archive = pack(tmp_path / "a.zip", {f"{number}.jpg": bytes(900_000) for number in range(40)})
    for number in range(40):
        change(archive, "start", 0, number, "<L")
    refused(archive, r"a bomb \(36000000 bytes in")


def test_more_files_than_any_official_archive_are_refused(images, monkeypatch):
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    refused(images, "it holds 4 members; at most 3 are unpacked. The official archives are not")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a complete zip archive .* Remove the archive and download it again"),
        (b"<!DOCTYPE html><html>", "is not a complete zip archive .*download it again"),
        (
            b"PK\x05\x06" + bytes(18),
            "was not unpacked: it holds no files to unpack; expected",
        ),
        (b"PK\x03\x04" + bytes(400), "is not a complete zip archive .*download it again"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path, content, message):
    (tmp_path / "a.zip").write_bytes(content)
    refused(tmp_path / "a.zip", rf"a.zip {message}")


def test_what_is_not_there_or_a_folder_is_refused(tmp_path):
    refused(tmp_path / "a.zip", "a.zip is not a complete zip archive .*No such file")
    (tmp_path / "b.zip").mkdir()
    refused(tmp_path / "b.zip", "b.zip is not a complete zip archive")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99, -1, -22])
def test_a_truncated_archive_is_refused(images, kept):
    whole = images.read_bytes()
    images.write_bytes(whole[: int(kept * len(whole)) if kept > 0 else kept])
    refused(images, "is not a complete zip archive")


def test_a_directory_that_points_before_the_file_is_refused(images):
    content = bytearray(images.read_bytes())
    struct.pack_into("<L", content, content.index(b"PK\x05\x06") + 16, len(content))
    images.write_bytes(content)
    refused(images, "before the archive's first byte|is not a complete zip archive")


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
    partial = tmp_path / ".out.partial"
    assert not (tmp_path / "out").exists()
    assert contents(partial) == {"ISIC_0000001.jpg": IMAGES["ISIC_0000001.jpg"]}
    first = (partial / "ISIC_0000001.jpg").stat()
    images.write_bytes(whole)
    unpack(images, tmp_path / "out")
    assert contents(tmp_path / "out") == IMAGES
    assert (tmp_path / "out/ISIC_0000001.jpg").stat().st_mtime_ns == first.st_mtime_ns
    assert not partial.exists()


@pytest.mark.parametrize("size", [10, 1999, 2001, 90_000])
def test_a_header_that_lies_about_the_size_is_found(images, tmp_path, size):
    change(images, "size", size, number=2, width="<L")
    with pytest.raises(UnpackError, match=r"ISIC_0000002.jpg in .* is damaged \(.*download it aga"):
        unpack(images, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert all(path.stat().st_size < 3000 for path in (tmp_path / ".out.partial").iterdir())


def test_a_size_that_lies_with_the_right_crc_is_found(tmp_path):
    """The declared CRC is that of what is packed; only the count tells."""
    archive = pack(tmp_path / "a.zip", {"x.jpg": bytes(1000)})
    change(archive, "size", 4000, width="<L")
    with pytest.raises(UnpackError, match=r"x.jpg in .*1000 bytes, but 4000 are declared"):
        unpack(archive, tmp_path / "out")


def test_another_way_of_packing_is_named(tmp_path):
    archive = pack(tmp_path / "a.zip", IMAGES, zipfile.ZIP_LZMA)
    refused(archive, r"'ISIC_0000001.jpg' \(packed by method 14\)")


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
    assert not (tmp_path / ".out.partial").exists()


@pytest.mark.parametrize("other", [b"other", noise(2000, seed=9)], ids=["size", "content"])
def test_files_with_other_content_are_named_and_kept(images, tmp_path, other):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "ISIC_0000002.jpg").write_bytes(other)
    with pytest.raises(UnpackError, match=r"files of .*out differ from .*: ISIC_0000002.jpg. Move"):
        unpack(images, folder)
    assert contents(folder) == {"ISIC_0000002.jpg": other}
    assert not (tmp_path / ".out.partial").exists()


@pytest.mark.parametrize("kind", ["folder", "broken link"])
def test_a_name_that_is_taken_by_no_file_is_named(images, tmp_path, kind):
    (tmp_path / "out").mkdir()
    taken = tmp_path / "out/ISIC_0000002.jpg"
    taken.mkdir() if kind == "folder" else taken.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UnpackError, match=r"differ from those of images.zip: ISIC_0000002.jpg"):
        unpack(images, tmp_path / "out")
    assert not (tmp_path / "nowhere").exists()


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


def test_what_lies_in_the_partial_folder_is_not_believed(images, tmp_path):
    partial = tmp_path / ".out.partial"
    (partial / "old").mkdir(parents=True)
    (partial / "old/x").touch()
    (partial / "ISIC_0000001.jpg").write_bytes(noise(1000, seed=9))
    (partial / "ISIC_0000002.jpg").write_bytes(IMAGES["ISIC_0000002.jpg"][:-1])
    (partial / ".ISIC_0000002.jpg.abc.tmp").write_bytes(b"half")
    (partial / "ISIC_0000009.jpg").write_bytes(b"of another archive")
    (partial / "link.jpg").symlink_to(images)
    unpack(images, tmp_path / "out")
    assert contents(tmp_path / "out") == IMAGES


def test_a_partial_folder_that_is_a_link_is_not_followed(images, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    (tmp_path / ".out.partial").symlink_to(tmp_path / "mine")
    unpack(images, tmp_path / "out")
    assert contents(tmp_path / "mine") == {"notes.txt": b"mine"}
    assert contents(tmp_path / "out") == IMAGES


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


# A child process in which a call fails at every point in turn: each time a forked copy does the
# work, so that the modules are imported once.
CHILD = """
import itertools, json, os, resource, shutil, signal, sys
from pathlib import Path
from utils.fetching.unpack import unpack
import zipfile

archive, folder, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
partial = folder.with_name(f".{folder.name}.partial")

def killed_at(point):
    count = itertools.count(1)
    def hook(event, args):
        if event == "test.read" or event.startswith("os.") or event == "open":
            if str(folder.name) in str(args) or event == "test.read":
                if next(count) == point:
                    os.kill(os.getpid(), signal.SIGKILL)
    read = zipfile.ZipExtFile.read
    def noted(*args):
        sys.audit("test.read")
        return read(*args)
    zipfile.ZipExtFile.read = noted
    sys.addaudithook(hook)

def full_at(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

def attempt(prepare, point):
    if (pid := os.fork()) == 0:
        prepare(point)
        try:
            unpack(archive, folder)
        except OSError as error:
            os.write(1, (json.dumps(str(error)) + "\\n").encode())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def clear():
    for path in (folder, partial):
        shutil.rmtree(path, ignore_errors=True)
    if how in ("empty", "kept"):
        folder.mkdir()
    if how == "kept":
        with zipfile.ZipFile(archive) as source:
            source.extract(source.namelist()[0], folder)

with zipfile.ZipFile(archive) as source:
    expected = {name: source.read(name) for name in source.namelist()}

def whole():
    there = folder.iterdir() if folder.exists() else ()
    return {path.name: path.read_bytes() for path in there} == expected

def incomplete():
    return how != "kept" and folder.exists() and any(folder.iterdir()) and not whole()

if how == "full":
    clear()
    codes = [attempt(full_at, 2500), folder.exists(), len(list(partial.glob("ISIC*"))),
             attempt(lambda _: None, 0), whole()]
    print(json.dumps(codes))
else:
    seen = set()
    for point in itertools.count(1):
        clear()
        code = attempt(killed_at, point)
        if code == 0:
            break
        assert code == -signal.SIGKILL, code
        assert not incomplete(), point
        seen.add((whole(), len(list(partial.glob("*"))), len(list(partial.glob("*.tmp")))))
        if point % 3 == 0:  # killed once more on the way
            attempt(killed_at, 8)
            assert not incomplete(), point
        assert attempt(lambda _: None, 0) == 0
        assert whole(), point
        assert not partial.exists(), point
    print(json.dumps([point, sorted(seen)]))
"""


def in_child(archive: Path, folder: Path, how: str) -> list:
    """What the child prints: its lines of JSON."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(archive), str(folder), how],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("how", ["new", "empty", "kept"])
def test_killed_at_any_point_the_next_call_ends_with_the_right_bytes(tmp_path, how):
    archive = pack(tmp_path / "a.zip", IMAGES)
    ((points, seen),) = in_child(archive, tmp_path / "target", how)
    assert points >= 20
    states = {tuple(state) for state in seen}
    first = 2 if how == "kept" else 3
    assert {(False, number, 0) for number in range(1, first)} <= states  # between two files
    assert {(False, number, 1) for number in range(1, first + 1)} <= states  # within a file
    assert (False, first, 0) in states  # before the folder takes its place


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_disk_that_fills_up_leaves_nothing_that_passes_for_complete(tmp_path):
    archive = pack(tmp_path / "a.zip", IMAGES)
    message, codes = in_child(archive, tmp_path / "target", "full")
    assert "cannot be written (File too large); " in message
    assert "Make room" in message
    failed, nothing, kept = 1, False, 2
    assert codes == [failed, nothing, kept, 0, True]


def test_progress_is_shown(images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("utils.system.console.LINE_EVERY", 0)
    ticks = itertools.count(0, 10)
    monkeypatch.setattr("utils.system.console.time.monotonic", lambda: next(ticks))
    unpack(images, tmp_path / "out")
    monkeypatch.undo()
    assert "unpacking images.zip: 2/3 files, 10 s left\n" in capsys.readouterr().out
