"""The report of a study: one page, results.csv and results.tex, from what runs left behind.

It reads run folders (settings, histories, predictions, scores, figures), never a network, and a
file that is missing is named on the page with the command that makes it. Everything that changes
from one execution to another stands in the page's `<section id="cost">` alone.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from study.report import tables
from study.report.compare import Against
from study.report.entries import read
from study.report.findings import Study, summary
from study.report.page import render
from study.report.pairs import PairedTest
from study.report.record import cost, record
from study.report.sections import attention, curves, forest, galleries, paired, published
from study.report.trust import trust
from utils import data
from utils.logger.run import RunFolder
from utils.system import errors
from utils.system.files import write_atomic, write_table


def write(
    runs: Mapping[str, RunFolder],
    rows: Mapping[str, Any],
    data_dir: Path,
    split: str,
    output: Path,
    against: Mapping[str, str],
    failed: Sequence[str] = (),
    notebooks: Mapping[str, Path] | None = None,
    same: Mapping[str, str] | None = None,
) -> Path:
    """Write index.html, results.csv and results.tex into the folder output; the path of the page.

    runs: run folders by the name they have on the page. rows: the recipe of each row by its name,
    in the profile of the runs, with `published`. split: the images that are reported. against: the
    row that a row is compared with. failed: a sentence for each run that is not there. notebooks:
    executed evaluations beside the page, by title. same: the row that stands for a row, where both
    would be the same run. Raises ValueError for no runs.
    """
    if not runs:
        raise ValueError("there is no run to report; expected one run folder at least")
    study = _study(runs, rows, data_dir, split, against, same or {})
    links = [
        (title, quote(Path(os.path.relpath(file, output)).as_posix()))
        for title, file in (notebooks or {}).items()
    ]
    lines, (tests, left_out) = study.published(), study.paired()
    sections = [
        summary(study, lines, tests, failed, links),
        published(study, lines),
        paired(study, tests, left_out),
        forest(study),
        curves(study),
        galleries(study),
        attention(study, tests),
        trust(study),
        record(study),
        cost(study),
    ]
    table = tables.results(study.entries, split)
    in_print = _printed_tables(study, table, lines, tests)
    write_table(output / "results.csv", table)
    write_atomic(output / "results.tex", tables.latex(in_print))
    title = f"Skin lesion study: {study.data}, {split} split"
    lead = "Every score with its 95 % interval; made from the folders that the runs left."
    write_atomic(output / "index.html", render(title, lead, sections))
    return output / "index.html"


def _study(
    runs: Mapping[str, RunFolder],
    rows: Mapping[str, Any],
    data_dir: Path,
    split: str,
    against: Mapping[str, str],
    same: Mapping[str, str],
) -> Study:
    synthetic = data.is_demo(data_dir)
    # The name of the folder, not its path: the page may be read elsewhere.
    called = "demo" if synthetic else f"'{data_dir.name}'"
    images, problem = None, ""
    try:
        images = data.read(data_dir)
    except (errors.DataError, OSError) as error:
        problem = str(error)
    return Study(
        [read(name, run, split, called) for name, run in runs.items()],
        rows,
        split,
        data.note(data_dir),
        synthetic,
        images,
        problem,
        against,
        same,
    )


def _printed_tables(
    study: Study, table: pd.DataFrame, lines: Sequence[Against], tests: Sequence[PairedTest]
) -> dict[str, pd.DataFrame]:
    """What results.tex holds, by caption: scores of each run, published and paired comparisons."""
    where = f"{study.split} split of {study.data}, 95 % intervals"
    scores = table[table["convention"] == "official"]
    found = {
        f"Classifiers, official scores, {where}": scores[~scores["row"].str.startswith("seg-")],
        f"Segmenters, official scores, {where}": scores[scores["row"].str.startswith("seg-")],
    }
    printed = {caption: tables.wide(part) for caption, part in found.items() if not part.empty}
    if lines:
        columns = ["row", "published", "score", "ours", "theirs", "difference", "verdict"]
        printed["Ours and the published numbers, each in the convention of the study"] = (
            tables.published(lines)[columns]
        )
    if tests:
        printed["Rows against one another, paired tests"] = tables.paired(tests)
    return printed
