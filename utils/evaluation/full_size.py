"""From images to masks: what a segmenter predicts, at its own size and at the original one.

Masks are not kept in memory: each batch is reduced to counts of pixels.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader

from utils.data.decode import read_mask
from utils.data.loaders import evaluation_loader
from utils.data.masks import TestImages
from utils.data.regions import WHOLE, Region, corners
from utils.data.workers import faults_in_words
from utils.evaluation import masks
from utils.evaluation.counts import Counts, counts_of
from utils.evaluation.results import SEEN, Result, mask_name
from utils.model.forward import answers, probabilities
from utils.system.errors import DataError
from utils.system.experiment import Segmentation
from utils.system.files import write_atomic

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))  # 0.05 … 0.95
STRIP = 64  # rows counted at once


@faults_in_words()
@torch.inference_mode()
def pixel_counts(network: nn.Module, loader: DataLoader, precision: str = "fp32") -> Counts:
    """Counts (n,) of pixels of each image of a loader of `TestImages`, at the network's size.

    For the score of an epoch: lesion is where the logit is above 0 (probability 0.5). OutputError
    for logits that are not finite.
    """
    counts = []
    for batch, ask in answers(network, loader, precision, "scoring"):
        predicted = ask(batch["image"]).flatten(1) > 0
        truth = batch["label"].to(predicted.device, non_blocking=True).flatten(1) > 0
        cells = (truth & predicted, ~truth & predicted, truth & ~predicted, ~truth & ~predicted)
        counts.append(torch.stack([cell.sum(1) for cell in cells], dim=1).cpu())
    return Counts(*torch.cat(counts).double().numpy().T)


def at_original_size(
    probability: np.ndarray, size: tuple[int, int], region: Region = WHOLE
) -> np.ndarray:
    """Probabilities (h, w) enlarged to the image's own (height, width), float32.

    Linearly; the challenge scores masks at that size. Pixels outside the region are 0.
    """
    height, width = size
    left, top, right, bottom = corners(width, height, region)
    inside = cv2.resize(probability, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    if region == WHOLE:
        return inside
    complete = np.zeros(size, np.float32)
    complete[top:bottom, left:right] = inside
    return complete


def lesion(probability: np.ndarray, threshold: float = 0.5, clean_up: bool = False) -> np.ndarray:
    """(H, W) bool: where the probability is above the threshold.

    clean_up keeps the largest connected part and fills its holes: a photo shows one lesion.
    """
    mask = probability > threshold
    if not clean_up or not mask.any():
        return mask
    pixels = mask.astype(np.uint8)
    left, top, width, height = cv2.boundingRect(pixels)  # most of a photo is skin
    inside = np.ascontiguousarray(pixels[top : top + height, left : left + width])
    _, parts, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    outlines, _ = cv2.findContours(
        (parts == largest).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    filled = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED, offset=(left, top))
    return filled.astype(bool)


@faults_in_words()
def evaluate(
    network: nn.Module,
    images: TestImages,
    table: pd.DataFrame,
    settings: Segmentation,
    masks_to: Path | None = None,
) -> Result:
    """Compare the predicted masks with the true ones at the original size.

    table is that of the images, in their order; settings as `mask_settings` gives them. masks_to is
    a folder for the predicted masks at original size, `<id>_segmentation.png` with 0 and 255, as
    the challenge expects them. For test images that are the "middle", the pixels that were seen are
    also counted by themselves, at the network's size: the coursework scored only these.
    """
    per_image, of_seen, thresholds = [], [], []
    loader = evaluation_loader(images, settings.batch_size, settings.workers)
    sources = table[["id", "mask"]].to_dict("records")
    for index, probability in probabilities(network, loader, settings.precision, settings.views):
        name, truth = sources[index]["id"], true_mask(sources[index]["mask"])
        enlarged = at_original_size(probability, truth.shape, images.regions[index])
        predicted = lesion(enlarged, settings.threshold, settings.clean_up)
        size = {"id": name, "width": truth.shape[1], "height": truth.shape[0]}
        per_image.append(size | pixels(truth, predicted))
        if images.test_image == "middle":
            label = images[index]["label"] > 0
            seen = pixels(label, lesion(probability, settings.threshold, settings.clean_up))
            of_seen.append({SEEN + cell: count for cell, count in seen.items()})
        counts = over_thresholds(truth, enlarged, settings.clean_up)
        for threshold, at in zip(THRESHOLDS, counts, strict=True):
            thresholds.append({"id": name, "threshold": threshold} | at)
        if masks_to is not None:
            _, png = cv2.imencode(".png", predicted.astype(np.uint8) * 255)
            write_atomic(masks_to / mask_name(name), png.tobytes())
    counted = pd.DataFrame(per_image)
    scores = masks.per_image(counts_of(counted))
    counted = counted.assign(**scores).join(pd.DataFrame(of_seen))
    return Result(counted, pd.DataFrame(thresholds))


def true_mask(path: str) -> np.ndarray:
    """The mask file at its own size, (H, W) bool; DataError for one that cannot be read."""
    try:
        return read_mask(path)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"the mask {path} cannot be read ({error}); expected an image file. Replace it by an "
            "undamaged copy."
        ) from error


def over_thresholds(
    truth: np.ndarray, probability: np.ndarray, clean_up: bool = False
) -> list[dict[str, int]]:
    """tp, fp, fn, tn (H, W) at each of THRESHOLDS."""
    if clean_up:
        return [pixels(truth, lesion(probability, at, clean_up=True)) for at in THRESHOLDS]
    positives, hits = np.zeros((2, len(THRESHOLDS)), int)
    for top in range(0, len(truth), STRIP):  # a strip stays in the cache for all thresholds
        part = probability[top : top + STRIP]
        inside = part[truth[top : top + STRIP]]
        for number, threshold in enumerate(THRESHOLDS):
            positives[number] += np.count_nonzero(part > threshold)
            hits[number] += np.count_nonzero(inside > threshold)
    pairs = zip(positives.tolist(), hits.tolist(), strict=True)
    return [_cells(truth, *pair) for pair in pairs]


def pixels(truth: np.ndarray, predicted: np.ndarray) -> dict[str, int]:
    """tp, fp, fn, tn of two masks (H, W) bool."""
    positives, hits = np.count_nonzero(predicted), np.count_nonzero(truth & predicted)
    return _cells(truth, int(positives), int(hits))


def _cells(truth: np.ndarray, positives: int, hits: int) -> dict[str, int]:
    lesion = int(np.count_nonzero(truth))
    tn = truth.size - lesion - positives + hits
    return {"tp": hits, "fp": positives - hits, "fn": lesion - hits, "tn": tn}
