"""The ImageNet weights of timm and smp, and the colours that these expect.

They are on the Hugging Face hub, and in its own cache once they were fetched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nets.normalise import HALF, IMAGENET
from nets.weights import WeightsError

# smp keeps these beside the weights on the hub; by the beginning of an encoder's name.
OF_SMP = {
    "dpn": ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3),
    "inception": HALF,
    "xception": HALF,
    "timm-tf_efficientnet_lite": HALF,
}
OF_TIMM = "tu-"  # how an encoder of smp begins that is timm's
PATIENCE = 5.0  # seconds to wait for the hub's first answer
CURE = "name a local file, or take weights='none' to train from scratch"


def colours_of(encoder: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation, for values 0..1, that an encoder of smp expects."""
    if encoder.startswith(OF_TIMM):
        from timm.models import get_pretrained_cfg

        config: Any = get_pretrained_cfg(encoder.removeprefix(OF_TIMM))
        return IMAGENET if config is None else (config.mean, config.std)
    return next((OF_SMP[start] for start in OF_SMP if encoder.startswith(start)), IMAGENET)


def imagenet(name: str) -> Path:
    """The file of a network's weights, from the library's own download; WeightsError without."""
    library, _, rest = name.partition(":")
    encoder = rest.partition("/")[2]
    if library == "timm" or encoder.startswith(OF_TIMM):
        return of_timm(encoder.removeprefix(OF_TIMM) or rest)
    return of_smp(encoder, colours_of(encoder))


def of_timm(name: str) -> Path:
    """The file of the weights that timm has for a network; WeightsError where there is none."""
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise WeightsError(f"timm has no weights for timm:{name}; {CURE}")
    if not config.hf_hub_id or config.custom_load:
        where = config.url or config.hf_hub_id
        raise WeightsError(
            f"timm keeps the weights of timm:{name} at {where}, which is not fetched here; {CURE}"
        )
    return fetched(config.hf_hub_id, config.hf_hub_filename or "model.safetensors")


def of_smp(encoder: str, normalisation: tuple[Sequence[float], Sequence[float]]) -> Path:
    """The file of the ImageNet weights of one of smp's own encoders.

    WeightsError where there is none, or where they expect other colours than these, the mean and
    deviation for values 0..1.
    """
    from segmentation_models_pytorch.encoders import encoders

    known = encoders[encoder]["pretrained_settings"]
    name = next((name for name in known if name.startswith("imagenet")), None)
    if name is None:
        raise WeightsError(
            f"smp has no ImageNet weights for {encoder}, only {', '.join(known)}; {CURE}"
        )
    place = known[name]["repo_id"], known[name]["revision"]
    about = json.loads(fetched(place[0], "config.json", place[1]).read_text(encoding="utf-8"))
    theirs = [*about["mean"], *about["std"], *about.get("input_range", (0, 1))]
    ours = [*normalisation[0], *normalisation[1], 0, 1]
    if any(abs(a - b) > 0.005 for a, b in zip(theirs, ours, strict=True)):
        raise WeightsError(
            f"the ImageNet weights of {encoder} expect mean, deviation and range {theirs}, and "
            f"here are {ours}; {CURE}"
        )
    return fetched(place[0], "model.safetensors", place[1])


def fetched(repo: str, file: str, revision: str | None = None) -> Path:
    """A file of the hub, from its cache, or else downloaded into it. WeightsError where neither."""
    from huggingface_hub import get_session, hf_hub_download, hf_hub_url

    try:
        return Path(hf_hub_download(repo, file, revision=revision, local_files_only=True))
    except OSError:
        pass
    url = hf_hub_url(repo, file, revision=revision)
    try:
        get_session().head(url, timeout=PATIENCE)  # once: a download would try for half a minute
        return Path(hf_hub_download(repo, file, revision=revision))
    except Exception as error:  # of the hub, or of its library for http
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise WeightsError(f"could not fetch {url} ({reason}); {CURE}") from error
