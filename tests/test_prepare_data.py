"""The command line that brings, verifies and prepares the data, as a user calls it."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tenacity
from hostile_server import Hostile, Step

import prepare_data
from utils import data, fetching
from utils.data import crops, decode, demo
from utils.system import errors
from utils.system.files import locked
from utils.system.project import PROJECT

ARCHIVES = {
    "ISIC-2017_Training_Data": "train",
    "ISIC-2017_Training_Part1_GroundTruth": "train",
    "ISIC-2017_Validation_Data": "validation",
    "ISIC-2017_Validation_Part1_GroundTruth": "validation",
    "ISIC-2017_Test_v2_Data": "test",
    "ISIC-2017_Test_v2_Part1_GroundTruth": "test",
}


@pytest.fixture
def server(demo_set: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    """The synthetic set, served as the challenge serves its own."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    files = {f"/{name}.zip": zipped(demo_set / name) for name in ARCHIVES}
    files |= {f"/{path.name}": path.read_bytes() for path in demo_set.glob("*Part3*.csv")}
    with Hostile(files) as hostile:
        yield hostile


def zipped(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for path in sorted(folder.iterdir()):
            file.write(path, f"{folder.name}/{path.name}")
        if folder.name.endswith("_Data"):  # the official archives of images hold their metadata
            metadata = f"{folder.name.replace('_v2', '')}_metadata.csv"
            file.writestr(f"{folder.name}/{metadata}", "image_id,age_approximate,sex\n")
        file.writestr(f"{folder.name}/ISIC_0000000_superpixels.png", b"left out")
    return content.getvalue()


def run(*arguments: object) -> int:
    return prepare_data.main([str(argument) for argument in arguments])


def downloaded(folder: Path, server: Hostile, *more: str) -> int:
    return run("download", "--data-dir", folder, "--base-url", server.url, *more)


def test_from_nothing_to_a_prepared_set(server, demo_set, tmp_path, capsys):
    folder = tmp_path / "皮肤 data"
    assert downloaded(folder, server) == 0
    assert "holds 9 of 9 files" in capsys.readouterr().out
    for name in ARCHIVES:
        theirs = {path.name: path.read_bytes() for path in (demo_set / name).iterdir()}
        ours = {path.name: path.read_bytes() for path in (folder / name).iterdir()}
        assert {name: content for name, content in ours.items() if name[-4:] != ".csv"} == theirs
    shutil.copy(demo_set / demo.MARKER, folder)
    assert run("verify", "--data-dir", folder, "--csv", tmp_path / "all.csv") == 0
    assert (tmp_path / "all.csv").read_text(encoding="utf-8").startswith("severity,check,split")
    assert run("prepare", "--data-dir", folder, "--sizes", "32", "64x48") == 0
    assert np.load(folder / "prepared-64x48/images.npy", mmap_mode="r").shape[1:] == (48, 64, 3)
    assert (folder / "prepared-32/index.csv").exists()
    assert run("patches", "--data-dir", folder, "--side", 32) == 0
    count = len(list((folder / crops.FOLDER).glob("*.jpg")))
    rows = data.read(folder)
    assert count == 61 * (rows["split"] == "train").sum()
    assert f"{count} pictures" in capsys.readouterr().out


def test_a_second_download_asks_for_nothing(server, tmp_path):
    assert downloaded(tmp_path, server) == 0
    server.log.clear()
    assert downloaded(tmp_path, server) == 0
    assert not server.log


def test_archives_go_when_asked_and_are_not_fetched_again(server, tmp_path):
    assert downloaded(tmp_path, server, "--remove-archives") == 0
    assert not list(tmp_path.rglob("*.zip"))
    record = json.loads((tmp_path / "downloads.json").read_text())
    assert set(record) == {path.removeprefix("/") for path in server.files}
    server.log.clear()
    assert downloaded(tmp_path, server, "--remove-archives") == 0
    assert not server.log
    next((tmp_path / "ISIC-2017_Test_v2_Data").glob("*.jpg")).unlink()
    assert downloaded(tmp_path, server, "--remove-archives") == 0
    assert {entry.path for entry in server.log} == {"/ISIC-2017_Test_v2_Data.zip"}


def test_parts_and_splits_can_be_chosen(server, tmp_path):
    assert downloaded(tmp_path, server, "--parts", "labels", "masks", "--splits", "test") == 0
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {
        *("archives", "downloads.json", "unpacked.json"),
        *("ISIC-2017_Test_v2_Part1_GroundTruth", "ISIC-2017_Test_v2_Part3_GroundTruth.csv"),
    }


def test_the_file_on_the_server_changed_since(server, demo_set, tmp_path, capsys):
    assert downloaded(tmp_path, server, "--remove-archives") == 0
    name = "ISIC-2017_Test_v2_Data"
    shutil.rmtree(tmp_path / name)
    server.files[f"/{name}.zip"] = zipped(demo_set / "ISIC-2017_Validation_Data")
    assert downloaded(tmp_path, server) == 1
    assert "SHA-256" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_what_proves_damaged_is_not_recorded(server, tmp_path, capsys):
    path = "/ISIC-2017_Test_v2_Data.zip"
    whole = server.files[path]
    middle = len(whole) // 2
    server.files[path] = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    assert downloaded(tmp_path, server, "--splits", "test") == 1
    assert "Remove the archive and download it again" in capsys.readouterr().err
    assert path[1:] not in (tmp_path / "downloads.json").read_text()
    assert not (tmp_path / "ISIC-2017_Test_v2_Data").exists()
    server.files[path] = whole
    (tmp_path / "archives" / path[1:]).unlink()
    assert downloaded(tmp_path, server, "--splits", "test") == 0


def test_a_bad_connection_is_outlived(server, demo_set, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.fetching.download.WAIT", tenacity.wait_none())
    for number, path in enumerate(sorted(server.files)):
        size = len(server.files[path])
        server.script[path] = [
            Step(),
            Step(drop_at=size // 3, reset=bool(number % 2)),
            Step(status=503),
        ]
    assert downloaded(tmp_path, server) == 0
    name = "ISIC-2017_Training_Data"
    assert len(list((tmp_path / name).glob("*.jpg"))) == len(list((demo_set / name).iterdir()))


def test_what_no_patience_mends_is_one_message_before_the_long_work(server, tmp_path, capsys):
    server.usual["/ISIC-2017_Validation_Data.zip"] = Step(body=b"<!DOCTYPE html><title>log in")
    assert downloaded(tmp_path, server, "--splits", "validation") == 1
    said = capsys.readouterr().err
    assert "answered 200 with content that begins" in said
    assert "Traceback" not in said
    assert {path.name for path in tmp_path.iterdir()} == {".download.lock"}


def test_problems_make_the_exit_status_1(demo_set, tmp_path, capsys):
    folder = tmp_path / "set"
    shutil.copytree(demo_set, folder)
    damaged = sorted((folder / "ISIC-2017_Test_v2_Data").glob("*.jpg"))[2]
    damaged.write_bytes(damaged.read_bytes()[:-40])
    assert run("verify", "--data-dir", folder, "--csv", tmp_path / "v.csv") == 1
    table = pd.read_csv(tmp_path / "v.csv")
    assert damaged.stem in table.loc[table["severity"] == "error", "id"].tolist()
    assert damaged.stem in capsys.readouterr().out
    assert run("prepare", "--data-dir", folder, "--sizes", "32") == 1
    assert f"files that cannot be used: {damaged.name}" in capsys.readouterr().err


def test_a_folder_without_data_is_said(tmp_path, capsys):
    assert run("verify", "--data-dir", tmp_path) == 1
    assert "holds nothing of ISIC 2017" in capsys.readouterr().err
    assert run("patches", "--data-dir", tmp_path) == 1
    assert "no ISIC 2017 data in" in capsys.readouterr().err
    assert run("prepare", "--data-dir", tmp_path / "nowhere") == 1
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "--sizes", "12"], "'12'; expected px such as 256, or '336x224'"),
        (["download", "--parts", "all"], "invalid choice: 'all'"),
        (["patches", "--side", "0"], "'0'; expected a whole number, at least 32"),
        (["patches", "--seed", "-1"], "expected a whole number, at least 0"),
        (["download", "--jobs", "0"], "expected a whole number, at least 1"),
        ([], "required"),
    ],
)
def test_a_wrong_option_is_said_before_anything(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_ctrl_c_is_no_traceback(monkeypatch, demo_set, capsys):
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "prepare", stopped)
    assert run("prepare", "--data-dir", demo_set) == 130
    assert "the same command resumes" in capsys.readouterr().out


