"""The report of a study: one page, results.csv and results.tex, from what runs left behind.

It reads run folders (settings, histories, predictions, scores, figures) and loads no network. The
page names each missing file with the command that makes it. Everything that changes from one
execution to another is in the page's `<section id="cost">`.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import pandas as pd

import experiments
from study.report import tables
from study.report.baselines import beyond, folders_of, known, not_beyond
from study.report.compare import Against, beside_published
from study.report.cross_validation import cross_validation
from study.report.entries import Entry, Study, by_task, read
from study.report.findings import summary
from study.report.page import render
from study.report.pairs import PairedTest, paired_tests
from study.report.record import cost, record
from study.report.sections import attention, curves, forest, galleries, paired, published
from study.report.trust import trust
from utils import data, logger
from utils.evaluation import out_of_fold
from utils.system import errors
from utils.system.files import write_atomic, write_table
from utils.task import TASKS


def write(
    runs: Mapping[str, logger.RunFolder],
    data_dir: Path,
    split: str,
    failed: Sequence[str] = (),
    pages: Mapping[str, Path] | None = None,
    same: Mapping[str, str] | None = None,
) -> Path:
    """Write index.html, results.csv and results.tex; returns the path of the page.

    They go to the folder report-<split> beside the first run. runs: run folders by their name on
    the page. split: the images that are reported. failed: a sentence for each missing run. pages:
    executed evaluations by name, copied beside the page in place of earlier ones. same: the run
    that stands for another one, by name. ValueError for no runs.
    """
    if not runs:
        raise ValueError("there is no run to report; expected one run folder at least")
    output = next(iter(runs.values())).path.parent / f"report-{split}"
    output.mkdir(exist_ok=True)
    study = _study(runs, data_dir, split, same or {})
    lines = beside_published(study)
    tests, left_out = paired_tests(study.rows, experiments.AGAINST, study.same, study.others)
    beside, not_beside = beyond(study)
    said = not_beyond(beside)
    sections = [
        summary(study, lines, tests, failed, _copied(pages or {}, output), said),
        known(study, beside, not_beside),
        published(study, lines),
        paired(study, tests, left_out),
        cross_validation(study),
        *(section(study) for section in (forest, curves, galleries)),
        attention(study, tests),
        *(section(study) for section in (trust, record, cost)),
    ]
    write_table(output / "results.csv", tables.results(study.with_baselines, split))
    write_atomic(output / "results.tex", tables.latex(_printed(study, lines, tests)))
    title = f"Skin lesion study: {study.data}, {split} split"
    lead = "Every score with its 95 % interval; made from the folders that the runs left."
    write_atomic(output / "index.html", render(title, lead, sections))
    return output / "index.html"


def _copied(pages: Mapping[str, Path], output: Path) -> list[tuple[str, str]]:
    """Copy the pages beside the report, in place of earlier ones; title and address of each."""
    logger.forget_pages(output)
    for name, page in pages.items():
        shutil.copy2(page, output / f"{name}.html")
    return [(name, quote(f"{name}.html")) for name in pages]


def _study(
    runs: Mapping[str, logger.RunFolder], data_dir: Path, split: str, same: Mapping[str, str]
) -> Study:
    # The name of the folder, not its path: the page may be read elsewhere.
    called = "demo" if data.is_demo(data_dir) else f"'{data_dir.name}'"
    images, problem = None, ""
    try:
        images = data.read(data_dir)
    except (errors.DataError, OSError) as error:
        problem = str(error)
    given = [read(name, run, split, called) for name, run in runs.items()]
    # Without a network the baselines are what there is to report.
    own = [entry for entry in given if entry.row not in experiments.OTHERS]
    others = [entry for entry in given if entry.row in experiments.OTHERS]
    entries = [entry for entry in own if entry.row not in experiments.BASELINES] or own
    baselines = _baselines(entries, split, called)
    rows = {run.rpartition("-s")[0]: other.rpartition("-s")[0] for run, other in same.items()}
    folds = out_of_fold.grouped(out_of_fold.beside(next(iter(runs.values()))))
    about = (data.note(data_dir), images, problem, rows)
    return Study(entries, split, *about, baselines, others, folds)


def _baselines(entries: Sequence[Entry], split: str, called: str) -> list[Entry]:
    """The finished baselines beside the runs, scored on this split."""
    folders = {path: path.name for entry in entries for path in folders_of(entry)}
    return [
        read(name, logger.RunFolder(path), split, called)
        for path, name in sorted(folders.items())
        if (path / f"scores-{split}.json").is_file()
    ]


def _printed(
    study: Study, lines: Sequence[Against], tests: Sequence[PairedTest]
) -> dict[str, pd.DataFrame]:
    """The tables of results.tex by caption."""
    printed = {}
    for task, entries in by_task(study.with_baselines).items():
        scores = tables.official(entries)
        if not scores.empty:
            official = "official " * any("official" in entry.scores for entry in entries)
            caption = f"{TASKS[task].plural}, {official}scores, {study.where}, 95 % intervals"
            printed[caption] = scores
    if lines:
        columns = ["row", "published", "score", "ours", "theirs", "difference", "verdict"]
        caption = "Ours and the published numbers, each in the convention of the study"
        printed[caption] = tables.published(lines)[columns]
    if tests:
        printed["Rows against one another, paired tests"] = tables.paired(tests)
    return printed
