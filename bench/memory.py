"""Peak memory of preparing and loading against the number of images, each in a fresh process.

`python -m bench.memory FOLDER COUNT` prints it for COUNT synthetic images. What is counted is the
memory of the process itself; the pages of a mapped file are the system's, which may
reclaim them at any time.
"""

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Self

import numpy as np
import psutil

from bench.report import Result
from bench.settings import Settings
from utils import data
from utils.data import demo, loaders, patches, store
from utils.system.project import PROJECT

SIDE = 64  # px, so that 100 000 stored images take 1.6 GB of disk
FILES = 48  # different image files; the images share them
SLACK = 1.25  # memory for the most images over that for the fewest


class Peak(threading.Thread):
    """The most memory this process held while this was open, in MB, and what it held before."""

    def __init__(self, pause: float = 0.02) -> None:
        super().__init__(daemon=True)
        self.pause, self.done = pause, threading.Event()
        self.before = self.mb = own_memory()

    def run(self) -> None:
        while not self.done.wait(self.pause):
            self.mb = max(self.mb, own_memory())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.join()
        self.mb = max(self.mb, own_memory())


def own_memory() -> float:
    """MB that this process holds, without mapped files where the system tells them apart."""
    memory = psutil.Process().memory_info()
    return (memory.rss - getattr(memory, "shared", 0)) / 2**20


def work(folder: Path, count: int) -> dict[str, float]:
    """Prepare count images, then load and augment every one of them once."""
    tree = demo.generate(folder / "tree", train=FILES, validation=0, test=0, size=(96, 72))
    images = data.read(tree)
    images = images.iloc[np.arange(count) % len(images)].reset_index(drop=True)
    images["id"] = [f"ISIC_{number:07d}" for number in range(count)]
    with Peak() as peak:
        prepared = store.prepare(folder, images, SIDE)
        transform = patches.training_transform(SIDE // 2, (0.5, 1.0))
        trained = patches.TrainingPatches(prepared, images, transform, 0)
        loaded = sum(len(batch["label"]) for batch in loaders.shuffled_loader(trained, 32, 0))
    return {"images": count, "loaded": loaded, "before_mb": peak.before, "peak_mb": peak.mb}


def against_number(settings: Settings) -> list[Result]:
    """A line for each number of images; the ratio is to the memory for the fewest."""
    measured = [_in_child(count) for count in settings.memory_counts]
    return [_result(measured[0], other) for other in measured]


def _in_child(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.memory", folder, str(count)]
        ended = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
    return json.loads(ended.stdout.splitlines()[-1])


def _result(fewest: dict[str, float], other: dict[str, float]) -> Result:
    first, peak = fewest["peak_mb"], other["peak_mb"]
    more = other["images"] - fewest["images"]
    name = f"peak memory, {other['images']} images prepared and loaded"
    if not more:
        return Result(name, None, peak, "MB")
    growth = f"{(peak - first) / more * 1024:.1f} kB for each further image"
    return Result(name, first, peak, "MB", peak / first, SLACK, at_most=True, note=growth)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(work(Path(sys.argv[1]), int(sys.argv[2]))) + "\n")
