"""What a measure gives, and how it is shown: a table to read, a JSON file to keep."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.timing import median, ratio
from utils.system.files import write_json

HEAD = ("measure", "compared", "ours", "unit", "ratio", "aim", "verdict", "note")
NUMBERS = ("compared", "ours", "ratio")


@dataclass(frozen=True)
class Result:
    """One line of the table.

    what is compared with ours, and ours, are medians in `unit`; `ratio` is what `aim` is about.
    Every time is in `times`, seconds of one call by contender.
    """

    measure: str
    compared: float | None
    ours: float | None
    unit: str
    ratio: float | None
    aim: float | None = None
    at_most: bool = False  # the aim is an upper bound
    note: str = ""
    times: dict[str, list[float]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """reached, missed by how much, or nothing where there is no aim."""
        if self.aim is None or self.ratio is None:
            return ""
        short = self.ratio - self.aim if self.at_most else self.aim - self.ratio
        return "reached" if short <= 0 else f"missed by {short:.3g}"


def compare(
    measure: str,
    times: dict[str, list[float]],
    above: str,
    below: str,
    *,
    per: float = 1.0,
    ours: str | None = None,
    **more: Any,
) -> Result:
    """The result of times[above] / times[below], in ms for each of `per` images.

    ours names which of the two is ours; the one below is when nothing is said.
    """
    ours = ours or below
    other = above if ours == below else below
    values = {name: median(times[name]) * 1e3 / per for name in (ours, other)}
    kept = {name: times[name] for name in (above, below)}
    return Result(
        measure,
        values[other],
        values[ours],
        "ms/image",
        ratio(times[above], times[below]),
        times=kept,
        **more,
    )


def table(results: list[Result]) -> str:
    """The results as plain text, a line each, words to the left and numbers to the right."""
    lines = [HEAD, *(_cells(result) for result in results)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(HEAD))]
    text = [
        "  ".join(
            cell.rjust(width) if name in NUMBERS else cell.ljust(width)
            for cell, width, name in zip(line, widths, HEAD, strict=True)
        ).rstrip()
        for line in lines
    ]
    return "\n".join([text[0], "-" * max(map(len, text)), *text[1:]])


def line(result: Result) -> str:
    """One result by itself, for the log while the others are measured."""
    return "  ".join(cell for cell in _cells(result) if cell)


def _cells(result: Result) -> tuple[str, ...]:
    aim = "" if result.aim is None else f"{'≤' if result.at_most else '≥'} {result.aim:g}"
    numbers = (_number(result.compared), _number(result.ours))
    ratio_ = _number(result.ratio)
    return (result.measure, *numbers, result.unit, ratio_, aim, result.verdict, result.note)


def _number(value: float | None) -> str:
    """Three digits, and never an exponent."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def save(path: Path, results: list[Result], machine: dict[str, Any]) -> None:
    """Everything that was measured, and where, as JSON."""
    lines = [asdict(result) | {"verdict": result.verdict} for result in results]
    write_json(path, {"machine": machine, "results": lines})
