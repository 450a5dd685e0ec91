"""Who started the program, which is refused for several processes; what the machine has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import train

from utils import data, logger
from utils.system import machine

SEVERAL = [
    {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"},
    {"OMPI_COMM_WORLD_SIZE": "4"},
    {"PMI_SIZE": "2"},
    {"MASTER_ADDR": "127.0.0.1", "ACCELERATE_MIXED_PRECISION": "no"},
]
ONE = [
    {},
    {"WORLD_SIZE": "1", "RANK": "0", "MASTER_ADDR": "localhost"},
    {"MASTER_ADDR": "node7"},  # a cluster's template
    {"ACCELERATE_MIXED_PRECISION": "no"},  # accelerate launch, one process
    {"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1", "PMI_SIZE": "1", "SLURM_PROCID": "0"},
    {"WORLD_SIZE": ""},
]


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment in which the tests run."""
    for name in {name for kind in (*SEVERAL, *ONE) for name in kind}:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("environment", SEVERAL, ids=str)
def test_several_processes_are_refused(environment, monkeypatch, tmp_path, demo_set) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = r"asks for several processes, but .* reproduce\.py --jobs 2, or --executor slurm"
    for begin in (
        lambda: data.locate(demo_set),
        lambda: logger.start_run(tmp_path / "run", None, {}),
        lambda: train(demo_set, tmp_path / "run"),
    ):
        with pytest.raises(machine.LaunchError, match=said):
            begin()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("environment", ONE, ids=str)
def test_one_process_is_welcome(environment, monkeypatch, demo_set) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert data.locate(demo_set) == demo_set


@pytest.mark.slow
@pytest.mark.parametrize(
    "launch",
    [
        ("torch.distributed.run", "--nproc_per_node", "2"),
        ("accelerate.commands.launch", "--num_processes", "2"),
        ("accelerate.commands.launch", "--num_processes", "2", "--multi_gpu"),
    ],
)
def test_launchers_as_they_are(launch, demo_set, tmp_path) -> None:
    script = tmp_path / "script.py"
    code = f"from utils import data\n\nprint(data.locate({str(demo_set)!r}))\n"
    script.write_text(code)
    command = [sys.executable, "-m", *launch, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode != 0
    assert "asks for several processes, but a run is trained by one" in done.stderr
    assert str(Path(demo_set)) not in done.stdout


def test_cores_are_those_that_are_left_to_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 2, 5}, raising=False)
    assert machine.cores() == 3
    monkeypatch.setenv(machine.SHARE, "2")
    assert machine.cores() == 2
    monkeypatch.setenv(machine.SHARE, "8")
    assert machine.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # macOS, Windows
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert machine.cores() == 8


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, {"0": 80.0, "1": 15.5}),
        ("1", {"1": 15.5}),
        ("GPU-b, 0", {"GPU-b": 15.5, "0": 80.0}),
        ("", {}),
        ("-1", {}),
    ],
)
def test_cards(
    visible: str | None,
    expected: dict[str, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine.cards() == {}
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, GPU-a, 81920'\necho '1, GPU-b, 15872'\n")
    program.chmod(0o755)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.cards() == expected
    program.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")  # a broken driver
    assert machine.cards() == {}
