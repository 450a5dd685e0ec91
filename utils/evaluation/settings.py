"""How masks are made: the settings of an experiment that matter, and changes to them."""

from dataclasses import dataclass, replace
from typing import Any

from utils.system.experiment import Segmentation


@dataclass(frozen=True)
class MaskSettings:
    """The settings of an experiment that affect a mask, and the precision of the network."""

    batch_size: int
    workers: int | None = None
    precision: str = "fp32"
    views: int = 1
    threshold: float = 0.5
    clean_up: bool = False


def mask_settings(experiment: Segmentation, precision: str, **changes: Any) -> MaskSettings:
    """The experiment's settings; precision is that of the run's training.

    changes (views, threshold, clean_up) replace the experiment's unless None. ValueError for a
    value that the experiment could not have.
    """
    changed = {name: value for name, value in changes.items() if value is not None}
    experiment = replace(experiment, **changed)
    names = ("batch_size", "workers", "views", "threshold", "clean_up")
    return MaskSettings(**{name: getattr(experiment, name) for name in names}, precision=precision)


def suffix(**changes: Any) -> str:
    """The suffix of file names for changes to `mask_settings`.

    >>> suffix(views=8, threshold=0.4, clean_up=None)
    '-8-views-threshold-0.4'
    """
    words = []
    for name, value in changes.items():
        if value is not None:
            special = {"views": f"{value}-views", "clean_up": "clean" if value else "unclean"}
            words.append(special.get(name, f"{name}-{value}"))
    return "".join(f"-{word}" for word in words)
