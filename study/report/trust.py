"""The section on calibration, operating points and subgroups, from `evaluation.trust`."""

from collections.abc import Callable, Mapping
from functools import partial
from math import isnan
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from study.report import figures as figures
from study.report.entries import Entry, Study
from study.report.page import Block, Fold, Items, Pictures, Section, Table, Text
from study.report.tables import number, within
from utils import visualize
from utils.evaluation import trust as trust_tables
from utils.evaluation.fitting import Fitting

Line = Mapping[Any, Any]  # of a table of `evaluation.trust`
Assessed = Mapping[str, trust_tables.Assessment]  # by the run's name
Fittings = Mapping[str, Fitting]


def trust(study: Study) -> Section:
    """One run of each classifier: the first of its seeds."""
    first = [runs[0] for runs in study.of_task("labels").values()]
    assessed, fittings, unfitted = {}, {}, []
    for entry in first:
        if entry.results.empty:
            unfitted.append(f"{entry.name}: predictions are missing, see the summary.")
            continue
        fitting, people = entry.fitting.for_report(entry.results), _people(study, entry)
        assessed[entry.name] = trust_tables.assess(fitting.table, entry.results, people)
        fittings[entry.name] = fitting
        if fitting.table is None:
            unfitted.append(f"{entry.name}: {fitting.where}")
    words = (
        "Temperatures and thresholds are never chosen on the images that are reported. Where the "
        "row has complete folds of the same recipe, they are fitted on the out-of-fold "
        "predictions of all training images, each by the fold's network that had not learned from "
        "it, and carried over to the reported network; else on the run's own hold-out. The first "
        "seed of each classifier."
    )
    blocks: list[Block] = [Text(words if first else "There is no classifier among these runs.")]
    if assessed:
        blocks += _blocks(assessed, fittings, study.where)
    if unfitted:
        blocks += [Text("Without a temperature and thresholds:", strong=True), Items(unfitted)]
    return Section("trust", "Calibration, operating points, subgroups", blocks)


def _people(study: Study, entry: Entry) -> pd.DataFrame | None:
    """Age and sex of the reported images, where the data know them all."""
    if study.images is None:
        return None
    people = study.images.loc[study.images["id"].isin(entry.results["id"]), ["id", "age", "sex"]]
    return people if len(people) == len(entry.results) else None


def _blocks(assessed: Assessed, fittings: Fittings, note: str) -> list[Block]:
    caption = "Calibration, before and after temperature scaling"
    first = _first(next(iter(assessed.values()))).replace("_", " ")
    each = partial(_each, assessed, fittings, note)
    blocks: list[Block] = [
        Table(caption, _calibration(assessed, fittings), heads=2, quiet=("fitted on",)),
        Text(f"Reliability, {first}", strong=True),
        each("reliability", visualize.reliability_diagram, "Reliability"),
        Fold(
            "Sensitivity at fixed specificity, and the reverse",
            [Table("Read off the reported ROC: no threshold that could have been chosen",
                   _read_off(assessed), heads=2)],
        ),
        Text(f"Decision curves, {first}", strong=True),
        each("decision", visualize.decision_curves, "Decision curve"),
    ]  # fmt: skip
    points = _points(assessed, fittings)
    if len(points):
        caption = "Operating points, 95 % Wilson intervals"
        blocks.insert(3, Table(caption, points, heads=3, quiet=("fitted on",)))
    groups = {name: _groups(one) for name, one in assessed.items() if len(one.subgroups)}
    if not groups:
        blocks.append(Text("No threshold, or no age and sex of the reported images: no subgroups."))
    return blocks + [
        Fold(
            f"Subgroups by sex and age: {name}",
            [Table(f"Subgroups, at the threshold for a sensitivity of at least 0.9, "
                   f"{fittings[name].said()}", table, heads=2)],
        )
        for name, table in groups.items()
    ]  # fmt: skip


