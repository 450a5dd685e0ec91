"""Lines, tables and signs of life from long work, in Jupyter, on a terminal and in a log."""

import io
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, TypeVar

import psutil
from IPython import get_ipython
from IPython.display import display
from tqdm import tqdm

if TYPE_CHECKING:
    import pandas as pd

Item = TypeVar("Item")
_WHOLE = (
    *("display.max_rows", None, "display.max_columns", None, "display.max_colwidth", None),
    *("display.width", 10_000),  # characters of a line
)
LINE_EVERY = 30.0  # seconds between two plain progress lines


def begin() -> None:
    """Make the streams take every sign: the first call of a notebook or a command.

    What a terminal or a log cannot show, such as an α or an id, is then written "\\u03b1".
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what Jupyter prints to shows everything
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print a line at once, so that a log under nohup shows it while the run goes on."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def amount(size: float) -> str:
    """Bytes for people, in powers of ten as disks are sold: '5.82 GB', '12.3 MB', '812 bytes'."""
    for unit, factor, digits in (("GB", 1e9, 2), ("MB", 1e6, 1), ("kB", 1e3, 1)):
        if size >= factor:
            return f"{size / factor:.{digits}f} {unit}"
    return f"{size:.0f} bytes"


def duration(seconds: float) -> str:
    """Seconds for people: '42 s', '3 min', '2 h 05 min'; "" for nan."""
    if not math.isfinite(seconds):
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def show_table(table: "pd.DataFrame") -> None:
    """Show a table in a notebook, or print all of it: a log has room for every column.

    Whole numbers are grouped by thousands.
    """
    whole = table.select_dtypes("integer").columns
    table = table.assign(**{name: table[name].map("{:,}".format) for name in whole})
    if in_kernel():
        import pandas as pd  # here, so that a command's --help does not wait for it

        with pd.option_context(*_WHOLE):  # the form as text, too: papermill writes it into its log
            display(table)
    else:
        say(table.to_string())


def in_kernel() -> bool:
    """Whether this is a notebook's kernel. Who executes notebooks has imported one, and is none."""
    return hasattr(get_ipython(), "kernel")


def in_live_jupyter() -> bool:
    """Whether a person looks at this kernel: a Jupyter server or Colab started it.

    Kernels that papermill or nbconvert start have no session name, and no one to see a bar; when
    they were started from within Jupyter, their parent has handed them its own.
    """
    if not in_kernel():
        return False
    if "google.colab" in sys.modules:
        return True
    return "JPY_SESSION_NAME" in os.environ and "JPY_SESSION_NAME" not in _parent_environment()


def _parent_environment() -> dict[str, str]:
    """The environment of the process that started this one; empty where it may not be seen."""
    parent = psutil.Process().parent()
    try:
        return parent.environ() if parent else {}
    except psutil.Error:
        return {}


def progress(
    items: Iterable[Item], what: str, unit: str = "", total: int | None = None, more: int = 0
) -> Iterator[Item]:
    """Pass the items on, showing how far it is: a bar where someone looks, plain lines in a log.

    Plain lines come every 30 seconds with the time left; work that ends sooner prints none. more
    items like these come later, as the batches of further epochs: the time for all is told, too.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if in_live_jupyter():
        from tqdm.notebook import tqdm as tqdm_notebook  # needs a kernel with widgets

        bar_of: type[tqdm] = tqdm_notebook
    elif sys.stderr.isatty():
        bar_of = tqdm
    else:
        yield from _lines(items, what, total, unit, more)
        return
    bar = bar_of(items, desc=what, total=total, unit=f" {unit}", leave=False)
    start = time.monotonic()
    for done, item in enumerate(bar, start=1):
        yield item
        if more and total:
            each = (time.monotonic() - start) / done
            bar.set_postfix_str(_left_in_all(each * (total - done + more)), refresh=False)


def _lines(
    items: Iterable[Item], what: str, total: int | None, unit: str, more: int
) -> Iterator[Item]:
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= LINE_EVERY:
            last, each = now, (now - start) / done
            left = f", {each * (total - done):.0f} s left" if total else ""
            if more and total:
                left += f", {_left_in_all(each * (total - done + more))}"
            say(f"{what}: {done}{f'/{total}' if total else ''} {unit}{left}")


def _left_in_all(seconds: float) -> str:
    return f"about {duration(seconds)} left in all"
