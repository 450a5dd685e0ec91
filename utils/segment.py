"""From images to masks: what a segmenter predicts, at its own size and at the original one.

No set of masks is held in memory: each batch becomes counts of pixels and is forgotten.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from utils import evaluation_seg
from utils.console import progress
from utils.data import DataError
from utils.decode import read_mask
from utils.evaluation import Counts
from utils.files import write_atomic
from utils.forward import require_finite
from utils.loaders import batches, evaluation_loader
from utils.loaders_seg import WHOLE, Region, TestImages, corners
from utils.recipe import autocast
from utils.workers import faults_in_words

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))  # 0.05 … 0.95
STRIP = 64  # rows that are counted at once
# Flip across, flip down, transpose: the plain image, then flips, then quarter turns (squares only).
VIEWS = (
    (False, False, False),
    (True, False, False),
    (False, True, False),
    (True, True, False),
    (False, False, True),
    (True, False, True),
    (False, True, True),
    (True, True, True),
)


@faults_in_words()
@torch.inference_mode()
def pixel_counts(network: nn.Module, loader: DataLoader, precision: str = "fp32") -> Counts:
    """Counts (n,) of pixels of each image of a loader of `TestImages`, at the network's size.

    For the score of an epoch: a pixel is lesion where its logit is above 0 (probability 0.5).
    OutputError for logits that are not finite.
    """
    found = []
    with _evaluating(network) as device:
        for batch in progress(batches(loader), "scoring", "batches", total=len(loader)):
            with autocast(device, precision):
                logits = network(batch["image"].to(device, non_blocking=True))
            require_finite(logits, network, loader, batch)
            truth = batch["label"].to(device, non_blocking=True).flatten(1) > 0
            said = logits.float().flatten(1) > 0
            cells = (truth & said, ~truth & said, truth & ~said, ~truth & ~said)
            found.append(torch.stack([cell.sum(1) for cell in cells], dim=1).cpu())
    return Counts(*torch.cat(found).double().numpy().T)


@torch.inference_mode()
def probabilities(
    network: nn.Module, loader: DataLoader, precision: str = "fp32", views: int = 1
) -> Iterator[tuple[int, np.ndarray]]:
    """Index and probability of lesion, (H, W) float32 at the network's size, image by image.

    views 1 is the plain image; 4 averages over its flips, 8 over its quarter turns, too.
    OutputError for logits that are not finite.
    """
    with _evaluating(network) as device:
        for batch in progress(batches(loader), "predicting", "batches", total=len(loader)):
            images = batch["image"].to(device, non_blocking=True)
            total = torch.zeros((), device=device)
            for turn in VIEWS[:views]:
                with autocast(device, precision):
                    logits = network(turned(images, turn))
                require_finite(logits, network, loader, batch)
                total = total + turned(torch.sigmoid(logits.float()), turn, back=True)
            mean = (total / len(VIEWS[:views]))[:, 0].cpu().numpy()
            yield from zip(batch["index"].tolist(), mean, strict=True)


def turned(images: Tensor, turn: tuple[bool, bool, bool], back: bool = False) -> Tensor:
    """(B, C, H, W) transposed and flipped as an entry of VIEWS says; back undoes it."""
    across, down, transpose = turn
    axes = [axis for axis, flipped in ((-1, across), (-2, down)) if flipped]
    if transpose and not back:
        images = images.transpose(-1, -2)
    images = images.flip(axes) if axes else images
    return images.transpose(-1, -2) if transpose and back else images


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[torch.device]:
    """The network in evaluation mode while this is open; gives its device."""
    was_training = network.training
    network.eval()
    try:
        yield next(network.parameters()).device
    finally:
        network.train(was_training)


def at_original_size(
    probability: np.ndarray, size: tuple[int, int], region: Region = WHOLE
) -> np.ndarray:
    """Probabilities (h, w) enlarged to the image's own (height, width), float32.

    Linearly, as the challenge's masks are judged at that size. What a centre crop never saw is 0.
    """
    height, width = size
    left, top, right, bottom = corners(width, height, region)
    inside = cv2.resize(probability, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    if region == WHOLE:
        return inside
    whole = np.zeros(size, np.float32)
    whole[top:bottom, left:right] = inside
    return whole


def lesion(probability: np.ndarray, threshold: float = 0.5, clean_up: bool = False) -> np.ndarray:
    """(H, W) bool: where the probability is above the threshold.

    clean_up keeps the largest connected part and fills its holes: a photo shows one lesion.
    """
    found = probability > threshold
    if not clean_up or not found.any():
        return found
    whole = found.astype(np.uint8)
    left, top, width, height = cv2.boundingRect(whole)  # most of a photo is skin
    inside = np.ascontiguousarray(whole[top : top + height, left : left + width])
    _, parts, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    outlines, _ = cv2.findContours(
        (parts == largest).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    filled = np.zeros(found.shape, np.uint8)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED, offset=(left, top))
    return filled.astype(bool)


@dataclass(frozen=True)
class HowToPredict:
    """What of a row decides about a mask, and in which precision the network computes."""

    batch_size: int
    workers: int | None = None
    precision: str = "fp32"
    views: int = 1
    threshold: float = 0.5
    clean_up: bool = False


class Result(NamedTuple):
    """A row an image: counts and official scores; and the counts at each of THRESHOLDS."""

    per_image: pd.DataFrame  # id, width, height, tp, fp, fn, tn, METRICS
    thresholds: pd.DataFrame  # id, threshold, tp, fp, fn, tn


@faults_in_words()
def evaluate(
    network: nn.Module,
    images: TestImages,
    rows: pd.DataFrame,
    how: HowToPredict,
    masks_to: Path | None = None,
) -> Result:
    """Hold the predicted masks against the true ones at the original size.

    rows are those of images. masks_to is a folder for the predicted masks at original size,
    `<id>_segmentation.png` with 0 and 255, as the challenge takes them.
    """
    per_image, thresholds = [], []
    loader = evaluation_loader(images, how.batch_size, how.workers)
    sources = rows[["id", "mask"]].to_dict("records")
    for index, probability in probabilities(network, loader, how.precision, how.views):
        row = sources[index]
        truth = true_mask(row["mask"])
        whole = at_original_size(probability, truth.shape, images.regions[index])
        said = lesion(whole, how.threshold, how.clean_up)
        size = {"id": row["id"], "width": truth.shape[1], "height": truth.shape[0]}
        per_image.append(size | pixels(truth, said))
        for threshold, at in zip(THRESHOLDS, over_thresholds(truth, whole, how), strict=True):
            thresholds.append({"id": row["id"], "threshold": threshold} | at)
        if masks_to is not None:
            _, png = cv2.imencode(".png", said.astype(np.uint8) * 255)
            write_atomic(masks_to / mask_name(row["id"]), png.tobytes())
    table = pd.DataFrame(per_image)
    scores = evaluation_seg.per_image(counts_of(table))
    return Result(table.assign(**scores), pd.DataFrame(thresholds))


def mask_name(image_id: str) -> str:
    """What the challenge calls the mask of an image."""
    return f"{image_id}_segmentation.png"


def true_mask(path: str) -> np.ndarray:
    """The mask file at its own size, (H, W) bool; DataError for one that cannot be read."""
    try:
        return read_mask(path)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"the mask {path} cannot be read ({error}); mend it, or bring an undamaged copy."
        ) from error


def over_thresholds(
    truth: np.ndarray, probability: np.ndarray, how: HowToPredict
) -> list[dict[str, int]]:
    """tp, fp, fn, tn (H, W) at each of THRESHOLDS."""
    if how.clean_up:
        return [pixels(truth, lesion(probability, at, clean_up=True)) for at in THRESHOLDS]
    both, found = np.zeros((2, len(THRESHOLDS)), int)
    for top in range(0, len(truth), STRIP):  # a strip stays in the cache for all thresholds
        part = probability[top : top + STRIP]
        inside = part[truth[top : top + STRIP]]
        for number, threshold in enumerate(THRESHOLDS):
            found[number] += np.count_nonzero(part > threshold)
            both[number] += np.count_nonzero(inside > threshold)
    lesions = int(np.count_nonzero(truth))
    pairs = zip(both.tolist(), found.tolist(), strict=True)
    return [_cells(truth.size, lesions, positives, hits) for hits, positives in pairs]


def pixels(truth: np.ndarray, said: np.ndarray) -> dict[str, int]:
    """tp, fp, fn, tn of two masks (H, W) bool."""
    both, lesions, found = (int(np.count_nonzero(m)) for m in (truth & said, truth, said))
    return _cells(truth.size, lesions, found, both)


def _cells(size: int, lesions: int, found: int, both: int) -> dict[str, int]:
    tn = size - lesions - found + both
    return {"tp": both, "fp": found - both, "fn": lesions - both, "tn": tn}


def counts_of(table: pd.DataFrame) -> Counts:
    """The four columns of counts as arrays (n,)."""
    return Counts(*(table[name].to_numpy(dtype=float) for name in Counts._fields))
