"""Ensembles of a study: `NAME=3-1,3-3,3-4` averages the runs of these rows, fold by fold."""

from collections.abc import Mapping
from typing import NamedTuple, Self

import experiments
from utils.evaluation import ensembles
from utils.logger.run import RunFolder
from utils.logger.runs import title
from utils.system.fold import Fold


class Wanted(NamedTuple):
    """An ensemble's name, and the names of its rows or runs ("3-1", "3-1-s0")."""

    name: str
    members: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `--ensemble` was given. ValueError for what is no NAME=MEMBER,MEMBER…"""
        name, _, members = text.partition("=")
        names = tuple(filter(None, (part.strip() for part in members.split(","))))
        plain = name.replace("-", "").replace("_", "").isalnum()
        if not plain or name in experiments.ROWS or not names:
            raise ValueError(
                f"--ensemble {text}: expected NAME=ROW,ROW such as team=3-1,3-3, with a name of "
                "letters and digits that is not a row's."
            )
        return cls(name, names)


def make(wanted: Wanted, runs: Mapping[str, RunFolder]) -> dict[str, RunFolder]:
    """The ensembles of these finished runs, by the names of their folders: one, or one a fold.

    All seeds of a row are members. RunError where there is nothing to average.
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
        folder: ensembles.make(models / folder, wanted.name, members)
        for folder, members in groups.items()
    }
