"""The model card of a released run, in the format of Hugging Face's hub, from the run's own files.

`card.md` beside this file is the text; what is filled in comes from the run, and from what the
archive has of the same row. Format: https://huggingface.co/docs/hub/model-cards
"""

from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

import experiments
from experiments import Row, SegmentationRow
from study import archive
from utils.data.demo import ABOUT
from utils.data.names import ISIC_2017
from utils.evaluation import operating, score_files, score_tables, trust
from utils.logger.run import RunFolder
from utils.logger.runs import title
from utils.system.experiment import row_label
from utils.system.files import read_table

TEMPLATE = Path(__file__).with_name("card.md")
PURPOSE = {
    "labels": "A classifier: the probabilities of melanoma, seborrheic keratosis and nevus.",
    "masks": "A segmenter: the probability of each pixel to belong to the lesion.",
}
TABLES = {"labels": score_tables.label_table, "masks": score_tables.mask_table}
PIPELINES = {"labels": "image-classification", "masks": "image-segmentation"}


def of(run: RunFolder, people: pd.DataFrame, fitted: pd.DataFrame | None = None) -> str:
    """The card of a finished run, as Markdown.

    people has id, age and sex of the images that were scored. fitted are predictions of a
    classifier for images that none of its networks had seen, from which temperature and thresholds
    come; without them nothing is said of calibration and subgroups.
    """
    config = run.config
    experiment, known = experiments.restore(config["row"]), config["data"]["set"]
    own, synthetic = known != ISIC_2017, known == ABOUT
    start, licence = _start(experiment)
    page = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    results = [_result(file, experiment) for file in sorted(run.path.glob("scores-*.json"))]
    return page.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        name=run.path.name,
        experiment=experiment,
        pipeline=PIPELINES[experiment.task],
        purpose=_purpose(experiment, own and not synthetic),
        own=own,
        synthetic=synthetic,
        start=start,
        licence="other" if own else licence,
        results=results,
        metrics=sorted({name for result in results for name in result["scores"]}),
        data=known,
        parameters=config["network"]["parameters"] / 1e6,
        megabytes=(run / "best.safetensors").stat().st_size / 1e6,
        revision=config["git"],
        recipe=experiment.describe(()),
        folds=archive.cross_validation(_archived(experiment, known)),
        trust=None if fitted is None else _trust(run, people, fitted),
    )


def _result(file: Path, experiment: Row) -> dict[str, Any]:
    """What a score file says: its headline values by name, and its table."""
    scores = score_files.read(file)
    table = TABLES[experiment.task](scores)
    values = {
        name.lower().replace(" ", "_"): value["value"]
        for name, value in score_files.headline(scores).items()
    }
    return {"split": scores["split"], "n": scores["n"], "scores": values, "table": _markdown(table)}


def _purpose(experiment: Row, own: bool) -> str:
    """What it is for; a classifier of own data names its classes."""
    if not own or experiment.task == "masks":
        return PURPOSE[experiment.task]
    classes = experiment.classes[: experiment.num_classes]
    *most, last = (name.replace("_", " ") for name in classes)
    named = f"{', '.join(most)} and {last}" if most else last
    return f"A classifier: the probabilities of {named}."


def _start(experiment: Row) -> tuple[str, str]:
    """What the weights started from, in words, and the licence that follows from it."""
    if isinstance(experiment, SegmentationRow) and experiment.encoder_from:
        return "The encoder started from a run of whoever trained this network.", "other"
    if experiment.weights is None:
        return "The weights started from random numbers.", "apache-2.0"
    if experiment.weights != "imagenet":
        return "The weights started from a file, whose licence holds for them, too.", "other"
    library = ":" in experiment.network
    if "lite" in experiment.network and not library:
        words = "The weights started from ImageNet's (Apache-2.0), and are under the same licence."
        return words, "apache-2.0"
    whose = "the network's library" if library else "torchvision"
    return f"The weights started from ImageNet's as {whose} has them; their licence holds.", "other"


def _archived(experiment: Row, known: str) -> list[RunFolder]:
    """The kept fold runs of a row and of its task's baselines, on the same data."""
    names = {row_label(experiment.name, experiment.network), *experiments.BASELINES}
    return [
        run
        for run in archive.kept()
        if title(run) in names
        and run.config["row"]["profile"] == experiment.profile
        and experiments.task_of(run.config["row"]) == experiment.task
        and run.config["data"]["set"] == known
    ]


def _trust(run: RunFolder, people: pd.DataFrame, fitted: pd.DataFrame) -> dict[str, Any]:
    """Temperature, calibration and subgroups, of the split that was scored."""
    (file,) = run.path.glob("scores-*.json")
    part = file.stem.removeprefix("scores-")
    reported = read_table(run / f"predictions-{part}.csv")
    found = trust.assess(fitted, reported, reported[["id"]].merge(people, on="id"))
    return {
        "n": len(fitted),
        "least": operating.LEAST_SENSITIVITY,
        "temperature": found.temperature,
        "calibration": _markdown(trust.readable(found.calibration)),
        "subgroups": _markdown(trust.readable(found.subgroups)),
    }


def _markdown(table: pd.DataFrame) -> str:
    if isinstance(table.index, pd.RangeIndex):
        return archive.markdown(table)
    named = table if any(table.index.names) else table.rename_axis("score")
    return archive.markdown(named.reset_index())
