"""Ensembles of a study: `NAME=3-1,3-3,3-4` averages the runs of these rows, fold by fold.

`NAME:logits=3-1,0-2` averages the logarithms of their probabilities.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Self

import experiments
from utils.evaluation import ensembles
from utils.evaluation.ensembles import AVERAGES
from utils.logger.run import RunFolder
from utils.logger.runs import title
from utils.system.errors import RunError, listed
from utils.system.fold import Fold

# Letters, digits and underscores, with dashes between; no part that tells a seed or a fold.
_NAME = re.compile(r"[A-Za-z]\w*(-(?![sf]\d+(-|$))\w+)*", re.ASCII)


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
        if average not in AVERAGES:
            raise ValueError(
                f"--ensemble {text}: it averages {average!r}; expected NAME=ROW,ROW for the mean "
                "of probabilities, or NAME:logits=ROW,ROW for that of their logarithms."
            )
        if not _NAME.fullmatch(name) or _row_of(name) or not names:
            raise ValueError(
                f"--ensemble {text}: expected NAME=ROW,ROW such as team=3-1,3-3, with a name of "
                "letters and digits that is not a row's."
            )
        classifiers = experiments.of_task("labels")
        if strange := [member for member in names if _row_of(member) not in classifiers]:
            raise ValueError(
                f"--ensemble {text}: {listed(strange)} is no row of a classifier; expected rows "
                "such as 3-1, or runs of them such as 3-1-s0."
            )
        return cls(name, tuple(map(_as_trained, names)), average)


def all_wanted(texts: Sequence[str], rows: Collection[str]) -> list[Wanted]:
    """What all `--ensemble` were given, in a call for these rows.

    ValueError as `Wanted.parse`, for a name given twice, or for a member of another row.
    """
    each = [Wanted.parse(text) for text in texts]
    known = set(map(_as_trained, rows))
    for one in each:
        if absent := [name for name in one.members if _row_of(name) not in known]:
            raise ValueError(
                f"--ensemble {one.name}: {listed(absent)} is not among the rows of this call "
                f"({listed(rows)}); name it there, too. What is finished is not trained again."
            )
    names = [one.name for one in each]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"--ensemble: {listed(twice)} is the name of two; give each its own.")
    return each


def make(wanted: Wanted, runs: Mapping[str, RunFolder]) -> dict[str, RunFolder]:
    """The ensembles of these finished runs, by the names of their folders: one, or one a fold.

    All seeds of a row are members, networks before baselines. RunError where a member has no
    finished run, or lacks one in a fold that others have, and as `utils.evaluation.ensembles.make`.
    """
    groups: dict[str, list[RunFolder]] = {}
    for name, run in runs.items():
        row = run.config["row"]
        if {title(run), name, _member(run)} & {*wanted.members}:
            fold = f"-{Fold.parse(row['fold']).label}" if row.get("fold") else ""
            groups.setdefault(f"{wanted.name}{fold}-s0", []).append(run)
    every = {_member(run) for some in groups.values() for run in some}
    known = {text for name, run in runs.items() for text in (title(run), name, _member(run))}
    if absent := [name for name in wanted.members if name not in known]:
        raise RunError(
            f"the ensemble {wanted.name} cannot be made: {listed(absent)} has no finished run "
            f"among those of this call ({listed(runs)}); name it among the rows, too, or see above "
            "why it failed."
        )
    for folder, some in groups.items():
        if lacking := every - set(map(_member, some)):
            raise RunError(
                f"the ensemble {wanted.name} cannot be made: {folder} would lack "
                f"{listed(sorted(lacking))}, which other folds have; train that fold first."
            )
    models = next(iter(runs.values())).path.parent
    return {
        folder: ensembles.make(
            models / folder,
            wanted.name,
            # The first one's recipe stands for all, and a baseline has none of a training.
            sorted(members, key=_is_baseline),
            wanted.average,
        )
        for folder, members in groups.items()
    }


def _member(run: RunFolder) -> str:
    """A member, whatever its fold: "3-1-s0"."""
    return f"{title(run)}-s{run.config['row']['seed']}"


def _row_of(name: str) -> str:
    """The row that is called so, or with which the name begins as those of its runs do; or ""."""
    found = (row for row in experiments.ROWS if name == row or name.startswith(f"{row}-"))
    return next(found, "")


def _as_trained(name: str) -> str:
    """The name, by the row that a row is trained as."""
    for row, trained in experiments.SAME_RUN.items():
        if name == row or name.startswith(f"{row}-"):
            return trained + name.removeprefix(row)
    return name


def _is_baseline(run: RunFolder) -> bool:
    return run.config["row"]["name"] in experiments.BASELINES
