"""How far an image is from the training images, in the features of a run's network.

The distance is Mahalanobis' from the mean of the training images' features (Lee et al., NeurIPS
2018, https://arxiv.org/abs/1807.03888, here one Gaussian for all classes), which are first brought
to length 1 (Müller and Hein, ICML 2025, https://arxiv.org/abs/2505.18032): as they are, photographs
of people and houses went unmarked. Its covariance is that of probabilistic PCA (Tipping and Bishop,
1999, https://doi.org/10.1111/1467-9868.00196): `AXES` directions with variances of their own, and
one for all others, so it exists for more features than images and is small in a file.

Distances are given in units of the threshold: an image above 1 is unlike. The threshold is the 95 %
quantile of images that the network was not trained on, those that chose its epoch or its fold: of
images like these, one in twenty is a false alarm.
"""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import nn

from utils.data import splits, store
from utils.data.loaders import LesionDataset, evaluation_loader
from utils.data.masks import TestImages
from utils.data.patches import TestViews
from utils.logger.run import RunFolder
from utils.model import explain
from utils.system.console import progress
from utils.system.errors import DataError, RunError
from utils.system.files import write_atomic

FILE = "features.npz"
AXES = 128
QUANTILE = 0.95


class Statistics(NamedTuple):
    """What a run keeps of the features of its training images."""

    mean: np.ndarray  # (F,)
    axes: np.ndarray  # (k, F), orthonormal
    variances: np.ndarray  # (k,), along the axes
    rest: np.ndarray  # (), along any other direction
    threshold: np.ndarray  # (), a Mahalanobis distance
    unseen: np.ndarray  # (), how many images gave it
    marked: np.ndarray  # (), how many of these lie above it

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Distances (n,) of features (n, F) in units of the threshold."""
        return self.mahalanobis(features) / self.threshold

    def mahalanobis(self, features: np.ndarray) -> np.ndarray:
        """Mahalanobis distances (n,) of features (n, F)."""
        away = _unit(features) - self.mean
        along = away @ self.axes.T
        off = away - along @ self.axes
        squares = (along**2 / self.variances).sum(axis=1) + (off**2).sum(axis=1) / self.rest
        return np.sqrt(squares)

    @property
    def said(self) -> str:
        """The rate of false alarms, in words."""
        return (
            f"of {self.unseen} images that it was not trained on, whose 95 % quantile is the "
            f"threshold, it marks {self.marked} ({self.marked / self.unseen:.1%})"
        )


def fitted(train: np.ndarray, unseen: np.ndarray) -> Statistics:
    """From features of training images (n, F), and of others (m, F) like them."""
    from sklearn.decomposition import PCA  # slow

    axes = min(AXES, min(train.shape) // 2)
    pca = PCA(axes, svd_solver="full").fit(_unit(train))
    smallest = np.finfo(np.float32).tiny  # where features are constant
    known = Statistics(
        mean=pca.mean_.astype(np.float32),
        axes=pca.components_.astype(np.float32),
        variances=np.maximum(pca.explained_variance_, smallest),
        rest=np.maximum(pca.noise_variance_, smallest),
        threshold=np.ones(()),
        unseen=np.asarray(len(unseen)),
        marked=np.zeros((), int),
    )
    distances = known.mahalanobis(unseen)
    threshold = max(np.quantile(distances, QUANTILE), smallest)
    marked = np.count_nonzero(distances > threshold)
    return known._replace(threshold=np.asarray(threshold), marked=np.asarray(marked))


def _unit(features: np.ndarray) -> np.ndarray:
    """Features (n, F) of length 1; those that are all 0 stay so."""
    features = features.astype(np.float64)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0, length, 1)


def features(
    network: nn.Module, experiment: Any, kept: store.Store, images: pd.DataFrame, title: str = ""
) -> np.ndarray:
    """What a network makes of whole images, (n, F); with a title, its progress is shown.

    Of a classifier what its last layer gets, of a segmenter the means of its smallest map.
    """
    seen: LesionDataset
    if experiment.task == "masks":
        of_batch = explain.bottom_features
        seen = TestImages(kept, images, experiment.image_size, experiment.test_image, unscored=True)
    else:
        of_batch = explain.pooled_features
        seen = TestViews(kept, images, experiment.image_size, 1)
    loader = evaluation_loader(seen, experiment.batch_size, 0)
    batches = progress(loader, title, "batches", len(loader)) if title else loader
    plain = (batch["image"].flatten(0, -4) for batch in batches)  # the only view
    return np.concatenate([of_batch(network, batch) for batch in plain])


def learn(run: RunFolder, network: nn.Module, experiment: Any, data_dir: Path) -> Path:
    """Write `features.npz` into the run's folder, from the images it was trained on.

    DataError where data_dir holds another set, or lacks images.
    """
    if (wanted := run.config.get("data", {}).get("set")) != (here := splits.note(data_dir)):
        raise DataError(
            f"{run.path} was trained on {wanted}, and {data_dir} is {here}; name its data with "
            "--data-dir."
        )
    name = "official" if experiment.train_list == "patches" else experiment.train_list
    images = splits.read(data_dir, name, experiment.allow_missing)
    split = experiment.select_on, experiment.seed, experiment.fold
    train, unseen = splits.training_images(images, *split)
    train = splits.drawn(train, experiment.train_images, experiment.seed)
    both = pd.concat([train, unseen], ignore_index=True)
    prepared = store.prepare(data_dir, both, experiment.stored_size)
    found = features(network, experiment, prepared, both, "features")
    return save(run, fitted(*np.split(found, [len(train)])))


def save(run: RunFolder, statistics: Statistics) -> Path:
    """Write them as `features.npz`; returns its path."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **statistics._asdict())
    write_atomic(run / FILE, file.getvalue())
    return run / FILE


def read(run: RunFolder) -> Statistics | None:
    """The statistics of a run, None where it has none; RunError for a damaged file."""
    if not (run / FILE).exists():
        return None
    try:
        content = io.BytesIO((run / FILE).read_bytes())
        with np.load(content, allow_pickle=False) as file:
            return Statistics(**{name: file[name] for name in Statistics._fields})
    except Exception as error:  # numpy, zipfile and zlib have many
        raise RunError(
            f"{run / FILE} is damaged ({error}); make it again: "
            f'python predict.py --learn-features "{run.path}"'
        ) from error
