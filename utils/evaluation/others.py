"""Predictions of others: a table by image becomes a run folder without a network.

`their.csv` has an id, and a column of melanoma, or of melanoma and seborrheic keratosis as the
challenge had them submitted, or of all classes. What its numbers are is never guessed: behind the
file stands what they are, `their.csv:percent`, `their.csv:logits`, `their.csv:melanoma=score`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, softmax

from utils.data import spelling, tables
from utils.data.labels import classes, require_labels
from utils.data.splits import CLASSES, evaluation_split, note, read, set_name
from utils.evaluation import labels, score_files
from utils.logger.folders import require_ours
from utils.logger.run import RunFolder
from utils.system import project, values
from utils.system.console import say
from utils.system.errors import RunError, listed, raise_first

_FILE = re.compile(r"(.+\.csv)((?::[^:]+)*)", re.IGNORECASE)
_UNITS = ("percent", "logits")
_IDS = ("image_id", "id", "image", "image_name", "isic_id", "file", "filename", "name")
_CALLED = {"melanoma": ("mel",), "seborrheic_keratosis": ("sk",), "benign": ("nevus", "nv")}
_ROUNDED = 0.02  # how far three printed probabilities may be from 1 together


class Told(NamedTuple):
    """A file, and what was said of its numbers."""

    file: Path
    unit: str  # one of _UNITS, or ""
    columns: Mapping[str, str]  # by class, or "id"
    classes: tuple[str, ...]  # of the data


def adopted(
    runs: Any, row: Any, data_dir: Path, split: str | None = None, views: Any = None
) -> Any:
    """The parameter `runs`, each file of predictions in it as the run folder made of it.

    split and views as in Evaluation-Cls.ipynb; row, an experiment of classifiers, stands for what a
    file does not say. RunError or DataError for a file that cannot be compared.
    """
    names = runs.split(",") if isinstance(runs, str) else runs
    if not isinstance(names, list | tuple) or not any(map(is_file, names)):
        return runs
    about = (row, data_dir, split, views)
    return [str(adopt(name, *about).path) if is_file(name) else name for name in names]


def is_file(name: Any) -> bool:
    """Whether a name of `runs` is that of a file of predictions."""
    return isinstance(name, str) and _FILE.fullmatch(name.strip()) is not None


def adopt(
    text: str, row: Any, data_dir: Path, split: str | None = None, views: Any = None
) -> RunFolder:
    """The run folder of a file of predictions; arguments and errors as of `adopted`."""
    told, images = _told(text, classes(data_dir)), read(data_dir)
    split = evaluation_split(images, split)
    part = split if views is None else f"{split}-{views}-views"
    images = images[images["split"] == split].reset_index(drop=True)
    require_labels(images)
    table = _by_image(told, images)
    probabilities = _probabilities(told, _scores(told, table))
    run = RunFolder(project.PROJECT / f"model/others-{set_name(data_dir)}/{told.file.stem}")
    require_ours(run.path)
    place = str(told.file.resolve())
    if run.config.get("file", {"path": place})["path"] != place:
        raise RunError(
            f"{run.path} was made of {run.config['file']['path']}; give {told.file} another name."
        )
    width, digest = probabilities.shape[1], hashlib.sha256(told.file.read_bytes()).hexdigest()
    score = row.select_score if width > 1 else f"auc_{told.classes[0]}"
    facts = {"set": note(data_dir), "folder": data_dir.name, "fingerprint": digest[:16]}
    own = asdict(replace(row, classes=told.classes, num_classes=width, select_score=score))
    config = {"row": own, "data": facts, "precision": "fp32", "file": {"path": place}}
    run.save_json("config.json", config | {"finished": True})
    names = list(told.classes[:width])
    predicted = images[["id", "label"]].join(pd.DataFrame(probabilities, columns=names))
    run.save_table(f"predictions-{part}.csv", predicted)
    score_files.label_scores(run, part, predicted, note(data_dir))
    scores = labels.epoch_scores(predicted["label"], probabilities, classes=told.classes)
    run.save_table("history.csv", pd.DataFrame([{"epoch": 1, "loss": 0.0} | scores]))
    said = f"{run.path.name}: {told.file}, {listed(names)} of {len(images)} images."
    if np.isin(probabilities, (0, 1)).all():
        said += " All are 0 or 1, so its curves have one corner."
    say(f"{said} It has no network, history or temperature: what needs one is left out.")
    return run


def _told(text: str, classes: tuple[str, ...]) -> Told:
    """RunError for a file that is not there, and for words that say nothing known."""
    found = _FILE.fullmatch(text.strip())
    if found is None:
        raise RunError(f"{text} is no file of predictions; expected one whose name ends in .csv.")
    file = values.path("runs", found[1], "file")
    if not file.is_file():
        raise RunError(f"{file} is not there; expected a file of predictions, one line an image.")
    unit, columns = "", {}
    for word in found[2].split(":")[1:]:
        name, _, column = word.partition("=")
        if word in _UNITS:
            unit = word
        elif name in ("id", *classes) and column:
            columns[name] = column
        else:
            raise RunError(
                f"{text}: {word!r} says nothing known; expected {' or '.join(_UNITS)}, or a column "
                f"as id=COLUMN or {classes[0]}=COLUMN (also {', '.join(classes[1:])})."
            )
    return Told(file, unit, columns, classes)


def _by_image(told: Told, images: pd.DataFrame) -> pd.DataFrame:
    """The file's lines in the order of the images, as text; RunError where one has none, or two."""
    table = tables.read_csv(told.file, ())
    if twice := [*table.columns[table.columns.duplicated()]]:
        raise RunError(f"{told.file} has the column {listed(twice)} twice; keep one.")
    column = _column(told, table, "id", _IDS)
    if column is None:
        raise RunError(
            f"{told.file} has the columns {listed(table.columns)}, none of them an id; say which "
            f"it is: {told.file.name}:id=COLUMN."
        )
    ids = table[column]
    matched = spelling.match(ids, images["id"], str(told.file))
    raise_first(matched.faults)
    table.index = pd.Index(ids.map(matched.name))
    wanted = table.index.isin(images["id"])
    if twice := [*table.index[table.index.duplicated() & wanted].unique()]:
        raise RunError(f"{told.file} has several lines for {listed(twice)}; keep one for each.")
    if missing := sorted(set(images["id"]) - set(table.index)):
        raise RunError(
            f"{told.file} has no line for {listed(missing)}, of {len(images)} images to be "
            "compared; add them, or name the split that it is about."
        )
    if not wanted.all():
        say(f"{told.file}: {listed(table.index[~wanted])} are no images of this split, left out.")
    return table.loc[images["id"]]


