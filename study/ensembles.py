"""Ensembles of a study: `NAME=3-1,3-3,3-4` averages the runs of these rows, fold by fold.

`NAME:logits=3-1,0-2` averages the logarithms of their probabilities.
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

import experiments
from utils.evaluation import ensembles
from utils.evaluation.ensembles import AVERAGES
from utils.logger.run import RunFolder
from utils.logger.runs import title
from utils.system.fold import Fold


class Wanted(NamedTuple):
    """An ensemble's name, the names of its rows or runs ("3-1", "3-1-s0"), what is averaged."""

    name: str
    members: tuple[str, ...]
    average: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `--ensemble` was given. ValueError for what is no NAME=MEMBER,MEMBER…"""
        named, _, members = text.partition("=")
        name, _, average = named.partition(":")
        average = average or "probabilities"
        names = tuple(filter(None, (part.strip() for part in members.split(","))))
        plain = name.replace("-", "").replace("_", "").isalnum()
        if average not in AVERAGES:
            raise ValueError(
                f"--ensemble {text}: it averages {average!r}; expected NAME=ROW,ROW for the mean "
                "of probabilities, or NAME:logits=ROW,ROW for that of their logarithms."
            )
        if not plain or name in experiments.ROWS or not names:
            raise ValueError(
                f"--ensemble {text}: expected NAME=ROW,ROW such as team=3-1,3-3, with a name of "
                "letters and digits that is not a row's."
            )
        return cls(name, names, average)


def make(wanted: Wanted, runs: Mapping[str, RunFolder]) -> dict[str, RunFolder]:
    """The ensembles of these finished runs, by the names of their folders: one, or one a fold.

    All seeds of a row are members, networks before baselines. RunError where there is nothing to
    average.
    """
    groups: dict[str, list[RunFolder]] = {}
    for name, run in runs.items():
        row = run.config["row"]
        if title(run) in wanted.members or name in wanted.members:
            fold = f"-{Fold.parse(row['fold']).label}" if row.get("fold") else ""
            groups.setdefault(f"{wanted.name}{fold}-s0", []).append(run)
    if not groups:
        groups = {f"{wanted.name}-s0": []}
    models = next(iter(runs.values())).path.parent
    return {
        folder: ensembles.make(
            # The first one's recipe stands for all, and a baseline has none of a training.
            models / folder,
            wanted.name,
            sorted(members, key=_is_baseline),
            wanted.average,
        )
        for folder, members in groups.items()
    }


def _is_baseline(run: RunFolder) -> bool:
    return run.config["row"]["name"] in experiments.BASELINES
