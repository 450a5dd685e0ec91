"""Single cases of a segmenter: the picture, the true mask and the predicted one."""

from dataclasses import replace
from typing import Any

import cv2
import pandas as pd
from torch import nn

from utils.loaders import evaluation_loader
from utils.loaders_seg import TestImages
from utils.overlay import Case, shown_size
from utils.segment import HowToPredict, at_original_size, lesion, probabilities
from utils.store import Store


def how_to_predict(row: Any, precision: str, **changes: Any) -> HowToPredict:
    """The row's way from images to masks; precision is the one that the run was trained in.

    changes (views, threshold, clean_up) take the place of the row's, None leaves it. ValueError for
    a value that the row could not have.
    """
    row = replace(row, **{name: value for name, value in changes.items() if value is not None})
    names = ("batch_size", "workers", "views", "threshold", "clean_up")
    return HowToPredict(**{name: getattr(row, name) for name in names}, precision=precision)


def suffix(**changes: Any) -> str:
    """What file names say of changes to `how_to_predict`: "-8-views-threshold-0.4"."""
    words = []
    for name, value in changes.items():
        if value is not None:
            known = {"views": f"{value}-views", "clean_up": "clean" if value else "unclean"}
            words.append(known.get(name, f"{name}-{value}"))
    return "".join(f"-{word}" for word in words)


def cases(
    network: nn.Module,
    prepared: Store,
    rows: pd.DataFrame,
    per_image: pd.DataFrame,
    row: Any,
    how: HowToPredict,
) -> list[Case]:
    """A case for each line of per_image (a part of `results_seg.results`), as large as it is shown.

    The store may hold squares; a case has the proportions of the photo.

    rows are those of the data, in which the ids of per_image are found; row is the experiment.
    """
    if per_image.empty:
        return []
    chosen = rows.set_index("id", drop=False).loc[per_image["id"]]
    images = TestImages(prepared, chosen, row.image_size, row.test_image)
    found = []
    loader = evaluation_loader(images, how.batch_size, 0)
    for index, probability in probabilities(network, loader, how.precision, how.views):
        place, line = images.positions[index], per_image.iloc[index]
        width, height = shown_size(line["width"], line["height"])
        whole = at_original_size(probability, (height, width), images.regions[index])
        said = lesion(whole, how.threshold, how.clean_up)
        image, mask = prepared.image(place), prepared.mask(place)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
        caption = f"{line['id']}\nJaccard {line['jaccard']:.3f}"
        found.append(Case(image, mask > 0, said, caption))
    return found


def case(
    network: nn.Module,
    prepared: Store,
    rows: pd.DataFrame,
    line: pd.Series,
    row: Any,
    how: HowToPredict,
) -> Case:
    """The case of one line of the per-image results; the rest as in `cases`."""
    return cases(network, prepared, rows, line.to_frame().T, row, how)[0]
