"""Further images come whole and complete, or are named, however isic-cli behaves."""

import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
from trees import add_split, ids, labels, write_image, write_labels

from utils import data
from utils.data.tree import EXTENDED_LABELS
from utils.fetching import extras
from utils.fetching.extras import fetch_extras
from utils.system.errors import DataError
from utils.system.files import UnwritableError, locked

FURTHER = [f"ISIC_{number:07d}" for number in (9000, 9001, 9002, 9003, 9004)]
OFFICIAL = labels("train", "mkbbb")

# Does what `isic image download` does, and misbehaves as FAKE_ISIC says: a JSON object with
# "fail_after" (images), "withhold" (ids), "truncate" (ids), "no_notes".
FAKE = """#!{python} -IS
import csv, json, os, re, sys
from pathlib import Path

archive, log = Path({archive!r}), Path({log!r})
how = json.loads(os.environ.get("FAKE_ISIC", "{{}}"))
group, download, option, search, limit, zero, folder = sys.argv[1:]
assert (group, download, option, limit, zero) == ("image", "download", "--search", "--limit", "0")
assert sys.stdin.read() == ""  # nobody is there to answer
ids = [re.fullmatch("isic_id:(ISIC_[0-9]{{7}})", term).group(1) for term in search.split(" OR ")]
folder = Path(folder)
folder.mkdir(parents=True, exist_ok=True)
with log.open("a") as lines:
    lines.write(json.dumps([ids, sorted(path.stem for path in folder.glob("*.jpg"))]) + "\\n")
found = [id_ for id_ in ids if (archive / f"{{id_}}.jpg").exists()]
for place, id_ in enumerate(found):
    if place == how.get("fail_after", -1):
        (folder / f".isic-partial.1.{{place}}").write_bytes(b"half")
        print("line one\\n\\nTraceback\\nHTTPError: 503 for " + "x" * 3000)
        print("\\nThis is a bug in isic-cli, would you like to send a bug report? Abort")
        sys.exit(1)
    if place == how.get("hang_after", -1):
        import time
        time.sleep(60)
    content = (archive / f"{{id_}}.jpg").read_bytes()
    content = content[:-40] if id_ in how.get("truncate", []) else content
    if id_ not in how.get("withhold", []):
        (folder / f"{{id_}}.jpg").write_bytes(content)
if not how.get("no_notes"):
    with (folder / "metadata.csv").open("w", newline="", encoding="utf8") as file:
        writer = csv.writer(file)
        writer.writerow(["isic_id", "attribution", "copyright_license", found[0][-4:]])
        writer.writerows([id_, f"Clinic, {{id_[-1]}}", "CC-0", "α"] for id_ in found)
    text = "\\n\\n".join(f"Clinic, {{id_[-1]}}" for id_ in found)
    (folder / "attribution.txt").write_text(text + "\\n\\nAnonymous")
    (folder / "licenses").mkdir(exist_ok=True)
    (folder / "licenses/CC-0.txt").write_text("public domain")
print("Successfully downloaded", len(found), "images")
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Five official training images, with validation and test."""
    for split in ("train", "validation", "test"):
        add_split(tmp_path / "皮肤 数据", split)
    return tmp_path / "皮肤 数据"


@pytest.fixture
def enlarged(tmp_path: Path) -> Path:
    """The official rows and five further ones."""
    rows = [*OFFICIAL, *((id_, 0, int(id_ == FURTHER[0])) for id_ in FURTHER)]
    write_labels(tmp_path / "enlarged list.csv", rows)
    return tmp_path / "enlarged list.csv"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """What the ISIC archive holds."""
    for number, id_ in enumerate(FURTHER):
        write_image(tmp_path / f"archive/{id_}.jpg", number)
    return tmp_path / "archive"


