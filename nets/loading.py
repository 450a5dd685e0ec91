"""How weights get into a network: all that belong there, or none."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nets.reading import read, unprefixed
from nets.weights import WeightsError


class Loaded(NamedTuple):
    """The keys of a network and of its weight file that have no counterpart in the other."""

    missing: list[str]  # in the file: the network keeps its initial values
    spare: list[str]  # in the network: the file's values are left out
    note: str  # which file it was, and all this, in words


def load(network: nn.Module, path: Path) -> Loaded:
    """Copy the weights in `path` into `network`, into its encoder where it is a segmenter.

    Only the head (dropped where its number of classes differs), alpha, and BN's batch counter,
    which files older than 2018 lack, may be missing; only the keys in a segmenter's `spare` may be
    left out. Nothing is copied if anything else differs, or if a value is not finite.

    Raises:
        WeightsError: the file cannot be read, or does not fit.
    """
    target = getattr(network, "encoder", network)
    own = target.state_dict()
    state, entry = read(path)
    state, prefix = unprefixed(state, own)
    file = f"{path}{unwrapped(entry, prefix)}"
    if translate := getattr(network, "translate", None):
        state = translate(state)
    # Older files keep alpha as a vector of one number.
    state = {k: v.reshape(()) if is_alpha(k) and v.numel() == 1 else v for k, v in state.items()}
    no_place = set(getattr(network, "spare", ()))
    no_place |= {k for k, v in state.items() if is_head(k) and differs(own.get(k), v)}
    used = {key: value for key, value in state.items() if key not in no_place}
    missing = [key for key in own if key not in used]
    require_fit(network, file, own, used)
    require_numbers(file, own, used)
    # Not the encoder's own method: smp's DenseNet has one that knows no `strict`.
    nn.Module.load_state_dict(target, used, strict=False)
    spare = [key for key in state if key in no_place]
    return Loaded(missing, spare, f"{file}{left_out(own, state, missing, spare)}")


def require_fit(
    network: nn.Module, file: str, own: dict[str, Tensor], used: dict[str, Tensor]
) -> None:
    """WeightsError where a tensor lacks its counterpart, or has one of another shape."""
    problems = {
        "missing": [key for key in own if key not in used and not may_be_missing(key)],
        "unexpected": [key for key in used if key not in own],
        "of another shape": [key for key in used if key in own and differs(own[key], used[key])],
    }
    if any(problems.values()):
        raise WeightsError(f"{file} {misfit(network, problems)}")


def require_numbers(file: str, own: dict[str, Tensor], used: dict[str, Tensor]) -> None:
    """WeightsError where a tensor of the right shape holds values that no training produces."""
    floats = [key for key in used if own[key].is_floating_point()]
    other = [key for key in floats if not is_plain_float(used[key])]
    # As they will be: a float64 may be too large for a float32.
    kept = {k: v.to(own[k].dtype) if k in floats else v for k, v in used.items() if k not in other}
    problems = {
        "no floating-point numbers": other,
        "nan or infinite numbers": [k for k, v in kept.items() if not torch.isfinite(v).all()],
        "variances below 0": [
            key for key, value in kept.items() if key.endswith("running_var") and (value < 0).any()
        ],
    }
    if any(problems.values()):
        faults = "; ".join(f"{what} in {listed(k)}" for what, k in problems.items() if k)
        raise WeightsError(
            f"{file} is refused: it holds {faults}; no network can compute with these: fetch it "
            "again, or take the weights of another epoch or run"
        )


def unwrapped(entry: str, prefix: str) -> str:
    """Where in a file its weights were found, in words."""
    words = [f"its entry {entry!r}"] * bool(entry) + [f"names without {prefix!r}"] * bool(prefix)
    return f" ({', '.join(words)})" if words else ""


def left_out(
    own: dict[str, Tensor], state: dict[str, Tensor], missing: list[str], spare: list[str]
) -> str:
    """What of a file was not used, and what it lacks, in words."""
    heads = [key for key in spare if is_head(key) and key in own]
    counts = f" ({len(state[heads[0]])} classes there, {len(own[heads[0]])} here)" if heads else ""
    learned = [key for key in missing if not key.endswith(".num_batches_tracked")]
    note = f"; not used of it: {listed(grouped(spare, state))}{counts}" if spare else ""
    return note + (f"; left as initialised: {listed(grouped(learned, own))}" if learned else "")


def grouped(keys: list[str], among: Collection[str]) -> list[str]:
    """`layer4.*` for keys that are all there is of a part, and one entry for every alpha."""
    others = [key for key in among if key not in keys]
    groups: dict[str, None] = {}
    for key in keys:
        names = key.split(".")
        stems = [".".join(names[:count]) + "." for count in range(1, len(names))]
        complete = [stem for stem in stems if not any(other.startswith(stem) for other in others)]
        groups[f"{complete[0]}*" if complete else "*alpha" if is_alpha(key) else key] = None
    return list(groups)


def misfit(network: nn.Module, problems: dict[str, list[str]]) -> str:
    """What is wrong with a file, and the cure."""
    keys = "; ".join(f"{len(k)} {what} ({listed(k)})" for what, k in problems.items() if k)
    name = type(network).__name__
    if hasattr(network, "encoder"):
        return (
            f"does not fit the encoder of {name}: keys {keys}; give the file of a classifier that "
            "is this encoder (for arl_unet with depth=18: of resnet18 or arl18), or weights='none'"
        )
    return (
        f"does not fit {name}: keys {keys}; "
        "give the file of this network, or build the network that the file was saved from"
    )


def listed(keys: list[str]) -> str:
    """Up to five keys."""
    return ", ".join(keys[:5]) + (", …" if len(keys) > 5 else "")


def differs(own: Tensor | None, other: Tensor) -> bool:
    """Whether our tensor and the file's differ in shape (False where we have none)."""
    return own is not None and own.shape != other.shape


def is_plain_float(value: Tensor) -> bool:
    return value.is_floating_point() and value.layout == torch.strided and not value.is_meta


def is_alpha(key: str) -> bool:
    return key.endswith("alpha")


def is_head(key: str) -> bool:
    return key.startswith(("fc.", "classifier."))


def may_be_missing(key: str) -> bool:
    return is_head(key) or is_alpha(key) or key.endswith(".num_batches_tracked")
