"""A network of a library in place of a row's own: `-p network timm:convnext_tiny`."""

import re
from typing import Any

from experiments.row import Shared

# By task: what its library's names look like, and one of them.
NAMES = {
    "labels": (re.compile(r"timm:[\w.-]+"), "timm:convnext_tiny"),
    "masks": (re.compile(r"smp:\w+/[\w.-]+"), "smp:UnetPlusPlus/efficientnet-b0"),
}


def in_place_of(row: Shared, usual: str, network: Any) -> dict[str, Any]:
    """The fields of a row that change with its network; none where it is the usual one.

    What was published for the usual one is left out. Whether the library has the network
    is found where it is built. ValueError for what is no name of the task's library.
    """
    if network == usual:
        return {}
    pattern, example = NAMES[row.task]
    if not isinstance(network, str) or not pattern.fullmatch(network):
        raise ValueError(
            f"network is {network!r}; expected None, for {usual} as in row {row.name}, or one of a "
            f"library such as {example!r}. (Networks of our own are chosen by their rows.)"
        )
    general = tuple(study for study in row.published if study.convention == "official")
    question = f"How good is {network} in place of {usual}, all else as in row {row.name}?"
    changes = {"network": network, "question": question, "published": general}
    return changes | {"deviations": ()}  # of the usual one from its study
