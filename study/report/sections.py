"""The sections of the report that show tables and pictures of all runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from study.report import figures as figures
from study.report import tables as tables
from study.report.compare import Against
from study.report.entries import Entry
from study.report.findings import HEADLINE, Study, ablations, trained_unlike
from study.report.page import Block, Fold, Items, Picture, Pictures, Section, Table, Text
from study.report.pairs import PairedTest
from utils.data.splits import CLASSES
from utils.evaluation import ranking, score_tables
from utils.evaluation.masks import THRESHOLD
from utils.evaluation.published import OTHER, SYNTHETIC, comparable, reason
from utils.visualize.figures import alpha_columns

KINDS = {False: "Classifiers", True: "Segmenters"}
AREAS = {
    "mean AUC": "mean AUC",
    "AUC melanoma": "AUC melanoma",
    "AUC seborrheic keratosis": "AUC seb. keratosis",
}
_WHY = {SYNTHETIC: "these data are synthetic", OTHER: "they are about other images"}
QUIET = ("convention", "ours trained on", "theirs trained on")
LISTED = 8  # failures of a run that are named


def published(study: Study, lines: Sequence[Against]) -> Section:
    """The headline comparison."""
    words = (
        "Classifiers are scored as the coursework did (argmax: the most probable class, each "
        "against the rest); an AUC is the same in both conventions. Zhang et al. do not say how "
        "they answered, so only their AUCs get a verdict. Segmenters stand beside each study in "
        "that study's own convention only: the mean over images as the challenge has it, "
        "or all pixels pooled and averaged over lesion and background. The studies printed no "
        "answers for single images: their interval is computed from the printed value and the 600 "
        "official test images (117 melanomas, 90 seborrheic keratoses); scores of masks are taken "
        "to vary between images as ours do. The difference combines both intervals (MOVER), as for "
        "independent images; verdicts are not corrected for their number. ± is the deviation over "
        "seeds."
    )
    if study.synthetic:
        words = "These images are synthetic: no published number is comparable, so none is shown."
        return Section("published", "Beside the published tables", [Text(words)])
    blocks: list[Block] = [Text(words)]
    where = f"{study.split} split of {study.data}"
    for segments, kind in KINDS.items():
        chosen = [line for line in lines if line.row.startswith("seg-") == segments]
        head = [line for line in chosen if line.metric in HEADLINE]
        rest = [line for line in chosen if line.metric not in HEADLINE]
        if head:
            caption = f"{kind}: ours ({where}) and theirs (official test split), 95 % intervals"
            blocks.append(Table(caption, tables.published(head), 3, QUIET))
        if rest:
            table = Table(f"{kind}: the other scores", tables.published(rest), 3, QUIET)
            blocks.append(Fold(f"{kind}: accuracy, sensitivity, specificity and the rest", [table]))
    if not lines:
        blocks.append(Text("None of these rows has published numbers beside scores of ours."))
    return Section("published", "Beside the published tables", blocks)


def paired(study: Study, tests: Sequence[PairedTest], left_out: Sequence[str]) -> Section:
    """The comparisons between rows."""
    words = (
        "First minus second on the same images, seeds averaged (± deviation over seeds). The "
        "bootstrap compares the mean of the seeds' scores; DeLong, McNemar and Wilcoxon compare "
        "the seeds' mean answer to each image. p values are corrected by Holm over all tests of "
        "the table; a verdict needs p < 0.05 after it."
    )
    blocks: list[Block] = [Text(words)]
    for segments, kind in KINDS.items():
        chosen = [test for test in tests if test.row.startswith("seg-") == segments]
        if chosen:
            caption = f"{kind}: {len(chosen)} paired tests"
            blocks.append(Table(caption, tables.paired(chosen), heads=3))
    if not tests:
        blocks.append(Text("No two of these rows are to be compared, or answers are missing."))
    if unlike := trained_unlike(study, tests):
        words = (
            "Not trained alike, so that more differs than is asked. Changed in the recipe: value "
            "(recipe)"
        )
        blocks += [Text(words), Items([f"{rows}. {texts}" for rows, texts in unlike.items()])]
    if left_out:
        blocks += [Text("Not compared:"), Items(left_out)]
    return Section("paired", "Rows against one another", blocks)


def forest(study: Study) -> Section:
    """Every run's score that ranks, with its interval."""
    blocks: list[Block] = []
    for segments, kind in KINDS.items():
        entries = [e for e in study.entries if e.segments == segments and e.scores]
        if not entries:
            continue
        found = {entry.name: entry.scores for entry in entries}
        known = {e.name: study.recipes[e.row] for e in entries if e.row in study.recipes}
        points = (_jaccards if segments else score_tables.label_points)(found, known)
        note = f"{study.split} split of {study.data}"
        titles = {"Jaccard": "mean Jaccard"} if segments else AREAS
        alt = f"{kind}: scores of all runs with their 95 % intervals, as in results.csv"
        figure = figures.forest(points, titles, f"{kind}, all runs", note)
        blocks.append(figures.drawn(figure, alt, wide=True))
        if why := reason(entries[0].scores):
            blocks.append(Text(f"Published values are not drawn: {_WHY[why]}."))
    return Section("forest", "All runs at a glance", blocks or [_none("scores")])


def _jaccards(found: Mapping[str, Any], known: Mapping[str, Any]) -> pd.DataFrame:
    """As `score_tables.label_points`, the mean Jaccard alone."""
    ours = [
        {"run": name, "metric": "Jaccard", **scores["official"]["jaccard"], "published": False}
        for name, scores in found.items()
    ]
    theirs = [
        {"run": s.source, "metric": "Jaccard", "value": s.scores["jaccard"], "published": True}
        for s in comparable(found, known)
        if s.convention == "official"
    ]
    columns = ["run", "metric", "value", "low", "high", "published"]
    return pd.DataFrame(ours + theirs, columns=columns).astype({"low": float, "high": float})


