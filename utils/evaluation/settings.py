"""How masks are made: what of an experiment decides about them, and what may be changed later."""

from dataclasses import dataclass, replace
from typing import Any

from utils.system.experiment import Segmentation


@dataclass(frozen=True)
class MaskSettings:
    """What of an experiment decides about a mask, and in which precision the network computes."""

    batch_size: int
    workers: int | None = None
    precision: str = "fp32"
    views: int = 1
    threshold: float = 0.5
    clean_up: bool = False


def mask_settings(experiment: Segmentation, precision: str, **changes: Any) -> MaskSettings:
    """The experiment's settings; precision is the one that the run was trained in.

    changes (views, threshold, clean_up) take the place of the experiment's, None leaves it.
    ValueError for a value that the experiment could not have.
    """
    known = {name: value for name, value in changes.items() if value is not None}
    experiment = replace(experiment, **known)
    names = ("batch_size", "workers", "views", "threshold", "clean_up")
    return MaskSettings(**{name: getattr(experiment, name) for name in names}, precision=precision)


def suffix(**changes: Any) -> str:
    """What file names say of changes to `mask_settings`.

    >>> suffix(views=8, threshold=0.4, clean_up=None)
    '-8-views-threshold-0.4'
    """
    words = []
    for name, value in changes.items():
        if value is not None:
            known = {"views": f"{value}-views", "clean_up": "clean" if value else "unclean"}
            words.append(known.get(name, f"{name}-{value}"))
    return "".join(f"-{word}" for word in words)
