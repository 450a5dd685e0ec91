"""A weight file as named tensors, however it is wrapped.

Only plain tensors are read, so that a file never executes code, see
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

# The entry of a checkpoint's weights; "network" in our `last.pt`.
ENTRIES = ("state_dict", "model_state_dict", "model", "network", "net")


def read(path: Path) -> tuple[dict[str, Tensor], str]:
    """The state dict in a `.safetensors` or torch.save file, on the CPU, and its entry there, ""
    where it is the complete file."""
    content = _parsed(path)
    if _is_state(content):
        return content, ""
    entries = content if isinstance(content, dict) else {}
    names = [name for name in ENTRIES if _is_state(entries.get(name)) and len(entries[name])]
    if len(names) == 1:
        return entries[names[0]], names[0]
    more = f"{len(names)} state dicts ({', '.join(names)})" if names else "more than named tensors"
    raise WeightsError(
        f"{path} is refused: got {type(content).__name__} with {more} in it, expected a plain "
        "state dict; save `network.state_dict()`"
    )


def _parsed(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            # Eight bytes for the length of a header, then JSON: safetensors, whatever its name.
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
    except Exception as error:  # torch's parser raises errors of any kind
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
    """The tensors without the prefix of a wrapper, and that prefix.

    Wrappers add it to all names: `module.` of DataParallel, `_orig_mod.` of torch.compile, `model.`
    of Lightning. It is no part of the network itself, whose names are `own`.
    """
    prefix, parts = "", {name.partition(".")[0] for name in own}
    while len(first := {key.partition(".")[0] for key in state}) == 1 and not first & parts:
        (wrapper,) = first
        if wrapper in state:  # a tensor's own name
            break
        prefix += f"{wrapper}."
        state = {key.removeprefix(f"{wrapper}."): value for key, value in state.items()}
    return state, prefix
