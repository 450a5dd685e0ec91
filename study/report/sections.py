"""The sections of the report with tables and figures of all runs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import pandas as pd
from matplotlib.figure import Figure

from study.report import figures as figures
from study.report import tables as tables
from study.report.compare import Against
from study.report.entries import Entry, Study, by_task
from study.report.findings import HEADLINE, ablations, counted, listed, trained_unlike
from study.report.page import Block, Fold, Items, Pictures, Section, Table, Text
from study.report.pairs import PairedTest
from utils import evaluation, visualize
from utils.evaluation import ranking
from utils.evaluation.labels import classes_in
from utils.evaluation.masks import THRESHOLD
from utils.evaluation.published import OTHER, OWN, SYNTHETIC, reason
from utils.system.experiment import Task
from utils.task import TASKS
from utils.visualize.figures import alpha_columns

TITLES = {"AUC seborrheic keratosis": "AUC seb. keratosis", "Jaccard": "mean Jaccard"}
NOT_DRAWN = ("Dice", "sensitivity")
_WHY = {
    SYNTHETIC: "these data are synthetic",
    OWN: "none is about these data",
    OTHER: "they are about other images",
}
QUIET = ("convention", "ours trained on", "theirs trained on")
LISTED = 8  # failures of each run


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
    if study.own:
        words = f"Nothing was published about {study.data}: its scores stand alone."
        return Section("published", "Beside the published tables", [Text(words)])
    blocks: list[Block] = [Text(words)]
    for task, of_task in by_task(lines).items():
        kind = TASKS[task].plural
        head = [line for line in of_task if line.metric in HEADLINE]
        rest = [line for line in of_task if line.metric not in HEADLINE]
        if head:
            caption = (
                f"{kind}: ours ({study.where}) and theirs (official test split), 95 % intervals"
            )
            blocks.append(Table(caption, tables.published(head), 3, QUIET))
        if rest:
            table = Table(f"{kind}: the other scores", tables.published(rest), 3, QUIET)
            blocks.append(Fold(f"{kind}: accuracy, sensitivity, specificity and the rest", [table]))
    if not lines:
        blocks.append(Text("None of these rows has published numbers beside scores of ours."))
    if any(line.metric in line.study.impossible for line in lines):
        blocks.append(Text("† No counts of the 600 images give this number when it is rounded."))
    said: dict[str, list[str]] = {}
    for row, runs in study.rows.items():
        for text in runs[0].recipe.deviations if runs[0].recipe and lines else ():
            said.setdefault(text, []).append(row)
    if said:
        items = [f"{listed(rows)}: {text}." for text, rows in said.items()]
        blocks += [Text("Where ours are not what was published:"), Items(items)]
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
    for task, of_task in by_task(tests).items():
        caption = f"{TASKS[task].plural}: {len(of_task)} paired tests"
        blocks.append(Table(caption, tables.paired(of_task), heads=3))
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
    """Forest plots of the main scores of all runs."""
    blocks: list[Block] = []
    for task, entries in by_task(e for e in study.with_baselines if e.scores).items():
        kind = TASKS[task].plural
        scores = {entry.name: entry.scores for entry in entries}
        recipes = {entry.name: entry.recipe for entry in entries if entry.recipe}
        points = TASKS[task].points(scores, recipes)
        shown = points[~points["metric"].isin(NOT_DRAWN)].replace({"metric": TITLES})
        title, alt = f"{kind}, all runs", f"{kind}: scores of all runs with their 95 % intervals"
        figure = visualize.score_intervals(shown, title, study.where)
        blocks.append(figures.drawn(figure, f"{alt}, as in results.csv", wide=True))
        if why := reason(entries[0].scores):
            blocks.append(Text(f"Published values are not drawn: {_WHY[why]}."))
    return Section("forest", "All runs at a glance", blocks or [_none("scores")])


def curves(study: Study) -> Section:
    """Learning curves, confusion matrices, ROC, Jaccard of each image."""
    note = study.where
    trained = [entry for entry in study.entries if len(entry.history) and not entry.averaged]
    answered = by_task(e for e in (*study.entries, *study.others) if len(e.results))
    classifiers = answered.get("labels", [])
    blocks = [
        *_pictures("Learning curves", {e.name: _learning(e) for e in trained}, wide=True),
        *_pictures("Confusion matrix", {
            e.name: visualize.confusion_matrices(
                visualize.confusion(e.results), "", note, visualize.labels.answer_names(e.results)
            )
            for e in classifiers
        }),
        *_pictures("ROC", {e.name: _roc(e, note) for e in classifiers}),
    ]  # fmt: skip
    if masks := {e.name: e.results for e in answered.get("masks", [])}:
        figure = visualize.jaccard_distributions(masks, "", study.where)
        alt = f"Jaccard of each image of {listed(masks)}"
        blocks += [
            Text("Jaccard of each image", strong=True),
            figures.drawn(figure, alt, wide=True),
        ]
    title = "Learning curves, confusion matrices, ROC"
    return Section("curves", title, blocks or [_none("histories and predictions")])


def _pictures(what: str, drawn: Mapping[str, Figure], wide: bool = False) -> list[Block]:
    """A figure for each run, by the run's name."""
    pictures = [
        figures.drawn(figure, f"{what} of {name}", name, wide) for name, figure in drawn.items()
    ]
    return [Text(what, strong=True), Pictures(pictures)] if pictures else []


