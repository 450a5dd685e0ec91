"""Stop-watch: contenders take turns in one run, all times are kept, medians and ratios are taken.

A machine slows down and speeds up while it is measured; what is compared must therefore run in the
same minute. Ratios are taken within each round, their median is what is reported.
"""

import math
import statistics
import time
from collections.abc import Callable

import torch

Work = Callable[[], object]


def seconds(work: Work, calls: int, device: torch.device) -> float:
    """Wall-clock seconds of one call, as the mean of `calls` in a row."""
    _wait_for(device)
    start = time.perf_counter()
    for _ in range(calls):
        work()
    _wait_for(device)
    return (time.perf_counter() - start) / calls


def _wait_for(device: torch.device) -> None:
    """A GPU works on after a call has returned."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def alternate(
    contenders: dict[str, Work], rounds: int, least: float, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of one call of each contender, one number a round.

    Each is warmed up first. In each round each contender has its turn of at least `least` seconds,
    in the reverse order every other round: a machine that slows down steadily favours nobody.
    """
    calls = {}
    for name, work in contenders.items():
        work()
        calls[name] = max(1, math.ceil(least / seconds(work, 1, device)))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        for name in list(contenders)[:: -1 if turn % 2 else 1]:
            times[name].append(seconds(contenders[name], calls[name], device))
    return times


def median(values: list[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def ratio(above: list[float], below: list[float]) -> float:
    """The median of above / below, taken round by round."""
    return median([one / other for one, other in zip(above, below, strict=True)])


def epochs_to_pay_off(cost: float, slow: float, fast: float) -> int | None:
    """After how many epochs a once-only cost is won back; None where nothing is won.

    cost, slow and fast in seconds, the latter two of one epoch without and with what was paid for.
    """
    return math.ceil(cost / (slow - fast)) if slow > fast else None
