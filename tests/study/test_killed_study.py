"""The study's promise: interrupted anywhere, it goes on, and ends with the same page."""

from pathlib import Path

import killed_study
import pytest
from ways import checkout

ARGUMENTS = ["1-3", "seg-6", "--profile", "demo", "-p", "epochs", "2"]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # five times two trainings, and their evaluations
def test_killed_three_times_it_ends_with_the_same_page(tmp_path: Path) -> None:
    one, other = (checkout(tmp_path / name) for name in ("whole", "killed"))
    killed_study.whole(one, ARGUMENTS)
    killed_study.killed(other, ARGUMENTS, epochs=3)
    assert (other / "study.log").read_text().count("1-3-s0: running") >= 2
    assert killed_study.differences(one, other) == []
    page = next(other.glob("model/*/report-*/index.html"))
    page.write_text(page.read_text().replace("synthetic", "real", 1))
    assert killed_study.differences(one, other) == ["index.html outside of #cost"]
