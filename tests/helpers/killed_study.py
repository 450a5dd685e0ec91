"""The whole study, killed on its way: it must end as if nothing had happened.

`python tests/helpers/killed_study.py WHOLE KILLED 20 all --profile demo` runs `reproduce.py all
--profile demo` in two checkouts: in WHOLE in peace (unless its report is there), in KILLED ended by
SIGKILL after the first epoch, after 20 epochs and during an evaluation, and called again each time.
Then it compares the two.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from utils.system.console import say

POLL = 0.2  # seconds
PATIENCE = 20.0  # seconds until what a killed study has started must be gone, too
COST = re.compile(r'<section id="cost">.*?</section>', re.DOTALL)
SAME = ("best.safetensors", "predictions-*.csv")  # of a run, to the last byte


def start(project: Path, arguments: list[str]) -> subprocess.Popen:
    """The study in a checkout, with one thread a row: the same numbers, however many run."""
    environment = os.environ | {"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    with (project / "study.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "reproduce.py", *arguments],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def whole(project: Path, arguments: list[str]) -> None:
    """Run the study in peace. RuntimeError where it fails."""
    if start(project, arguments).wait():
        raise RuntimeError(f"it failed, see {project / 'study.log'}")


def killed(project: Path, arguments: list[str], epochs: int) -> None:
    """Run the study with three deaths.

    RuntimeError where it ends before one or leaves orphans, or where there are runs already.
    """
    if trained(project):
        raise RuntimeError(f"{project} holds runs already; give it a new checkout")
    for reached in (
        lambda: trained(project) >= 1,
        lambda: trained(project) >= epochs,
        lambda: any(project.glob("model/*/evaluation-*/figures/*.png")),
    ):
        _kill_when(start(project, arguments), project, reached)
    whole(project, arguments)


def trained(project: Path) -> int:
    """Epochs that all runs together have behind them."""
    tables = project.glob("model/*/*/history.csv")
    return sum(max(0, len(table.read_text().splitlines()) - 1) for table in tables)


def _kill_when(process: subprocess.Popen, project: Path, reached: Callable[[], bool]) -> None:
    while not reached():
        if process.poll() is not None:
            raise RuntimeError(f"it ended before it was killed, see {project / 'study.log'}")
        time.sleep(POLL)
    process.kill()
    process.wait()
    last = time.monotonic() + PATIENCE
    ours = [psutil.Process(), *psutil.Process().parents()]  # a shell may stand in this checkout
    while left := [
        other for other in psutil.process_iter() if other not in ours and _works_in(other, project)
    ]:
        if time.monotonic() > last:
            raise RuntimeError(f"the killed study left {left} behind")
        time.sleep(POLL)


def _works_in(process: psutil.Process, project: Path) -> bool:
    try:
        return Path(process.cwd()) == project
    except (psutil.Error, OSError):
        return False


def differences(one: Path, other: Path) -> list[str]:
    """What the two checkouts' studies do not have in common; nothing where they are equal."""
    pages = [_without_cost(project) for project in (one, other)]
    found = ["index.html outside of #cost"] if pages[0] != pages[1] else []
    names = [f"report-*/results.{kind}" for kind in ("csv", "tex")] + [f"*-s?/{n}" for n in SAME]
    files = [
        {
            file.relative_to(project): file
            for name in names
            for file in project.glob(f"model/*/{name}")
        }
        for project in (one, other)
    ]
    found += [f"{name} is in one of them only" for name in files[0].keys() ^ files[1].keys()]
    both = sorted(files[0].keys() & files[1].keys())
    return found + [
        str(name) for name in both if files[0][name].read_bytes() != files[1][name].read_bytes()
    ]


def _without_cost(project: Path) -> str:
    (page,) = project.glob("model/*/report-*/index.html")
    text, sections = COST.subn("", page.read_text(encoding="utf-8"))
    if sections != 1:
        raise RuntimeError(f"{page} has {sections} sections #cost, expected one")
    return text


def main() -> None:
    """See the head of this file."""
    first, second, epochs, *arguments = sys.argv[1:]
    one, other = Path(first).resolve(), Path(second).resolve()
    if not any(one.glob("model/*/report-*/index.html")):
        whole(one, arguments)
    killed(other, arguments, int(epochs))
    found = differences(one, other)
    runs = len(list(other.glob("model/*/*-s?")))
    say("\n".join(found) or f"{runs} runs, the page outside of #cost and its tables are equal")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
