"""A weight file as named tensors, however it is wrapped.

A file is never allowed to run code: only plain tensors are read, see
https://pytorch.org/docs/stable/notes/serialization.html.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from nets.weights import WeightsError

# Where a checkpoint has its weights beside the optimiser and the like; "network" in our `last.pt`.
ENTRIES = ("state_dict", "model_state_dict", "model", "network", "net")


def read(path: Path) -> tuple[dict[str, Tensor], str]:
    """The state dict in a `.safetensors` file or in anything torch.save wrote, on the CPU; and
    the entry it was found under, "" where it is the whole file."""
    content = _parsed(Path(path))
    if _is_state(content):
        return content, ""
    entries = content if isinstance(content, dict) else {}
    holding = [name for name in ENTRIES if _is_state(entries.get(name)) and len(entries[name])]
    if len(holding) == 1:
        return entries[holding[0]], holding[0]
    more = (
        f"{len(holding)} state dicts ({', '.join(holding)})"
        if holding
        else "more than named tensors"
    )
    raise WeightsError(
        f"{path} is refused: got {type(content).__name__} with {more} in it, expected a plain "
        "state dict; save `network.state_dict()`"
    )


def _parsed(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            # The length of a header in eight bytes, then JSON: safetensors, whatever its name.
            if file.read(9)[8:] == b"{":
                return load_file(path)
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read ({error}); make it readable, or name another file"
        ) from error
    except Exception as error:  # torch raises whatever its parser stumbles over
        reason, cure = "it is damaged or no weight file", "fetch it again"
        if "global" in str(error).lower():
            reason = "it holds pickled objects, and reading them would execute code from the file"
            cure = "have its author save `network.state_dict()` or a .safetensors file"
        raise WeightsError(f"{path} is refused: {reason}; {cure}") from error


def _is_state(content: object) -> bool:
    return isinstance(content, dict) and all(
        isinstance(key, str) and torch.is_tensor(value) for key, value in content.items()
    )


def unprefixed(state: dict[str, Tensor], own: Iterable[str]) -> tuple[dict[str, Tensor], str]:
    """The tensors without the prefix that all their names share, and that prefix.

    Wrappers leave it there: `module.` of DataParallel, `_orig_mod.` of torch.compile, `model.` of
    Lightning. A part that the network, whose names are `own`, has itself is not a wrapper.
    """
    prefix, parts = "", {name.partition(".")[0] for name in own}
    while len(first := {key.partition(".")[0] for key in state}) == 1 and not first & parts:
        (wrapper,) = first
        if wrapper in state:  # a tensor's own name
            break
        prefix += f"{wrapper}."
        state = {key.removeprefix(f"{wrapper}."): value for key, value in state.items()}
    return state, prefix
