"""Measure everything, print one table, keep every time as JSON: `python -m bench --help`."""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from bench import images, loop, machine, memory, preparing, report, scoring, training
from bench.report import Result
from bench.settings import QUICK, SEGMENTERS, Settings
from utils import data
from utils.system.console import say

PARTS = ("step", "loop", "data", "segmentation", "preparing", "memory")
RESULTS = Path(__file__).parent / "results"


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--data-dir", help="the set to train on (default: as in the notebook)")
    parser.add_argument(
        "--fullres",
        type=Path,
        default=os.environ.get("ISIC2017_FULLRES"),
        help="folder with images of the original size (default: $ISIC2017_FULLRES)",
    )
    parser.add_argument("--out", type=Path, help="JSON file (default: bench/results/<time>.json)")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--quick", action="store_true", help="seconds, to see that it runs")
    return parser.parse_args(given)


def measure(parts: list[str], data_dir: Path, settings: Settings) -> list[Result]:
    """All results of the parts asked for, said as they come."""
    results: list[Result] = []
    if not settings.fullres and {"data", "segmentation", "preparing"} & set(parts):
        say("no folder with original images (--fullres or $ISIC2017_FULLRES): left out")

    def add(found: list[Result]) -> None:
        results.extend(found)
        for result in found:
            say(report.line(result))

    if "step" in parts:
        add(training.against_baseline("arl18", settings))
        add(training.against_baseline("arl50", settings))
    if "loop" in parts:
        add([loop.training_loop(settings.row(), settings.loop_batches, data_dir, settings)])
    if "data" in parts:
        add(images.prepared_set(data_dir, settings))
        if settings.fullres:
            add(images.originals(settings))
    if "segmentation" in parts:
        for found in segmentation(data_dir, settings):
            add(found)
    if "preparing" in parts:
        add(preparing.prepared_set(data_dir, settings))
        if settings.fullres:
            add(preparing.originals(settings))
    if "memory" in parts:
        add(memory.against_number(settings))
    return results


def segmentation(data_dir: Path, settings: Settings) -> Iterator[list[Result]]:
    """Steps, loop and data of the segmenters, each result as soon as it is there."""
    for name in SEGMENTERS:
        yield training.segmenter_against_baseline(name, settings)
    row = settings.segmenter("lite_unet")
    yield [loop.training_loop(row, settings.mask_loop_batches, data_dir, settings)]
    yield [images.prepared_set_with_masks(data_dir, settings)]
    yield [scoring.prepared_set(data_dir, settings)]
    if settings.fullres:
        yield [images.originals_with_masks(settings)]
        yield [scoring.originals(settings)]


def main(given: list[str] | None = None) -> Path:
    """Measure, print, save; returns the path of the JSON file."""
    asked = arguments(given)
    settings = replace(QUICK if asked.quick else Settings(), fullres=asked.fullres)
    settings = replace(settings, compile=settings.compile and not asked.no_compile)
    about = machine.describe(settings.device) | {"load_before": machine.load()}
    about |= {"settings": {k: str(v) for k, v in asdict(settings).items()}}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as cache:
        # An empty one, or the seconds of compiling would be those of reading an earlier result.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        results = measure(asked.parts, data.locate(asked.data_dir), settings)
    about |= {"load_after": machine.load(), "seconds": time.monotonic() - started}
    out = asked.out or RESULTS / f"{datetime.now():%Y-%m-%d-%H%M}.json"
    report.save(out, results, about)
    say("")
    for name in ("processor", "cores", "memory_gb", "device", "torch_threads", "git"):
        say(f"{name}: {about[name]}")
    say(f"load before {about['load_before']:.1f}, after {about['load_after']:.1f}\n")
    say(report.table(results))
    say(f"\n{about['seconds']:.0f} s; every single time is in {out}")
    return out


if __name__ == "__main__":
    main()
