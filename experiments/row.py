"""What one experiment is: a frozen row of settings, checked when it is made."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from inspect import signature
from typing import Any, Self

from experiments.checks import MOST, check_fields, check_numbers, check_value

LOSSES = {
    "ClassificationRow": ("cross_entropy", "focal", "binary"),
    "SegmentationRow": ("dice", "dice_cross_entropy", "dice_focal"),
}
_NETWORKS_OWN = ("attention", "alpha", "train_alpha", "depth")  # not every network has them
SEGMENTATION_VIEWS = (1, 4, 8)  # plain; flips; flips and quarter turns, of squares only


def _made(kind: type, settings: Any) -> Any:
    """A dataclass of what a file holds; ValueError where that is no such thing, or not all."""
    try:
        bound = signature(kind).bind(**settings)
    except TypeError as error:  # before anything of ours runs, whose own errors come through
        raise ValueError(f"{error} for {kind.__name__}") from error
    return kind(*bound.args, **bound.kwargs)


@dataclass(frozen=True)
class Published:
    """Numbers that a study printed for the official 600 test images, and what it trained on.

    Classification: the coursework's accuracy, sensitivity and specificity hold the argmax of the
    three classes against the rest; Zhang et al. do not say what theirs hold ("unstated").
    Segmentation: convention "coursework" pools all pixels, "official" is the mean over images.
    """

    source: str
    scores: dict[str, float]
    training_list: str
    convention: str = "coursework"

    def __post_init__(self) -> None:
        """ValueError for a value of the wrong type, or a convention that is not known."""
        check_fields(self)
        for name, value in self.scores.items():
            check_value(name, value, (float,))


@dataclass(frozen=True)
class Row:
    """What the experiments of both tasks share. None means "decided when it runs"."""

    name: str
    question: str
    network: str
    task: str = ""  # "labels" of images or "masks" on them: what the network is to give
    profile: str = "best"
    published: tuple[Published, ...] = field(default=(), repr=False)
    # network
    weights: str | None = None  # "imagenet", a file, or None for from scratch
    attention: str = "spatial"  # softmax over positions ("spatial") or over channels ("channel")
    alpha: float = 0.001  # start value of every attention weight
    train_alpha: bool = True
    # loss
    loss: str = ""
    class_weights: tuple[float, ...] | None = None
    gamma: float = 2.0  # focal losses only
    # data
    train_list: str = "official"
    select_on: str = "holdout"
    allow_missing: bool = False
    train_images: int | None = None  # train on so many of the images at most, drawn by the seed
    colour: float = 0.2  # strength of the colour jitter
    # training
    epochs: int = 15
    batch_size: int = 32
    optimizer: str = "adamw"
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    clip_norm: float = 5.0
    patience: int = 0  # epochs without improvement before stopping; 0: never
    select_score: str = ""
    # how it runs
    seed: int = 0
    precision: str = "auto"
    compile_network: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        """ValueError for a value of the wrong type, out of range, or not among the known ones."""
        check_fields(self)
        for name in ("weights", "encoder_from"):
            value = getattr(self, name, None)
            if value is not None and not value.strip():
                raise ValueError(f"{name} is {value!r}; expected a name, a path, or None.")
        known = LOSSES[type(self).__name__]
        if self.loss not in known:
            raise ValueError(f"loss is {self.loss!r}; expected one of {', '.join(known)}.")

    @classmethod
    def restore(cls, settings: dict[str, Any]) -> Self:
        """The row that the settings in a run's `config.json` mean; as `experiments.restore`."""
        known = [entry.name for entry in fields(cls)]
        run = f"the settings of row {settings.get('name')}, seed {settings.get('seed')},"
        for name in settings:
            if name not in known:
                raise ValueError(
                    f"{run} hold {name!r}, which this version does not know: train it again "
                    "(--resume restart), or take the version that made it. The fields are "
                    f"{', '.join(known)}."
                )
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        studies = settings.get("published", ())
        try:
            check_value("published", studies, (tuple,))
            studies = tuple(_made(Published, study) for study in studies)
            return _made(cls, settings | {"published": studies})
        except ValueError as error:
            raise ValueError(f"{run} are damaged: {error}") from error

    def network_options(self, takes: Iterable[str] = _NETWORKS_OWN) -> dict[str, Any]:
        """What this row says of the options that its network takes, as `nets.options` names them.

        `nets.build` wants to know them beyond the name, the classes and the weights. Unless told
        which the network takes these are all that any does, of which `nets.build` refuses others.
        """
        own = {entry.name for entry in fields(self)} & set(_NETWORKS_OWN)
        return {name: getattr(self, name) for name in takes if name in own}

    def describe(self, takes: Iterable[str]) -> str:
        """All fields that this row makes use of, but for the published numbers, one a line.

        takes: the options of its network, as in `network_options`.
        """
        unused = {"published", *_NETWORKS_OWN} - self.network_options(takes).keys()
        if "focal" not in self.loss:
            unused.add("gamma")
        names = [entry.name for entry in fields(self) if entry.name not in unused]
        return "\n".join(f"{name:16} {getattr(self, name)}" for name in names)

    def folder(self) -> str:
        """`<row>-s<seed>`, the name of the run's folder within its set and profile."""
        return f"{self.name}-s{self.seed}"


