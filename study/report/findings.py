"""The sentences of the report, all computed: the summary, and what attention does."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

import experiments
from study.report import tables as tables
from study.report.compare import HIGHER, LOWER, NOT_SHOWN, UNDEFINED, Against, own_scores
from study.report.entries import Entry, Study
from study.report.page import Block, Items, Links, Section, Table, Text
from study.report.pairs import PairedTest
from utils.evaluation.published import OTHER
from utils.system.experiment import Task
from utils.task import TASKS
from utils.visualize.figures import alpha_columns

HEADLINE = ("melanoma_auc", "seborrheic_keratosis_auc", "jaccard", "dice")
FEW = 4


def summary(
    study: Study,
    lines: Sequence[Against],
    tests: Sequence[PairedTest],
    failed: Sequence[str],
    links: Sequence[tuple[str, str]],
    baselines: str = "",
) -> Section:
    """What was run on which data, the main statements, and what is missing.

    baselines is the sentence on what the rows do not beat.
    """
    blocks: list[Block] = [Text(_what_ran(study)), *map(Text, _others(study))]
    if study.synthetic:
        words = "The data are synthetic: the numbers show that everything works, nothing else."
        blocks.append(Text(words, strong=True))
    blocks += map(Text, (*_optimistic(study), *_random_weights(study), *_same_runs(study)))
    statements = [_best(study), _beside_published(lines), _between_rows(study, tests)]
    statements.append(baselines)
    blocks += [Text("What can be said", strong=True), Items([s for s in statements if s])]
    if failed:
        blocks += [Text("Not on this page", strong=True), Items(failed)]
    if lacks := [lack for entry in study.entries for lack in entry.lacks]:
        missing = pd.DataFrame(lacks, columns=["run", "file", "is", "made by"])
        caption = "Files that could not be read, and the command that makes them"
        blocks.append(Table(caption, missing))
    if links:
        blocks += [Text("The executed evaluations, beside this page", strong=True), Links(links)]
    return Section("summary", "Summary", blocks)


def _optimistic(study: Study) -> list[str]:
    """Which scores are of images that the networks were trained on, or chosen on."""
    on_these = [
        entry.name
        for entry in study.entries
        if entry.experiment.get("select_on") == study.split
        and entry.experiment.get("keep", "best") == "best"
    ]
    texts = []
    if on_these:
        texts.append(
            f"In {listed(on_these)} the epoch was chosen on the very images that are reported: "
            "these scores are optimistic."
        )
    if study.split == "train":
        texts.append("The networks were trained on the reported images: all scores are optimistic.")
    return texts


def _what_ran(study: Study) -> str:
    numbers = {task: len(study.of_task(task)) for task in TASKS}
    kinds = [_of_kind(number, task) for task, number in numbers.items() if number]
    seeds = sorted({entry.seed for entry in study.entries})
    profiles = unique(entry.experiment.get("profile", "unknown") for entry in study.entries)
    lists = unique(entry.experiment.get("train_list", "unknown") for entry in study.entries)
    counts = unique(entry.scores["n"] for entry in study.entries if entry.scores)
    trained = "synthetic images" if study.synthetic else f"the {listed(lists)} list"
    trained = "images of the same data" if study.own else trained
    teams = sum(bool(runs[0].averaged) for runs in study.rows.values())
    what = f"{counted(len(study.rows) - teams, 'row')} of the experiment table"
    what += f" and {counted(teams, 'ensemble')}" * bool(teams)
    return (
        f"{what} ({' and '.join(kinds)}), "
        f"{counted(len(study.entries), 'run')}, seed{'s' * (len(seeds) != 1)} {listed(seeds)}, "
        f"profile {listed(profiles)}, trained on {trained} and scored on the {study.where} "
        f"({listed(counts or ['no'])} images)."
    )


def _others(study: Study) -> list[str]:
    """Whose predictions stand beside the runs, and what is not known of them."""
    names = [f"{one.name} ({one.config.get('file', {}).get('path')})" for one in study.others]
    words = "Beside them the predictions of others, of which nothing else is known"
    return [f"{words}: {listed(names)}."] if names else []


def _same_runs(study: Study) -> list[str]:
    """Which rows are shown under the name of another one."""
    names = [
        f"{row} is the same run as {other}"
        for row, other in study.same.items()
        if row not in study.rows and other in study.rows
    ]
    return [f"Trained once, and shown under one name: {listed(names)}."] if names else []


def _random_weights(study: Study) -> list[str]:
    """Which experiments started from random weights, and which of them should not have."""
    scratch = {
        row: runs[0].recipe
        for row, runs in study.rows.items()
        if row not in experiments.BASELINES
        and not runs[0].averaged
        and any(run.experiment and not run.experiment.get("weights") for run in runs)
        and not any(run.experiment.get("encoder_from") for run in runs)
    }
    lacking = [row for row, recipe in scratch.items() if recipe and recipe.weights]
    text = f"From random weights: {listed(scratch)}." if scratch else ""
    if lacking:
        text += (
            f" Of these, {listed(lacking)} should start from pretrained weights by the experiment "
            "table; they were started without them (the weights were not available, or -p weights "
            "none was given), and are not what the published studies ran."
        )
    return [text] if text else []


def _best(study: Study) -> str:
    parts = []
    for task, of in TASKS.items():
        own = {row: own_scores(runs) for row, runs in study.of_task(task).items()}
        ranks = (of.rank, ("one_vs_rest", of.rank[-1]))  # of other classes than ISIC 2017's
        scores = {row: of_row.get(ranks[0], of_row.get(ranks[1])) for row, of_row in own.items()}
        ranked = {row: score for row, score in scores.items() if score}
        if ranked:
            row = max(ranked, key=lambda name: ranked[name].value)
            network = study.rows[row][0].network
            parts.append(
                f"The highest {of.rank_name} of {_of_kind(len(ranked), task)} is that of row {row} "
                f"({network}): {tables.own(ranked[row])}."
            )
    return " ".join(parts)


def _beside_published(lines: Sequence[Against]) -> str:
    shown = [line for line in lines if line.metric in HEADLINE]
    if not shown:
        return ""
    comparable = [line for line in shown if line.verdict not in (OTHER, UNDEFINED)]
    if not comparable:
        words = "No verdict on the published numbers: they are on other images."
        return f"{words} The table shows both."
    higher, lower, open_ = (
        sum(line.verdict.startswith(word) for line in comparable)
        for word in (HIGHER, LOWER, NOT_SHOWN)
    )
    return (
        f"Of {len(comparable)} published AUCs, Jaccard and Dice scores ours is {HIGHER} than "
        f"{higher}, {LOWER} than {lower}, and a difference is not shown either way for {open_}."
    )


def trained_unlike(study: Study, tests: Sequence[PairedTest]) -> dict[str, str]:
    """The overrides of compared rows ("1-3 against 1-1") that do not have the same ones."""
    unlike = {}
    pairs = ((test.row, test.other) for test in tests if test.other in study.rows)
    for pair in dict.fromkeys(pairs):
        runs = [entry for row in pair for entry in study.rows[row]]
        changes = [
            {name: value for name, (value, _) in tables.changed(entry).items()}
            for entry in runs
            if entry.recipe
        ]
        if any(change != changes[0] for change in changes):
            texts = unique(f"{entry.row}: {tables.overrides(entry)}" for entry in runs)
            unlike[" against ".join(pair)] = "; ".join(texts)
    return unlike


def _between_rows(study: Study, tests: Sequence[PairedTest]) -> str:
    main = [test for test in tests if test.main]
    if not main:
        return ""
    shown = [test for test in main if test.verdict in (HIGHER, LOWER)]
    open_, undefined = (
        [f"{test.row} against {test.other}" for test in main if test.verdict == verdict]
        for verdict in (NOT_SHOWN, UNDEFINED)
    )
    few = len(shown) <= FEW  # else the table has the numbers
    parts = [
        f"{test.row} {test.verdict} than {test.other}" + f" ({_difference(test)})" * few
        for test in shown
    ]
    pairs = "1 pair of rows was" if len(main) == 1 else f"{len(main)} pairs of rows were"
    text = f"{pairs} compared on the same images. "
    text += f"Shown: {'; '.join(parts)}. " if parts else "No difference is shown. "
    text += f"Not shown either way: {listed(open_)}. " if open_ else ""
    text += f"Undefined, as a class is missing: {listed(undefined)}. " if undefined else ""
    unlike = trained_unlike(study, tests)
    return text + (f"Not trained alike, so that more differs: {listed(unlike)}." if unlike else "")


def _difference(test: PairedTest) -> str:
    text = tables.within(test.first - test.second, test.low, test.high, sign=True)
    return f"{test.what} {text}, p {tables.p_text(test.adjusted)}"


def ablations(study: Study, tests: Sequence[PairedTest]) -> list[str]:
    """A sentence on each pair of rows that differs in attention."""
    texts = []
    for test in (test for test in tests if test.main and test.other in study.rows):
        ours, theirs = (study.rows[name][0] for name in (test.row, test.other))
        if ours.averaged or theirs.averaged:  # more differs than their attention
            continue
        if test.verdict == UNDEFINED:
            continue
        if words := _role(ours, theirs):
            shown = test.verdict in (HIGHER, LOWER)
            texts.append(
                f"{words[0]} (row {test.row}) the {test.what} is {tables.number(test.first)}, "
                f"{words[1]} (row {test.other}) {tables.number(test.second)}: {_difference(test)}. "
                + (f"Shown: row {test.row} is" if shown else "A difference is")
                + f" {test.verdict}."
            )
    return texts


def _role(ours: Entry, theirs: Entry) -> tuple[str, str] | None:
    """How the attention of the two differs, in words; None where it does not."""
    both = ours.experiment, theirs.experiment
    frozen = [one.get("alpha") == 0 and not one.get("train_alpha", True) for one in both]
    if frozen[0] != frozen[1]:
        names = ("With α frozen at 0", "with learned α")
        return names if frozen[0] else ("With learned α", "with α frozen at 0")
    if ours.history.empty or theirs.history.empty:  # which hold an α for each attention block
        return None
    attends = [bool(alpha_columns(one.history)) for one in (ours, theirs)]
    if attends[0] != attends[1]:
        names = ("With attention", "without")
        return names if attends[0] else ("Without attention", "with it")
    kinds = [one.get("attention") for one in both]
    if all(attends) and kinds[0] != kinds[1]:
        places = {"spatial": "over positions", "channel": "over channels"}
        first, second = (places.get(str(kind), str(kind)) for kind in kinds)
        return f"With the softmax {first}", second
    return None


def listed(names: Iterable[Any]) -> str:
    """ "a, b and c"."""
    *most, last = map(str, names)
    return f"{', '.join(most)} and {last}" if most else last


def counted(number: int, thing: str) -> str:
    """A number of things.

    >>> counted(1, "run"), counted(3, "run")
    ('1 run', '3 runs')
    """
    return f"{number} {thing}{'s' * (number != 1)}"


def _of_kind(number: int, task: Task) -> str:
    return counted(number, TASKS[task].plural.lower().removesuffix("s"))


def unique(names: Iterable[Any]) -> list[Any]:
    """Each name once, in order."""
    return list(dict.fromkeys(names))
