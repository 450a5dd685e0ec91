"""The lesion's box in each image, found by the fold runs of a segmenter, for `crop_from`.

A training image's box comes from the one network that had not seen it; that of any other image from
the mean probability of all of them. Each network answers once an image, without flips: the margin
is wider than what they would move. The boxes are kept in `boxes-<profile>-<row>-<digits>.csv`
beside the prepared stores, each set of networks having its own digits: id, left, top, width, height
(what is cut out, margin included, as shares of the image), found (False: no plausible lesion, so
the whole image), fold ("2/5", or "mean"), segmenter (`made_by`) and sha256 of the image. A line is
used again while the last two are the same.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from torch import nn

from utils.data import splits, store
from utils.data.loaders import evaluation_loader
from utils.data.masks import TestImages
from utils.data.regions import WHOLE, Boxes, Region, around
from utils.data.workers import faults_in_words
from utils.evaluation.full_size import lesion
from utils.logger import fold_runs
from utils.logger.run import RunFolder
from utils.model.checkpoints import digest, load_weights, read_weights
from utils.model.device import choose_device, placed
from utils.model.forward import probabilities
from utils.system.console import say
from utils.system.errors import RunError
from utils.system.experiment import Classification, Segmentation
from utils.system.files import locked, read_table, write_atomic
from utils.system.fold import Folds

LEAST = 0.001  # of an image: smaller ones are specks (the smallest training lesion has 0.003)
_SIDES = ["left", "top", "width", "height"]
_COLUMNS = ["id", *_SIDES, "found", "fold", "segmenter", "sha256"]
# Every digit of a side counts, as it is part of a fingerprint.
_TEXTS = dict.fromkeys(["id", "fold", "segmenter", "sha256"], str)
_EXACT = dict.fromkeys(_SIDES, float)


class Segmenters(NamedTuple):
    """How the network of a run is made again: `experiments.restore`, `nets.build`, `.options`."""

    restore: Callable[[dict[str, Any]], Any]
    build: Callable[..., nn.Module]
    options: Callable[[str], Iterable[str]]


def prepared(
    experiment: Classification,
    data_dir: Path,
    images: pd.DataFrame,
    segmenters: Segmenters,
    run: RunFolder | None = None,
) -> store.Store:
    """The store that the experiment's network sees: of whole images, or of lesions' boxes.

    run is one that was trained before; RunError where its boxes came from other networks, and as
    `fold_runs.find`.
    """
    if experiment.crop_from is None:
        return store.prepare(data_dir, images, experiment.stored_size)
    runs, name = fold_runs.find(experiment, data_dir), experiment.crop_from
    key = made_by(runs)
    if run is not None and run.config["data"].get("segmenter") != key:
        raise RunError(
            f"{run.path} was trained on boxes of other fold runs of {name} than those of now: put "
            "them back, or train it again (resume='restart')."
        )
    profile = fold_runs.folder_of(experiment, data_dir).name
    profile = profile.removeprefix(f"{splits.set_name(data_dir)}-")
    source = f"{profile}-{Folds.parse(name).label}"
    # Each set of networks has files of its own: another one never changes them under a training.
    label = f"{source}-{key[:8]}"
    table = _table(label, key, runs, data_dir, images, segmenters, experiment.device)
    whole = int((~table["found"]).sum())
    say(f"boxes of {source}: {len(table)} images, {whole} without a plausible lesion, kept whole")
    regions = dict(zip(table["id"], table[_SIDES].itertuples(index=False, name=None), strict=True))
    return store.prepare(data_dir, images, experiment.stored_size, boxes=Boxes(label, regions))


def facts(experiment: Classification, data_dir: Path) -> dict[str, str]:
    """What a run's `config.json` keeps of its boxes; RunError as `fold_runs.find`."""
    if experiment.crop_from is None:
        return {}
    return {"segmenter": made_by(fold_runs.find(experiment, data_dir))}


def made_by(runs: Sequence[RunFolder]) -> str:
    """Sixteen hex digits that change with the weights of the runs, and with how they see images.

    RunError where weights are missing or damaged.
    """
    sha = hashlib.sha256()
    for run in runs:
        row = run.config["row"]
        names = ("network", "fold", "image_size", "test_image", "threshold")
        weights = digest(read_weights(run / "best.safetensors"))
        sha.update(f"{[row.get(name) for name in names]} {weights}".encode())
    return sha.hexdigest()[:16]


