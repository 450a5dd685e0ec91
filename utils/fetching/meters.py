"""How far several files are, each with its own meter: bars where someone looks, lines in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

from tqdm import tqdm

from utils.system import console
from utils.system.console import amount, in_live_jupyter, say


class StoppedError(Exception):
    """The work was told to stop."""


class Meter:
    """How far one file is. The thread that works on it writes, another one shows.

    Each step raises StoppedError once stop is set, so whoever measures can be stopped.
    """

    def __init__(self, name: str, stop: Event | None = None) -> None:
        self.name = name
        self.stop = stop or Event()
        self.what = ""  # the work in progress, such as "fetching"; "" for none
        self.done, self.total = 0, None

    def start(self, what: str, done: int, total: int | None) -> None:
        """From here on it is this work, of which done bytes are done."""
        self.done, self.total, self.what = done, total, what
        self.move(0)

    def move(self, count: int) -> None:
        """So many more bytes are done."""
        self.done += count
        if self.stop.is_set():
            raise StoppedError

    def pause(self, seconds: float) -> None:
        """Sleep."""
        if self.stop.wait(seconds):
            raise StoppedError

    def finish(self) -> None:
        """Nothing is in progress any more."""
        self.what = ""

    def __str__(self) -> str:
        if self.total is None:
            return amount(self.done)
        return f"{amount(self.done)} of {amount(self.total)}"


@contextmanager
def display(meters: list[Meter]) -> Iterator[Callable[[], None]]:
    """Gives a function to call every now and then, which shows how far the meters are."""
    if in_live_jupyter():
        from tqdm.notebook import tqdm as notebook_bar  # needs a kernel with widgets

        shown = _Bars(meters, notebook_bar)
    else:
        shown = _Bars(meters, tqdm) if sys.stderr.isatty() else _Lines(meters)
    try:
        yield shown.show
    finally:
        shown.close()


class _Bars:
    """A bar for each meter at work, in the place of its own."""

    def __init__(self, meters: list[Meter], bar: type[tqdm]) -> None:
        self.meters, self.bar = meters, bar
        self.bars: dict[Meter, tuple[str, tqdm]] = {}

    def show(self) -> None:
        for position, meter in enumerate(self.meters):
            what = meter.what
            if meter in self.bars and self.bars[meter][0] != what:
                self.bars.pop(meter)[1].close()
            if what and meter not in self.bars:
                options = {"initial": meter.done, "total": meter.total, "position": position}
                options |= {"unit": "B", "unit_scale": True, "leave": False}
                self.bars[meter] = what, self.bar(desc=f"{what} {meter.name}", **options)
            if what:
                shown = self.bars[meter][1]
                shown.total = meter.total
                shown.update(meter.done - shown.n)

    def close(self) -> None:
        for _, shown in self.bars.values():
            shown.close()


class _Lines:
    """A line for each meter at work, every 30 seconds."""

    def __init__(self, meters: list[Meter]) -> None:
        self.meters = meters
        self.last = dict.fromkeys(meters, (time.monotonic(), "", 0))

    def show(self) -> None:
        now = time.monotonic()
        for meter in self.meters:
            since, what, before = self.last[meter]
            if meter.what != what or meter.done < before:
                self.last[meter] = now, meter.what, meter.done
            elif what and now - since >= console.LINE_EVERY:
                self.last[meter] = now, what, meter.done
                rate = (meter.done - before) / (now - since)
                left = ""
                if meter.total and rate:
                    left = f", {(meter.total - meter.done) / rate:.0f} s left"
                say(f"{what} {meter.name}: {meter}, {amount(rate)}/s{left}")

    def close(self) -> None:
        pass
