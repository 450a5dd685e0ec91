"""Run folders as trainings leave them, made in a moment: for tests of what reads them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

import experiments
import nets
from utils.data.splits import CLASSES
from utils.evaluation.conventions import classification_scores, segmentation_scores
from utils.evaluation.counts import Counts
from utils.evaluation.labels import classes_in
from utils.evaluation.masks import per_image
from utils.logger.run import RunFolder

IMAGES = 60
HOSTILE = ("<script>alert(1)</script>", '" onerror="alert(2)', "a&b'c", "x_y%$#{}~^\\z")
BLOCKS = ("layer1.0.alpha", "layer2.0.alpha", "layer3.0.alpha", "layer4.0.alpha")
NOTE, OWN = "synthetic demo data", "mine"  # of other classes than ISIC 2017's


def ids(count: int = IMAGES) -> list[str]:
    """Names of images; the first ones are hostile."""
    return [*HOSTILE, *(f"ISIC_{number:07}" for number in range(count - len(HOSTILE)))]


def predictions(
    skill: float,
    seed: int,
    count: int = IMAGES,
    classes: int = 3,
    names: Sequence[str] = CLASSES,
) -> pd.DataFrame:
    """Labels, and probabilities that know them a little: of so many of these classes."""
    random, all_ = np.random.default_rng(seed), len(names)
    labels = np.arange(count) % all_
    logits = random.normal(size=(count, all_)) + skill * np.eye(all_)[labels]
    values = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = pd.DataFrame({"id": ids(count), "label": labels})
    for number, name in enumerate(names[:classes]):
        table[name] = values[:, number]
    return table


def classifier(folder: Path, experiment: experiments.Row, skill: float = 1.0) -> RunFolder:
    """A finished run of a classifier, its test split of `IMAGES` images."""
    takes = nets.options(experiment.network) if experiment.network in nets.NETS else ()
    blocks = BLOCKS if "alpha" in takes and experiment.train_alpha else ()
    areas = {name: [0.6, 0.7] for name in ("auc_melanoma", "auc_seborrheic_keratosis", "auc_mean")}
    alphas = {f"α {name}": [0.001, 0.01 * (2 - place)] for place, name in enumerate(blocks)}
    run = _begun(folder, experiment, areas | alphas)
    of = {"classes": experiment.num_classes, "names": experiment.classes}
    table = predictions(skill, experiment.seed, **of)
    run.save_table("predictions-test.csv", table)
    chosen_on = predictions(skill, 100 + experiment.seed, **of)
    chosen_on["id"] = [f"OTHER_{number}" for number in range(IMAGES)]
    run.save_table(f"predictions-{experiment.select_on}.csv", chosen_on)
    probabilities = table[classes_in(table)].to_numpy()
    scores = classification_scores(table["label"], probabilities, 100, classes=experiment.classes)
    about = {"data": run.config["data"]["set"], "split": "test"}
    run.save_json("scores-test.json", about | scores)
    return run


def segmenter(folder: Path, experiment: experiments.Row, skill: float = 0.8) -> RunFolder:
    """A finished run of a segmenter, its test split of `IMAGES` images."""
    run = _begun(folder, experiment, {"jaccard": [0.5, 0.6], "dice": [0.6, 0.7]})
    random = np.random.default_rng(experiment.seed)
    lesion, size = 400, 10_000
    hit = np.clip(random.normal(skill, 0.15, IMAGES), 0.1, 1) * lesion // 1
    false = random.integers(0, 100, IMAGES)
    counts = Counts(hit, false, lesion - hit, size - lesion - false)
    table = pd.DataFrame({"id": ids(), "width": 100, "height": 100, **counts._asdict()})
    run.save_table("per-image-test.csv", table.assign(**per_image(counts)))
    scores = segmentation_scores(counts, resamples=100)
    run.save_json("scores-test.json", {"data": NOTE, "split": "test"} | scores)
    return run


def of_fold(
    models: Path, fold: str, row: str = "3-1", skill: float = 1.0, **changes: Any
) -> RunFolder:
    """A finished run of a fold, with images of its own."""
    experiment = experiments.get(row, "best", **({"epochs": 2} | changes), fold=fold)
    make = classifier if experiment.task == "labels" else segmenter
    run = make(models / experiment.folder(), replace(experiment, seed=int(fold[-3])), skill)
    for file in run.path.glob("*-test.*"):  # it scores its fold alone
        file.unlink() if file.suffix == ".json" else file.rename(
            file.with_name(file.name.replace("-test", "-fold"))
        )
    for file in run.path.glob("*-fold.csv"):
        table = pd.read_csv(file)
        run.save_table(file.name, table.assign(id=[f"{fold}-{k:03}" for k in range(len(table))]))
    config = run.config
    settings = json.loads(json.dumps(asdict(experiment)))
    run.save_json("config.json", config | {"row": settings})
    return run


def _begun(folder: Path, experiment: experiments.Row, scores: dict[str, list[float]]) -> RunFolder:
    run = RunFolder(folder)
    config: dict[str, Any] = {
        "row": json.loads(json.dumps(asdict(experiment))),
        "data": {"set": _note(experiment), "folder": "demo", "fingerprint": "0123456789abcdef"},
        "versions": {"python": "3.11.7", "platform": "Linux-somewhere", "torch": "2.15.0"},
        "git": "0123456789ab",
        "precision": "fp32",
        "device": "cpu",
        "network": {"parameters": 8_020_000, "gflops": 1.25},
        "machine": {"processor": "A processor", "cores": 2, "memory_gb": 7.8},
        "finished": True,
    }
    run.save_json("config.json", config)
    epochs = {"epoch": [1, 2], "learning_rate": [0.001, 0.0], "loss": [1.1, 0.9]}
    run.save_table("history.csv", pd.DataFrame(epochs | scores))
    timing = {"epoch": [1, 2], "seconds": [10.0, 12.0], "images": [64, 64]}
    run.save_table("timing.csv", pd.DataFrame(timing | {"peak_memory_mb": [900.0, 950.0]}))
    (folder / "figures").mkdir()
    pixels = np.random.default_rng(experiment.seed).integers(0, 255, (60, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((1200, 600)).save(folder / "figures" / "gallery.png")
    return run


def _note(experiment: experiments.Row) -> str:
    return NOTE if getattr(experiment, "classes", CLASSES) == CLASSES else OWN


def study(folder: Path) -> dict[str, RunFolder]:
    """Runs of five classifiers, one of them with two seeds, and two segmenters."""
    runs = {}
    for name, seed, skill in (
        ("1-1", 0, 1.0),
        ("1-2", 0, 0.2),
        ("1-3", 0, 1.2),
        ("1-3", 1, 1.0),
        ("4-1", 0, 1.0),
        ("1-4", 0, 1.0),
    ):
        experiment = experiments.get(name, "best", seed=seed, epochs=2, weights="none")
        runs[f"{name}-s{seed}"] = classifier(folder / f"{name}-s{seed}", experiment, skill)
    for name, skill in (("seg-1", 0.7), ("seg-6", 0.9)):
        experiment = experiments.get(name, "best", epochs=2)
        runs[f"{name}-s0"] = segmenter(folder / f"{name}-s0", experiment, skill)
    return runs


def three(folder: Path) -> dict[str, RunFolder]:
    """Members of an ensemble: two seeds of 3-1, and 3-3."""
    found = {}
    for name, seed in (("3-1", 0), ("3-1", 1), ("3-3", 0)):
        row = experiments.get(name, "light", seed=seed, epochs=2)
        found[row.folder()] = classifier(folder / "m" / row.folder(), row, 0.5)
    return found
