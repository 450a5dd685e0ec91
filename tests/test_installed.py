"""`pip install .`: what is declared is enough to work without a checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from utils.system.project import PROJECT

PACKAGES = ("bench", "experiments", "nets", "study", "utils")


@pytest.mark.slow
def test_an_installed_project_plans_a_study(tmp_path: Path) -> None:
    checkout, env, folder = (tmp_path / name for name in ("checkout", "env", "folder"))
    folder.mkdir()
    for name in PACKAGES:
        shutil.copytree(PROJECT / name, checkout / name)
    for file in filter(Path.is_file, PROJECT.iterdir()):
        shutil.copy(file, checkout)
    venv.create(env)
    python = env / "bin" / "python" if os.name == "posix" else env / "Scripts" / "python.exe"

    def run(*command: str | Path) -> str:
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # The packages that it needs are those of the tests; its own modules are not among them.
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-c", ask).strip())
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib"))
    options = ("--quiet", "--no-deps", "--no-build-isolation")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, checkout)
    shutil.rmtree(checkout)
    study = ("1-3", "seg-6", "--profile", "demo", "--data-dir", "demo")
    planned = run(python, "-m", "reproduce", *study, "--dry-run")
    assert "1-3-s0" in planned
    assert "seg-6-s0" in planned
    where = (
        "import study.report, utils.data; print(study.report.__file__, utils.data.read.__module__)"
    )
    assert str(packages) in run(python, "-c", where)
    assert all((packages / name / "py.typed").exists() for name in ("nets", "study", "utils"))
    assert (packages / "study" / "report" / "report.html").exists()