def test_it_runs_from_anywhere(demo_set, tmp_path):
    ended = subprocess.run(
        [sys.executable, PROJECT / "prepare_data.py", "verify", "--data-dir", demo_set],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "verify.csv").exists()


def test_numbers_beside_the_official_ones():
    counts = pd.DataFrame({"melanoma": [374, 307], "official melanoma": [374, pd.NA]}, ["a", "b"])
    assert prepare_data._side_by_side(counts)["melanoma"].tolist() == ["374 (374)", "307"]
    assert prepare_data._side_by_side(counts[["melanoma"]])["melanoma"].tolist() == ["374", "307"]


def test_room_for_the_largest_archive_is_enough_where_each_one_goes(
    server, tmp_path, monkeypatch, capsys
):
    sizes = sorted(len(body) for path, body in server.files.items() if path.endswith(".zip"))
    tables = sum(len(body) for path, body in server.files.items() if path.endswith(".csv"))
    enough = sum(sizes) + tables + sizes[-1]
    monkeypatch.setattr(
        "utils.system.disk.shutil.disk_usage", lambda _: SimpleNamespace(free=enough)
    )
    assert downloaded(tmp_path, server) == 1
    assert "--remove-archives" in capsys.readouterr().err
    assert downloaded(tmp_path, server, "--remove-archives") == 0