def _table(
    label: str,
    key: str,
    runs: Sequence[RunFolder],
    data_dir: Path,
    images: pd.DataFrame,
    segmenters: Segmenters,
    device: str,
) -> pd.DataFrame:
    """The boxes of these images, in their order; those that are missing are computed."""
    size = segmenters.restore(runs[0].config["row"]).stored_size
    seen = store.prepare(data_dir, images, size)
    file = seen.folder.with_name(f"boxes-{label}.csv")
    hashes = seen.index.set_index("id")["sha256"]
    with locked(file.with_name(f".{file.name}.lock"), f"{file} is being made", wait=True):
        known = _read(file)
        same = known["sha256"].to_numpy() == hashes.reindex(known["id"]).to_numpy()
        usable = known[same & (known["segmenter"] == key)]
        todo = images[~images["id"].isin(usable["id"])].reset_index(drop=True)
        if len(todo):
            found = _found(runs, data_dir, todo, segmenters, device)
            found = found.assign(segmenter=key, sha256=hashes.loc[found["id"]].to_numpy())
            rest = known[~known["id"].isin(found["id"])]
            known = pd.concat([rest, found] if len(rest) else [found])
            text = known.sort_values("id")[_COLUMNS].to_csv(index=False, lineterminator="\n")
            write_atomic(file, text)
    return known.set_index("id").loc[images["id"]].reset_index()


def _read(file: Path) -> pd.DataFrame:
    """The boxes in a file; none where it is missing or damaged: they are computed again."""
    try:
        table = read_table(file, dtype=_TEXTS, converters=_EXACT)
        if table.columns.tolist() == _COLUMNS and not table.isna().any(axis=None):
            return table.astype({"found": bool})
    except (OSError, ValueError):
        pass
    return pd.DataFrame(columns=_COLUMNS)


@faults_in_words()
def _found(
    runs: Sequence[RunFolder],
    data_dir: Path,
    images: pd.DataFrame,
    segmenters: Segmenters,
    device: str,
) -> pd.DataFrame:
    """id, sides, found and fold of each image."""
    first = segmenters.restore(runs[0].config["row"])
    official = splits.read(data_dir, "official", first.allow_missing)
    both = pd.concat([official, images]).drop_duplicates("id", ignore_index=True)
    seen = store.prepare(data_dir, both, first.stored_size)
    held = [_held_out(run, segmenters.restore(run.config["row"]), official, seen) for run in runs]
    rest = images[~images["id"].isin(pd.concat(held))]
    total = np.zeros((len(rest), first.image_size[1], first.image_size[0]), np.float32)
    lines: list[dict[str, Any]] = []
    for run, ids in zip(runs, held, strict=True):
        settings: Segmentation = segmenters.restore(run.config["row"])
        options = settings.network_options(segmenters.options(settings.network))
        network = segmenters.build(settings.network, 1, **options)
        load_weights(network, run / "best.safetensors")
        own = images[images["id"].isin(ids)]
        say(f"boxes by {run.path.name}: of {len(own)} images that it had not seen, and {len(rest)}")
        asked = pd.concat([own, rest])
        data = TestImages(seen, asked, settings.image_size, settings.test_image, unscored=True)
        loader = evaluation_loader(data, settings.batch_size, settings.workers)
        for index, probability in probabilities(placed(network, choose_device(device)), loader):
            if index < len(own):
                lines.append(_line(data, index, probability, settings) | {"fold": settings.fold})
            else:
                total[index - len(own)] += probability / len(runs)
    if len(rest):
        data = TestImages(seen, rest, first.image_size, first.test_image, unscored=True)
        lines += [_line(data, k, mean, first) | {"fold": "mean"} for k, mean in enumerate(total)]
    return pd.DataFrame(lines)


def _held_out(
    run: RunFolder, settings: Segmentation, official: pd.DataFrame, seen: store.Store
) -> pd.Series:
    """The ids that a run held out. RunError where it was trained on other images than these."""
    train, held = splits.training_images(official, "fold", settings.seed, settings.fold)
    train = splits.drawn(train, settings.train_images, settings.seed)
    fingerprint = seen.fingerprint(pd.concat([train, held]), masks=True)
    if run.config["data"].get("fingerprint") != fingerprint:
        raise RunError(
            f"{run.path} was trained on other images than there are now, and may have seen those "
            "that it should find the lesion in; put the images back, or make all folds again "
            "(--resume restart)."
        )
    return held["id"]


def _line(
    data: TestImages, index: int, probability: np.ndarray, settings: Segmentation
) -> dict[str, Any]:
    """id, sides and found of an image with this probability of lesion (H, W)."""
    width, height = data.store.index.iloc[data.positions[index]][["width", "height"]]
    box = lesion_box(probability, settings.threshold, data.regions[index])
    region = around(box, width, height) if box else WHOLE
    sides = dict(zip(_SIDES, region, strict=True))
    return {"id": data.ids[index], **sides, "found": box is not None}


def lesion_box(
    probability: np.ndarray, threshold: float = 0.5, region: Region = WHOLE
) -> Region | None:
    """The box of the largest connected lesion of (H, W) probabilities; None below LEAST.

    region is what they are of, and the box is in shares of the image.
    """
    mask = lesion(probability, threshold, clean_up=True)
    if mask.mean() * region[2] * region[3] < LEAST:
        return None
    (left, top, width, height), (down, across) = cv2.boundingRect(mask.astype(np.uint8)), mask.shape
    x, y = region[2] / across, region[3] / down
    return region[0] + left * x, region[1] + top * y, width * x, height * y
