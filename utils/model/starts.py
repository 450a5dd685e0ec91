"""The initial weights of a network, kept for as long as it exists.

In a notebook the same network may be trained twice: the cell was interrupted and is run again, or
the run restarts without the cell that builds the network. Both must end as a single training does.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from utils.model.checkpoints import digest
from utils.system.errors import RunError
from utils.system.experiment import Experiment


@dataclass
class _Start:
    weights: dict[str, Tensor]
    experiment: Experiment  # the one that it was built for
    left: str = ""  # digest of the weights after training; "" before


_STARTS: WeakKeyDictionary[nn.Module, _Start] = WeakKeyDictionary()


@contextmanager
def keep_start(network: nn.Module, experiment: Experiment) -> Iterator[None]:
    """Keep the network's initial weights; open while it is trained."""
    if network not in _STARTS:
        weights = {name: value.cpu().clone() for name, value in network.state_dict().items()}
        _STARTS[network] = _Start(weights, experiment)
    start, refused = _STARTS[network], False
    try:
        yield
    except RunError:
        refused = True
        raise
    finally:
        if not (refused and start.left):
            start.left = digest(network.state_dict())


def begin_again(network: nn.Module, experiment: Experiment, say: Callable[[str], None]) -> None:
    """Reset a network that was trained in this process to its initial weights.

    Raises RunError where its weights were changed since, as it is unclear which are meant; and for
    another experiment, whose seed or options would have given it other ones.
    """
    weights = experiment.weights or getattr(experiment, "encoder_from", None)
    if weights and getattr(network, "start", "") == "random weights":  # as `nets.build` says it
        raise RunError(
            f"this network was built to go on with a run, without {weights!r}, and there is no run "
            "to go on with; run the cells again from the one that locates its initial weights."
        )
    start = _STARTS[network]
    if not start.left:
        return
    same_weights = start.left == digest(network.state_dict())
    if not same_weights or start.experiment != experiment:
        changed = "the settings" if same_weights else "its weights"
        raise RunError(
            f"this network was trained before, and {changed} were changed since; run the cell that "
            "builds the network again (nets.build), and then this one."
        )
    network.load_state_dict(start.weights)
    say("the network was trained here before; it restarts from its initial weights")
