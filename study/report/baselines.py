"""The section on baselines: what the networks know that age, sex or a threshold do not."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

import experiments
from study.report import tables as tables
from study.report.entries import Entry, Study, by_task
from study.report.findings import counted, listed
from study.report.page import Block, Items, Section, Table, Text
from study.report.pairs import PairedTest, against_baseline
from utils.evaluation.paired import OtherImagesError
from utils.system.experiment import Task
from utils.task import TASKS

ENOUGH = 2000  # resamples for intervals of many pairs over 2000 images, seconds instead of minutes
# What a network must beat, in words.
LEAST = {
    "0-2": "age and sex alone, without an image",
    "seg-0-1": "Otsu's threshold",
}


class Beyond(NamedTuple):
    """A row beside one of its baselines."""

    row: str
    baseline: str
    task: Task
    tests: Sequence[PairedTest]  # the score that ranks, then the AUC of each class

    @property
    def beaten(self) -> bool:
        """Whether the interval of the difference lies above 0."""
        return self.tests[0].low > 0


def folders_of(entry: Entry) -> list[Path]:
    """Where the baselines of a run are, if there are any."""
    try:
        experiment = experiments.restore(entry.experiment)
    except (ValueError, TypeError):  # the settings are damaged
        return []
    return [entry.folder.parent / row.folder() for row in experiments.baselines_of(experiment)]


def beyond(study: Study) -> tuple[list[Beyond], list[str]]:
    """Each row beside each of its baselines, and why a pair is left out."""
    lines, left_out = [], []
    for row, runs in study.rows.items():
        paths = {path for run in runs for path in folders_of(run)}
        theirs = [entry for entry in study.baselines if entry.folder in paths]
        known_of = _by_row(entry for entry in theirs if len(entry.results))
        found, why = _beside(row, runs, known_of)
        lines += found
        left_out += why
    return lines, left_out


def beyond_on_folds(rows: Mapping[str, Sequence[Entry]]) -> list[Beyond]:
    """Each row beside each baseline that has the same folds, from their out-of-fold results."""
    baselines = {row: runs for row, runs in rows.items() if row in experiments.BASELINES}
    return [
        line
        for row, runs in rows.items()
        if row not in baselines
        for line in _beside(row, runs, baselines, ENOUGH)[0]
    ]


def _beside(
    row: str,
    runs: Sequence[Entry],
    baselines: Mapping[str, Sequence[Entry]],
    resamples: int | None = None,
) -> tuple[list[Beyond], list[str]]:
    lines, left_out = [], []
    for name, theirs in baselines.items():
        if name != row and theirs[0].task == runs[0].task:
            try:
                tests = against_baseline(runs, theirs, resamples)
            except OtherImagesError as error:
                left_out.append(f"{row} beside {name}: {error}")
            else:
                lines.append(Beyond(row, name, runs[0].task, tests))
    return lines, left_out


def _by_row(entries: Iterable[Entry]) -> Mapping[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.row, []).append(entry)
    return found


def known(study: Study, lines: Sequence[Beyond], left_out: Sequence[str]) -> Section:
    """The table of rows and baselines."""
    title = "What does the network know that these do not?"
    if not lines:
        words = (
            "No baseline lies beside these runs. The evaluations make what is missing, and so does "
            f"python reproduce.py {' '.join(experiments.BASELINES)} with their profile and data."
        )
        return Section("baselines", title, [Text(words)])
    words = (
        "Baselines learn from the training images of their profile, as the networks do (but for a "
        "row that takes a number of its own, train_images), but no network is trained: "
        "logistic regression on what is named, or on the outputs of a network that never saw a "
        "lesion; for masks a threshold, or the mean of the training masks. Differences are row "
        "minus baseline on the same images with 95 % intervals (bootstrap; DeLong for one class), "
        "seeds averaged. Where the interval contains 0 or lies below, these images do not show "
        "that the network knows more. They are not corrected for their number."
    )
    blocks: list[Block] = [Text(words)]
    for task, of_task in by_task(lines).items():
        caption = f"{TASKS[task].plural} minus baselines, {study.where}"
        blocks.append(Table(caption, differences(of_task), heads=2))
    if left_out:
        blocks += [Text("Not compared:"), Items(left_out)]
    return Section("baselines", title, blocks)


def differences(lines: Sequence[Beyond]) -> pd.DataFrame:
    """A line for each row and baseline, of one task."""
    return pd.DataFrame(
        [
            {
                "row": line.row,
                "baseline": f"{line.baseline}: {experiments.BASELINES[line.baseline].question}",
                f"its {line.tests[0].what}": tables.number(line.tests[0].second),
                f"the row's {line.tests[0].what}": tables.number(line.tests[0].first),
            }
            | {f"{test.what}, difference": tables.difference(test) for test in line.tests}
            for line in lines
        ]
    ).fillna("–")


def not_beyond(lines: Sequence[Beyond]) -> str:
    """The sentences of the summary: which rows do not beat age and sex, or Otsu's threshold."""
    sentences = []
    for baseline, words in LEAST.items():
        beside = [line for line in lines if line.baseline == baseline]
        below = [line for line in beside if not line.beaten]
        said = f"{words} (row {baseline})"
        if below:
            named = "; ".join(
                f"{line.row} ({line.tests[0].what} {tables.difference(line.tests[0])})"
                for line in below
            )
            number = f"{len(below)} of {counted(len(beside), 'row')}"
            sentences.append(f"Not shown to know more than {said}, {number}: {named}.")
        elif beside:
            sentences.append(f"More than {said}: {listed(line.row for line in beside)}.")
    return " ".join(sentences)
