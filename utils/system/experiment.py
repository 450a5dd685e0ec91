"""What an experiment is to these modules: a frozen row of settings, whoever made the table.

The table itself is `experiments`, which nothing here imports; the type checker holds its rows
against these protocols. Fields are read-only, and sizes are in px.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, Self

from utils.system.size import Size

Task = Literal["labels", "masks"]
# Values of fields in older run folders, and what they are called now.
RENAMED: dict[str, dict[Any, Any]] = {"test_image": {"centre crop": "unstretched crop"}}


def row_label(name: str, network: object) -> str:
    """How a row's runs are named: by the row, and by a library's network in place of its own.

    network is as a `config.json` has it, where anything may stand.

    >>> row_label("3-1", "lite0"), row_label("3-1", "timm:convnext_tiny")
    ('3-1', '3-1-timm-convnext_tiny')
    """
    safe = re.sub(r"[^\w.-]", "-", str(network))
    return f"{name}-{safe}" if ":" in str(network) else name


class Published(Protocol):
    """Numbers that a study printed for the official test images."""

    @property
    def source(self) -> str: ...
    @property
    def scores(self) -> Mapping[str, float]: ...
    @property
    def training_list(self) -> str: ...
    @property
    def convention(self) -> str: ...  # "coursework", "official" or "unstated"
    @property
    def impossible(self) -> Sequence[str]: ...  # scores that no counts give, rounded as printed


class Experiment(Protocol):
    """What the experiments of both tasks share."""

    __dataclass_fields__: ClassVar[dict[str, Any]]  # a dataclass: fields, replace and asdict work

    @property
    def name(self) -> str: ...
    @property
    def task(self) -> Task: ...  # "labels" or "masks": what its network is trained to give
    @property
    def network(self) -> str: ...  # as `nets.build` takes it
    @property
    def profile(self) -> str: ...
    @property
    def weights(self) -> str | None: ...  # "imagenet", a file, or None for from scratch
    @property
    def attention(self) -> str: ...  # "spatial" or "channel"
    @property
    def loss(self) -> str: ...  # as `loss.build` takes it
    @property
    def class_weights(self) -> tuple[float, ...] | Literal["balanced"] | None: ...
    @property
    def gamma(self) -> float: ...  # of focal losses
    @property
    def train_list(self) -> str: ...  # "official", "extended" or "patches"
    @property
    def select_on(self) -> str: ...  # "validation", "holdout" or "fold"
    @property
    def fold(self) -> str | None: ...  # as "2/5" or "series 2/5"
    @property
    def allow_missing(self) -> bool: ...
    @property
    def train_images(self) -> int | None: ...  # so many at most, drawn by class
    @property
    def colour(self) -> float: ...  # strength of the jitter, 0 to 1
    @property
    def mixup(self) -> float: ...  # 0: none
    @property
    def noise(self) -> float: ...  # standard deviation, of values 0 to 1
    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def optimizer(self) -> str: ...  # "adamw" or "sgd"
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def decay(self) -> str: ...  # which parameters: "weights" or "all"
    @property
    def schedule(self) -> str: ...  # "cosine", "halve-30" or "constant"
    @property
    def warmup_epochs(self) -> float: ...
    @property
    def clip_norm(self) -> float: ...  # 0: none
    @property
    def patience(self) -> int: ...  # epochs without improvement before stopping; 0: never
    @property
    def select_score(self) -> str: ...  # a column of the history, high is good
    @property
    def keep(self) -> str: ...  # "best" or "last" epoch
    @property
    def ema_decay(self) -> float: ...  # 0: no moving average of the weights
    @property
    def seed(self) -> int: ...
    @property
    def device(self) -> str: ...  # "auto", "cpu", "cuda" or "mps"
    @property
    def precision(self) -> str: ...  # "auto", "fp32" or "bf16"
    @property
    def compile_network(self) -> bool | Literal["auto"]: ...
    @property
    def workers(self) -> int | None: ...
    @property
    def loader(self) -> str: ...  # "auto", "workers" or "resident"
    @property
    def views(self) -> int: ...  # averaged for the final scores

    @property
    def published(self) -> Sequence[Published]: ...
    @property
    def deviations(self) -> Sequence[str]: ...  # of the profile from what was published
    @property
    def chosen_on(self) -> str: ...  # the images that choose the epoch; "": the last is kept

    @classmethod
    def restore(cls, settings: dict[str, Any]) -> Self: ...  # of a run's `config.json`

    def network_options(self, takes: Iterable[str]) -> dict[str, Any]: ...  # for `nets.build`

    def folder(
        self,
    ) -> str: ...  # the name of a run's folder: <label>-s<seed>, <label>-f<fold>-s<seed>


class Classification(Experiment, Protocol):
    """One experiment of ARL-CNN.ipynb."""

    @property
    def classes(self) -> tuple[str, ...]: ...  # of the data, by label
    @property
    def num_classes(self) -> int: ...  # 1: melanoma, or class 0, against the rest
    @property
    def crop_from(self) -> str | None: ...  # a segmenter's folds, as "seg-6" or "light/seg-6"
    @property
    def stored_size(self) -> int: ...  # side of the prepared images
    @property
    def image_size(self) -> int: ...  # side of what the network sees
    @property
    def patch_scales(self) -> tuple[float, ...]: ...  # fractions of the stored side
    @property
    def patch_places(self) -> str: ...  # "anywhere", "centre" or "margin"
    @property
    def quarter_turns(self) -> bool: ...
    @property
    def zoom(self) -> float: ...
    @property
    def shift(self) -> float: ...
    @property
    def view_scales(self) -> tuple[float, ...] | None: ...  # of test crops; None: fixed views
    @property
    def select_views(self) -> int: ...  # averaged to choose the epoch
    @property
    def average(self) -> str: ...  # "probabilities" or "logits"
    @property
    def label_smoothing(self) -> float: ...


class Segmentation(Experiment, Protocol):
    """One experiment of Segmentation.ipynb."""

    @property
    def encoder_from(self) -> str | None: ...  # a classification run
    @property
    def stored_size(self) -> Size: ...  # width and height
    @property
    def image_size(self) -> Size: ...  # width and height
    @property
    def test_image(self) -> str: ...  # "whole", "middle" or "unstretched crop"
    @property
    def augmentation(self) -> str: ...  # "zoomed" or "cropped"
    @property
    def threshold(self) -> float: ...  # of the probability, above which a pixel is lesion
    @property
    def clean_up(self) -> bool: ...  # keep the largest component, and fill its holes
