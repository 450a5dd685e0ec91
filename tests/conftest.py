"""What all tests share: a small demo set, a store of it, and real data where it is."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

# Tensors this small are quicker on one core, and far quicker where the others are busy. Processes
# that a test starts read this variable.
os.environ["OMP_NUM_THREADS"] = "1"

import torch

from utils import data
from utils.data import demo, store
from utils.visualize import interactive

torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs, so that tests do the same on every machine, but for those marked `gpu`."""
    wanted = config.getoption("markexpr")
    if "gpu" not in wanted or "not gpu" in wanted:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `gpu` need one."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")


@pytest.fixture(scope="module")
def mktemp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Makes folders for what the tests of a module share; gone after the last of them."""
    made: list[Path] = []

    def make(name: str) -> Path:
        made.append(tmp_path_factory.mktemp(name))
        return made[-1]

    yield make
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def demo_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo set of 24 + 8 + 8 images of 96×72 px. Shared: a test that changes it copies it."""
    folder = tmp_path_factory.mktemp("data") / "demo"
    return demo.generate(folder, train=24, validation=8, test=8, size=(96, 72))


@pytest.fixture(scope="session")
def demo_rows(demo_set: Path) -> pd.DataFrame:
    """The rows of the small demo set."""
    return data.read(demo_set)


@pytest.fixture(scope="session")
def demo_store(demo_set: Path, demo_rows: pd.DataFrame) -> store.Store:
    """The small demo set, stored at 64 px."""
    return store.prepare(demo_set, demo_rows, 64)


@pytest.fixture(scope="session")
def isic2017() -> Path:
    """The real ISIC 2017, where $ISIC2017_DIR names it."""
    folder = os.environ.get("ISIC2017_DIR")
    if not folder:
        pytest.skip("needs ISIC 2017: set ISIC2017_DIR to its folder")
    return Path(folder)


@pytest.fixture
def isic2017_fullres() -> Path:
    """Images at their original size, where $ISIC2017_FULLRES names their folder."""
    folder = os.environ.get("ISIC2017_FULLRES")
    if not folder:
        pytest.skip("needs images at original size: set ISIC2017_FULLRES to their folder")
    return Path(folder)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list:
    """What a live notebook would display."""
    boxes: list = []
    monkeypatch.setattr(interactive, "in_live_jupyter", lambda: True)
    monkeypatch.setattr(interactive, "display", boxes.append)
    return boxes
