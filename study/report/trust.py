"""The section on calibration, operating points and subgroups, from `evaluation.trust`."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from study.report import figures as figures
from study.report.entries import Entry, Study
from study.report.page import Block, Fold, Items, Pictures, Section, Table, Text
from study.report.tables import number, within
from utils import evaluation, visualize
from utils.data.splits import CLASSES

Line = Mapping[Any, Any]  # of a table of `evaluation.trust`


def trust(study: Study) -> Section:
    """One run of each classifier: the first of its seeds."""
    first = [runs[0] for runs in study.of_task("labels").values()]
    assessed, refused = {}, []
    for entry in first:
        if why := _why_not(entry):
            refused.append(f"{entry.name}: {why}")
            continue
        people = _people(study, entry)
        assessed[entry.name] = evaluation.trust.assess(entry.selection, entry.results, people)
    words = (
        "Temperatures and thresholds are fitted on the images that chose the epoch and applied to "
        "those that are reported, never chosen on them. The first seed of each classifier."
    )
    blocks: list[Block] = [Text(words if first else "There is no classifier among these runs.")]
    if assessed:
        blocks += _blocks(assessed, study.where)
    if refused:
        blocks += [Text("Without numbers:", strong=True), Items(refused)]
    return Section("trust", "Calibration, operating points, subgroups", blocks)


def _why_not(entry: Entry) -> str:
    if entry.results.empty or entry.selection.empty:
        return "predictions are missing, see the summary."
    return evaluation.trust.refusal(entry.selection, entry.results)


def _people(study: Study, entry: Entry) -> pd.DataFrame | None:
    """Age and sex of the reported images, where the data know them all."""
    if study.images is None:
        return None
    known = study.images.loc[study.images["id"].isin(entry.results["id"]), ["id", "age", "sex"]]
    return known if len(known) == len(entry.results) else None


def _blocks(assessed: Mapping[str, evaluation.trust.Assessment], note: str) -> list[Block]:
    calibration, points, read_off = (
        pd.concat(_named(name, table(one)) for name, one in assessed.items())
        for table in (_calibration, _points, _read_off)
    )
    blocks: list[Block] = [
        Table("Calibration, before and after temperature scaling", calibration, heads=2),
        Text("Reliability, melanoma", strong=True),
        _each(assessed, "reliability", visualize.trust.reliability_diagram, "Reliability", note),
        Table("Operating points, 95 % Wilson intervals", points, heads=3),
        Fold(
            "Sensitivity at fixed specificity, and the reverse",
            [Table("Read off the reported ROC: no threshold that could have been chosen", read_off,
                   heads=2)],
        ),
        Text("Decision curves, melanoma", strong=True),
        _each(assessed, "decision", visualize.trust.decision_curves, "Decision curve", note),
    ]  # fmt: skip
    groups = {name: _groups(one) for name, one in assessed.items() if len(one.subgroups)}
    if not groups:
        blocks.append(Text("Age and sex of the reported images are not known: no subgroups."))
    caption = "Subgroups, at the threshold for a sensitivity of at least 0.9"
    return blocks + [
        Fold(f"Subgroups by sex and age: {name}", [Table(caption, table, heads=2)])
        for name, table in groups.items()
    ]


def _each(
    assessed: Mapping[str, evaluation.trust.Assessment],
    table: str,
    draw: Callable[[pd.DataFrame, str, str], Figure],
    what: str,
    note: str,
) -> Pictures:
    """A picture a run, of what one of its tables says of melanoma."""
    pictures = []
    for name, one in assessed.items():
        lines = getattr(one, table)
        figure = draw(lines[lines["class"] == CLASSES[0]], "", note)
        pictures.append(figures.drawn(figure, f"{what} of {name}, melanoma", name))
    return Pictures(pictures)


def _named(run: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table with the run's name in the first column."""
    table.insert(0, "run", run)
    return table


def _as_texts(table: pd.DataFrame, cells: Callable[[Line], dict[str, str]]) -> pd.DataFrame:
    """A line for each line of a table, under its class."""
    lines = table.to_dict("records")
    return pd.DataFrame(
        [{"class": line["class"].replace("_", " ")} | cells(line) for line in lines]
    )


def _calibration(one: evaluation.trust.Assessment) -> pd.DataFrame:
    version = one.calibration["probabilities"]
    before = one.calibration[version == evaluation.trust.BEFORE]
    scaled = one.calibration[version == evaluation.trust.AFTER].set_index("class").to_dict("index")

    def cells(line: Line) -> dict[str, str]:
        after = scaled[line["class"]]
        return {
            "ECE": number(line["ece"]),
            "ECE scaled": number(after["ece"]),
            "ECE by chance": number(after["ece_by_chance"]),
            "Brier": _rate(line, "brier"),
            "Brier scaled": _rate(after, "brier"),
            "temperature": number(one.temperature, 2),
        }

    return _as_texts(before, cells)


def _points(one: evaluation.trust.Assessment) -> pd.DataFrame:
    return _as_texts(
        one.operating,
        lambda line: {
            "threshold by": line["rule"],
            "threshold": number(line["threshold"]),
            "sensitivity, fitted": number(line["fitted_sensitivity"]),
            "sensitivity": _rate(line, "sensitivity"),
            "specificity, fitted": number(line["fitted_specificity"]),
            "specificity": _rate(line, "specificity"),
        },
    )


def _rate(line: Any, rate: str) -> str:
    return within(line[rate], line[f"{rate}_low"], line[f"{rate}_high"])


def _read_off(one: evaluation.trust.Assessment) -> pd.DataFrame:
    """A line a class: what the table has one below the other stands side by side."""
    lines: dict[str, dict[str, str]] = {}
    for line in one.read_off.to_dict("records"):
        name = line["class"].replace("_", " ")
        cells = lines.setdefault(name, {"class": name})
        cells[f"{line['rate']} at {line['at']}"] = within(line["value"], line["low"], line["high"])
    return pd.DataFrame(lines.values())


def _groups(one: evaluation.trust.Assessment) -> pd.DataFrame:
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
