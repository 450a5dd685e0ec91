"""The section on runs of folds: their mean, all images together, and rows against one another.

They are found beside the runs that the page is about: all rows of that set and profile.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

import experiments
from study import folds as of_folds
from study.report import tables as tables
from study.report.baselines import beyond_on_folds, differences, not_beyond
from study.report.entries import Entry, Study, by_task
from study.report.page import Block, Fold, Items, Section, Table, Text
from study.report.pairs import PairedTest, corrected, paired_tests
from utils.evaluation import out_of_fold, results
from utils.evaluation.conventions import Key, classification_scores, flattened, segmentation_scores
from utils.evaluation.counts import counts_of
from utils.evaluation.labels import classes_in, scheme
from utils.evaluation.out_of_fold import Folds
from utils.evaluation.score_files import area_name
from utils.system.errors import RunError
from utils.system.experiment import Task
from utils.task import TASKS

# The scores of a fold of masks: what the tables call them, and their path in a score file.
OF_MASKS: dict[str, tuple[str, Key]] = {
    "jaccard": ("mean Jaccard", ("official", "jaccard")),
    "dice": ("mean Dice", ("official", "dice")),
    "sensitivity": ("mean sensitivity", ("official", "sensitivity")),
    "specificity": ("mean specificity", ("official", "specificity")),
}
WORDS = (
    "Each run of a fold was trained without a part of the training images, which it was then "
    "scored on. Mean over the folds ± their standard deviation [95 % interval of the mean, "
    "Student's t; the folds share training images, so it is too narrow, with five folds by a "
    "factor of about 1.5 after Nadeau and Bengio, 2003; none for fewer than three]. All images: "
    "every image scored by the one run that had not seen it, together, with the interval of a "
    "bootstrap over images; the runs' probabilities are pooled, and need not mean the same in "
    "each. By series, images with ids of the same hundred are held out together, which is harder: "
    "they share place and camera. No epoch was chosen in these runs."
)
PAIRED = (
    "First minus second on the same held-out images, paired as in the section above, p values "
    "corrected over all tests of this table. Intervals and p values are about other images, with "
    "these trained networks; if a row or an ensemble was chosen by these very predictions, nothing "
    "here counts that. Difference of the folds: the mean of their differences ± their deviation, "
    "and in how many the first is ahead."
)


SameFolds = tuple[str, int]  # by chance or by series, and how many


class Scored(NamedTuple):
    """Runs of folds with what they say together."""

    folds: Folds
    each: pd.DataFrame  # a line a fold, a column a score
    table: pd.DataFrame  # predictions, or counts and scores of masks, of all images held out
    pooled: Mapping[Key, Mapping[str, float | None]]  # of all images, where all folds are there

    @property
    def names(self) -> dict[str, tuple[str, Key]]:
        """The same as `OF_MASKS` of the scores that it has, of either task."""
        main, ranked, _ = scheme(results.classes_of(self.folds.runs[0]))
        of_labels: dict[str, tuple[str, Key]] = {"auc_mean": ("mean AUC", (main, "mean_auc"))}
        of_labels |= {f"auc_{name}": (area_name(name), (main, name, "auc")) for name in ranked}
        known = OF_MASKS if _task(self) == "masks" else of_labels
        return {name: known[name] for name in known if name in self.each}


def cross_validation(study: Study) -> Section:
    """Runs of folds of this set and profile, by chance and by series."""
    scored: list[Scored] = []
    blocks: list[Block] = [Text(WORDS)]
    damaged = []
    for folds in study.folds:
        try:
            scored.append(_scored(folds))
        except (RunError, ValueError, LookupError, OSError) as error:
            damaged.append(f"{folds.row}, {folds.kind}, seed {folds.seed}: {error}")
    found = {entry.row: entry for entry in map(_entry, scored)}
    if teams := [f"{row} is the {one.network}" for row, one in found.items() if one.averaged]:
        blocks.append(Text(f"Fold by fold, {'; '.join(teams)}."))
    for task in TASKS:
        if of_task := [one for one in scored if _task(one) == task]:
            blocks += _of_task(of_task, TASKS[task].plural)
    same_folds = _complete(scored)
    lines, left_out = _compared(same_folds, study)
    if len(lines):
        caption = "Rows against one another on out-of-fold predictions"
        blocks += [Text(PAIRED), Table(caption, lines, heads=4)]
    for (kind, _), rows in same_folds.items():
        blocks += _beside_baselines(kind, rows)
    if left_out:
        blocks += [Text("Not compared on folds:"), Items(left_out)]
    if damaged:
        blocks += [Text("Folds that cannot be read:"), Items(damaged)]
    if not study.folds:
        words = "No row here has runs of folds; python reproduce.py ROW --folds 5 makes them."
        blocks = [Text(words)]
    return Section("folds", "Cross-validation", blocks)


def _task(one: Scored) -> Task:
    return "masks" if out_of_fold.task_of(one.folds.runs[0]) == "masks" else "labels"


def _scored(folds: Folds) -> Scored:
    table = of_folds.together(folds).drop(columns="fold")
    scores = {}
    if folds.complete and out_of_fold.task_of(folds.runs[0]) == "masks":
        scores = segmentation_scores(counts_of(table))
    elif folds.complete:
        given, classes = table[classes_in(table)], results.classes_of(folds.runs[0])
        scores = classification_scores(table["label"].to_numpy(), given, classes=classes)
    return Scored(folds, of_folds.scores(folds), table, flattened(scores))


def _of_task(scored: Sequence[Scored], kind: str) -> list[Block]:
    """Means and all images, by chance and by series side by side; then each fold."""
    lines: dict[tuple[str, int, str], dict[str, str]] = {}
    kinds = [one for one in ("by chance", "by series") if any(s.folds.kind == one for s in scored)]
    for one in scored:
        folds = one.folds
        for name, (words, path) in one.names.items():
            line = lines.setdefault((folds.row, folds.seed, words), {})
            line[f"folds {folds.kind}"] = f"{len(folds.runs)} of {folds.folds}"
            line[f"mean, {folds.kind}"] = of_folds.mean_of(one.each[name])
            pooled = one.pooled.get(path, {})
            value, low, high = (pooled.get(end) for end in ("value", "low", "high"))
            line[f"all images, {folds.kind}"] = tables.within(value, low, high)
    columns = [f"{what} {kind}" for kind in kinds for what in ("folds", "mean,", "all images,")]
    table = pd.DataFrame(
        [
            {"row": row, "seed": str(seed), "score": words}
            | {name: line.get(name, "–") for name in columns}
            for (row, seed, words), line in lines.items()
        ]
    )
    caption = f"{kind}: held-out training images"
    each = Table(f"{kind}: the score of each fold", _each(scored), heads=4)
    return [Table(caption, table, heads=3), Fold(f"{kind}: each fold", [each])]


def _each(scored: Sequence[Scored]) -> pd.DataFrame:
    """A line for each row, kind of folds, seed and score, a column a fold."""
    lines = [
        {"row": one.folds.row, "folds": one.folds.kind, "seed": str(one.folds.seed)}
        | {"score": words}
        | {_short(fold): tables.number(value) for fold, value in one.each[name].items()}
        for one in scored
        for name, (words, _) in one.names.items()
    ]
    return pd.DataFrame(lines).fillna("–")


def _short(fold: object) -> str:
    return str(fold).removeprefix("series ")


def _complete(scored: Sequence[Scored]) -> Mapping[SameFolds, Mapping[str, list[Scored]]]:
    """The rows whose folds are complete, by their kind and number."""
    groups: dict[SameFolds, dict[str, list[Scored]]] = {}
    for one in scored:
        if one.folds.complete:
            same = groups.setdefault((one.folds.kind, one.folds.folds), {})
            same.setdefault(one.folds.row, []).append(one)
    return groups


def _beside_baselines(kind: str, rows: Mapping[str, Sequence[Scored]]) -> list[Block]:
    """Rows minus baselines of the same folds: a sentence, and the tables to unfold."""
    lines = beyond_on_folds({row: [_entry(one) for one in some] for row, some in rows.items()})
    if not lines:
        return []
    each: list[Block] = [
        Table(f"{TASKS[task].plural} minus baselines, images held out {kind}", table, heads=2)
        for task, table in ((task, differences(some)) for task, some in by_task(lines).items())
    ]
    said = f"Beside baselines on the same images, held out {kind}. {not_beyond(lines)}".strip()
    return [Text(said), Fold(f"Rows minus baselines, held out {kind}", each)]


def _compared(
    same_folds: Mapping[SameFolds, Mapping[str, Sequence[Scored]]], study: Study
) -> tuple[pd.DataFrame, list[str]]:
    """The paired tests of rows that have the same folds; and why a pair has none."""
    tests: list[PairedTest] = []
    heads, left_out = [], []
    for (kind, _), rows in same_folds.items():
        entries = {row: [_entry(one) for one in some] for row, some in rows.items()}
        found, why = paired_tests(entries, experiments.AGAINST, study.same)
        left_out += [f"{kind}: {text}" for text in why]
        tests += found
        heads += [(kind, _of_the_folds(test, rows)) for test in found]
    lines = tables.paired(corrected(tests)).to_dict("records")
    told = [
        {"folds": kind} | line | {"difference of the folds": of_folds}
        for line, (kind, of_folds) in zip(lines, heads, strict=True)
    ]
    return pd.DataFrame(told), list(dict.fromkeys(left_out))


def _entry(one: Scored) -> Entry:
    """The out-of-fold results of a row as those of a run."""
    run = one.folds.runs[0]
    return Entry(f"{one.folds.row}-s{one.folds.seed}", run.path, run.config, results=one.table)


def _of_the_folds(test: PairedTest, rows: Mapping[str, Sequence[Scored]]) -> str:
    """The mean of the differences in each fold, their deviation, and how often the first leads."""
    names = rows[test.row][0].names
    score = next((name for name, (words, _) in names.items() if words == test.what), None)
    if score is None:
        return "–"
    first, second = ({s.folds.seed: s.each for s in rows[row]} for row in (test.row, test.other))
    gains = pd.concat([first[seed][score] - second[seed][score] for seed in test.seeds])
    mean = tables.number(gains.mean(), sign=True)
    return f"{mean} ± {tables.number(gains.std())}, ahead in {(gains > 0).sum()} of {len(gains)}"
