"""What the report says in words: the summary, and what attention does. All of it is computed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from study.report import tables as tables
from study.report.compare import HIGHER, LOWER, UNDEFINED, Against, against_published, own_scores
from study.report.entries import Entry, by_row
from study.report.page import Block, Items, Links, Section, Table, Text
from study.report.pairs import PairedTest, paired_tests
from utils.evaluation.published import OTHER
from utils.visualize.figures import alpha_columns

RANKED = {False: ("official", "mean_auc"), True: ("official", "jaccard")}
FEW = 4
NAMES = {False: "mean AUC", True: "mean Jaccard"}
HEADLINE = ("melanoma_auc", "seborrheic_keratosis_auc", "jaccard", "dice")


@dataclass(frozen=True)
class Study:
    """Everything that the sections are made of."""

    entries: Sequence[Entry]
    recipes: Mapping[str, Any]  # by row
    split: str
    data: str  # "ISIC 2017" or "synthetic demo data"
    synthetic: bool
    images: pd.DataFrame | None  # as `data.read` gives them
    images_problem: str  # why there are none
    against: Mapping[str, str]
    same: Mapping[str, str]  # the row that stands for a row, where both would be the same run

    @property
    def rows(self) -> dict[str, list[Entry]]:
        """The runs of each row."""
        return by_row(self.entries)

    def published(self) -> list[Against]:
        """Every published score beside ours."""
        lines = []
        for row, entries in self.rows.items():
            studies = getattr(self.recipes.get(row), "published", ())
            lines += against_published(row, entries, studies)
        return lines

    def paired(self) -> tuple[list[PairedTest], list[str]]:
        """Every paired test, those of classifiers and those of segmenters corrected apart."""
        found: tuple[list[PairedTest], list[str]] = ([], [])
        for segments in (False, True):
            rows = {k: v for k, v in self.rows.items() if v[0].segments == segments}
            for kept, new in zip(found, paired_tests(rows, self.against, self.same), strict=True):
                kept.extend(new)
        return found


def summary(
    study: Study,
    lines: Sequence[Against],
    tests: Sequence[PairedTest],
    failed: Sequence[str],
    links: Sequence[tuple[str, str]],
) -> Section:
    """What was run, on what, and the three statements that matter most; then what is missing."""
    blocks: list[Block] = [Text(_what_ran(study))]
    if study.synthetic:
        words = "The data are synthetic: the numbers show that everything works, nothing else."
        blocks.append(Text(words, strong=True))
    flattered = [e.name for e in study.entries if e.settings.get("select_on") == study.split]
    if flattered:
        blocks.append(
            Text(
                f"In {listed(flattered)} the epoch was chosen on the very images that are "
                "reported: these scores flatter."
            )
        )
    if study.split == "train":
        blocks.append(Text("The networks were trained on the reported images: all scores flatter."))
    blocks += [Text(text) for text in (*_random_weights(study), *_same_runs(study))]
    statements = [_best(study), _beside_published(lines), _between_rows(study, tests)]
    blocks += [Text("What can be said", strong=True), Items([s for s in statements if s])]
    if failed:
        blocks += [Text("Not on this page", strong=True), Items(failed)]
    lacks = [lack for entry in study.entries for lack in entry.lacks]
    if lacks:
        missing = pd.DataFrame(lacks, columns=["run", "file", "is", "made by"])
        blocks.append(
            Table("Files that could not be read, and the command that makes them", missing)
        )
    if links:
        blocks += [Text("The executed evaluations, beside this page", strong=True)]
        blocks.append(Links(links))
    return Section("summary", "Summary", blocks)


def _what_ran(study: Study) -> str:
    rows = study.rows
    kinds = [
        f"{count} {name}{'s' * (count != 1)}"
        for name, count in (
            ("classifier", sum(not runs[0].segments for runs in rows.values())),
            ("segmenter", sum(runs[0].segments for runs in rows.values())),
        )
        if count
    ]
    seeds = sorted({entry.seed for entry in study.entries})
    profiles = unique(entry.settings.get("profile", "unknown") for entry in study.entries)
    trained = unique(entry.settings.get("train_list", "unknown") for entry in study.entries)
    counts = unique(entry.scores["n"] for entry in study.entries if entry.scores)
    trained = "synthetic images" if study.synthetic else f"the {listed(trained)} list"
    return (
        f"{len(rows)} row{'s' * (len(rows) != 1)} of the experiment table "
        f"({' and '.join(kinds) or 'none'}), {len(study.entries)} "
        f"run{'s' * (len(study.entries) != 1)}, "
        f"seed{'s' * (len(seeds) != 1)} {listed(seeds)}, profile {listed(profiles)}, trained on "
        f"{trained} and scored on the {study.split} split of {study.data} "
        f"({listed(counts or ['no'])} images)."
    )


def _same_runs(study: Study) -> list[str]:
    """Which rows are on the page under the name of another one."""
    names = [
        f"{row} is the same run as {other}"
        for row, other in study.same.items()
        if row not in study.rows and other in study.rows
    ]
    return [f"Trained once, and shown under one name: {listed(names)}."] if names else []


def _random_weights(study: Study) -> list[str]:
    """Which rows began from random weights, and which of them should not have."""
    scratch = [
        row
        for row, entries in study.rows.items()
        if any(e.settings and not e.settings.get("weights") for e in entries)
        and not any(e.settings.get("encoder_from") for e in entries)
    ]
    lacking = [row for row in scratch if getattr(study.recipes.get(row), "weights", None)]
    texts = []
    if scratch:
        texts.append(f"From random weights: {listed(scratch)}.")
    if lacking:
        texts.append(
            f"Of these, {listed(lacking)} should begin with pretrained weights by the experiment "
            "table; they were started without them (the weights could not be had, or -p weights "
            "none was chosen), and are not what the published studies ran."
        )
    return [" ".join(texts)] if texts else []


def _best(study: Study) -> str:
    parts = []
    for segments, kind in ((False, "classifier"), (True, "segmenter")):
        ranked = {}
        for row, entries in study.rows.items():
            if entries[0].segments == segments and (own := own_scores(entries)):
                score = own.get(RANKED[segments])
                if score:
                    ranked[row] = score
        if ranked:
            row = max(ranked, key=lambda name: ranked[name].value)
            network = study.rows[row][0].settings.get("network", "")
            parts.append(
                f"The highest {NAMES[segments]} of {len(ranked)} {kind}{'s' * (len(ranked) != 1)} "
                f"is that of row {row} ({network}): {tables.own(ranked[row])}."
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
    counts = {
        word: sum(line.verdict.startswith(word) for line in comparable)
        for word in (HIGHER, LOWER, "not shown")
    }
    return (
        f"Of {len(comparable)} published AUCs, Jaccard and Dice scores ours is {HIGHER} than "
        f"{counts[HIGHER]}, {LOWER} than {counts[LOWER]}, and a difference is not shown either way "
        f"for {counts['not shown']}."
    )


def trained_unlike(study: Study, tests: Sequence[PairedTest]) -> dict[str, str]:
    """Compared rows whose recipes were not changed alike ("1-3 against 1-1"), and the changes."""
    found = {}
    for rows in dict.fromkeys((test.row, test.other) for test in tests):
        runs = [
            (name, study.recipes.get(name), entry) for name in rows for entry in study.rows[name]
        ]
        changes = [tables.changed(entry, recipe) for _, recipe, entry in runs if recipe is not None]
        if any(change != changes[0] for change in changes):
            texts = [f"{name}: {tables.overrides(entry, recipe)}" for name, recipe, entry in runs]
            found[" against ".join(rows)] = "; ".join(unique(texts))
    return found


def _between_rows(study: Study, tests: Sequence[PairedTest]) -> str:
    main = [test for test in tests if test.main]
    if not main:
        return ""
    shown = [test for test in main if test.verdict in (HIGHER, LOWER)]
    open_ = [f"{test.row} against {test.other}" for test in main if test not in shown]
    few = len(shown) <= FEW  # else the table has the numbers
    parts = [
        f"{test.row} {test.verdict} than {test.other}" + f" ({_difference(test)})" * few
        for test in shown
    ]
    pairs = "1 pair of rows was" if len(main) == 1 else f"{len(main)} pairs of rows were"
    text = f"{pairs} compared on the same images. "
    text += f"Shown: {'; '.join(parts)}. " if parts else "No difference is shown. "
    text += f"Not shown either way: {listed(open_)}. " if open_ else ""
    unlike = trained_unlike(study, tests)
    return text + (f"Not trained alike, so that more differs: {listed(unlike)}." if unlike else "")


def _difference(test: PairedTest) -> str:
    text = tables.within(test.first - test.second, test.low, test.high, sign=True)
    return f"{test.what} {text}, p {tables.p_text(test.adjusted)}"


def ablations(study: Study, tests: Sequence[PairedTest]) -> list[str]:
    """A sentence on each pair of rows that differs in attention."""
    texts = []
    for test in (test for test in tests if test.main):
        words = _role(study.rows[test.row][0], study.rows[test.other][0])
        if words:
            first, second = words
            texts.append(
                f"{first} (row {test.row}) the {test.what} is {tables.number(test.first)}, "
                f"{second} (row {test.other}) {tables.number(test.second)}: {_difference(test)}. "
                + _verdict(test)
            )
    return texts


def _verdict(test: PairedTest) -> str:
    if test.verdict in (HIGHER, LOWER):
        return f"Shown: row {test.row} is {test.verdict}."
    return f"A difference is {test.verdict}."


def _role(ours: Entry, theirs: Entry) -> tuple[str, str] | None:
    """What the one does and the other does not, where attention is what differs."""
    both = ours.settings, theirs.settings
    frozen = [one.get("alpha") == 0 and not one.get("train_alpha", True) for one in both]
    if frozen[0] != frozen[1]:
        names = ("With α frozen at 0", "with learned α")
        return names if frozen[0] else ("With learned α", "with α frozen at 0")
    if ours.history.empty or theirs.history.empty:  # it holds an α for each block that attends
        return None
    attends = [bool(alpha_columns(one.history)) for one in (ours, theirs)]
    if attends[0] != attends[1]:
        names = ("With attention", "without")
        return names if attends[0] else ("Without attention", "with it")
    kinds = [one.get("attention") for one in both]
    if all(attends) and kinds[0] != kinds[1]:
        places = {"spatial": "over positions", "channel": "over channels"}
        first, second = (places.get(kind, str(kind)) for kind in kinds)
        return f"With the softmax {first}", second
    return None


def listed(names: Iterable[Any]) -> str:
    """ "a, b and c"."""
    *most, last = map(str, names)
    return f"{', '.join(most)} and {last}" if most else last


def unique(names: Iterable[Any]) -> list[Any]:
    """Each name once, in the order they come."""
    return list(dict.fromkeys(names))
