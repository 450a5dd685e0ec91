"""Measure every contender, print the tables, keep every time as JSON: `make bench-peers`."""

import argparse
import time
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.__main__ import RESULTS, add_places
from bench.peers import LINES, PARTS


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m bench.peers", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--lines", nargs="+", choices=LINES, default=LINES, help="precisions")
    add_places(parser)
    parser.add_argument("--images", type=int, default=320, help="in an epoch of classification")
    parser.add_argument("--pairs", type=int, default=64, help="in an epoch with masks")
    parser.add_argument("--originals", type=int, default=96, help="in an epoch; few come again")
    parser.add_argument("--batch", type=int, default=32, help="images in a batch, without masks")
    parser.add_argument("--epochs", type=int, default=4, help="of which the first decodes")
    parser.add_argument("--size", type=int, default=224, help="px, side of what the network sees")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> Path:
    """Measure, print, save; returns the path of the JSON file."""
    asked = arguments(given)
    # These take seconds to import.
    from bench import measures, report
    from bench.peers.comparison import courses, measure
    from bench.peers.job import DEVICE
    from utils.system.console import say

    about = measures.describe(DEVICE) | {"load_before": measures.load()}
    about["settings"] = {key: str(value) for key, value in vars(asked).items()}
    about["versions"] |= {name: _version(name) for name in ("fastai", "monai")}
    begun, results = time.monotonic(), []
    ways: dict[str, dict[str, str]] = {}
    for result in measure(courses(asked), asked.lines, about["instructions"], ways):
        results.append(result)
        say(report.line(result))
    about |= {"load_after": measures.load(), "seconds": time.monotonic() - begun, "ways": ways}
    out = asked.out or RESULTS / f"peers-{datetime.now():%Y-%m-%d-%H%M}.json"
    report.save(out, results, about)
    say("")
    for name in ("processor", "instructions", "cores", "memory_gb", "device", "git"):
        say(f"{name}: {about[name]}")
    say(f"load before {about['load_before']:.1f}, after {about['load_after']:.1f}\n")
    say(report.table(results) + "\n")
    for name, way in ways.items():
        say(f"{name}\n" + "".join(f"  {what:8}  {how}\n" for what, how in way.items()))
    say(f"{about['seconds']:.0f} s; every single time is in {out}")
    return out


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
