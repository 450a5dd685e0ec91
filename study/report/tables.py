"""Tables of the report: how numbers are written, results.csv and results.tex, settings."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from study.report.compare import Against, Own, flat
from study.report.entries import Entry
from study.report.pairs import PairedTest
from utils.evaluation.masks import TABLE_NAMES
from utils.evaluation.score_files import headline
from utils.evaluation.score_tables import LABEL_METRICS, MASK_TITLES
from utils.system.experiment import Task

NOT_RECORDED = "not recorded"
CSV = ["run", "row", "seed", "profile", "data", "split", "convention", "metric", "value", "low",
       "high", "n"]  # fmt: skip
ENDS = ("value", "low", "high")
CONVENTIONS: dict[tuple[Task, str], str] = {
    ("labels", "official"): "official (> 0.5)",
    ("labels", "coursework"): "coursework (argmax)",
    ("labels", "unstated"): "theirs not stated; ours: coursework (argmax)",
    **{("masks", name): title for name, title in MASK_TITLES.items()},
}
# Free to differ, or named elsewhere on the page.
_NO_OVERRIDE = frozenset(
    {
        "question",
        "published",
        "deviations",
        "device",
        "workers",
        "loader",
        "seed",
        "name",
        "profile",
    }
)


def number(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """A value as text; "–" for none."""
    if value is None or math.isnan(value):
        return "–"
    # z: what is rounded to nothing has no sign
    return f"{value:{'+' if sign else '-'}z.{digits}f}".replace("-", "−")


def within(value: float | None, low: float | None, high: float | None, sign: bool = False) -> str:
    """ "0.917 [0.875, 0.955]"; without the interval where there is none."""
    if value is None or low is None or math.isnan(low) or math.isnan(value):
        return number(value, sign=sign)
    ends = f"[{number(low, sign=sign)}, {number(high, sign=sign)}]"
    return f"{number(value, sign=sign)} {ends}"


def over_seeds(value: float, deviation: float) -> str:
    """A value, and ± its deviation over seeds where there are several."""
    return number(value) + ("" if math.isnan(deviation) else f" ± {number(deviation)}")


def own(score: Own) -> str:
    """A score of ours with its interval."""
    ends = f"[{number(score.low)}, {number(score.high)}]"
    return f"{over_seeds(score.value, score.deviation)} {ends}"


def p_text(value: float) -> str:
    """A p value as text."""
    if math.isnan(value):
        return "–"
    if value < 0.001:
        return "< 0.001"
    # Around 0.05 with a digit more, so that number and verdict agree.
    text = f"{value:.{4 if 0.0495 <= value < 0.0505 else 3}f}"
    return "< 0.05" if value < 0.05 <= float(text) else text


def metric_name(metric: str) -> str:
    """A score as the tables call it.

    >>> [metric_name(name) for name in ("melanoma_auc", "seborrheic_keratosis_accuracy", "jaccard")]
    ['M AUC', 'SK ACC', 'JSI']
    """
    if metric in TABLE_NAMES:
        return TABLE_NAMES[metric]
    name, _, kind = metric.rpartition("_")
    short = {"melanoma": "M", "seborrheic_keratosis": "SK"}.get(name, name)
    return f"{short} {LABEL_METRICS.get(kind, kind)}".strip()


def results(entries: Iterable[Entry], split: str) -> pd.DataFrame:
    """Every score of every run: what results.csv holds, a line a run and metric; columns `CSV`."""
    lines = []
    for entry in entries:
        scores = entry.scores
        run = {"run": entry.name, "row": entry.row, "seed": entry.seed, "split": split}
        run |= {"profile": entry.experiment.get("profile", ""), "data": scores.get("data", "")}
        for (convention, *path), score in flat(scores).items():
            line = {"convention": convention, "metric": "_".join(path), "n": scores.get("n")}
            lines.append(run | line | {end: score.get(end) for end in ENDS})
    return pd.DataFrame(lines, columns=CSV)


def official(entries: Iterable[Entry]) -> pd.DataFrame:
    """The official scores with a line a run and a column a metric, as texts.

    Of other classes than ISIC 2017's those of `score_files.headline`.
    """
    lines = [
        {"run": entry.name}
        | {
            name: within(score["value"], score["low"], score["high"])
            for name, score in (
                headline(entry.scores) if "one_vs_rest" in entry.scores else {}
            ).items()
        }
        | {
            metric_name("_".join(path)): within(score["value"], score.get("low"), score.get("high"))
            for (convention, *path), score in flat(entry.scores).items()
            if convention == "official"
        }
        for entry in entries
    ]
    return pd.DataFrame([line for line in lines if len(line) > 1]).fillna("–")


def published(lines: Sequence[Against]) -> pd.DataFrame:
    """Ours, theirs, difference, interval and verdict, as texts; a line a score."""
    return pd.DataFrame(
        [
            {
                "row": line.row,
                "published": line.study.source,
                "score": metric_name(line.metric),
                "ours": own(line.ours),
                # As printed, three digits at least; marked where no counts give it.
                "theirs": f"{line.theirs:.4f}".removesuffix("0")
                + " †" * (line.metric in line.study.impossible),
                "difference": within(line.difference, line.low, line.high, sign=True),
                "verdict": line.verdict,
                "convention": CONVENTIONS[line.task, line.study.convention],
                "ours trained on": line.trained_on,
                "theirs trained on": line.study.training_list,
            }
            for line in lines
        ]
    )


def paired(tests: Sequence[PairedTest]) -> pd.DataFrame:
    """The paired tests as texts; a line a test."""
    return pd.DataFrame(
        [
            {
                "row": test.row,
                "against": test.other,
                "score": test.what,
                "first": over_seeds(test.first, test.spread[0]),
                "second": over_seeds(test.second, test.spread[1]),
                "difference": within(test.first - test.second, test.low, test.high, sign=True),
                "test": test.test,
                "p": p_text(test.p_value),
                "p (Holm)": p_text(test.adjusted),
                "verdict": test.verdict,
                "seeds": ", ".join(map(str, test.seeds)),
                "note": test.note,
            }
            for test in tests
        ]
    )


def difference(test: PairedTest) -> str:
    """First minus second of a test, with its interval."""
    return within(test.first - test.second, test.low, test.high, sign=True)


def latex(tables: Mapping[str, pd.DataFrame]) -> str:
    """booktabs tables, each under its caption, every cell escaped; ready to be put into a text."""
    parts = ["% needs \\usepackage{booktabs,longtable}\n{\\footnotesize\n"]
    for caption, table in tables.items():
        body = table.astype(str).map(_tex).rename(columns=_tex)
        text = body.style.hide(axis="index").to_latex(
            hrules=True,
            caption=_tex(caption),
            column_format="l" * len(body.columns),
            environment="longtable",
        )
        parts.append(text)
    return "\n".join([*parts, "}\n"])


_TEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': r"\textquotedbl{}",
    "α": r"$\alpha$",
    "γ": r"$\gamma$",
    "±": r"$\pm$",
    "−": r"$-$",
    "≥": r"$\geq$",
    "–": "--",
    "\n": " ",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)


def overrides(entry: Entry) -> str:
    """The settings of the run that differ from its recipe: "epochs 8 (15)"."""
    if entry.recipe is None:
        return "the recipe of this row is not known here"
    texts = [
        f"{name} {setting(value)} ({setting(usual)})"
        for name, (value, usual) in changed(entry).items()
    ]
    return ", ".join(texts) or "none"


def changed(entry: Entry) -> dict[str, tuple[Any, Any]]:
    """The settings of the run that differ from its recipe, each with the recipe's value."""
    if entry.recipe is None:
        return {}
    recipe = json.loads(json.dumps(asdict(entry.recipe)))  # as it would be stored
    return {
        name: (entry.experiment[name], usual)
        for name, usual in recipe.items()
        if entry.experiment.get(name, usual) != usual and name not in _NO_OVERRIDE
    }


def setting(value: Any) -> str:
    """A setting as text: a size in px as "224" or "336×224", None as "none"."""
    if isinstance(value, list) and len(value) == 2:
        return "×".join(map(str, value))
    return "none" if value is None else str(value)
