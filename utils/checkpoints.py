"""What a run stores to go on from (`last.pt`) and to be used later (`best.safetensors`).

Both are written whole or not at all. `last.pt` holds tensors, numbers and strings only, and is
loaded with weights_only=True: loading a file never executes code that lies in it.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from utils.files import write_atomic
from utils.logger import RunError


@dataclass
class Progress:
    """How far a run is, the sums of the current epoch included: it can stop after any batch."""

    epoch: int = 0  # complete epochs
    batch: int = 0  # batches of the current epoch that are done
    loss_sum: float = 0.0  # over these batches
    seconds: float = 0.0  # spent on them
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    timing: list[dict[str, float]] = field(default_factory=list)

    def close_epoch(self, row: dict[str, float], cost: dict[str, float]) -> None:
        """Keep the row of the epoch that ends, and its cost apart: times never repeat."""
        self.epoch += 1
        seconds = round(self.seconds, 3)
        self.history.append(row)
        self.timing.append({"epoch": self.epoch, "seconds": seconds} | cost)
        self.batch, self.loss_sum, self.seconds = 0, 0.0, 0.0


def save_checkpoint(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write everything that is needed to go on."""
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    write_atomic(path, lambda file: torch.save(state, file))


def load_checkpoint(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Put the stored state into network and optimiser. Raises RunError for a file that is damaged,
    that needs pickle, or that belongs to another network."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        return Progress(**state["progress"])
    except UnpicklingError as error:
        reason = "is damaged or no checkpoint"
        if "global" in str(error).lower():
            reason = "holds pickled objects; loading them would execute code from the file, so it"
            reason += " is refused"
        raise RunError(f"{path} {reason}. Use resume='restart'.") from None
    except (RuntimeError, KeyError, TypeError, ValueError, EOFError, OSError) as error:
        raise RunError(
            f"{path} cannot be resumed from: {error}. Use resume='restart' to begin again (the "
            "old folder is moved aside)."
        ) from error


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the network's tensors as safetensors, which refuses channels_last ones."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    write_atomic(path, save(tensors))


def load_weights(network: nn.Module, path: Path) -> None:
    """Load what `save_weights` wrote. RunError when it is gone, damaged, or of another network."""
    if not path.exists():
        raise RunError(f"{path} is missing, though the run trained. Use resume='restart'.")
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise RunError(
            f"{path} is damaged or holds the weights of another network ({reason}). Train the run "
            "again with resume='restart' (the old folder is moved aside)."
        ) from error