@pytest.fixture
def log(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake isic-cli on the path; the file in which it notes what it was asked."""
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/isic"
    log = tmp_path / "log"
    fake.write_text(FAKE.format(python=sys.executable, archive=str(archive), log=str(log)))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return log


@pytest.fixture
def behave(monkeypatch: pytest.MonkeyPatch):
    """Tell the fake isic-cli how to misbehave."""
    return lambda **how: monkeypatch.setenv("FAKE_ISIC", json.dumps(how))


def asked(log: Path) -> list[list[str]]:
    """The ids of each call."""
    return [json.loads(line)[0] for line in log.read_text().splitlines()] if log.exists() else []


def assert_complete(tree: Path, archive: Path, enlarged: Path) -> None:
    """All five images are there, and all that belongs to them."""
    folder = tree / "Aug_Training_Data"
    for id_ in FURTHER:
        assert (folder / f"{id_}.jpg").read_bytes() == (archive / f"{id_}.jpg").read_bytes()
    assert (tree / EXTENDED_LABELS).read_bytes() == enlarged.read_bytes()
    notes = pd.read_csv(folder / "metadata.csv", dtype=str).set_index("isic_id")
    assert sorted(notes.index) == FURTHER
    assert notes.loc[FURTHER[2], "attribution"] == "Clinic, 2"
    names = [name.strip() for name in (folder / "attribution.txt").read_text().split("\n\n")]
    assert sorted({*names} - {"Anonymous"}) == [f"Clinic, {number}" for number in range(5)]
    assert len(names) == len(set(names))
    assert (folder / "licenses/CC-0.txt").read_text() == "public domain"
    assert {path.name for path in folder.iterdir() if path.suffix != ".tmp"} == {
        *("metadata.csv", "attribution.txt", "licenses"),
        *(f"{id_}.jpg" for id_ in FURTHER),
    }
    assert not (tree / ".Aug_Training_Data.partial").exists()
    rows = data.read(tree, train_list="extended")
    assert sorted(rows.loc[(rows["split"] == "train") & ~rows["official"], "id"]) == FURTHER
    assert len(data.read(tree)) == 15


def test_images_list_and_notes_take_their_places(tree, enlarged, archive, log):
    assert fetch_extras(tree, enlarged) == 5
    assert asked(log) == [FURTHER]
    assert_complete(tree, archive, enlarged)


def test_nothing_is_asked_for_twice(tree, enlarged, archive, log):
    fetch_extras(tree, enlarged)
    assert fetch_extras(tree, enlarged, "no-such-isic") == 5  # which is not needed
    assert len(asked(log)) == 1
    assert_complete(tree, archive, enlarged)


def test_ids_are_asked_for_by_the_hundred(tree, enlarged, archive, log, monkeypatch):
    assert extras.BATCH == 100
    monkeypatch.setattr(extras, "BATCH", 2)
    fetch_extras(tree, enlarged)
    assert asked(log) == [FURTHER[:2], FURTHER[2:4], FURTHER[4:]]
    assert_complete(tree, archive, enlarged)
    notes = pd.read_csv(tree / "Aug_Training_Data/metadata.csv").set_index("isic_id")
    assert notes["9002"].notna().to_dict() == {id_: id_ in FURTHER[2:4] for id_ in FURTHER}


@pytest.mark.parametrize("folder", ["ISIC-2017_Training_Data", "Aug_Training_Data"])
def test_images_that_are_there_are_not_asked_for(tree, enlarged, archive, log, folder):
    (tree / folder).mkdir(exist_ok=True)
    shutil.copy(archive / f"{FURTHER[1]}.jpg", tree / folder)
    fetch_extras(tree, enlarged)
    assert asked(log) == [[FURTHER[0], *FURTHER[2:]]]
    assert len(data.read(tree, train_list="extended")) == 20


def test_a_missing_tool_is_named(tree, enlarged):
    with pytest.raises(
        DataError, match=r"5 further images .* command 'no-isic'.*pip install isic-"
    ):
        fetch_extras(tree, enlarged, "no-isic")
    assert not (tree / EXTENDED_LABELS).exists()


def test_the_tool_is_found_beside_python(tree, enlarged, log, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(log.parent / "bin/python"))
    assert fetch_extras(tree, enlarged) == 5


HOSTILE = {
    "a call that fails half way": (
        {"fail_after": 3},
        r"isic-cli failed with exit status 1. What was fetched is kept: run the same command again",
    ),
    "a call without end": ({"hang_after": 2}, r"has not ended after .*What was fetched is kept"),
    "damaged images": (
        {"truncate": [FURTHER[1], FURTHER[3]]},
        rf"are missing or damaged: {FURTHER[1]}, {FURTHER[3]}; the others are kept",
    ),
    "missing images": (
        {"withhold": [FURTHER[1], FURTHER[3]]},
        rf"are missing or damaged: {FURTHER[1]}, {FURTHER[3]}; the others are kept",
    ),
    "no images": (
        {"withhold": FURTHER, "no_notes": True},
        rf"damaged: {', '.join(FURTHER)}; .*withdrawn them: remove their rows",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_whatever_goes_wrong_is_told_and_gone_on_with(
    tree, enlarged, archive, log, behave, monkeypatch, case
):
    how, message = HOSTILE[case]
    monkeypatch.setattr(extras, "PATIENCE", 2)
    behave(**how)
    with pytest.raises(DataError, match=message):
        fetch_extras(tree, enlarged)
    assert not (tree / EXTENDED_LABELS).exists()
    assert not (tree / "Aug_Training_Data").exists()
    assert len(data.read(tree)) == 15  # the official images are read as before
    behave()
    assert fetch_extras(tree, enlarged) == 5
    if case.endswith("images"):
        assert asked(log)[1] == how.get("withhold", how.get("truncate"))  # nothing comes twice
    assert_complete(tree, archive, enlarged)


@pytest.mark.usefixtures("log")
def test_its_last_lines_are_shown(tree, enlarged, behave):
    behave(fail_after=3)
    with pytest.raises(DataError, match="Its output:") as e:
        fetch_extras(tree, enlarged)
    said = str(e.value).partition("Its output:")[2].splitlines()
    starts = [line.strip()[:14] for line in said if line]
    assert starts == ["line one", "Traceback", "HTTPError: 503"]
    assert max(map(len, said)) < 220


def test_batches_that_came_before_a_failure_are_kept(tree, enlarged, archive, log, monkeypatch):
    monkeypatch.setattr(extras, "BATCH", 2)
    shutil.move(archive / f"{FURTHER[4]}.jpg", archive / "away")
    with pytest.raises(DataError, match="isic-cli failed"):
        fetch_extras(tree, enlarged)
    shutil.move(archive / "away", archive / f"{FURTHER[4]}.jpg")
    fetch_extras(tree, enlarged)
    assert asked(log) == [FURTHER[:2], FURTHER[2:4], FURTHER[4:], FURTHER[4:]]
    assert_complete(tree, archive, enlarged)


@pytest.mark.usefixtures("log")
def test_images_come_without_notes(tree, enlarged, behave):
    behave(no_notes=True)
    assert fetch_extras(tree, enlarged) == 5
    assert len(data.read(tree, train_list="extended")) == 20


@pytest.mark.usefixtures("log")
def test_an_image_that_the_archive_withdrew_may_be_taken_off_the_list(tree, enlarged, behave):
    behave(withhold=[FURTHER[2]])
    with pytest.raises(DataError, match=f"{FURTHER[2]}; .*remove their rows from the list"):
        fetch_extras(tree, enlarged)
    lines = enlarged.read_text().splitlines(keepends=True)
    enlarged.write_text("".join(line for line in lines if FURTHER[2] not in line))
    assert fetch_extras(tree, enlarged) == 4
    assert len(data.read(tree, train_list="extended")) == 19
    notes = pd.read_csv(tree / "Aug_Training_Data/metadata.csv")
    assert sorted(notes["isic_id"]) == [*FURTHER[:2], *FURTHER[3:]]


@pytest.mark.usefixtures("log")
def test_its_questions_are_not_answered_by_what_is_typed(tree, enlarged):
    """isic-cli asks what to do with a full disk, or to report a bug; the fake wants silence."""
    typed, typing = os.pipe()
    os.write(typing, b"y\n")
    os.close(typing)
    before = os.dup(0)
    try:
        os.dup2(typed, 0)
        assert fetch_extras(tree, enlarged) == 5
    finally:
        os.dup2(before, 0)
        os.close(typed)
        os.close(before)


def test_what_lies_in_the_working_folder_is_not_believed(tree, enlarged, archive, log):
    call = tree / ".Aug_Training_Data.partial/call"
    call.mkdir(parents=True)
    (call / f"{FURTHER[0]}.jpg").write_bytes((archive / f"{FURTHER[0]}.jpg").read_bytes()[:-40])
    (call / ".isic-partial.7.x").write_bytes(b"half")
    shutil.copy(archive / f"{FURTHER[1]}.jpg", call)
    shutil.copy(archive / f"{FURTHER[1]}.jpg", call / "ISIC_0000777.jpg")  # of another list
    fetch_extras(tree, enlarged)
    assert json.loads(log.read_text())[1] == ["ISIC_0000777", FURTHER[1]]
    assert_complete(tree, archive, enlarged)


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("step", [1, 4, 5, 8, 11, 12, 13, 15, 16, 18, 20])
def test_stopped_at_any_step_the_next_call_goes_on(tree, enlarged, archive, monkeypatch, step):
    """Whatever is written takes its place by a renaming; before one of them, all stops.

    For 3 + 2 images these are notes 1-3, images 4-6, notes 7-9, images 10-11, the list 12, and
    in the last place notes 13-15, images 16-20.
    """
    monkeypatch.setattr(extras, "BATCH", 3)
    steps = iter(range(1, 100))
    replace = Path.replace

    def stopping(self, target):
        if next(steps) == step:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stopping)
        with pytest.raises(KeyboardInterrupt):
            fetch_extras(tree, enlarged)
    assert (tree / EXTENDED_LABELS).exists() == (step > 12)
    assert len(data.read(tree)) == 15
    fetch_extras(tree, enlarged)
    assert next(steps) == step + 1  # it was the last step of the first call
    assert_complete(tree, archive, enlarged)


def rows_with(*more: tuple[str, object, object]) -> list[tuple[str, object, object]]:
    return [*OFFICIAL, *more]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            rows_with((ids("test", 1)[0], 0, 0), (ids("validation", 1)[0], 0, 0)),
            "names images of the validation or the test split: ISIC_0000101, ISIC_0000201; a netw",
        ),
        (
            OFFICIAL[1:],
            "lacks official training rows: ISIC_0000001; expected the official rows and",
        ),
        (
            [(OFFICIAL[0][0], 0, 1), *OFFICIAL[1:]],
            "gives official images other labels: ISIC_0000001; expected those of ISIC-2017_Traini",
        ),
        (rows_with(("ISIC_123", 0, 0)), "ids that the ISIC archive cannot have: ISIC_123; expect"),
        (
            rows_with(("ISIC_00000010", 0, 0)),
            "cannot have: ISIC_00000010; expected ISIC_ and seven",
        ),
        (rows_with(("isic_0000010", 0, 0)), "cannot have: isic_0000010"),
        (rows_with(("ISIC_０００００１０", 0, 0)), "cannot have: ISIC_０００００１０"),
        (rows_with(("ISIC_0000010 OR public:true", 0, 0)), "cannot have: ISIC_0000010 OR public"),
        (rows_with(("ISIC_0000010", 1, 1)), "with both labels set: ISIC_0000010"),
        (rows_with(("ISIC_0000010", 0, 0), ("ISIC_0000010", 0, 0)), "duplicate ids in .*: ISIC_00"),
    ],
)
def test_lists_that_must_not_be_used_are_refused(tree, log, tmp_path, rows, message):
    write_labels(tmp_path / "list.csv", rows)
    before = sorted(tree.rglob("*"))
    with pytest.raises(DataError, match=message):
        fetch_extras(tree, tmp_path / "list.csv")
    assert sorted(tree.rglob("*")) == before
    assert not log.exists()


@pytest.mark.usefixtures("log")
def test_a_missing_list_is_named(tree, tmp_path):
    with pytest.raises(DataError, match=r"list.csv cannot be read"):
        fetch_extras(tree, tmp_path / "list.csv")


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("split", ["Training", "Validation", "Test_v2"])
def test_official_tables_are_needed(tree, enlarged, split):
    (tree / f"ISIC-2017_{split}_Part3_GroundTruth.csv").unlink()
    shutil.copy(enlarged, tree / EXTENDED_LABELS)  # which is no official table
    message = rf"lacks ISIC-2017_{split}_Part3_GroundTruth.csv: .*download --parts labels"
    with pytest.raises(DataError, match=message):
        fetch_extras(tree, enlarged)


def test_a_list_of_official_rows_alone_needs_nothing(tree, tmp_path):
    write_labels(tmp_path / "list.csv", OFFICIAL)
    assert fetch_extras(tree, tmp_path / "list.csv", "no-such-isic") == 0
    assert not (tree / "Aug_Training_Data").exists()


@pytest.mark.usefixtures("log")
def test_the_list_may_lie_in_its_place_already(tree, enlarged, archive):
    shutil.copy(enlarged, tree / EXTENDED_LABELS)
    fetch_extras(tree, tree / EXTENDED_LABELS)
    assert_complete(tree, archive, enlarged)


@pytest.mark.usefixtures("log")
def test_a_link_to_another_disk_stays_one(tree, enlarged, archive, tmp_path, behave):
    (tmp_path / "disk/images").mkdir(parents=True)
    (tree / "Aug_Training_Data").symlink_to(tmp_path / "disk/images")
    behave(withhold=[FURTHER[0]])
    with pytest.raises(DataError, match="are missing or damaged"):
        fetch_extras(tree, enlarged)
    assert (tmp_path / "disk/.Aug_Training_Data.partial").is_dir()  # where a renaming can reach
    behave()
    fetch_extras(tree, enlarged)
    assert (tree / "Aug_Training_Data").is_symlink()
    assert not (tmp_path / "disk/.Aug_Training_Data.partial").exists()
    assert_complete(tree, archive, enlarged)


@pytest.mark.usefixtures("log")
def test_a_disk_that_refuses_is_told(tree, enlarged, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(extras, "write_atomic", refuse)
    with pytest.raises(
        UnwritableError, match=r"\(No space left on device\); .* Make room, and run"
    ):
        fetch_extras(tree, enlarged)


@pytest.mark.usefixtures("log")
def test_a_second_process_is_told_of_the_first(tree, enlarged):
    with (
        locked(tree / ".Aug_Training_Data.lock", ""),
        pytest.raises(DataError, match=r"another process is already fetching .*; wait for its end"),
    ):
        fetch_extras(tree, enlarged)


class Archive(BaseHTTPRequestHandler):
    """As much of the ISIC archive's interface as `isic image download` asks for."""

    files: dict[str, bytes]
    lost: frozenset[str]
    closed: bool

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        terms = parse_qs(address.query).get("query", [""])[0]
        found = [id_ for id_ in re.findall(r"isic_id:(\w+)", terms) if id_ in self.files]
        name = Path(address.path).stem
        if self.closed:
            self.answer(403, b"{}")
        elif address.path.startswith("/files/"):
            self.answer(404 if name in self.lost else 200, self.files[name])
        elif address.path.endswith("/search/size/"):
            size = sum(len(self.files[id_]) for id_ in found)
            self.answer(200, json.dumps({"size": size}).encode())
        elif address.path.endswith("/license-file/CC-0/"):
            self.answer(200, b"public domain")
        else:
            results = [self.entry(id_) for id_ in found]
            page = {"count": len(found), "next": None, "previous": None, "results": results}
            self.answer(200, json.dumps(page).encode())

    def entry(self, id_: str) -> dict:
        full = {
            "url": f"http://127.0.0.1:8000/files/{id_}.jpg?signature=1",
            "size": len(self.files[id_]),
        }
        metadata = {"acquisition": {"pixels_x": 40}, "clinical": {"sex": "male"}}
        return {
            "isic_id": id_, "attribution": f"Clinic, {id_[-1]}", "copyright_license": "CC-0",
            "files": {"full": full}, "metadata": metadata,
        }  # fmt: skip

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def real(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Archive]]:
    """The real isic-cli, asking an archive of our own at its address for development."""
    program = shutil.which("isic") or shutil.which("isic", path=Path(sys.executable).parent)
    if program is None:
        pytest.skip("needs isic-cli: pip install isic-cli")
    files = {path.stem: path.read_bytes() for path in archive.iterdir()}
    handler = type("Handler", (Archive,), {"files": files, "lost": frozenset(), "closed": False})
    try:
        server = ThreadingHTTPServer(("127.0.0.1", 8000), handler)
    except OSError as error:
        pytest.skip(f"needs the port 8000 of isic-cli's development address: {error}")
    (tmp_path / "real").mkdir()
    wrapper = tmp_path / "real/isic"
    wrapper.write_text(f'#!/bin/sh\nexec "{program}" --dev --guest --no-version-check "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield handler
        server.shutdown()
        thread.join()


class TestRealIsicCli:
    @pytest.mark.usefixtures("real")
    def test_it_brings_what_is_asked_for(self, tree, enlarged, archive):
        assert fetch_extras(tree, enlarged) == 5
        assert_complete(tree, archive, enlarged)

    def test_it_ends_well_though_an_image_is_lost(self, tree, enlarged, real):
        real.lost = frozenset([FURTHER[2]])
        with pytest.raises(DataError, match=rf"are missing or damaged: {FURTHER[2]}; the oth"):
            fetch_extras(tree, enlarged)
        real.lost = frozenset()
        assert fetch_extras(tree, enlarged) == 5
        assert len(data.read(tree, train_list="extended")) == 20

    def test_its_failure_is_told_without_its_questions(self, tree, enlarged, real):
        real.closed = True
        with pytest.raises(DataError, match=r"(?s)isic-cli failed .*HTTPError: 403 .*") as caught:
            fetch_extras(tree, enlarged)
        assert "bug report" not in str(caught.value)
