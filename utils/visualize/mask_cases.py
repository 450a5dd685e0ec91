"""Single cases of a segmenter: the picture, the true mask and the predicted one."""

from typing import Any

import cv2
import pandas as pd
from torch import nn

from utils.data.loaders import evaluation_loader
from utils.data.masks import TestImages
from utils.data.store import Store
from utils.evaluation.full_size import at_original_size, lesion
from utils.evaluation.settings import MaskSettings
from utils.model.forward import probabilities
from utils.visualize.overlay import Case, shown_size


def cases(
    network: nn.Module,
    prepared: Store,
    rows: pd.DataFrame,
    per_image: pd.DataFrame,
    row: Any,
    settings: MaskSettings,
) -> list[Case]:
    """A case for each line of per_image (a part of `results.per_image`), as large as it is shown.

    The store may hold squares; a case has the proportions of the photo.

    rows are those of the data, in which the ids of per_image are found; row is the experiment.
    """
    if per_image.empty:
        return []
    chosen = rows.set_index("id", drop=False).loc[per_image["id"]]
    images = TestImages(prepared, chosen, row.image_size, row.test_image)
    found = []
    loader = evaluation_loader(images, settings.batch_size, 0)
    for index, probability in probabilities(network, loader, settings.precision, settings.views):
        place, line = images.positions[index], per_image.iloc[index]
        width, height = shown_size(line["width"], line["height"])
        whole = at_original_size(probability, (height, width), images.regions[index])
        said = lesion(whole, settings.threshold, settings.clean_up)
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
    settings: MaskSettings,
) -> Case:
    """The case of one line of the per-image results; the rest as in `cases`."""
    return cases(network, prepared, rows, line.to_frame().T, row, settings)[0]
