"""The files from which a run resumes (`last.pt`) and is used later (`best.safetensors`).

Writes are atomic, and checksums in the files reveal a damaged bit on loading. `last.pt` holds
tensors, numbers and strings only, and is loaded with weights_only=True: loading never executes code
from the file.
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

from utils.system.errors import RunError
from utils.system.files import write_atomic

_DIGEST = "sha256"  # in the metadata of a safetensors file
_RESTART = "Train the run again with resume='restart' (the old folder is moved aside)."


@dataclass
class Progress:
    """How far a run is, including the sums of the current epoch: it can stop after any batch."""

    epoch: int = 0  # complete epochs
    batch: int = 0  # complete batches of the current epoch
    loss_sum: float = 0.0  # over these batches
    seconds: float = 0.0  # spent on them
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    timing: list[dict[str, float]] = field(default_factory=list)

    def close_epoch(self, row: dict[str, float], cost: dict[str, float]) -> None:
        """Append to the history and, apart as times never repeat, to the timing."""
        self.epoch += 1
        self.history.append(row)
        self.timing.append({"epoch": self.epoch, "seconds": round(self.seconds, 3)} | cost)
        self.batch, self.loss_sum, self.seconds = 0, 0.0, 0.0


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    average: nn.Module | None = None,
) -> None:
    """Write everything that resuming needs; average holds the moving average of the weights."""
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    if average is not None:
        state["average"] = average.state_dict()
    file = io.BytesIO()  # torch itself reports a full disk by another error
    torch.save(state, file)
    write_atomic(path, file.getvalue())


def load_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None = None,
) -> Progress:
    """Load the stored state into network and optimiser. Raises RunError for a file that is damaged,
    needs pickle, or belongs to another network; errors of the device as they are."""
    try:
        with path.open("rb") as file:
            _check_sums(file)
            state = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        if average is not None:
            average.load_state_dict(state["average"])
        for group in optimizer.param_groups:
            group["fused"] = optimizer.defaults["fused"]  # as this device needs it
        return Progress(**state["progress"])
    except UnpicklingError as error:
        reason = "is damaged or no checkpoint"
        if "global" in str(error).lower():
            reason = "is refused: it holds pickled objects, which could execute code"
        raise RunError(f"{path} {reason}. Use resume='restart'.{_kept(path)}") from None
    except (torch.OutOfMemoryError, torch.AcceleratorError):  # RuntimeErrors, but not of the file
        raise
    except (
        RuntimeError, KeyError, TypeError, ValueError, EOFError, OSError, zipfile.BadZipFile
    ) as error:  # fmt: skip
        raise RunError(
            f"{path} cannot be resumed from: {error}. {_RESTART}{_kept(path)}"
        ) from error


def _check_sums(file: BinaryIO) -> None:
    """RuntimeError where a part of torch's zip does not match its CRC-32, which torch never checks.

    Of a part that is marked as a folder or as compressed, it would load uninitialised memory.
    """
    if zipfile.is_zipfile(file):  # else torch's own error is clear
        with zipfile.ZipFile(file) as parts:
            if any(part.external_attr or part.compress_type for part in parts.infolist()):
                raise RuntimeError("it is damaged: torch writes no such parts")
            if part := parts.testzip():
                raise RuntimeError(f"it is damaged: {part} does not match its checksum")
    file.seek(0)


def _kept(path: Path) -> str:
    """What remains where a checkpoint is lost."""
    best = path.with_name("best.safetensors")
    if not best.exists():
        return ""
    return (
        f" The best weights so far are in {best.name}; a finished run needs nothing else: remove "
        f"{path.name}, and run it again."
    )


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors."""
    sha = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the network's tensors as safetensors, see `save_tensors`."""
    save_tensors(network.state_dict(), path)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors, which refuses channels_last ones, with their digest."""
    dense = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_atomic(path, save(dense, {_DIGEST: digest(dense)}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. RunError where it is missing, or its digest is wrong.

    Files of early versions have no digest.
    """
    if not path.exists():
        raise RunError(f"{path} is missing, though the run trained. Use resume='restart'.")
    try:
        with safe_open(path, framework="pt") as file:
            stored = (file.metadata() or {}).get(_DIGEST)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if stored not in (None, digest(tensors)):
            raise ValueError("its tensors do not match their checksum")
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise _useless(path, error) from error
    return tensors


def load_weights(network: nn.Module, path: Path) -> None:
    """Load what `save_weights` wrote. RunError where it is missing or damaged, or does not fit."""
    tensors = read_weights(path)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise _useless(path, error) from error


def _useless(path: Path, error: Exception) -> RunError:
    reason = str(error).strip().splitlines()[-1].strip()
    return RunError(
        f"{path} is damaged or holds the weights of another network ({reason}). {_RESTART}"
    )


def finished_progress(history: Path) -> Progress:
    """The progress of a finished run without `last.pt`, from its `history.csv`."""
    try:
        epochs: list[Any] = pd.read_csv(history).to_dict("records")
    except (OSError, ValueError) as error:
        raise RunError(
            f"{history} cannot be read ({error}), and there is no last.pt beside it. {_RESTART}"
        ) from error
    return Progress(epoch=len(epochs), finished=True, history=epochs)


def check_best(
    path: Path, network: nn.Module, done: Progress, kept: int, say: Callable[[str], None]
) -> None:
    """RunError before the long training, not after it, where the weights of epoch kept are lost.

    They are written again where it is the last complete one, whose weights the network holds.
    """
    if not done.history:
        return
    try:
        read_weights(path)
    except RunError:
        if done.batch or kept != done.epoch:
            raise
        save_weights(network, path)
        say(f"{path} was damaged or missing; restored from last.pt")
