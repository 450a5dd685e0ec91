"""How masks are made: the experiment of a run with changes, and what they add to file names."""

from dataclasses import replace
from typing import Any

from utils.system.experiment import Segmentation


def mask_settings(experiment: Segmentation, precision: str, **changes: Any) -> Segmentation:
    """The experiment with the precision of the run's training.

    changes (views, threshold, clean_up) replace the experiment's unless None. ValueError for a
    value that the experiment could not have.
    """
    changed = {name: value for name, value in changes.items() if value is not None}
    return replace(experiment, precision=precision, **changed)


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
