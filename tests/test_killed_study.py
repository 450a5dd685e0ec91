"""The study's promise: interrupted anywhere, it goes on, and ends with the same page."""

import shutil
import subprocess
from pathlib import Path

import killed_study
import pytest

from utils import data

ARGUMENTS = ["1-3", "seg-6", "--profile", "demo", "-p", "epochs", "2"]


def checkout(folder: Path, demo_set: Path) -> Path:
    """The project's files as they are, with a small data set of its own."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=data.PROJECT, capture_output=True, text=True, check=True)
    for name in filter(None, names.stdout.splitlines()):
        if (data.PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(data.PROJECT / name, folder / name)
    shutil.copytree(demo_set, folder / "Data" / "demo")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)  # five times two trainings, and their evaluations
def test_killed_three_times_it_ends_with_the_same_page(tmp_path: Path, demo_set: Path) -> None:
    one, other = (checkout(tmp_path / name, demo_set) for name in ("whole", "killed"))
    killed_study.whole(one, ARGUMENTS)
    killed_study.killed(other, ARGUMENTS, epochs=3)
    assert (other / "study.log").read_text().count("1-3-s0: running") >= 2
    assert killed_study.differences(one, other) == []
    page = next(other.glob("model/*/report-*/index.html"))
    page.write_text(page.read_text().replace("synthetic", "real", 1))
    assert killed_study.differences(one, other) == ["index.html outside of #cost"]
