"""How weights get into a network: all that belong there, or none.

A file is never allowed to run code: only plain tensors are read, see
https://pytorch.org/docs/stable/notes/serialization.html.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nets.weights import WeightsError


class Loaded(NamedTuple):
    """What of a network and its weight file found no counterpart, by key."""

    missing: list[str]  # in the file: the network keeps its initial values
    spare: list[str]  # in the network: the file's values are left out


def read(path: Path) -> dict[str, Tensor]:
    """The plain state dict in `path` (`.safetensors`, or anything torch.save wrote), on the CPU."""
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its parser stumbles over
        if "global" in str(error).lower():
            reason = "it holds pickled objects, and reading them would execute code from the file"
            cure = "have its author save `network.state_dict()` or a .safetensors file"
        else:
            reason, cure = "it is damaged or no weight file", "fetch it again"
        raise WeightsError(f"{path} is refused: {reason}; {cure}") from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and torch.is_tensor(value) for key, value in state.items()
    ):
        raise WeightsError(
            f"{path} is refused: got {type(state).__name__} with more in it than named tensors, "
            "expected a plain state dict; save `network.state_dict()`"
        )
    return state


def load(network: nn.Module, path: Path) -> Loaded:
    """Copy the weights in `path` into `network`, into its encoder where it is a segmenter.

    Only the head (dropped where its number of classes differs), alpha, and BN's batch counter,
    which files older than 2018 lack, may be missing; only the keys in a segmenter's `spare` may be
    left out. Nothing is copied if anything else differs.

    Raises:
        WeightsError: the file cannot be read, or does not fit.
    """
    target = getattr(network, "encoder", network)
    own = target.state_dict()
    state = read(path)
    if hasattr(network, "translate"):
        state = network.translate(state)
    # Older files keep alpha as a vector of one number.
    state = {k: v.reshape(()) if is_alpha(k) and v.numel() == 1 else v for k, v in state.items()}
    no_place = set(getattr(network, "spare", ()))
    no_place |= {k for k, v in state.items() if is_head(k) and differs(own.get(k), v)}
    spare = [key for key in state if key in no_place]
    state = {key: value for key, value in state.items() if key not in no_place}
    missing = [key for key in own if key not in state]
    problems = {
        "missing": [key for key in missing if not may_be_missing(key)],
        "unexpected": [key for key in state if key not in own],
        "of another shape": [key for key in state if key in own and differs(own[key], state[key])],
    }
    if any(problems.values()):
        raise WeightsError(f"{path} {misfit(network, problems)}")
    # Not the encoder's own method: smp's DenseNet has one that knows no `strict`.
    nn.Module.load_state_dict(target, state, strict=False)
    return Loaded(missing, spare)


def misfit(network: nn.Module, problems: dict[str, list[str]]) -> str:
    """What is wrong with a file, and the cure."""
    found = "; ".join(f"{len(k)} {what} ({listed(k)})" for what, k in problems.items() if k)
    name = type(network).__name__
    if hasattr(network, "encoder"):
        return (
            f"does not fit the encoder of {name}: keys {found}; give the file of a classifier that "
            "is this encoder (for arl_unet with depth=18: of resnet18 or arl18), or weights='none'"
        )
    return (
        f"does not fit {name}: keys {found}; "
        "give the file of this network, or build the network that the file was saved from"
    )


def listed(keys: list[str]) -> str:
    """Up to five keys."""
    return ", ".join(keys[:5]) + (", …" if len(keys) > 5 else "")


def differs(own: Tensor | None, other: Tensor) -> bool:
    """Whether a tensor of ours has another shape than the file's (False where we have none)."""
    return own is not None and own.shape != other.shape


def is_alpha(key: str) -> bool:
    return key.endswith("alpha")


def is_head(key: str) -> bool:
    return key.startswith(("fc.", "classifier."))


def may_be_missing(key: str) -> bool:
    return is_head(key) or is_alpha(key) or key.endswith(".num_batches_tracked")
