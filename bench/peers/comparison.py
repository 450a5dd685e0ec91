"""What is raced over, and what is made of the times: an epoch, and from nothing to its end."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pandas as pd

from bench.peers.job import Job, Line
from bench.peers.turns import Epoch, race, started
from bench.report import Result, compare
from bench.timing import ratio
from utils import data
from utils.system.console import say
from utils.system.experiment import Task

Taken = dict[str, list[Epoch]]
Ways = dict[str, dict[str, str]]

CONTENDERS: dict[Task, tuple[str, ...]] = {
    "labels": ("plain", "earlier_way", "fastai_learner", "monai_cache", "ours"),
    "masks": ("smp_example", "earlier_way", "monai_cache", "ours"),
}
PACKAGES = {"fastai_learner": "fastai", "monai_cache": "monai"}
AIM = 2.0  # the fastest other's time over ours, by defaults, where bf16 is fast
FAST_BF16 = {"amx_bf16", "avx512_bf16"}
MASK_BATCH = 8
AHEAD = {"labels": 1, "originals": 3}  # at the end of which epoch ours is to be ahead


def courses(asked: argparse.Namespace) -> dict[str, Job]:
    """The parts asked for, each as the job that its contenders get."""
    images = data.read(data.locate(asked.data_dir))
    images = images[images["split"] == "train"]
    shared = {"epochs": asked.epochs, "size": asked.size}
    chosen = {
        "labels": Job("labels", images.head(asked.images), batch_size=asked.batch, **shared),
        "masks": Job("masks", images.head(asked.pairs), batch_size=MASK_BATCH, **shared),
    }
    if asked.fullres:
        many = repeated(data.read(asked.fullres), asked.originals)
        chosen["originals"] = Job("labels", many, batch_size=asked.batch, **shared)
    elif "originals" in asked.parts:
        say("no folder with original images (--fullres or $ISIC2017_FULLRES): left out")
    return {part: job for part, job in chosen.items() if part in asked.parts}


def repeated(images: pd.DataFrame, count: int) -> pd.DataFrame:
    """So many rows, each with an id of its own; the files come again and again."""
    times = -(-count // len(images))
    copies = [images.assign(id=images["id"] + f"_{copy}") for copy in range(times)]
    return pd.concat(copies, ignore_index=True).head(count)


def measure(
    parts: dict[str, Job], lines: Sequence[Line], instructions: Sequence[str], ways: Ways
) -> Iterator[Result]:
    """Every line of every part; what the contenders do differently goes into ways."""
    fast = bool(FAST_BF16 & set(instructions))
    for part, job in parts.items():
        for line in lines if part != "originals" else ("defaults",):
            taken = compete(replace(job, line=line), ways)
            if part != "originals":
                yield from an_epoch(f"{part}, {line}", taken, len(job.images), fast)
            if line == "defaults":
                yield from from_nothing(part, taken)


def compete(job: Job, ways: Ways) -> Taken:
    """The epochs of every contender that is installed and has this precision."""
    for path in job.images["image"]:
        Path(path).read_bytes()  # nobody is the first to read them from the disk
    with TemporaryDirectory() as folder:
        jobs = {}
        for name in CONTENDERS[job.task]:
            if name in PACKAGES and not find_spec(PACKAGES[name]):
                say(f"{name} is left out, {PACKAGES[name]} is not installed: make bench-peers")
                continue
            own = Path(folder, name)
            own.mkdir()
            jobs[name] = replace(job, folder=own)
        with started(jobs) as contenders:
            ways |= {contender.name: contender.way for contender in contenders}
            able = [each for each in contenders if job.line in each.way["lines"]]
            return race(able, job.epochs)


def an_epoch(title: str, taken: Taken, count: int, fast: bool) -> Iterator[Result]:
    """Ours against each of the others, of the epochs after the first, whose images are count."""
    later = {name: epochs[1:] for name, epochs in taken.items()}
    cpu = {name: [epoch.cpu for epoch in epochs] for name, epochs in later.items()}
    wall = {name: [epoch.wall for epoch in epochs] for name, epochs in later.items()}
    others = [name for name in taken if name != "ours"]
    fastest = min(others, key=lambda name: median(cpu[name]))
    for name in others:
        aimed = fast and name == fastest and title.endswith("defaults")
        per_image = [median(wall[each]) * 1e3 / count for each in (name, "ours")]
        note = "wall clock {:.0f} and {:.0f}, ".format(*per_image)
        note += f"ratio {ratio(wall[name], wall['ours']):.2f}"
        pair = {each: cpu[each] for each in (name, "ours")}
        yield compare(f"CPU, {title}: {name}", pair, count, aim=AIM if aimed else None, note=note)


def from_nothing(part: str, taken: Taken) -> Iterator[Result]:
    """Seconds until epochs end, with all that comes before; but imports are not counted."""
    epochs = len(taken["ours"])
    for number in sorted({1, min(3, epochs), epochs}):
        ended = {}
        for name, each in taken.items():
            sums = (list(accumulate(times)) for times in zip(*each, strict=True))
            ended[name] = Epoch(*(total[number - 1] for total in sums))
        fastest = min((each for each in ended if each != "ours"), key=lambda each: ended[each].cpu)
        for name in ended:
            if name == "ours":
                continue
            aimed = number == AHEAD.get(part) and name == fastest
            yield Result(
                f"from nothing, {part}, end of epoch {number}: {name}",
                ended[name].cpu,
                ended["ours"].cpu,
                "CPU s",
                ended[name].cpu / ended["ours"].cpu,
                aim=1.0 if aimed else None,
                note=f"wall clock {ended[name].wall:.1f} and {ended['ours'].wall:.1f}",
                times={each: [ended[each].cpu] for each in (name, "ours")},
            )
