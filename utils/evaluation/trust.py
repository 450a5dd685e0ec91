"""How far the probabilities of a run can be trusted: fitted on some images, reported on others.

Temperature and thresholds are fitted on the images of `fitting.predictions` and then applied to
the reported split. Where the two share an image, or there are none to fit on, nothing is fitted
(such numbers would flatter), and the probabilities are assessed as they are.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from utils.data.labels import require_labels
from utils.data.splits import read, training_images
from utils.evaluation import calibration, operating, subgroups
from utils.evaluation.intervals import interval_text
from utils.evaluation.labels import classes_in, scheme
from utils.evaluation.resampling import bootstrap, percentile_interval
from utils.system.errors import listed
from utils.system.experiment import Experiment

BEFORE, AFTER = "as they are", "scaled"
ANSWER = "most probable class"  # its calibration: Guo et al., section 2
POINTS = ["class", "rule", "threshold"]  # the first columns of operating points
SUBGROUP_RULE = f"sensitivity at least {operating.LEAST_SENSITIVITY}"  # one of operating.RULES


class Assessment(NamedTuple):
    """All results of `assess`; in each table a column names the class.

    Without images to fit on there are no scaled probabilities, operating points and subgroups.
    """

    temperature: float  # nan where none was fitted
    calibration: pd.DataFrame  # class, probabilities, temperature, n, ece, …, brier, low, high, …
    reliability: pd.DataFrame  # class, probabilities, and the columns of `calibration.reliability`
    operating: pd.DataFrame  # class, rule, threshold, fitted_…, and the keys of `operating.judged`
    read_off: pd.DataFrame  # class, rate, at, value, low, high: off the reported ROC
    roc: pd.DataFrame  # class, false_positive_rate, sensitivity: of the reported split
    decision: pd.DataFrame  # class, probabilities, and the columns of `operating.decision_curve`
    subgroups: pd.DataFrame  # as `subgroups.subgroups`; no rows where neither age nor sex is known


def refusal(fitted: pd.DataFrame, reported: pd.DataFrame) -> str:
    """Why `assess` would refuse these tables of predictions, as a sentence; "" if it would not.

    Refused are tables that share images or have different classes, and fitting images without
    melanomas (else class 0) or with nothing else.
    """
    both = sorted(set(fitted["id"].astype(str)) & set(reported["id"].astype(str)))
    if both:
        return (
            f"{len(both)} of the {len(reported)} reported images are among those to fit on "
            f"({listed(both)}): a temperature or threshold fitted on the images it is judged on "
            "flatters, so none is. Report another split."
        )
    if classes_in(fitted) != classes_in(reported):
        return (
            f"the predictions to fit on are for {listed(classes_in(fitted))}, those to report for "
            f"{listed(classes_in(reported))}; expected the same classes: use those of one run."
        )
    if not _tasks(fitted):
        first = classes_in(fitted)[0].replace("_", " ")
        these = "melanomas" if first == "melanoma" else f"of the class {first}"
        return (
            f"the images to fit on are all {these}, or none is: no threshold can be "
            "fitted on them; expected both. Add more images."
        )
    return ""


def assess(
    fitted: pd.DataFrame | None,
    reported: pd.DataFrame,
    people: pd.DataFrame | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Assessment:
    """Calibration, operating points, decision curve and subgroups of `reported`.

    fitted and reported are predictions as `results.predictions` gives them, of the images to fit on
    (`fitting.predictions`; None where there are none) and of the split to report. people has id,
    age (years or nan) and sex ("male", "female", otherwise unknown) of the reported images; None
    where nothing is known. A class without positives or negatives on either side has no operating
    points. ValueError with the sentence of `refusal`, and as in `labels.checked`.
    """
    names, tasks = classes_in(reported), _tasks(reported)
    versions, temperature, points = {BEFORE: reported}, float("nan"), pd.DataFrame(columns=POINTS)
    if fitted is not None:
        if reason := refusal(fitted, reported):
            raise ValueError(reason)
        temperature = calibration.fit_temperature(fitted["label"], fitted[names].to_numpy())
        scaled = calibration.scale(reported[names].to_numpy(), temperature)
        versions[AFTER] = reported.assign(**dict(zip(names, scaled.T, strict=True)))
        tasks = [name for name in _tasks(fitted) if name in tasks]
        points = _per_class(tasks, partial(_points, fitted, reported))
    return Assessment(
        temperature,
        _calibration(versions, temperature, resamples, seed),
        _per_version(versions, lambda *of: calibration.reliability(*_task(*of))),
        points,
        _per_class(tasks, lambda name: operating.read_off(*_task(reported, name), resamples, seed)),
        _per_class(tasks, lambda name: operating.roc_table(*_task(reported, name))),
        _per_version(
            versions,
            lambda *of: operating.decision_curve(*_task(*of), resamples, seed),
        ),
        _subgroups(reported, people, points),
    )


def selection_images(data_dir: Path, experiment: Experiment) -> pd.DataFrame:
    """The images that a run of this experiment kept apart, see `data.training_images`.

    Crops are never among them, so their folder is not needed. DataError when a split or the
    extended list is missing.
    """
    name = "official" if experiment.train_list == "patches" else experiment.train_list
    images = read(data_dir, name, experiment.allow_missing)
    require_labels(images)
    return training_images(images, experiment.select_on, experiment.seed, experiment.fold)[1]


def gathered(
    assessed: Mapping[str, Assessment], name: str, fitted_on: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """The table called name of several assessments, the run's name in the first column.

    fitted_on: where the temperature and the thresholds of each run were fitted, for a last column.
    """
    table = _stacked({run: getattr(one, name) for run, one in assessed.items()}, "run")
    return table if fitted_on is None else table.assign(fitted_on=table["run"].map(fitted_on))


def _stacked(tables: Mapping[Any, pd.DataFrame], *names: str) -> pd.DataFrame:
    """Tables below one another; what each key says of its table stands in the first columns."""
    if all(table.empty for table in tables.values()):
        columns = next(iter(tables.values()), pd.DataFrame()).columns.drop(names, errors="ignore")
        return pd.DataFrame(columns=[*names, *columns])
    tables = {key: table for key, table in tables.items() if len(table)}
    return pd.concat(tables, names=list(names)).reset_index(list(names)).reset_index(drop=True)


def readable(table: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """A table of an `Assessment` for display: values and intervals as "0.810 [0.732, 0.869]".

    Columns <name>, <name>_low, <name>_high become one; so do value (or model), low and high.
    """
    shown: dict[str, Any] = {}
    ends = {"value": ("low", "high"), "model": ("low", "high")}
    for name in map(str, table):
        low, high = ends.get(name, (f"{name}_low", f"{name}_high"))
        if {low, high} <= {*table}:
            cells = zip(table[name], table[low], table[high], strict=True)
            shown[name] = [_cell(*numbers, digits) for numbers in cells]
        elif not name.endswith(("low", "high")):
            shown[name] = table[name].round(digits) if table[name].dtype == float else table[name]
    return pd.DataFrame(shown, index=table.index)


def _cell(value: float, low: float, high: float, digits: int) -> str:
    if np.isnan(low) and not np.isnan(value):
        return f"{value:.{digits}f} [too few]"
    return interval_text(value, low, high, digits)


def _tasks(table: pd.DataFrame) -> list[str]:
    """The classes of `_asked` with positives and negatives in the table."""
    return [name for name in _asked(table) if len(set(_task(table, name)[0])) == 2]


def _asked(table: pd.DataFrame) -> list[str]:
    """The classes that get a threshold (`labels.scheme`) and have a column."""
    names = classes_in(table)
    return [name for name in scheme(names).asked if name in names]


def _task(table: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Truth (n,) bool and probability (n,) of a class against the rest."""
    return (table["label"] == classes_in(table).index(name)).to_numpy(), table[name].to_numpy()


