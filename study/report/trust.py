"""The section on calibration, operating points and subgroups, from `evaluation.trust`."""

import pandas as pd

from study.report import figures as figures
from study.report.entries import Entry
from study.report.findings import Study
from study.report.page import Block, Fold, Items, Pictures, Section, Table, Text
from study.report.tables import number, within
from utils import evaluation
from utils.data.splits import CLASSES


def trust(study: Study) -> Section:
    """One run of each classifier: the first of its seeds."""
    first = [runs[0] for runs in study.rows.values() if not runs[0].segments]
    found, refused = {}, []
    for entry in first:
        if why := _why_not(entry):
            refused.append(f"{entry.name}: {why}")
            continue
        people = _people(study, entry)
        found[entry.name] = evaluation.trust.assess(entry.selection, entry.predictions, people)
    words = (
        "Temperatures and thresholds are fitted on the images that chose the epoch and applied to "
        "those that are reported, never chosen on them. The first seed of each classifier."
    )
    blocks: list[Block] = [Text(words)]
    if found:
        blocks += _blocks(found)
    if refused:
        blocks += [Text("Without numbers:", strong=True), Items(refused)]
    if not first:
        blocks = [Text("There is no classifier among these runs.")]
    return Section("trust", "Calibration, operating points, subgroups", blocks)


def _why_not(entry: Entry) -> str:
    if entry.predictions is None or entry.selection is None:
        return "predictions are missing, see the summary."
    return evaluation.trust.refusal(entry.selection, entry.predictions)


def _people(study: Study, entry: Entry) -> pd.DataFrame | None:
    """Age and sex of the reported images, where the data know them all."""
    if study.images is None:
        return None
    people = study.images[study.images["id"].isin(entry.predictions["id"])]
    known = people[["id", "age", "sex"]]
    return known if len(known) == len(entry.predictions) else None


def _blocks(found: dict[str, evaluation.trust.Assessment]) -> list[Block]:
    melanoma = CLASSES[0]
    reliability = [
        figures.drawn(
            figures.reliability(a.reliability, melanoma), f"Reliability of {name}, melanoma", name
        )
        for name, a in found.items()
    ]
    decision = [
        figures.drawn(
            figures.decision(a.decision, melanoma), f"Decision curve of {name}, melanoma", name
        )
        for name, a in found.items()
    ]
    calibration = _stacked({name: _calibration(a) for name, a in found.items()})
    points = _stacked({name: _points(a.operating) for name, a in found.items()})
    read_off = _stacked({name: _read_off(a.read_off) for name, a in found.items()})
    groups = {name: _groups(a.subgroups) for name, a in found.items() if len(a.subgroups)}
    blocks: list[Block] = [
        Table("Calibration, before and after temperature scaling", calibration, heads=2),
        Text("Reliability, melanoma", strong=True),
        Pictures(reliability),
        Table("Operating points, 95 % Wilson intervals", points, heads=3),
        Fold(
            "Sensitivity at fixed specificity, and the reverse",
            [Table("Read off the reported ROC: no threshold that could have been chosen", read_off,
                   heads=2)],
        ),
        Text("Decision curves, melanoma: net benefit of the scaled probabilities", strong=True),
        Pictures(decision),
    ]  # fmt: skip
    if not groups:
        return [*blocks, Text("Age and sex of the reported images are not known: no subgroups.")]
    caption = "Subgroups, at the threshold for a sensitivity of at least 0.9"
    folds = [
        Fold(f"Subgroups by sex and age: {name}", [Table(caption, table, heads=2)])
        for name, table in groups.items()
    ]
    return [*blocks, *folds]


def _stacked(parts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    for name, part in parts.items():
        part.insert(0, "run", name)
    return pd.concat(parts.values(), ignore_index=True)


def _calibration(found: evaluation.trust.Assessment) -> pd.DataFrame:
    table = found.calibration
    before, after = (
        table[table["probabilities"] == version].set_index("class")
        for version in (evaluation.trust.BEFORE, evaluation.trust.AFTER)
    )
    lines = [
        {
            "class": name.replace("_", " "),
            "ECE": number(before.loc[name, "ece"]),
            "ECE scaled": number(after.loc[name, "ece"]),
            "ECE by chance": number(after.loc[name, "ece_by_chance"]),
            "Brier": _brier(before.loc[name]),
            "Brier scaled": _brier(after.loc[name]),
            "temperature": number(found.temperature, 2),
        }
        for name in before.index
    ]
    return pd.DataFrame(lines)


def _brier(line: pd.Series) -> str:
    return within(line["brier"], line["brier_low"], line["brier_high"])


def _points(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "class": line["class"].replace("_", " "),
                "threshold by": line["rule"],
                "threshold": number(line["threshold"]),
                "sensitivity, fitted": number(line["fitted_sensitivity"]),
                "sensitivity": _rate(line, "sensitivity"),
                "specificity, fitted": number(line["fitted_specificity"]),
                "specificity": _rate(line, "specificity"),
            }
            for line in table.to_dict("records")
        ]
    )


def _rate(line: dict, rate: str) -> str:
    return within(line[rate], line[f"{rate}_low"], line[f"{rate}_high"])


def _read_off(table: pd.DataFrame) -> pd.DataFrame:
    """A line a class: what the table has one below the other stands side by side."""
    lines: dict[str, dict[str, str]] = {}
    for line in table.to_dict("records"):
        name = line["class"].replace("_", " ")
        cells = lines.setdefault(name, {"class": name})
        cells[f"{line['rate']} at {line['at']}"] = within(line["value"], line["low"], line["high"])
    return pd.DataFrame(lines.values())


def _groups(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "class": line["class"].replace("_", " "),
                "group": line["group"] if not line["by"] else f"{line['by']}: {line['group']}",
                "images": str(line["n"]),
                "positives": str(line["positives"]),
                "AUC": _rate(line, "auc"),
                "sensitivity": _rate(line, "sensitivity"),
                "specificity": _rate(line, "specificity"),
                "": "small group" if line["small"] else "",
            }
            for line in table.to_dict("records")
        ]
    )
