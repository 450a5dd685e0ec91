"""Lines, tables and the progress of long work, in Jupyter, on a terminal and in a log."""

import io
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:  # a command prints its help before anything slow is imported
    import pandas as pd

Item = TypeVar("Item")
LINE_EVERY = 30.0  # seconds between two plain progress lines


def begin() -> None:
    """Let the streams take any character: the first call of a notebook or a command.

    What a terminal or a log cannot show, such as an α, is then written "\\u03b1".
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Jupyter's own stream shows everything
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print a line at once, so that a log under nohup shows it during the run."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def amount(size: float) -> str:
    """Bytes in words, in powers of ten as disks are sold.

    >>> amount(5.82e9), amount(12.34e6), amount(812)
    ('5.82 GB', '12.3 MB', '812 bytes')
    """
    for unit, factor, digits in (("GB", 1e9, 2), ("MB", 1e6, 1), ("kB", 1e3, 1)):
        if size >= factor:
            return f"{size / factor:.{digits}f} {unit}"
    return f"{size:.0f} bytes"


def duration(seconds: float) -> str:
    """Seconds in words; "" for nan.

    >>> duration(42), duration(180), duration(7500)
    ('42 s', '3 min', '2 h 05 min')
    """
    if not math.isfinite(seconds):
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def show_table(table: "pd.DataFrame") -> None:
    """Show a table in a notebook, or print all of it: a log has room for every column.

    Integers are grouped by thousands.
    """
    integers = table.select_dtypes("integer").columns
    table = table.assign(**{name: table[name].map("{:,}".format) for name in integers})
    if in_kernel():
        import pandas as pd
        from IPython.display import display

        limits = ("max_rows", "max_columns", "max_colwidth")
        options = {f"display.{limit}": None for limit in limits} | {"display.width": 10_000}
        with pd.option_context(options):  # for its text, too: papermill writes it into its log
            display(table)
    else:
        say(table.to_string())


def in_kernel() -> bool:
    """Whether this is a notebook's kernel; a program that executes notebooks is none."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def in_live_jupyter() -> bool:
    """Whether a person looks at this kernel: a Jupyter server or Colab started it.

    Kernels that papermill or nbconvert start have no session name of their own; started from
    within Jupyter, they inherit their parent's.
    """
    if not in_kernel():
        return False
    if "google.colab" in sys.modules:
        return True
    if "JPY_SESSION_NAME" not in os.environ:
        return False
    import psutil

    parent = psutil.Process().parent()
    try:
        return parent is None or "JPY_SESSION_NAME" not in parent.environ()
    except psutil.Error:  # it may not be inspected
        return True


def progress(
    items: Iterable[Item], what: str, unit: str = "", total: int | None = None, more: int = 0
) -> Iterator[Item]:
    """Yield the items and show the progress: a bar for a person, plain lines in a log.

    Plain lines come every 30 seconds with the time left; shorter work prints none, and a single
    item has no bar. more is how many such items follow, as the batches of further epochs do: the
    time for all is shown, too.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    bar_of: type[tqdm] | None = tqdm if sys.stderr.isatty() else None
    if in_live_jupyter():
        from tqdm.notebook import tqdm_notebook as bar_of  # needs a kernel with widgets
    if bar_of and total != 1:
        items = bar_of(items, desc=what, total=total, unit=f" {unit}", leave=False)
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        each, left = (now - start) / done, (total or done) - done
        in_all = f"about {duration(each * (left + more))} left in all" if more and total else ""
        if isinstance(items, tqdm):
            items.set_postfix_str(in_all, refresh=False)
        elif now - last >= LINE_EVERY:
            last = now
            times = f", {each * left:.0f} s left" * bool(total) + f", {in_all}" * bool(in_all)
            say(f"{what}: {done}{f'/{total}' if total else ''} {unit}{times}")
