"""From images to masks: what a segmenter predicts, at its own size and at the original one.

No set of masks is held in memory: each batch becomes counts of pixels and is forgotten.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader

from utils.data.decode import read_mask
from utils.data.loaders import evaluation_loader
from utils.data.masks import WHOLE, Region, TestImages, corners
from utils.data.workers import faults_in_words
from utils.evaluation import masks
from utils.evaluation.counts import Counts
from utils.model.forward import answers, probabilities
from utils.system.errors import DataError
from utils.system.files import write_atomic

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))  # 0.05 … 0.95
STRIP = 64  # rows that are counted at once


@faults_in_words()
@torch.inference_mode()
def pixel_counts(network: nn.Module, loader: DataLoader, precision: str = "fp32") -> Counts:
    """Counts (n,) of pixels of each image of a loader of `TestImages`, at the network's size.

    For the score of an epoch: a pixel is lesion where its logit is above 0 (probability 0.5).
    OutputError for logits that are not finite.
    """
    found = []
    for batch, ask in answers(network, loader, precision, "scoring"):
        said = ask(batch["image"]).flatten(1) > 0
        truth = batch["label"].to(said.device, non_blocking=True).flatten(1) > 0
        cells = (truth & said, ~truth & said, truth & ~said, ~truth & ~said)
        found.append(torch.stack([cell.sum(1) for cell in cells], dim=1).cpu())
    return Counts(*torch.cat(found).double().numpy().T)


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
class MaskSettings:
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
    how: MaskSettings,
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
    scores = masks.per_image(counts_of(table))
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
    truth: np.ndarray, probability: np.ndarray, how: MaskSettings
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


def mask_settings(row: Any, precision: str, **changes: Any) -> MaskSettings:
    """The row's way from images to masks; precision is the one that the run was trained in.

    changes (views, threshold, clean_up) take the place of the row's, None leaves it. ValueError for
    a value that the row could not have.
    """
    row = replace(row, **{name: value for name, value in changes.items() if value is not None})
    names = ("batch_size", "workers", "views", "threshold", "clean_up")
    return MaskSettings(**{name: getattr(row, name) for name in names}, precision=precision)


def suffix(**changes: Any) -> str:
    """What file names say of changes to `mask_settings`: "-8-views-threshold-0.4"."""
    words = []
    for name, value in changes.items():
        if value is not None:
            known = {"views": f"{value}-views", "clean_up": "clean" if value else "unclean"}
            words.append(known.get(name, f"{name}-{value}"))
    return "".join(f"-{word}" for word in words)