def test_a_second_download_into_the_folder_is_refused_while_one_runs(server, tmp_path, capsys):
    with locked(tmp_path / ".download.lock", ""):
        assert downloaded(tmp_path, server) == 1
    assert "another process is already downloading into" in capsys.readouterr().err


def test_a_split_named_twice_is_one(server, tmp_path):
    assert downloaded(tmp_path, server, "--splits", "test", "test", "--remove-archives") == 0


def test_a_damaged_middle_is_found_though_it_decodes(server, demo_set, tmp_path):
    assert downloaded(tmp_path, server, "--remove-archives") == 0
    shutil.copy(demo_set / demo.MARKER, tmp_path)
    victim = sorted((tmp_path / "ISIC-2017_Validation_Data").glob("*.jpg"))[1]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    victim.write_bytes(content)
    assert isinstance(decode.check(str(victim), ""), decode.Facts)
    assert run("verify", "--data-dir", tmp_path, "--csv", tmp_path / "v.csv") == 1
    table = pd.read_csv(tmp_path / "v.csv")
    (line,) = table[table["severity"] == "error"].itertuples()
    assert (line.check, line.id) == ("files", victim.stem)
    assert "is not what its archive held; fetch the file again" in line.message


@pytest.mark.parametrize(
    ("parts", "missing"),
    [(("labels", "masks"), "ISIC-2017_Test_v2_Data with the images"), (("images",), "Part3")],
)
def test_a_part_of_the_set_can_be_verified(parts, missing, server, tmp_path, capsys):
    assert downloaded(tmp_path, server, "--splits", "test", "--parts", *parts) == 0
    assert run("verify", "--data-dir", tmp_path, "--csv", tmp_path / "v.csv") == 1
    said = capsys.readouterr()
    assert "test" in said.out
    assert missing in (tmp_path / "v.csv").read_text(encoding="utf-8")


def test_a_download_on_its_way_is_no_data_yet(tmp_path, demo_set, monkeypatch):
    monkeypatch.setattr("utils.system.project.PROJECT", tmp_path)
    monkeypatch.setenv("ISIC2017_DIR", str(demo_set))
    standard = tmp_path / "Data/ISIC2017"
    (standard / "archives").mkdir(parents=True)
    (standard / ".download.lock").touch()
    (standard / "ISIC-2017_Test_v2_Part3_GroundTruth.csv").touch()
    assert data.locate() == demo_set.resolve()
    (standard / "ISIC 2017").mkdir()
    with pytest.raises(errors.DataError, match="no ISIC 2017 data in"):
        data.locate()


@pytest.mark.parametrize("name", ["file", "file/below", "~nobody-of-that-name/x"])
def test_a_name_that_is_no_folder(name, server, tmp_path, capsys):
    (tmp_path / "file").touch()
    folder = name if name.startswith("~") else tmp_path / name
    assert downloaded(folder, server) == 1
    assert "name another" in capsys.readouterr().err


def test_help_tells_every_option_before_anything_slow_is_loaded():
    code = (
        "import sys, prepare_data\n"
        "slow = {'pandas', 'numpy', 'torch', 'cv2', 'requests', 'sklearn', 'scipy', 'IPython'}\n"
        "for command in ([], ['download'], ['extras'], ['verify'], ['prepare'], ['patches']):\n"
        "    try:\n"
        "        prepare_data.main([*command, '--help'])\n"
        "    except SystemExit as ended:\n"
        "        print(ended.code, slow & {*sys.modules}, file=sys.stderr)\n"
    )
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stderr == "0 set()\n" * 6
    assert done.stdout.count("usage:") == 6
    for option in ("--remove-archives", "--base-url", "--near", "--sizes", "--side", "--list"):
        assert option in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such device")
def test_a_list_that_cannot_be_written_is_known_before_the_work(
    demo_set: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(fetching, "verify", None)
    assert prepare_data.main(["verify", "--data-dir", str(demo_set), "--csv", os.devnull]) == 1
    said = capsys.readouterr().err
    assert said.endswith("it is a device or a pipe, no regular file); choose another place, or "
                         "repair this one.\n")  # fmt: skip
