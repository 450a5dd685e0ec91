"""What belongs to others is neither overwritten nor moved nor removed."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from run_folders import DATA, Row, names

from utils import logger
from utils.logger import folders, outputs
from utils.logger.run import start_run
from utils.system import files
from utils.system.errors import RunError
from utils.system.project import PROJECT


def everything(folder: Path) -> dict[str, bytes | None]:
    """All that lies in a folder, with contents."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def leave(folder: Path, *files: str) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name} of somebody else")


FOREIGN: dict[str, Callable[[Path], None]] = {
    "a home": lambda folder: leave(folder, "letter.txt", ".bashrc"),
    "data": lambda folder: leave(folder, "ISIC-2017_Training_Data/ISIC_0000000.jpg"),
    "a checkout": lambda folder: leave(folder, ".git/HEAD", "setup.py"),
    "a model hub's": lambda folder: (folder / "config.json").write_text('{"architectures": []}'),
    "another tool's": lambda folder: (folder / "config.json").write_text('{"row": {"height": 3}}'),
    "no settings": lambda folder: leave(folder, "config.json"),
    "results": lambda folder: leave(folder, "scores-a.json", "predictions-b.csv", "masks-c/d.png"),
    "results like ours": lambda folder: leave(folder, "scores-test.json", "masks-test/a.png"),
    "temporary": lambda folder: leave(folder, ".mine.tmp"),
    "weights": lambda folder: leave(folder, "last.pt", "best.pt"),
    "figures": lambda folder: leave(folder, "figures/figure.png"),
}


@pytest.mark.parametrize("resume", ["auto", "restart"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_folder_of_others_is_refused_and_left_as_it_is(kind, resume, tmp_path):
    (tmp_path / "folder").mkdir()
    FOREIGN[kind](tmp_path / "folder")
    before = everything(tmp_path)
    with pytest.raises(
        RunError, match=r"folder is neither empty nor a run folder: it holds .*run_dir"
    ):
        start_run(tmp_path / "folder", Row(), DATA, resume)
    assert everything(tmp_path) == before


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(RunError, match=r"file is a file; expected"):
        start_run(tmp_path / "file", Row(), DATA, "restart")
    with pytest.raises(RunError, match=r"link is a broken link; expected"):
        start_run(tmp_path / "link", Row(), DATA)
    assert names(tmp_path) == ["file", "link"]


@pytest.mark.parametrize("left", [(), (".config.json.ab12_xyz.tmp",), (".DS_Store",)])
def test_what_a_killed_start_leaves_is_no_hindrance(left, tmp_path):
    leave(tmp_path / "run", *left)
    assert start_run(tmp_path / "run", Row(), DATA).config["data"] == DATA


def test_a_run_may_hold_notes_and_be_moved_with_them(tmp_path):
    run = start_run(tmp_path / "run", Row(), DATA)
    leave(run.path, "notes.txt", "last.pt")
    start_run(run.path, Row(), DATA)
    start_run(run.path, Row(learning_rate=0.2), DATA, "restart")
    assert (tmp_path / "run.1/notes.txt").exists()


def test_a_run_whose_settings_are_damaged_can_be_moved(tmp_path):
    run = start_run(tmp_path / "run", Row(), DATA)
    leave(run.path, "last.pt", "config.json", "history.csv")
    with pytest.raises(RunError, match=r"config\.json is damaged .*resume='restart'"):
        start_run(run.path, Row(), DATA)
    assert start_run(run.path, Row(), DATA, "restart").config["data"] == DATA
    assert (tmp_path / "run.1/history.csv").exists()


def test_results_are_removed_by_the_names_that_they_have(tmp_path):
    ours = ["predictions-test.csv", "scores-validation-8-views.json", "submission-holdout.csv",
            "per-image-test-4-views-threshold-0.4-unclean.csv", "thresholds-train.csv",
            "masks-test/ISIC_1_segmentation.png"]  # fmt: skip
    others = ["predictions-final.csv", "scores-test.json.bak", "masks-mine/a_segmentation.png",
              "masks-validation/photo.png", "predictions-test.csv.gz"]  # fmt: skip
    leave(tmp_path, *ours, *others, "masks-validation/ISIC_2_segmentation.png")
    (tmp_path / "predictions-train.csv").mkdir()
    folders.forget_results(tmp_path)
    left = {name for name, content in everything(tmp_path).items() if content is not None}
    assert left == set(others)
    assert not (tmp_path / "masks-test").exists()


def test_what_a_kill_left_is_cleared_and_nothing_else(tmp_path):
    ours = [".last.pt.abcd1234.tmp", "figures/.curves.png.abcd_234.tmp",
            "masks-test/.ISIC_1_segmentation.png.abcd1234.tmp"]  # fmt: skip
    others = [".mine.tmp", ".notes.txt.abcd1234.tmp", "figures/.x.tmp", "last.pt"]
    leave(tmp_path, *ours, *others)
    folders.clear_unfinished(tmp_path)
    assert {name for name, content in everything(tmp_path).items() if content} == set(others)


def test_temporary_files_are_called_what_the_cleaning_expects(tmp_path):
    seen = []
    files.write_atomic(tmp_path / "last.pt", lambda _: seen.extend(names(tmp_path)))
    (tmp_path / seen[0]).touch()
    folders.clear_unfinished(tmp_path)
    assert names(tmp_path) == ["last.pt"]


def test_an_evaluation_removes_what_evaluations_leave(tmp_path):
    run = start_run(tmp_path / "models/1-3-s0", Row(), DATA)
    ours = ["scores.csv", "figures/roc-melanoma.png", "figures/side-by-side.png",
            ".scores.csv.abcd1234.tmp"]  # fmt: skip
    others = ["notes.txt", "figures/my-sketch.png", "scores-test.json", "run.html"]
    leave(tmp_path / "models/evaluation-cls-test", *ours, *others)
    output = outputs.begin([run], "evaluation-cls-test")
    left = {name for name, content in everything(output.path).items() if content}
    assert left == set(others)


@pytest.mark.parametrize("notebook", ["Evaluation-Cls.ipynb", "Evaluation-Seg.ipynb"])
def test_the_figures_and_tables_of_evaluations_are_known(notebook):
    cells = json.loads((PROJECT / notebook).read_text(encoding="utf-8"))["cells"]
    code = "".join("".join(cell["source"]) for cell in cells)
    figures = re.findall(r'output\.show\(\s*f?"([^"{]+)', code)
    tables = re.findall(r'output\.save_table\("([^"]+)"', code)
    assert len(figures) > 4
    assert len(tables) >= 2
    full = [f"{name}x.png" if name.endswith("-") else f"{name}.png" for name in figures]
    assert [name for name in full if not folders._FIGURE.fullmatch(name)] == []
    assert set(tables) <= set(folders._EVALUATION)


def test_only_pages_of_evaluations_are_removed_beside_a_report(tmp_path):
    leave(tmp_path, "evaluation-cls-test.html", "evaluation-mine.html", "index.html")
    folders.forget_pages(tmp_path)
    assert names(tmp_path) == ["evaluation-mine.html", "index.html"]


def test_a_folder_that_cannot_be_looked_into(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "run").mkdir()
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(RunError, match=r"run cannot be read \(Permission denied\); give"):
        logger.start_run(tmp_path / "run", Row(), DATA)
