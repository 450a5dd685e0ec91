"""A segmenter whose encoder starts with the weights of a classification run."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from utils.logger.run import RunFolder
from utils.logger.runs import MODELS, find
from utils.model.checkpoints import read_weights
from utils.system.errors import RunError, listed
from utils.system.experiment import Experiment, Segmentation


class Start(NamedTuple):
    """Where an encoder starts, and the experiment that says so without ambiguity."""

    experiment: Segmentation  # encoder_from is the run's full name
    weights: str | Path | None  # what `nets.build` takes
    facts: dict[str, Any]  # for config.json
    warning: str


def start_of(
    experiment: Segmentation,
    data_dir: Path,
    experiments: Mapping[str, Experiment],
    models: Path = MODELS,
    options: Callable[[str], Iterable[str]] | None = None,
) -> Start:
    """Find the run that experiment.encoder_from names among those of the experiments (classifiers).

    Without one, the weights are the experiment's own. Raises RunError as `runs.find` does, and for
    a name that stands for several runs; also, where options (`nets.options`) says what a network
    takes, for a run whose attention is not the experiment's: such weights fit, but were trained to
    do something else.
    """
    if experiment.encoder_from is None:
        return Start(
            experiment, experiment.weights, {"encoder": experiment.weights or "random weights"}, ""
        )
    found = find(experiment.encoder_from, data_dir, experiments, models=models)
    if len(found) > 1:
        names = [f"{run.path.parent.name}/{run.path.name}" for run in found.values()]
        raise RunError(
            f"encoder_from is {experiment.encoder_from!r}, which names {len(found)} runs: "
            f"{listed(names)}; expected one of them."
        )
    (run,) = found.values()
    theirs = run.config["row"]
    networks = (experiment.network, theirs["network"])
    attends = options is not None and all("attention" in options(name) for name in networks)
    if attends and theirs["attention"] != experiment.attention:
        raise RunError(
            f"encoder_from is {experiment.encoder_from!r}, whose attention is a "
            f"{theirs['attention']!r} softmax; this one's is {experiment.attention!r}. Take a run "
            "of the same kind, or another profile."
        )
    weights = run / "best.safetensors"
    read_weights(weights)  # a damaged file is refused here, by its checksum
    facts = {name: theirs[name] for name in ("name", "profile", "seed", "select_on")}
    facts |= {"run": _full_name(run, models), "sha256": _digest(weights)}
    experiment = replace(experiment, encoder_from=facts["run"])
    return Start(experiment, weights, {"encoder": facts}, _leak(experiment, theirs))


def _leak(experiment: Segmentation, theirs: dict[str, Any]) -> str:
    """Words of warning where the encoder has seen images that the epoch is chosen on."""
    chosen_on, seed = theirs["select_on"], theirs["seed"]
    if experiment.select_on == "holdout" and (chosen_on, seed) != ("holdout", experiment.seed):
        return (
            f"The encoder's run chose its epoch on {chosen_on}, seed {seed}: it was trained on "
            "images that choose the epoch here. That flatters the curves, not the final scores."
        )
    if chosen_on == "validation":
        return "The encoder's epoch was chosen on the validation split: scores there flatter."
    return ""


def _full_name(run: RunFolder, models: Path) -> str:
    path = run.path.resolve()
    inside = path.parent.parent == models.resolve()
    return f"{path.parent.name}/{path.name}" if inside else str(path)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