def _each(
    assessed: Assessed,
    fittings: Fittings,
    note: str,
    table: str,
    draw: Callable[[pd.DataFrame, str, str], Figure],
    what: str,
) -> Pictures:
    """A figure for each run, of what one of its tables says of melanoma, or else of class 0."""
    pictures = []
    for name, one in assessed.items():
        lines, first = getattr(one, table), _first(one)
        figure = draw(lines[lines["class"] == first], "", f"{note}; {fittings[name].said()}")
        alt = f"{what} of {name}, {first.replace('_', ' ')}"
        pictures.append(figures.drawn(figure, alt, name))
    return Pictures(pictures)


def _first(one: trust_tables.Assessment) -> str:
    """Its first class."""
    return str(one.calibration["class"].iloc[0])


def _as_texts(table: pd.DataFrame, cells: Callable[[Line], dict[str, str]]) -> pd.DataFrame:
    """The cells of each line, behind its run (where the table has several) and class."""
    table = table.assign(**{"class": table["class"].str.replace("_", " ")})
    heads = table.columns.intersection(["run", "class"])
    return pd.DataFrame(
        [{name: line[name] for name in heads} | cells(line) for line in table.to_dict("records")]
    )


def _calibration(assessed: Assessed, fittings: Fittings) -> pd.DataFrame:
    table = trust_tables.gathered(assessed, "calibration")
    version = table["probabilities"]
    keys = ["run", "class"]
    scaled = table[version == trust_tables.AFTER].drop(columns="probabilities")
    before = table[version == trust_tables.BEFORE]
    both = before.merge(scaled, "left", keys, suffixes=("", "_scaled"))
    return _as_texts(
        both,
        lambda line: {
            "ECE": number(line["ece"]),
            "ECE scaled": number(line["ece_scaled"]),
            "ECE by chance": number(
                line["ece_by_chance" + "_scaled" * (not isnan(line["ece_scaled"]))]
            ),
            "Brier": _rate(line, "brier"),
            "Brier scaled": within(*(line[f"brier{end}_scaled"] for end in ("", "_low", "_high"))),
            "temperature": number(assessed[line["run"]].temperature, 2),
            "fitted on": fittings[line["run"]].images,
        },
    )


def _points(assessed: Assessed, fittings: Fittings) -> pd.DataFrame:
    return _as_texts(
        trust_tables.gathered(assessed, "operating"),
        lambda line: {
            "threshold by": line["rule"],
            "threshold": number(line["threshold"]),
            "sensitivity, fitted": number(line["fitted_sensitivity"]),
            "sensitivity": _rate(line, "sensitivity"),
            "specificity, fitted": number(line["fitted_specificity"]),
            "specificity": _rate(line, "specificity"),
            "fitted on": fittings[line["run"]].images,
        },
    )


def _rate(line: Line, rate: str) -> str:
    return within(line[rate], line[f"{rate}_low"], line[f"{rate}_high"])


def _read_off(assessed: Assessed) -> pd.DataFrame:
    """A line for each run and class, with its rates side by side."""
    cells = _as_texts(
        trust_tables.gathered(assessed, "read_off"),
        lambda line: {
            "rate": f"{line['rate']} at {line['at']}",
            "cell": within(line["value"], line["low"], line["high"]),
        },
    )
    table = cells.pivot_table("cell", ["run", "class"], "rate", aggfunc="first", sort=False)
    return table.reset_index()


def _groups(one: trust_tables.Assessment) -> pd.DataFrame:
    return _as_texts(
        one.subgroups,
        lambda line: {
            "group": f"{line['by']}: {line['group']}" if line["by"] else line["group"],
            "images": str(line["n"]),
            "positives": str(line["positives"]),
            "AUC": _rate(line, "auc"),
            "sensitivity": _rate(line, "sensitivity"),
            "specificity": _rate(line, "specificity"),
            "": "small group" if line["small"] else "",
        },
    )
