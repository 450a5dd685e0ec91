"""Copy weights into a network: all that belong there, or none."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nets.reading import read, unprefixed
from nets.weights import WeightsError

HEADS = ("fc.", "classifier.")  # how the keys of a head begin, where the network does not say it


class Loaded(NamedTuple):
    """What was loaded."""

    missing: list[str]  # keys that are not in the file: the network keeps its initial values
    spare: list[str]  # keys of the file that are not used
    note: str  # the file, and the keys above, for people


def load(network: nn.Module, path: Path) -> Loaded:
    """Copy the weights in `path` into `network`, or into its encoder where it is a segmenter.

    Only the head (dropped where its number of classes differs), alpha, and BN's batch counter
    (absent in files older than 2018) may be missing; only the keys in a segmenter's `spare` may be
    unused. WeightsError, and nothing is copied, for a file that cannot be read or that differs
    otherwise, and for values that are not finite.
    """
    target = getattr(network, "encoder", network)
    own = target.state_dict()
    state, entry = read(path)
    state, prefix = unprefixed(state, own)
    words = [f"its entry {entry!r}"] * bool(entry) + [f"names without {prefix!r}"] * bool(prefix)
    file = f"{path} ({', '.join(words)})" if words else f"{path}"
    if translate := getattr(network, "translate", None):
        state = translate(state)
    # Older files keep alpha as a vector of one number.
    state = {k: v.reshape(()) if is_alpha(k) and v.numel() == 1 else v for k, v in state.items()}
    unused = set(getattr(network, "spare", ()))
    heads = tuple(getattr(network, "head_keys", HEADS))
    unused |= {k for k, v in state.items() if k.startswith(heads) and differs(own.get(k), v)}
    used = {key: value for key, value in state.items() if key not in unused}
    missing = [key for key in own if key not in used]
    require_fit(network, file, own, used, heads)
    require_numbers(file, own, used)
    # Not the encoder's own method: that of smp's DenseNet has no `strict`.
    nn.Module.load_state_dict(target, used, strict=False)
    spare = [key for key in state if key in unused]
    return Loaded(missing, spare, f"{file}{left_out(own, state, missing, spare, heads)}")


def require_fit(
    network: nn.Module,
    file: str,
    own: dict[str, Tensor],
    used: dict[str, Tensor],
    heads: tuple[str, ...],
) -> None:
    """WeightsError where a tensor is missing, unexpected or of another shape."""
    problems = {
        "missing": [
            key
            for key in own
            if not (key in used or key.startswith(heads) or is_alpha(key))
            and not key.endswith(".num_batches_tracked")
        ],
        "unexpected": [key for key in used if key not in own],
        "of another shape": [key for key in used if differs(own.get(key), used[key])],
    }
    if not any(problems.values()):
        return
    details = "; ".join(f"{len(k)} {what} ({listed(k)})" for what, k in problems.items() if k)
    part, cure = "", "give the file of this network, or build the network that it was saved from"
    if hasattr(network, "encoder"):
        part = "the encoder of "
        cure = (
            "give the file of a classifier that is this encoder (for arl_unet with depth=18: of "
            "resnet18 or arl18), or weights='none'"
        )
    raise WeightsError(
        f"{file} does not fit {part}{type(network).__name__}: keys {details}; {cure}"
    )


def require_numbers(file: str, own: dict[str, Tensor], used: dict[str, Tensor]) -> None:
    """WeightsError where a tensor of the right shape holds values that no training produces."""
    floats = [key for key in used if own[key].is_floating_point()]
    other = [
        key
        for key, v in ((key, used[key]) for key in floats)
        if not v.is_floating_point() or v.layout != torch.strided or v.is_meta
    ]
    # After conversion: a float64 may be too large for a float32.
    kept = {k: v.to(own[k].dtype) if k in floats else v for k, v in used.items() if k not in other}
    problems = {
        "no floating-point numbers": other,
        "nan or infinite numbers": [k for k, v in kept.items() if not torch.isfinite(v).all()],
        "variances below 0": [
            key for key, value in kept.items() if key.endswith("running_var") and (value < 0).any()
        ],
    }
    if any(problems.values()):
        details = "; ".join(f"{what} in {listed(k)}" for what, k in problems.items() if k)
        raise WeightsError(
            f"{file} is refused: it holds {details}; no network can compute with these: fetch it "
            "again, or use the weights of another epoch or run"
        )


def left_out(
    own: dict[str, Tensor],
    state: dict[str, Tensor],
    missing: list[str],
    spare: list[str],
    heads: tuple[str, ...],
) -> str:
    """Which keys of a file were not used, and which it lacks, for people."""
    last = [key for key in spare if key.startswith(heads) and key in own]
    counts = f" ({len(state[last[0]])} classes there, {len(own[last[0]])} here)" if last else ""
    learned = [key for key in missing if not key.endswith(".num_batches_tracked")]
    note = f"; not used of it: {listed(grouped(spare, state))}{counts}" if spare else ""
    return note + (f"; left as initialised: {listed(grouped(learned, own))}" if learned else "")


def grouped(keys: list[str], among: Collection[str]) -> list[str]:
    """`layer4.*` for all keys of a part, and `*alpha` for every alpha."""
    others = [key for key in among if key not in keys]
    groups: dict[str, None] = {}
    for key in keys:
        names = key.split(".")
        stems = [".".join(names[:count]) + "." for count in range(1, len(names))]
        complete = [stem for stem in stems if not any(other.startswith(stem) for other in others)]
        groups[f"{complete[0]}*" if complete else "*alpha" if is_alpha(key) else key] = None
    return list(groups)


def listed(keys: list[str]) -> str:
    """Up to five keys."""
    return ", ".join(keys[:5]) + (", …" if len(keys) > 5 else "")


def differs(own: Tensor | None, other: Tensor) -> bool:
    """Whether our tensor and the file's differ in shape (False where we have none)."""
    return own is not None and own.shape != other.shape


def is_alpha(key: str) -> bool:
    return key.endswith("alpha")
