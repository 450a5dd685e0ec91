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

NOT_RECORDED = "not recorded"
CSV = (
    "run",
    "row",
    "seed",
    "profile",
    "data",
    "split",
    "convention",
    "metric",
    "value",
    "low",
    "high",
    "n",
)
CONVENTIONS = {  # of classifiers, of segmenters
    ("official", False): "official (> 0.5)",
    ("coursework", False): "coursework (argmax)",
    ("unstated", False): "theirs not stated; ours: coursework (argmax)",
    ("official", True): "official (mean of images)",
    ("coursework", True): "coursework (pooled, with background)",
    ("lesion", True): "lesion (pooled)",
}
_SHORT = {"auc": "AUC", "accuracy": "ACC", "sensitivity": "SE", "specificity": "SP"}
# Free to differ, or named elsewhere on the page.
_NO_OVERRIDE = frozenset({"question", "published", "workers", "seed", "name", "profile"})


def number(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """A value as text; "–" for none."""
    if value is None or math.isnan(value):
        return "–"
    # z: what is rounded to nothing has no sign
    return f"{value:{'+' if sign else '-'}z.{digits}f}".replace("-", "−")


def printed(value: float) -> str:
    """A published value with as many digits as were printed, three at least."""
    text = f"{value:.4f}"
    return text.removesuffix("0")


def within(value: float | None, low: float | None, high: float | None, sign: bool = False) -> str:
    """ "0.917 [0.875, 0.955]"; without the interval where there is none."""
    if value is None or low is None or math.isnan(low) or math.isnan(value):
        return number(value, sign=sign)
    ends = f"[{number(low, sign=sign)}, {number(high, sign=sign)}]"
    return f"{number(value, sign=sign)} {ends}"


def own(score: Own | None) -> str:
    """A score of a row: its interval, and ± its deviation over seeds where there are several."""
    if score is None:
        return "–"
    seeds = "" if math.isnan(score.deviation) else f" ± {number(score.deviation)}"
    return f"{number(score.value)}{seeds} [{number(score.low)}, {number(score.high)}]"


def p_text(value: float) -> str:
    """A p value as text."""
    if math.isnan(value):
        return "–"
    if value < 0.001:
        return "< 0.001"
    # Around 0.05 with a digit more, so that number and verdict agree.
    text = f"{value:.{4 if 0.0495 <= value < 0.0505 else 3}f}"
    return "< 0.05" if value < 0.05 <= float(text) else text


def metric_name(metric: str, segments: bool) -> str:
    """ "melanoma_auc" as "M AUC", "seborrheic_keratosis_accuracy" as "SK ACC", "jaccard" as JSI."""
    if segments:
        return TABLE_NAMES.get(metric, metric)
    name, _, kind = metric.rpartition("_")
    short = {"melanoma": "M", "seborrheic_keratosis": "SK"}.get(name, name)
    return f"{short} {_SHORT.get(kind, kind)}".strip()


def results(entries: Iterable[Entry], split: str) -> pd.DataFrame:
    """Every score of every run: what results.csv holds, a line a run and metric; columns `CSV`."""
    lines = []
    for entry in entries:
        scores = entry.scores or {}
        start = {"run": entry.name, "row": entry.row, "seed": entry.seed}
        start |= {"profile": entry.settings.get("profile", ""), "data": scores.get("data", "")}
        for (convention, *path), score in flat(scores).items():
            line = {"split": split, "convention": convention, "metric": "_".join(path)}
            ends = {end: score.get(end) for end in ("value", "low", "high")}
            lines.append(start | line | ends | {"n": scores.get("n")})
    return pd.DataFrame(lines, columns=list(CSV))


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """Lines of `results` with a line a run and a column a metric, as texts."""
    lines: dict[str, dict[str, str]] = {}
    for line in table.to_dict("records"):
        segments = line["row"].startswith("seg-")
        cells = lines.setdefault(line["run"], {"run": line["run"]})
        cells[metric_name(line["metric"], segments)] = within(
            line["value"], line["low"], line["high"]
        )
    return pd.DataFrame(lines.values()).fillna("–")


def published(lines: Sequence[Against]) -> pd.DataFrame:
    """Ours, theirs, difference, interval and verdict, as texts; a line a score."""
    table = []
    for line in lines:
        segments = line.row.startswith("seg-")
        table.append(
            {
                "row": line.row,
                "published": line.study.source,
                "score": metric_name(line.metric, segments),
                "ours": own(line.ours),
                "theirs": printed(line.theirs),
                "difference": within(line.difference, line.low, line.high, sign=True),
                "verdict": line.verdict,
                "convention": CONVENTIONS[line.study.convention, segments],
                "ours trained on": line.trained_on,
                "theirs trained on": line.study.training_list,
            }
        )
    return pd.DataFrame(table)


def paired(tests: Sequence[PairedTest]) -> pd.DataFrame:
    """The paired tests as texts; a line a test."""

    def side(value: float, deviation: float) -> str:
        return number(value) + ("" if math.isnan(deviation) else f" ± {number(deviation)}")

    return pd.DataFrame(
        [
            {
                "row": test.row,
                "against": test.other,
                "score": test.what,
                "first": side(test.first, test.spread[0]),
                "second": side(test.second, test.spread[1]),
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


def latex(tables: Mapping[str, pd.DataFrame]) -> str:
    """booktabs tables, each under its caption, every cell escaped; ready to be put into a text."""
    parts = ["% needs \\usepackage{booktabs,longtable}\n{\\footnotesize\n"]
    for caption, table in tables.items():
        body = table.astype(str).map(_tex)
        body.columns = [_tex(str(name)) for name in table.columns]
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


def overrides(entry: Entry, recipe: Any | None) -> str:
    """Settings of the run that are not those of its row's recipe: "epochs 8 (15)"."""
    if recipe is None:
        return "the recipe of this row is not known here"
    wanted = json.loads(json.dumps(asdict(recipe)))
    texts = [
        f"{name} {_plain(value)} ({_plain(wanted[name])})"
        for name, value in changed(entry, recipe).items()
    ]
    return ", ".join(texts) or "none"


def changed(entry: Entry, recipe: Any) -> dict[str, Any]:
    """Settings of the run that are not those of its row's recipe, by name."""
    wanted = json.loads(json.dumps(asdict(recipe)))
    return {
        name: entry.settings[name]
        for name, value in wanted.items()
        if name in entry.settings and entry.settings[name] != value and name not in _NO_OVERRIDE
    }


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "×".join(map(str, value)) if len(value) == 2 else str(value)
    return "none" if value is None else str(value)
