"""Whether a network is compiled: as asked for, as its run began, or, for "auto", as timed in it.

Compiled code rounds differently: `config.json` keeps what ran, and a resumed run goes on with it.
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from utils.logger.run import RunFolder
from utils.system.console import duration
from utils.system.experiment import Experiment

# "auto" tries it on these alone. On a CPU of two cores it takes about a minute, and gains 6 % or
# nothing (docs/speed.md); Apple's GPUs were not measured.
TRIED_ON = ("cuda",)
WORTH = 600.0  # seconds of training left: compiling takes about one of these ten minutes


def next_epoch(seconds: Sequence[float], left: int) -> tuple[bool, bool]:
    """For "auto": whether the next epoch is compiled, and whether that is the last word.

    seconds: of the epochs so far, eager ones and then compiled ones. The first of each kind does
    not count: it chooses algorithms, or compiles. left: the epochs to come.

    >>> next_epoch([70, 60], left=10), next_epoch([70, 60], left=11)
    ((False, True), (True, False))
    >>> next_epoch([70, 60, 99, 59], left=9), next_epoch([70, 60, 99, 60], left=9)
    ((True, True), (False, True))
    """
    if len(seconds) == 2:
        worth = seconds[1] * left > WORTH
        return worth, not worth
    if len(seconds) == 4:
        return seconds[3] < seconds[1], True
    return len(seconds) == 3, not left


class Compiling:
    """Compiles the network of a run or not; with "auto" both in turn, until it has chosen.

    A run that was compiled goes on without it where it does not work, and is told: runs may move to
    another device, too. One that is killed before "auto" has chosen tries again.
    """

    def __init__(
        self, network: nn.Module, run: RunFolder, experiment: Experiment, device: torch.device
    ) -> None:
        self.network, self.run, self.device = network, run, device
        self.seconds: list[float] = []
        asked, begun = experiment.compile_network, run.config.get("compiled")
        undecided = asked == "auto" and begun is None and not run.finished
        self.trying = undecided and device.type in TRIED_ON
        wanted = asked is True if begun is None else begun
        works = wanted and can_compile(device, run.say)
        self._switch(works)
        if run.finished or self.trying:
            return
        if begun and not works:
            run.say(f"{run.path} was compiled so far; from here on it rounds a little differently")
        elif begun is False and asked is True:
            run.say(f"{run.path} was begun without torch.compile, and goes on without it")
        elif undecided:
            run.say(f"compile_network is 'auto', which compiles nothing on {device.type}")
        run.remember("compiled", works)

    def after_epoch(self, seconds: float, batches: int, left: int) -> None:
        """Choose how the next epoch is computed. The last ended with a wait for the device."""
        if not self.trying:
            return
        self.seconds.append(seconds)
        compiled, chosen = next_epoch(self.seconds, left)
        if compiled and len(self.seconds) == 2 and not can_compile(self.device, self.run.say):
            compiled = self.trying = False
        elif chosen:
            self.trying = False
            self.run.say(self._reason(compiled, batches, left))
        self._switch(compiled)
        if not self.trying:
            self.run.remember("compiled", compiled)

    def _reason(self, compiled: bool, batches: int, left: int) -> str:
        why = f"about {duration(self.seconds[-1] * left)} of training left"
        if len(self.seconds) == 4:
            _, eager, first, second = self.seconds
            why = f"{1000 * second / batches:.0f} against {1000 * eager / batches:.0f} ms a batch, "
            why += f"compiling took {max(first - second, 0.0):.0f} s"
        return f"{'compiled' if compiled else 'not compiled'}: {why}"

    def _switch(self, on: bool) -> None:
        """Call compiled code from now on, or the network as it is, whichever was called before."""
        if not on:
            self.network._compiled_call_impl = None  # torch has no other way back
        elif self.network._compiled_call_impl is None:
            self.network.compile()


def can_compile(device: torch.device, say: Callable[[str], None]) -> bool:
    """Whether torch.compile works here; says why where it does not.

    It needs a C++ compiler on a CPU or Triton on a GPU, and fails only at the first call.
    """
    try:
        torch.compile(lambda x: x + 1)(torch.ones(2, device=device))
    except Exception as error:  # the compiler's own errors have no common base class
        reason = str(error).strip().splitlines()[0]
        say(f"torch.compile does not work here ({reason}); training continues without it")
        return False
    return True