def curves(study: Study) -> Section:
    """Small multiples: learning curves, confusion matrices, ROC, Jaccard of each image."""
    learning = [
        figures.drawn(
            figures.learning(e.history, e.settings.get("select_score", "")),
            f"Learning curves of {e.name}",
            f"{e.name}: {len(e.history)} epochs",
        )
        for e in study.entries
        if not e.history.empty
    ]
    classifiers = [e for e in study.entries if e.predictions is not None]
    segmenters = [e for e in study.entries if e.per_image is not None]
    blocks: list[Block] = []
    for title, pictures in (
        ("Learning curves: scores on the images that choose the epoch (kept: ringed), training "
         "loss below", learning),
        ("Confusion matrices: images, and shares of each true class; M melanoma, SK seborrheic "
         "keratosis, B benign", _each(classifiers, figures.confusion, "Confusion matrix of")),
        ("ROC", _each(classifiers, figures.roc, "ROC of")),
        (f"Jaccard of each image (dotted: {THRESHOLD}, below it an image counts as failed)",
         _each(segmenters, figures.jaccards, "Jaccard of each image of")),
    ):  # fmt: skip
        if pictures:
            blocks += [Text(title, strong=True), Pictures(pictures)]
    title = "Learning curves, confusion matrices, ROC"
    return Section("curves", title, blocks or [_none("histories and predictions")])


def _each(entries: Sequence[Entry], draw: Callable, what: str) -> list[Picture]:
    """A picture a run, of its table of images."""
    return [
        figures.drawn(draw(entry.counted), f"{what} {entry.name}", entry.name) for entry in entries
    ]


def galleries(study: Study) -> Section:
    """Pictures of cases, and the failures by name."""
    files = {
        runs[0].name: figures.figures_of(runs[0].folder, ("gallery",))
        for runs in study.rows.values()
    }
    files = {name: file for name, file in files.items() if file}
    pictures = []
    for name, file in files.items():
        try:
            at_most = figures.GALLERY // len(files)
            pictures.append(figures.gallery(file, f"Cases of {name}", name, at_most))
        except figures.NoPictureError:
            continue  # the run keeps what it has, the page goes without
    blocks: list[Block] = [Pictures(pictures)] if pictures else [_none("figures/gallery.png")]
    wrong = [_mistakes(e) for e in study.entries if e.predictions is not None]
    failed = [_failures(e) for e in study.entries if e.per_image is not None]
    if wrong:
        caption = f"Classifiers: the {LISTED} most confident mistakes of each run"
        blocks.append(Table(caption, pd.DataFrame(wrong)))
    if failed:
        caption = f"Segmenters: the {LISTED} worst images with a Jaccard below {THRESHOLD}"
        blocks.append(Table(caption, pd.DataFrame(failed)))
    return Section("cases", "Galleries and failures", blocks)


def _mistakes(entry: Entry) -> dict[str, str]:
    wrong = ranking.confident_mistakes(entry.predictions)
    named = ", ".join(
        f"{case.id} ({CLASSES[case.label]}, called {case.predicted} {case.sureness:.2f})"
        for case in wrong.head(LISTED).itertuples()
    ).replace("seborrheic_keratosis", "seborrheic keratosis")
    return {"run": entry.name, "wrong": f"{len(wrong)} of {len(entry.predictions)}", "ids": named}


def _failures(entry: Entry) -> dict[str, str]:
    below = entry.per_image[entry.per_image["jaccard"] < THRESHOLD]
    worst = below.sort_values(["jaccard", "id"], kind="stable").head(LISTED)
    named = ", ".join(f"{case.id} ({case.jaccard:.2f})" for case in worst.itertuples())
    return {
        "run": entry.name,
        "below": f"{len(below)} of {len(entry.per_image)}",
        "ids, Jaccard": named,
    }


def attention(study: Study, tests: Sequence[PairedTest]) -> Section:
    """α of each block, and what the ablations say."""
    shown = [e for e in study.entries if not e.history.empty and alpha_columns(e.history)]
    blocks: list[Block] = [Items(said)] if (said := ablations(study, tests)) else []
    if shown:
        table = pd.DataFrame([_final_alphas(entry) for entry in shown])
        pictures = [
            figures.drawn(figures.alphas(e.history), f"α of each block of {e.name}", e.name)
            for e in shown
            if e.history[alpha_columns(e.history)].any(axis=None)  # not frozen at 0
        ]
        blocks += [Table("α of each block at the epoch that was kept", table), Pictures(pictures)]
    return Section("attention", "Attention", blocks or [Text("No run here has attention weights.")])


def _final_alphas(entry: Entry) -> dict[str, str]:
    history, score = entry.history, entry.settings.get("select_score", "")
    known = score in history and history[score].notna().any()
    kept = history.loc[history[score].idxmax()] if known else history.iloc[-1]
    names = alpha_columns(history)
    values = [f"{n.removeprefix('α ').removesuffix('.alpha')} {kept[n]:.3g}" for n in names]
    return {
        "run": entry.name,
        "epoch": f"{kept['epoch']:.0f}",
        "largest |α|": f"{kept[names].abs().max():.3g}",
        "α of each block": ", ".join(values).replace("-", "−"),
    }


def _none(what: str) -> Text:
    return Text(f"None of the runs has {what}; the summary names the command that makes them.")
