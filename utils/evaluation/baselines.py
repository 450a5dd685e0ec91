"""Baselines beside every score: what is known of a lesion without training a network.

Rows 0-1 to 0-6 answer with class probabilities (`label_baselines`), seg-0-1 and seg-0-2 with masks
(`mask_baselines`). A baseline learns from the training images that a network with the same settings
learns from, and leaves a run folder as a training does: settings, a history of one epoch,
predictions, scores. So what reads runs reads baselines. Making one takes seconds; 0-4 to 0-6 two
minutes on a core.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import torch
from torch import nn

from utils.data import splits
from utils.data.labels import require_classes, require_labels
from utils.data.loaders import evaluation_loader
from utils.data.masks import TestImages, require_masks
from utils.data.store import Store, prepare
from utils.evaluation import full_size, labels, masks, results, score_files
from utils.evaluation.label_baselines import Build, LabelBaseline
from utils.evaluation.mask_baselines import learn
from utils.evaluation.settings import mask_settings
from utils.logger.run import RunFolder, differences, start_run
from utils.model.checkpoints import load_weights, save_weights
from utils.model.inspection import peak_memory
from utils.system.console import say
from utils.system.errors import DataError, RunError
from utils.system.experiment import Classification, Experiment, Segmentation

_MADE_OF = {"fingerprint", "people"}  # entries of a run's data; early versions lack the second
Tables = dict[str, pd.DataFrame]  # results of a split, by the baseline's run


class Images(NamedTuple):
    """What a baseline is made of."""

    store: Store
    train: pd.DataFrame  # to learn from
    select: pd.DataFrame  # kept apart: the hold-out, the validation split, or a fold
    tested: pd.DataFrame  # to be scored


def make(
    path: Path,
    experiment: Experiment,
    data_dir: Path,
    split: str,
    build: Build,
    resume: str = "auto",
) -> pd.DataFrame:
    """The results of a baseline on a split; what its run folder lacks is made now.

    One of a fold has results on that fold alone, and split is ignored.
    Predictions as `results.predictions` gives them, or the scores of each mask. build is
    `nets.build`. DataError where what it needs is missing (age and sex, masks, weights); RunError
    where the folder holds other files, or a baseline with other settings or of other data.
    """
    began, run = time.monotonic(), RunFolder(path)
    split = "fold" if experiment.fold else split
    images = _images(experiment, data_dir, split)
    used = pd.concat([images.train, images.select])
    facts = {"set": splits.note(data_dir), "folder": data_dir.name}
    facts["fingerprint"] = images.store.fingerprint(used, masks=True)
    if experiment.network == "age_sex" and used["age"].notna().any():
        facts["people"] = _people(used)
    if not (resume == "auto" and _is_closed(run)):
        run = start_run(path, experiment, facts, resume)
        run.save_json("config.json", run.config | {"precision": "fp32", "device": "cpu"})
    elif different := differences(run, experiment):
        raise RunError(
            f"{path} holds a baseline with other settings: {'; '.join(different)}. Use "
            "resume='restart' (the old folder is moved aside), or ask for these settings."
        )
    elif any(run.config["data"].get(k, facts[k]) != facts[k] for k in _MADE_OF & facts.keys()):
        raise RunError(
            f"{path} was made of other training images, labels, masks, ages or sexes than there "
            f"are now. Make it again: python baselines.py {experiment.name} --resume restart (the "
            "old folder is moved aside)."
        )
    answer = _masks if experiment.task == "masks" else _labels
    table, history = answer(run, cast(Any, experiment), images, split, build)
    if history:
        _close(run, {"epoch": 1} | history, time.monotonic() - began, len(images.train))
    return table


def beside(
    runs: Mapping[str, RunFolder],
    experiments: Mapping[str, Experiment],
    baselines_of: Callable[[Any], Sequence[Experiment]],
    data_dir: Path,
    split: str,
    build: Build,
) -> dict[str, Tables]:
    """For each of these experiments the results of its baselines; missing ones are made.

    experiments by the name of their run; baselines_of gives an experiment's baselines. They are
    folders beside the run. One that is there already is used as it is; one that cannot be made is
    named, with the reason, and left out.
    """
    made: dict[Path, pd.DataFrame | None] = {}
    found: dict[str, Tables] = {name: {} for name in experiments}
    for name, experiment in experiments.items():
        for baseline in baselines_of(experiment):
            path = runs[name].path.parent / baseline.folder()
            if path not in made:
                made[path] = _made(path, baseline, data_dir, split, build)
            table = made[path]
            if table is not None:
                found[name][path.name] = table
    return found


def _made(
    path: Path, baseline: Experiment, data_dir: Path, split: str, build: Build
) -> pd.DataFrame | None:
    """The baseline's results; None, and a sentence, where it cannot be made."""
    try:
        run = RunFolder(path)
        if _is_closed(run):
            stored = type(baseline).restore(run.config["row"])
            if different := differences(run, baseline):
                say(f"{path.name} was made with other settings: {'; '.join(different)}")
            return make(path, stored, data_dir, split, build)
        return make(path, baseline, data_dir, split, build)
    except (DataError, RunError, BlockingIOError) as error:
        say(f"{path.name} is left out: {error}")
        return None


