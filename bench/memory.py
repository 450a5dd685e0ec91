"""Peak memory of preparing and loading against the number of images, each in a fresh process.

`python -m bench.memory FOLDER COUNT` prints it for COUNT synthetic images. What is counted is the
memory of the process itself; the pages of a mapped file are the system's, which takes them back
whenever it likes.
"""

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import psutil

from bench.report import Result
from bench.settings import Settings
from utils import data
from utils.data import demo, loaders, patches, store
from utils.system.project import PROJECT

SIDE = 64  # px, so that 100 000 stored images take 1.6 GB of disk
FILES = 48  # different image files; the rows share them
SLACK = 1.25  # memory for the most images over that for the fewest


class Peak(threading.Thread):
    """The most memory this process held while the thread ran, in MB."""

    def __init__(self, pause: float = 0.02) -> None:
        super().__init__(daemon=True)
        self.pause, self.done, self.mb = pause, threading.Event(), 0.0

    def run(self) -> None:
        while not self.done.wait(self.pause):
            self.mb = max(self.mb, own_memory())

    def stop(self) -> float:
        self.done.set()
        self.join()
        return max(self.mb, own_memory())


def own_memory() -> float:
    """MB that this process holds, without mapped files where the system tells them apart."""
    memory = psutil.Process().memory_info()
    return (memory.rss - getattr(memory, "shared", 0)) / 2**20


def work(folder: Path, count: int) -> dict[str, float]:
    """Prepare count images, then load and augment every one of them once."""
    tree = demo.generate(folder / "tree", train=FILES, validation=0, test=0, size=(96, 72))
    rows = data.read(tree)
    rows = rows.iloc[np.arange(count) % len(rows)].reset_index(drop=True)
    rows["id"] = [f"ISIC_{number:07d}" for number in range(count)]
    peak = Peak()
    before = own_memory()
    peak.start()
    prepared = store.prepare(folder, rows, SIDE)
    transform = patches.training_transform(SIDE // 2, (0.5, 1.0))
    trained = patches.TrainingPatches(prepared, rows, transform, 0)
    loaded = sum(len(batch["label"]) for batch in loaders.training_loader(trained, 32, 0))
    return {"images": count, "loaded": loaded, "before_mb": before, "peak_mb": peak.stop()}


def against_number(settings: Settings) -> list[Result]:
    """A line for each number of images; the ratio is to the memory for the fewest."""
    found = [_in_child(count) for count in settings.memory_counts]
    return [_result(found[0], other) for other in found]


def _in_child(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.memory", folder, str(count)]
        ended = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
    return json.loads(ended.stdout.splitlines()[-1])


def _result(fewest: dict[str, float], found: dict[str, float]) -> Result:
    first, peak = fewest["peak_mb"], found["peak_mb"]
    more = found["images"] - fewest["images"]
    name = f"peak memory, {found['images']} images prepared and loaded"
    if not more:
        return Result(name, None, peak, "MB", None)
    growth = f"{(peak - first) / more * 1024:.1f} kB for each further image"
    return Result(name, first, peak, "MB", peak / first, SLACK, at_most=True, note=growth)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(work(Path(sys.argv[1]), int(sys.argv[2]))) + "\n")