def _column(told: Told, table: pd.DataFrame, name: str, called: tuple[str, ...]) -> str | None:
    """The column that was said, else the one that is called so; RunError where that is unclear."""
    if name in told.columns:
        if told.columns[name] in table:
            return told.columns[name]
        raise RunError(
            f"{told.file} has no column {told.columns[name]}; it has {listed(table.columns)}."
        )
    found = [c for c in map(str, table) if re.sub(r"[\s-]+", "_", c.strip().lower()) in called]
    if len(found) > 1:
        raise RunError(
            f"{told.file} has the columns {listed(found)}; say which one to take: "
            f"{told.file.name}:{name}={found[0]}."
        )
    return found[0] if found else None


def _scores(told: Told, table: pd.DataFrame) -> pd.DataFrame:
    """The numbers of each class that the file has, as they are."""
    said = told.columns.keys() - {"id"}
    found = {
        name: column
        for name in told.classes
        if (name in said or not said)
        and (column := _column(told, table, name, (name, *_CALLED.get(name, ()))))
    }
    first, last = told.classes[0], told.classes[-1]
    if first not in found and not (said == {last} and _last_is_the_rest(told)):
        rest = f", or, where it is that of all else, {told.file.name}:{last}=COLUMN"
        raise RunError(
            f"{told.file} has the columns {listed(table.columns)}; say which is the score of "
            f"{first}, {told.file.name}:{first}=COLUMN{rest * _last_is_the_rest(told)}."
        )
    numbers = table[[*found.values()]].apply(pd.to_numeric, errors="coerce")
    wrong = ~np.isfinite(numbers.to_numpy()).all(axis=1)
    if wrong.any():
        raise RunError(
            f"{told.file} holds no number in {listed(found.values())} for "
            f"{listed(table.index[wrong])}; expected one, with a decimal point."
        )
    return numbers.set_axis([*found], axis=1).astype(float)


def _last_is_the_rest(told: Told) -> bool:
    """Whether the last class is all that no other is, as benign of ISIC 2017."""
    return told.classes == CLASSES or len(told.classes) == 2


def _probabilities(told: Told, scores: pd.DataFrame) -> np.ndarray:
    """Probabilities (n, C) of all classes, or (n, 1) of the first against the rest."""
    p, names = scores.to_numpy(), tuple(scores.columns)
    if told.unit == "logits":
        p = softmax(p, axis=1) if names == told.classes else expit(p)
    p = p / 100 if told.unit == "percent" else p
    if p.min() < 0 or p.max() > 1:
        raise RunError(
            f"{told.file} holds numbers from {scores.to_numpy().min():g} to "
            f"{scores.to_numpy().max():g}; expected probabilities from 0 to 1, or to be told what "
            f"they are: {' or '.join(f'{told.file.name}:{unit}' for unit in _UNITS)}."
        )
    if names == told.classes[-1:]:
        return 1 - p
    if names != told.classes and not (names == told.classes[:-1] and _last_is_the_rest(told)):
        return p[:, :1]
    if names != told.classes:  # as it was submitted to the challenge
        p = np.column_stack([p, np.maximum(1 - p.sum(axis=1), 0)])
    total = p.sum(axis=1)
    if (far := abs(total - 1) > _ROUNDED).any():
        raise RunError(
            f"{told.file} gives {listed(scores.index[far])} probabilities of {total[far][0]:.3g} "
            "together, and a lesion has one of these classes; expected 1. Where each column is "
            f"a question of its own, take one: {told.file.name}:{told.classes[0]}=COLUMN."
        )
    return p / total[:, None]