def predict(
    experiment: Classification, data_dir: Path, images: pd.DataFrame, build: Build
) -> np.ndarray:
    """Probabilities (n, C) of a classifier's baseline for these images, fitted anew."""
    learnt = _images(experiment, data_dir, "")
    store = prepare(data_dir, images, experiment.stored_size)
    return _fitted(experiment, learnt._replace(store=store), build).predict(images)


def _images(experiment: Experiment, data_dir: Path, split: str) -> Images:
    """The images that the experiment learns from, and those to be scored, stored at its size."""
    images = splits.read(data_dir, experiment.train_list, experiment.allow_missing)
    if experiment.task == "labels":
        require_labels(images)
    else:
        require_masks(images)
    parts = splits.training_images(images, experiment.select_on, experiment.seed, experiment.fold)
    train = splits.drawn(parts[0], experiment.train_images, experiment.seed)
    of_split = images[images["split"] == split].reset_index(drop=True)
    tested = parts[1] if split == "fold" else of_split
    size = cast(Classification | Segmentation, experiment).stored_size
    return Images(prepare(data_dir, images, size), train, parts[1], tested)


def _people(images: pd.DataFrame) -> str:
    """Sixteen hex digits that change with an age or a sex."""
    known = images[["id", "age", "sex"]].astype(str).sort_values("id")
    return hashlib.sha256(known.to_csv(index=False, lineterminator="\n").encode()).hexdigest()[:16]


def _fitted(experiment: Classification, images: Images, build: Build) -> LabelBaseline:
    about = (experiment.network, images.store, images.train)
    return LabelBaseline(*about, experiment.image_size, experiment.seed, build)


def _labels(
    run: RunFolder, experiment: Classification, images: Images, split: str, build: Build
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Predictions of the split and of the images kept apart, scored; what a new history holds."""
    require_classes(len(experiment.classes), images.train, images.select)
    baseline = _fitted(experiment, images, build)
    tables = {
        part: results.predictions(run, part, wanted, partial(baseline.predict, wanted))
        for part, wanted in ((experiment.select_on, images.select), (split, images.tested))
    }
    score_files.label_scores(run, split, tables[split], run.config["data"]["set"])
    if _is_closed(run):
        return tables[split], {}
    run.say(f"{run.path.name}: {baseline.about}")
    kept = tables[experiment.select_on]
    names = labels.classes_in(kept)
    scores = labels.epoch_scores(kept["label"], kept[names].to_numpy(), None, names)
    return tables[split], {"loss": baseline.loss} | scores


def _masks(
    run: RunFolder, experiment: Segmentation, images: Images, split: str, build: Build
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Scores of each mask of the split, and what a new history holds."""
    network: nn.Module = build(experiment.network, 1)
    if _is_closed(run):
        load_weights(network, run / "best.safetensors")
    else:
        run.say(f"{run.path.name}: {learn(network, images.store, images.train)}")
        save_weights(network, run / "best.safetensors")
    seen = partial(TestImages, images.store, size=experiment.image_size)
    settings = mask_settings(experiment, "fp32")
    work = partial(full_size.evaluate, network, seen(images.tested), images.tested, settings)
    table = results.per_image(run, split, images.tested, work).per_image
    score_files.mask_scores(run, split, table, run.config["data"]["set"], settings)
    if _is_closed(run):
        return table, {}
    loader = evaluation_loader(seen(images.select), experiment.batch_size, 0)
    scores = masks.official(full_size.pixel_counts(network, loader))
    return table, {"loss": 1 - float(scores["jaccard"])} | cast(dict[str, float], scores)


def _is_closed(run: RunFolder) -> bool:
    """Whether all was written: `RunFolder.finished` takes scores beside weights for an end, too."""
    return bool(run.config.get("finished"))


def _close(run: RunFolder, history: Mapping[str, float], seconds: float, images: int) -> None:
    """Write what a training leaves at its end: a history of one epoch, and that it is finished."""
    run.save_table("history.csv", pd.DataFrame([history]))
    memory = peak_memory(torch.device("cpu"))
    cost = {"epoch": 1, "seconds": seconds, "images": images, "peak_memory_mb": memory}
    run.save_table("timing.csv", pd.DataFrame([cost]))
    run.remember("finished", True)
