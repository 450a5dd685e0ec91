"""Contenders take turns in one run, all times are kept, medians and ratios are taken.

A machine slows down and speeds up while it is measured; what is compared must therefore run in the
same minute. Ratios are taken within each round, and their median is reported.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from statistics import median

import torch
from torch.utils.benchmark import Timer

Work = Callable[[], object]


def timer(work: Work) -> Timer:
    """torch's stop-watch, which waits for a GPU, with as many threads as torch has anyway."""
    return Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())


def alternate(
    contenders: Mapping[str, Work], rounds: int, least: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of one call of each contender, one number a round.

    In each round each contender warms up and has its turn of at least `least` seconds, in the
    reverse order every other round: a machine that slows down steadily favours nobody.
    """
    timers = {name: timer(work) for name, work in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        for name in list(timers)[:: -1 if turn % 2 else 1]:
            times[name].append(timers[name].blocked_autorange(min_run_time=least).median)
    return times


def passes(*loaders: Iterable[object]) -> Work:
    """Reads every batch of every loader, and keeps none."""
    return lambda: [deque(loader, maxlen=0) for loader in loaders]


def ratio(above: list[float], below: list[float]) -> float:
    """The median of above / below, taken round by round.

    >>> ratio([2.0, 6.0, 10.0], [1.0, 2.0, 1.0])  # of 2, 3 and 10
    3.0
    """
    return median(one / other for one, other in zip(above, below, strict=True))


def paid_back(cost: float, slow: float, fast: float) -> str:
    """In which epoch a cost paid once is won back, all in seconds, of an epoch without and with it.

    >>> paid_back(61, slow=10, fast=4)
    'paid back in epoch 11'
    >>> paid_back(60, slow=10, fast=4)
    'paid back in epoch 10'
    >>> paid_back(60, slow=4, fast=4)
    'never paid back'
    """
    if slow <= fast:
        return "never paid back"
    return f"paid back in epoch {math.ceil(cost / (slow - fast))}"
