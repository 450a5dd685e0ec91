"""The weights with which a network came to its training, kept while the network is there.

In a notebook the same network may be trained twice: the cell was interrupted and is run again, or
the run begins anew without the cell that builds the network. Both must end as one training does.
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
    experiment: Experiment  # that it was built for
    left: str = ""  # the digest of the weights that training left in the network; "" before


_STARTS: WeakKeyDictionary[nn.Module, _Start] = WeakKeyDictionary()


@contextmanager
def keep_start(network: nn.Module, experiment: Experiment) -> Iterator[None]:
    """Keep the weights that the network first came with; open while it is trained."""
    if network not in _STARTS:
        weights = network.state_dict().items()
        kept = {name: value.cpu().clone() for name, value in weights}
        _STARTS[network] = _Start(kept, experiment)
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
    """Give a network that was trained in this process the weights that it first came with.

    Raises RunError where somebody else has changed them since: nobody knows which are meant; and
    for another experiment, whose seed or options would have given it others.
    """
    start = _STARTS[network]
    if not start.left:
        return
    changed = "its weights were" if start.left != digest(network.state_dict()) else ""
    changed = changed or ("the settings were" if start.experiment != experiment else "")
    if changed:
        raise RunError(
            f"this network was trained before, and {changed} changed since; run the cell that "
            "builds the network again (nets.build), and then this one."
        )
    network.load_state_dict(start.weights)
    say("the network was trained here before; it begins again with the weights it first had")
