"""Measure everything, print one table, keep every time as JSON: `python -m bench --help`."""

import argparse
import os
import tempfile
import time
from datetime import datetime
from pathlib import Path

PARTS = ("step", "loop", "data", "segmentation", "preparing", "memory")
GPU = "gpu"  # only where it is asked for
RESULTS = Path(__file__).parent / "results"


def add_places(parser: argparse.ArgumentParser) -> None:
    """Where images are read, and where the result is written."""
    parser.add_argument("--data-dir", help="the set to train on (default: as in the notebook)")
    parser.add_argument(
        "--fullres",
        type=Path,
        default=os.environ.get("ISIC2017_FULLRES"),
        help="folder with images of the original size (default: $ISIC2017_FULLRES)",
    )
    parser.add_argument("--out", type=Path, help="JSON file (default: bench/results/<time>.json)")


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument(
        "--parts", nargs="+", choices=(*PARTS, GPU), default=PARTS, help="what to measure"
    )
    add_places(parser)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--quick", action="store_true", help="seconds, to see that it runs")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> Path:
    """Measure, print, save; returns the path of the JSON file."""
    asked = arguments(given)
    # These take seconds to import.
    from dataclasses import asdict, replace

    from bench import measures, report
    from bench.settings import QUICK, Settings
    from utils import data
    from utils.system.console import say

    settings = Settings(data.locate(asked.data_dir), asked.fullres, **QUICK if asked.quick else {})
    settings = replace(settings, compile=settings.compile and not asked.no_compile)
    about = measures.describe(settings.device) | {"load_before": measures.load()}
    about |= {"settings": {k: str(v) for k, v in asdict(settings).items()}}
    started = time.monotonic()
    results = []
    out = asked.out or RESULTS / f"{datetime.now():%Y-%m-%d-%H%M}.json"
    with tempfile.TemporaryDirectory() as cache:
        # Empty, so that compiling is measured and not the reading of an earlier result.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for result in measures.measure(asked.parts, settings):
            results.append(result)
            say(report.line(result))
            report.save(out, results, about)  # what is measured is kept, whatever ends the rest
    about |= {"load_after": measures.load(), "seconds": time.monotonic() - started}
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
