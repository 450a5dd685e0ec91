"""What is kept of finished runs in git, and the tables of RESULTS.md that are made from it.

`model/` is no part of the repository. `reproduce.py --keep` copies what tables need of each
finished run (settings, history, times, predictions and scores, no weights) to `docs/runs/`, and

    python -m study.archive

rewrites the tables of RESULTS.md from that folder: the lines between `<!-- table: NAME -->` and
`<!-- end -->`.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

import experiments
from study import folds
from utils.data.demo import ABOUT
from utils.evaluation import score_files
from utils.evaluation.out_of_fold import ARCHIVE
from utils.logger.about import option_of
from utils.logger.folders import forget_results
from utils.logger.run import RunFolder, differences
from utils.logger.runs import title
from utils.system import project
from utils.system.console import say
from utils.system.errors import RunError
from utils.system.files import write_atomic
from utils.system.size import Size

SHORT = "Make the tables of RESULTS.md anew from the runs in docs/runs."
RESULTS = project.PROJECT / "RESULTS.md"
# Not the counts at nineteen thresholds, which are ten times the rest.
KEPT = ("config.json", "history.csv", "timing.csv", "predictions-*.csv", "per-image-*.csv",
        "scores-*.json")  # fmt: skip
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def keep(run: RunFolder, to: Path = ARCHIVE) -> Path:
    """Copy what tables need of a finished run; returns its folder there.

    RunError where that holds a run with other settings or data, which may be a published one.
    """
    folder = to / run.path.resolve().parent.name / run.path.resolve().name
    if (earlier := RunFolder(folder)).config:
        if different := _differences(earlier, run):
            raise RunError(
                f"{folder} holds another run of this name: {'; '.join(different)}. Move it away to "
                "keep this one in its place."
            )
        forget_results(folder)
    copy(run, folder)
    return folder


def _differences(earlier: RunFolder, run: RunFolder) -> list[str]:
    """Where the settings, data or members of a kept run are not those of a run of its name."""
    row = experiments.restore(run.config["row"])
    told = differences(earlier, row, run.config["data"].get("fingerprint"))
    before, now = (option_of(one.config) or "no ensemble" for one in (earlier, run))
    return told + ([f"it is {before} there and {now} here"] if before != now else [])


def copy(run: RunFolder, folder: Path) -> None:
    """Copy these files of a run into a folder."""
    for pattern in KEPT:
        for file in sorted(run.path.glob(pattern)):
            write_atomic(folder / file.name, file.read_bytes())


def kept(within: Path = ARCHIVE) -> list[RunFolder]:
    """The runs that were kept, by profile and name."""
    return [RunFolder(file.parent) for file in sorted(within.glob("*/*/config.json"))]


def real(runs: Sequence[RunFolder]) -> list[RunFolder]:
    """Those of real images: none of the synthetic set."""
    return [run for run in runs if run.config["data"]["set"] != ABOUT]


def cross_validation(runs: Sequence[RunFolder]) -> str:
    """Mean of the folds, deviation and interval, a line for each row, set, kind and seed."""
    held = [run for run in runs if run.config["row"].get("fold")]
    parts = []
    for place, some in _by_place(held).items():
        for table in folds.tables(some):
            table.insert(1, "set and profile", place)
            words = {n: str(n).replace("auc_", "AUC ").replace("_", " ") for n in table}
            parts.append(markdown(table.rename(columns=words)))
    return "\n".join(parts)


def scores(runs: Sequence[RunFolder]) -> str:
    """The official scores of whole runs, a line for each split."""
    lines = []
    for run in runs:
        if run.config["row"].get("fold"):
            continue
        for file in sorted(run.path.glob("scores-*.json")):
            found = score_files.read(file)
            values = {
                name: f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
                for name, score in score_files.headline(found).items()
            }
            split = file.stem.removeprefix("scores-")
            lines.append({"run": _name(run), "images": f"{found['n']}, {split}"} | values)
    return markdown(pd.DataFrame(lines).fillna("")) if lines else ""


def cost(runs: Sequence[RunFolder]) -> str:
    """What a run of each row took: epochs, seconds an epoch, memory, where and when."""
    lines = []
    for run in runs:
        if run.config.get("ensemble"):  # trained nothing
            continue
        timing, config = pd.read_csv(run / "timing.csv"), run.config
        lines.append(
            {
                "row": title(run),
                "set and profile": run.path.parent.name,
                "network": config["row"]["network"],
                "px": str(Size.parse(config["row"]["image_size"])),
                "epochs": len(timing),
                "s an epoch": timing["seconds"].median(),
                "peak memory, GB": timing["peak_memory_mb"].max() / 1000,
                "precision": config["precision"],
                "device": config.get("device", "cpu"),
                "revision": (config.get("git") or "")[:7],
            }
        )
    if not lines:
        return ""
    same = ["row", "set and profile", "network", "px", "epochs", "precision", "device", "revision"]
    table = pd.DataFrame(lines).groupby(same, sort=False).agg(["median", "count"])
    table = pd.DataFrame(
        {
            "runs": table[("s an epoch", "count")],
            "s an epoch": table[("s an epoch", "median")].round().astype(int),
            "peak memory, GB": table[("peak memory, GB", "median")].round(1),
        }
    )
    return markdown(table.reset_index())


TABLES: dict[str, Callable[[Sequence[RunFolder]], str]] = {
    "cross_validation": cross_validation,
    "scores": scores,
    "cost": cost,
}


def rewritten(text: str, runs: Sequence[RunFolder]) -> str:
    """The text with its marked tables made anew. ValueError for the mark of an unknown one."""

    def table(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise ValueError(f"no table is called {match[2]!r}; expected {', '.join(TABLES)}.")
        return f"{match[1]}{TABLES[match[2]](runs) or 'No run was kept yet.'}\n{match[3]}"

    return MARKED.sub(table, text)


def _by_place(runs: Sequence[RunFolder]) -> dict[str, list[RunFolder]]:
    """The runs of each set and profile, which are a folder's name."""
    groups: dict[str, list[RunFolder]] = {}
    for run in runs:
        groups.setdefault(run.path.parent.name, []).append(run)
    return groups


def _name(run: RunFolder) -> str:
    return f"`{run.path.parent.name}/{run.path.name}`"


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, without its index."""
    rows = [list(map(str, table.columns)), ["---"] * table.shape[1]]
    rows += [list(map(str, row)) for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


if __name__ == "__main__":
    argparse.ArgumentParser("python -m study.archive", description=SHORT).parse_args()
    new = rewritten(RESULTS.read_text(encoding="utf-8"), real(kept()))
    write_atomic(RESULTS, new)
    say(f"the tables of {RESULTS} are those of {ARCHIVE}")