def _per_class(names: list[str], table_of: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    """The tables of some classes, each with its class in the first column."""
    return _stacked({name: table_of(name) for name in names}, "class")


def _per_version(
    versions: Mapping[str, pd.DataFrame], table_of: Callable[[pd.DataFrame, str], pd.DataFrame]
) -> pd.DataFrame:
    """The same for the probabilities as they are and scaled, named in the second column."""
    tables = {
        (name, version): table_of(table, name)
        for version, table in versions.items()
        for name in _asked(table)
    }
    return _stacked(tables, "class", "probabilities")


def _points(fitted: pd.DataFrame, reported: pd.DataFrame, name: str) -> pd.DataFrame:
    """Each rule's threshold from the fitting images, and its rates there and on the reported."""
    lines = []
    theirs = scheme(classes_in(fitted)).main == "official"  # the challenge's classes
    for rule, choose in operating.RULES.items():
        rule = rule if theirs else rule.removesuffix(", as the challenge")
        threshold = choose(*_task(fitted, name))
        on_fitted = operating.judged(*_task(fitted, name), threshold)
        line = {"rule": rule, "threshold": threshold}
        line |= {f"fitted_{rate}": on_fitted[rate] for rate in ("sensitivity", "specificity")}
        lines.append(line | operating.judged(*_task(reported, name), threshold))
    return pd.DataFrame(lines)


def _calibration(
    versions: Mapping[str, pd.DataFrame], temperature: float, resamples: int, seed: int
) -> pd.DataFrame:
    """A row per class and version, and one for the answers where there are several classes."""
    lines, errors = [], []
    for version, table in versions.items():
        labels, probabilities = table["label"].to_numpy(), table[classes_in(table)].to_numpy()
        about = [version, temperature if version == AFTER else 1.0, len(labels)]
        for name in _asked(table):
            truth, p = _task(table, name)
            loss = calibration.log_loss(np.where(truth, 0, 1), p[:, None])
            lines.append([name, *about, *_errors(truth, p), loss])
            errors.append(calibration.squared_errors(truth, p))
        if probabilities.shape[1] > 1:
            right, confidence = probabilities.argmax(axis=1) == labels, probabilities.max(axis=1)
            loss = calibration.log_loss(labels, probabilities)
            lines.append([ANSWER, *about, *_errors(right, confidence), loss])
            errors.append(calibration.squared_errors(labels, probabilities))
    names = ["class", "probabilities", "temperature", "n", "ece", "ece_by_chance", "ece_mass"]
    table = pd.DataFrame(lines, columns=[*names, "log_loss"])
    squared, n = np.stack(errors, axis=-1), len(errors[0])  # (n, rows)
    resampled = bootstrap(lambda w: w @ squared / n, np.zeros(n), resamples, seed)
    table["brier"] = squared.mean(axis=0)
    table[["brier_low", "brier_high"]] = [percentile_interval(values) for values in resampled.T]
    return table


def _errors(truth: np.ndarray, probability: np.ndarray) -> list[float]:
    """Expected calibration error, its chance level, and the error with bins of equal mass."""
    return [
        calibration.expected_calibration_error(truth, probability),
        calibration.chance_level(probability),
        calibration.expected_calibration_error(truth, probability, equal_mass=True),
    ]


def _subgroups(
    reported: pd.DataFrame, people: pd.DataFrame | None, points: pd.DataFrame
) -> pd.DataFrame:
    if people is None or not subgroups.is_known(people) or points.empty:
        return pd.DataFrame(columns=subgroups.COLUMNS)
    lines = points[points["rule"] == SUBGROUP_RULE]
    thresholds = dict(zip(lines["class"], lines["threshold"], strict=True))
    return subgroups.subgroups(reported, people, thresholds)
