"""What a run stores to go on from (`last.pt`) and to be used later (`best.safetensors`).

Both are written whole or not at all, and hold checksums of what is in them: a bit that the disk
turned is noticed on loading. `last.pt` holds tensors, numbers and strings only, and is
loaded with weights_only=True: loading a file never executes code that lies in it.
"""

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from utils.logger.runs import best_epoch
from utils.system.errors import RunError
from utils.system.files import write_atomic

_DIGEST = "sha256"  # the entry of a safetensors file's own metadata


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
    # By way of memory: torch has words of its own for a disk that is full.
    file = io.BytesIO()
    torch.save(state, file)
    write_atomic(path, file.getbuffer())


def load_checkpoint(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Put the stored state into network and optimiser. Raises RunError for a file that is damaged,
    that needs pickle, or that belongs to another network; what fails on the device as it is."""
    try:
        with path.open("rb") as file:
            _check_sums(file)
            state = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        return Progress(**state["progress"])
    except UnpicklingError as error:
        reason = "is damaged or no checkpoint"
        if "global" in str(error).lower():
            reason = "holds pickled objects; loading them would execute code from the file, so it"
            reason += " is refused"
        raise RunError(f"{path} {reason}. Use resume='restart'.{_kept(path)}") from None
    except (torch.OutOfMemoryError, torch.AcceleratorError):  # RuntimeErrors; the file is whole
        raise
    except (
        RuntimeError, KeyError, TypeError, ValueError, EOFError, OSError, zipfile.BadZipFile
    ) as error:  # fmt: skip
        raise RunError(
            f"{path} cannot be resumed from: {error}. Use resume='restart' to begin again (the "
            f"old folder is moved aside).{_kept(path)}"
        ) from error


def _check_sums(file: BinaryIO) -> None:
    """RuntimeError where a part of the zip that torch writes does not fit its CRC-32.

    torch writes them, and does not look at them. Of a part that is marked as a folder or as packed,
    which none is, it would take whatever lies in memory.
    """
    if zipfile.is_zipfile(file):  # else torch has the words
        with zipfile.ZipFile(file) as parts:
            if any(part.external_attr or part.compress_type for part in parts.infolist()):
                raise RuntimeError("it is damaged: its parts are marked as torch marks none")
            if part := parts.testzip():
                raise RuntimeError(f"it is damaged: {part} does not fit its checksum")
    file.seek(0)


def _kept(path: Path) -> str:
    """What can be gone back to where a checkpoint is lost."""
    best = path.with_name("best.safetensors")
    if not best.exists():
        return ""
    return (
        f" The best weights so far are whole in {best.name}; of a run that is finished they are "
        f"all that is needed: remove {path.name}, and run it again."
    )


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the network's tensors as safetensors, which refuses channels_last ones."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    write_atomic(path, save(tensors, {_DIGEST: digest(tensors)}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. RunError where it is gone, or does not fit its digest.

    Files of early versions have none.
    """
    if not path.exists():
        raise RunError(f"{path} is missing, though the run trained. Use resume='restart'.")
    try:
        with safe_open(path, framework="pt") as file:
            known = (file.metadata() or {}).get(_DIGEST)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if known not in (None, digest(tensors)):
            raise ValueError("its tensors do not fit their checksum")
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise _useless(path, error) from error
    return tensors


def load_weights(network: nn.Module, path: Path) -> None:
    """Load what `save_weights` wrote. RunError when it is gone, damaged, or of another network."""
    tensors = read_weights(path)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise _useless(path, error) from error


def _useless(path: Path, error: Exception) -> RunError:
    reason = str(error).strip().splitlines()[-1].strip()
    return RunError(
        f"{path} is damaged or holds the weights of another network ({reason}). Train the run "
        "again with resume='restart' (the old folder is moved aside)."
    )


def finished_progress(history: Path) -> Progress:
    """How far a finished run is whose `last.pt` was removed, from its `history.csv`."""
    try:
        epochs: list[Any] = pd.read_csv(history).to_dict("records")
    except (OSError, ValueError) as error:
        raise RunError(
            f"{history} cannot be read ({error}), and there is no last.pt beside it. Train the run "
            "again with resume='restart' (the old folder is moved aside)."
        ) from error
    return Progress(epoch=len(epochs), finished=True, history=epochs)


def check_best(
    path: Path, network: nn.Module, done: Progress, score: str, say: Callable[[str], None]
) -> None:
    """Know now, not after the last epoch, whether the best weights are whole.

    They are written again where the network holds them: where the best epoch by this score is the
    last that was done. RunError where they are lost.
    """
    if not done.history:
        return
    try:
        read_weights(path)
    except RunError:
        if done.batch or best_epoch(done.history, score) != done.epoch:
            raise
        save_weights(network, path)
        say(f"{path} was damaged or gone; last.pt held the same weights")