def _learning(entry: Entry) -> Figure:
    """Loss and scores; α has a figure of its own."""
    history = entry.history.drop(columns=alpha_columns(entry.history))
    score, keep = (entry.experiment.get(name, "") for name in ("select_score", "keep"))
    images = entry.experiment.get("select_on", "")
    note = "scores of the images that choose the epoch"
    if keep == "last":
        note = f"scores of the {images} images, which choose nothing: the last epoch is kept"
    return visualize.learning_curves(
        history, score, "", f"{counted(len(history), 'epoch')}, {note}", keep
    )


def _roc(entry: Entry, note: str) -> Figure:
    probabilities = entry.results[classes_in(entry.results)].to_numpy()
    truth, classes = entry.results["label"], entry.classes
    curves = evaluation.roc_curves(truth, probabilities, classes=classes)
    return visualize.roc_curves([one for one in curves if one.name in classes], "", note)


def galleries(study: Study) -> Section:
    """Pictures of cases, and the failures by id."""
    of_first = {runs[0].name: runs[0].folder for runs in study.rows.values()}
    files = {
        name: file
        for name, folder in of_first.items()
        if (file := folder / "figures" / "gallery.png").is_file()
    }
    pictures = []
    for name, file in files.items():
        with suppress(figures.NoPictureError):  # the page does without it
            at_most = figures.GALLERY // len(files)
            pictures.append(figures.gallery(file, f"Cases of {name}", name, at_most))
    blocks: list[Block] = [Pictures(pictures)] if pictures else [_none("figures/gallery.png")]
    listings: dict[Task, tuple[Callable[[Entry], dict[str, str]], str]] = {
        "labels": (_mistakes, "most confident mistakes of each run"),
        "masks": (_failures, f"worst images with a Jaccard below {THRESHOLD}"),
    }
    for task, entries in by_task(e for e in study.entries if len(e.results)).items():
        lines_of, what = listings[task]
        table = pd.DataFrame([lines_of(entry) for entry in entries])
        blocks.append(Table(f"{TASKS[task].plural}: the {LISTED} {what}", table))
    return Section("cases", "Galleries and failures", blocks)


def _mistakes(entry: Entry) -> dict[str, str]:
    wrong = ranking.confident_mistakes(entry.results)
    named = ", ".join(
        f"{case['id']} ({visualize.class_label(case['label'], entry.classes)}, "
        f"called {case['predicted']} {case['sureness']:.2f})"
        for case in wrong.head(LISTED).to_dict("records")
    )
    return {"run": entry.name, "wrong": f"{len(wrong)} of {len(entry.results)}", "ids": named}


def _failures(entry: Entry) -> dict[str, str]:
    below = ranking.failures(entry.results)
    worst = below.head(LISTED).to_dict("records")
    named = ", ".join(f"{case['id']} ({case['jaccard']:.2f})" for case in worst)
    return {
        "run": entry.name,
        "below": f"{len(below)} of {len(entry.results)}",
        "ids, Jaccard": named,
    }


def attention(study: Study, tests: Sequence[PairedTest]) -> Section:
    """α of each block, and what the ablations say."""
    attends = [e for e in study.entries if alpha_columns(e.history)]
    blocks: list[Block] = [Items(said)] if (said := ablations(study, tests)) else []
    if attends:
        final = pd.DataFrame([_final_alphas(entry) for entry in attends])
        blocks.append(Table("α of each block at the epoch that was kept", final))
    learned = {
        e.name: e.history
        for e in attends
        if e.history[alpha_columns(e.history)].any(axis=None)  # not frozen at 0
    }
    if learned:
        figure = visualize.attention_weights(learned, "", study.where)
        alt = f"α of each block over the epochs of {listed(learned)}"
        blocks.append(figures.drawn(figure, alt, wide=True))
    return Section("attention", "Attention", blocks or [Text("No run here has attention weights.")])


def _final_alphas(entry: Entry) -> dict[str, str]:
    history, score = entry.history, entry.experiment.get("select_score", "")
    scored = score in history and history[score].notna().any()
    best = scored and entry.experiment.get("keep") != "last"
    kept = history.loc[history[score].idxmax()] if best else history.iloc[-1]
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
