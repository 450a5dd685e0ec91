"""A segmenter whose encoder starts from the weights of a classification run."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from utils.logger.runs import MODELS, find
from utils.model.checkpoints import read_weights
from utils.system.errors import RunError, listed
from utils.system.experiment import Experiment, Segmentation


class Start(NamedTuple):
    """What an encoder starts from."""

    experiment: Segmentation  # its encoder_from is the run's full name
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

    Without encoder_from, the weights are the experiment's own. Raises RunError as `runs.find` does,
    and for a name of several runs; also, where options (`nets.options`) is given, for a run with
    another attention: its weights have the same shapes, but were trained for another softmax.
    """
    name = experiment.encoder_from
    if name is None:
        facts = {"encoder": experiment.weights or "random weights"}
        return Start(experiment, experiment.weights, facts, "")
    runs = find(name, data_dir, experiments, models=models).values()
    if len(runs) > 1:
        names = listed(f"{run.path.parent.name}/{run.path.name}" for run in runs)
        raise RunError(
            f"encoder_from is {name!r}, which names {len(runs)} runs: {names}; expected one of "
            "them."
        )
    (run,) = runs
    theirs = run.config["row"]
    if options is not None:
        _require_attention(experiment, theirs, options)
    weights = run / "best.safetensors"
    read_weights(weights)  # raises where its checksum is wrong
    path = run.path.resolve()
    inside = path.parent.parent == models.resolve()
    full_name = f"{path.parent.name}/{path.name}" if inside else str(path)
    facts = {key: theirs[key] for key in ("name", "profile", "seed", "select_on")}
    facts |= {"run": full_name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()[:16]}
    experiment = replace(experiment, encoder_from=full_name)
    return Start(experiment, weights, {"encoder": facts}, _leak(experiment, theirs))


def _require_attention(
    experiment: Segmentation, theirs: dict[str, Any], options: Callable[[str], Iterable[str]]
) -> None:
    attends = all("attention" in options(name) for name in (experiment.network, theirs["network"]))
    if attends and theirs["attention"] != experiment.attention:
        raise RunError(
            f"encoder_from is {experiment.encoder_from!r}, whose attention is a "
            f"{theirs['attention']!r} softmax; this one's is {experiment.attention!r}. Take a run "
            "of the same kind, or another profile."
        )


def _leak(experiment: Segmentation, theirs: dict[str, Any]) -> str:
    """A warning where the encoder was trained on images that select the epoch, or are scored."""
    select_on, seed = theirs["select_on"], theirs["seed"]
    if experiment.fold and theirs.get("fold") != experiment.fold:
        return (
            f"The encoder's run did not hold out fold {experiment.fold!r}: it was trained on "
            "images that are scored here, which flatters. Start from its run of the same fold."
        )
    if experiment.select_on == "holdout" and (select_on, seed) != ("holdout", experiment.seed):
        return (
            f"The encoder's run kept {select_on}, seed {seed}, apart: it was trained on images "
            "that select the epoch here. That flatters the curves, not the final scores."
        )
    if select_on == "validation" and theirs.get("keep", "best") == "best":
        return "The encoder's epoch was selected on the validation split: scores there flatter."
    return ""