@dataclass(frozen=True)
class ClassificationRow(Row):
    """One experiment of ARL-CNN.ipynb."""

    task: str = "labels"
    num_classes: int = 3  # 1: melanoma against the rest
    loss: str = "cross_entropy"
    class_weights: tuple[float, ...] | None = (2.5, 2.5, 0.5)
    stored_size: int = 256  # px, side of the prepared images
    image_size: int = 224  # px, side of what the network sees
    patch_scales: tuple[float, ...] = (0.6, 0.7, 0.8, 0.9, 1.0)  # fractions of the stored side
    views: int = 9  # test views averaged for the final scores
    average: str = "probabilities"  # or "logits": what is averaged over the views
    select_score: str = "auc_mean"

    def __post_init__(self) -> None:
        """ValueError as in `Row`, and for a network that sees more pixels than are stored."""
        super().__post_init__()
        if self.image_size > self.stored_size:
            raise ValueError(
                f"image_size is {self.image_size}, larger than stored_size {self.stored_size}; "
                "the network would see blown-up pixels. Raise stored_size too."
            )
        check_numbers("patch_scales", self.patch_scales)
        if self.class_weights is not None and self.loss != "binary":  # which refuses any
            check_numbers("class_weights", self.class_weights, self.num_classes)


@dataclass(frozen=True)
class SegmentationRow(Row):
    """One experiment of Segmentation.ipynb: one logit a pixel, the probability of lesion."""

    task: str = "masks"
    encoder_from: str | None = None  # a classification run, whose weights the encoder starts with
    depth: int = 18  # of the encoder of res_unet and arl_unet
    loss: str = "dice_cross_entropy"
    stored_size: tuple[int, int] = (256, 256)  # px, width and height of the prepared images
    image_size: tuple[int, int] = (256, 256)  # px, width and height of what the network sees
    batch_size: int = 16
    test_image: str = "whole"  # or "centre crop": the coursework's, which drops border pixels
    views: int = 1  # test-time flips and turns: 1, 4 or 8
    threshold: float = 0.5  # of the probability, above which a pixel is lesion
    clean_up: bool = False  # keep the largest component, and fill its holes
    select_score: str = "jaccard"

    def __post_init__(self) -> None:
        """ValueError as in `Row`, and for sizes, views or weights that do not fit together."""
        super().__post_init__()
        for name in ("stored_size", "image_size"):
            sides = getattr(self, name)
            right = all(type(side) is int and 32 <= side <= MOST[name] for side in sides)
            if len(sides) != 2 or not right:
                raise ValueError(
                    f"{name} is {sides!r}; expected width and height in px, at least 32 and at "
                    f"most {MOST[name]} each."
                )
        if any(seen > kept for seen, kept in zip(self.image_size, self.stored_size, strict=True)):
            raise ValueError(
                f"image_size is {self.image_size}, larger than stored_size {self.stored_size}; "
                "the network would see blown-up pixels. Raise stored_size too."
            )
        square = self.image_size[0] == self.image_size[1]
        if self.views not in SEGMENTATION_VIEWS or (self.views == 8 and not square):
            raise ValueError(
                f"views is {self.views} for images of {self.image_size} px; expected 1 (as it is), "
                "4 (flips) or, for squares, 8 (flips and quarter turns)."
            )
        if self.class_weights is not None:  # of background and lesion
            check_numbers("class_weights", self.class_weights, 2)
        if self.threshold >= 1:
            raise ValueError(f"threshold is {self.threshold}; expected a probability, 0 <= t < 1.")
        if self.weights and self.encoder_from:
            raise ValueError(
                f"weights is {self.weights!r} and encoder_from {self.encoder_from!r}; the encoder "
                "can start with one of them only: set the other to 'none'."
            )
