"""What a measure gives, and how it is shown: a table to read, a JSON file to keep."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.timing import ratio
from utils.system.files import write_json

HEAD = ("measure", "compared", "ours", "unit", "ratio", "aim", "verdict", "note")
NUMBERS = ("compared", "ours", "ratio")


@dataclass(frozen=True)
class Result:
    """One line of the table.

    What is compared with ours, and ours, are medians in `unit`; `ratio` is what `aim` is about.
    Every time is in `times`, seconds of one call by contender.
    """

    measure: str
    compared: float | None
    ours: float | None
    unit: str
    ratio: float | None = None
    aim: float | None = None
    at_most: bool = False  # the aim is an upper bound
    note: str = ""
    times: dict[str, list[float]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Whether the aim was reached or by how much it was missed; empty where there is none."""
        if self.aim is None or self.ratio is None:
            return ""
        short = self.ratio - self.aim if self.at_most else self.aim - self.ratio
        return "reached" if short <= 0 else f"missed by {short:.3g}"


def compare(measure: str, times: dict[str, list[float]], per: float, **more: Any) -> Result:
    """The result of two contenders, the first's times over the second's, in ms for each of `per`.

    Ours is the second; where the ratio is to be `at_most` the aim, the first.
    """
    above, below = times.values()
    compared, ours = (median(each) * 1e3 / per for each in (above, below))
    if more.get("at_most"):
        compared, ours = ours, compared
    share = ratio(above, below)
    return Result(measure, compared, ours, "ms/image", share, times=times, **more)


def rate(measure: str, times: dict[str, list[float]], count: int, note: str) -> Result:
    """How many of `count` images a second are done by "ours"; compared with nothing."""
    return Result(measure, None, count / median(times["ours"]), "images/s", note=note, times=times)


def table(results: list[Result]) -> str:
    """The results as plain text, a line each, words to the left and numbers to the right."""
    lines = [HEAD, *map(_cells, results)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = [">" if name in NUMBERS else "<" for name in HEAD]
    form = "  ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    head, *text = (form.format(*cells).rstrip() for cells in lines)
    return "\n".join([head, "-" * max(map(len, (head, *text))), *text])


def line(result: Result) -> str:
    """One result by itself, for the log while the others are measured."""
    return "  ".join(filter(None, _cells(result)))


def _cells(result: Result) -> tuple[str, ...]:
    aim = "" if result.aim is None else f"{'≤' if result.at_most else '≥'} {result.aim:g}"
    compared, ours, times = map(_number, (result.compared, result.ours, result.ratio))
    return (
        result.measure, compared, ours, result.unit, times, aim, result.verdict, result.note
    )  # fmt: skip


def _number(value: float | None) -> str:
    """Three digits, and never an exponent."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def save(path: Path, results: list[Result], machine: dict[str, Any]) -> None:
    """Everything that was measured, and where, as JSON."""
    lines = [asdict(result) | {"verdict": result.verdict} for result in results]
    write_json(path, {"machine": machine, "results": lines})
