"""What one experiment is: a frozen row of settings, checked when it is made."""

from collections.abc import Callable, Iterable
from dataclasses import field, fields
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from experiments.allowed import (
    STRICT,
    Classes,
    ClassWeights,
    FoldName,
    LabelWeights,
    Name,
    Scales,
    Sides,
    Texts,
    between,
    worded,
)
from experiments.published import Published, studies
from utils.data.names import CLASSES
from utils.system.experiment import RENAMED, row_label
from utils.system.fold import Fold
from utils.system.size import LARGEST, SMALLEST, Size

# Of some networks only.
_NETWORKS_OWN = ("attention", "alpha", "train_alpha", "float32_sum", "depth", "normalise")
SEGMENTATION_VIEWS = (1, 4, 8)  # plain; flips; flips and quarter turns, of squares only


def _renamed(name: str) -> Callable[[Any], Any]:
    return lambda value: RENAMED[name].get(value, value) if isinstance(value, str) else value


@worded
@dataclass(frozen=True, config=STRICT)
class Shared:
    """What the experiments of both tasks share. None means "decided when it runs"."""

    name: str
    question: str
    network: str
    task: str = ""  # "labels" or "masks": what the network is trained to give
    profile: str = "best"
    published: Annotated[tuple[Published, ...], BeforeValidator(studies)] = field(
        default=(), repr=False
    )
    # What its study did and this profile does not: a sentence each (`experiments.deviations`).
    deviations: Texts = field(default=(), repr=False)
    # network
    weights: Name | None = None  # "imagenet", a file, or None for from scratch
    attention: Literal["spatial", "channel"] = "spatial"  # softmax over positions or channels
    alpha: Annotated[float, between(-1000, 1000)] = 0.001  # start value of every attention weight
    train_alpha: bool = True
    float32_sum: bool = True  # of attention blocks: in fp32, also inside bf16
    # Colours by the mean and deviation of ImageNet, or of the crops of row 1-4's study.
    normalise: Literal["imagenet", "lesions"] = "imagenet"
    # loss
    loss: str = ""
    class_weights: ClassWeights | None = None
    gamma: Annotated[float, between(0, 100)] = 2.0  # focal losses only
    # data
    train_list: Literal["official", "extended", "patches"] = "official"
    select_on: Literal["validation", "holdout", "fold"] = "holdout"
    # "2/5" or "series 2/5": the part of the training images that is held out, and scored.
    fold: FoldName | None = None
    allow_missing: bool = False
    # Train on at most so many images, drawn by class and seed: at least two of each class.
    train_images: Annotated[int, Field(ge=6)] | None = None
    colour: Annotated[float, between(0, 1)] = 0.2  # strength of the colour jitter
    # Parameter of the Beta distribution of shares in which two images are mixed; 0: not at all.
    mixup: Annotated[float, between(0, 100)] = 0.0
    noise: Annotated[float, between(0, 1)] = 0.0  # Gaussian, its deviation for values 0 to 1
    # training
    epochs: Annotated[int, between(1, 100_000)] = 15
    batch_size: Annotated[int, between(2, 65_536)] = 32
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, between(1e-9, 100)] = 5e-4
    weight_decay: Annotated[float, between(0, 100)] = 0.05
    decay: Literal["weights", "all"] = "weights"  # all: also biases, norms and α
    schedule: Literal["cosine", "halve-30", "constant"] = "cosine"
    warmup_epochs: Annotated[float, between(0, 100_000)] = 1.0
    clip_norm: Annotated[float, between(0, 1_000_000)] = 5.0
    # Epochs without improvement before stopping; 0: never.
    patience: Annotated[int, between(0, 100_000)] = 0
    select_score: str = ""
    keep: Literal["best", "last"] = "best"  # which epoch's weights
    # Decay a step of the moving average of weights, which is scored and kept; 0: none. It rises to
    # this as (1 + steps) / (10 + steps): 0.99 is reached after 890.
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    # how it runs
    seed: Annotated[int, between(0, 2**32 - 1)] = 0  # at most what scikit-learn takes
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile_network: Literal[False, True, "auto"] = False
    workers: Annotated[int, between(0, 256)] | None = None
    loader: Literal["auto", "workers", "resident"] = "auto"

    def __post_init__(self) -> None:
        """ValueError for values that do not fit together."""
        if (self.select_on == "fold") != (self.fold is not None):
            raise ValueError(
                f"select_on is {self.select_on!r} and fold {self.fold!r}; a fold such as '2/5' "
                "goes with select_on='fold', and no other does."
            )
        if self.fold and self.keep == "best":
            raise ValueError(
                f"keep is 'best' with fold {self.fold!r}: its images are to be scored, and may not "
                "choose the epoch; use keep='last'."
            )

    @classmethod
    def restore(cls, settings: dict[str, Any]) -> Self:
        """As `experiments.restore`, for a row of this task."""
        names = [entry.name for entry in fields(cls)]
        run = f"the settings of row {settings.get('name')}, seed {settings.get('seed')},"
        for name in settings:
            if name not in names:
                raise ValueError(
                    f"{run} hold {name!r}, which this version does not know: train it again "
                    "(--resume restart), or use the version that made it. The fields are "
                    f"{', '.join(names)}."
                )
        try:
            return cls(**settings)
        except ValueError as error:
            raise ValueError(f"{run} are damaged: {error}") from error

    def network_options(self, takes: Iterable[str] = _NETWORKS_OWN) -> dict[str, Any]:
        """This row's values of the options that its network takes, for `nets.build`.

        takes: their names, from `nets.options`; by default those of all networks.
        """
        own = {entry.name for entry in fields(self)} & set(_NETWORKS_OWN)
        return {name: getattr(self, name) for name in takes if name in own}

    def describe(self, takes: Iterable[str]) -> str:
        """The fields that this row uses, except the published numbers; then its deviations.

        takes: the options of its network, as in `network_options`.
        """
        unused = {"published", "deviations", *_NETWORKS_OWN} - self.network_options(takes).keys()
        if "focal" not in self.loss:
            unused.add("gamma")
        names = [entry.name for entry in fields(self) if entry.name not in unused]
        lines = [f"{name:16} {getattr(self, name)}" for name in names]
        return "\n".join([*lines, *(f"{'deviation':16} {text}" for text in self.deviations)])

    @property
    def chosen_on(self) -> str:
        """The images that choose the epoch; "" where the last one is kept: they are watched."""
        return self.select_on if self.keep == "best" else ""

    def folder(self) -> str:
        """`<row>-s<seed>` or `<row>-f<fold>-s<seed>`: the run's folder in its set and profile.

        A library's network stands after the row: `<row>-<network>-s<seed>`.
        """
        fold = f"-{Fold.parse(self.fold).label}" if self.fold else ""
        return f"{row_label(self.name, self.network)}{fold}-s{self.seed}"


@worded
@dataclass(frozen=True, config=STRICT)
class ClassificationRow(Shared):
    """One experiment of ARL-CNN.ipynb."""

    task: Literal["labels"] = "labels"
    classes: Classes = CLASSES  # of the data, by label
    num_classes: Annotated[int, between(1, 20)] = 3  # 1: melanoma, or class 0, against the rest
    # Segmenter whose folds find the lesion's box: "seg-6", "seg-6-series", "light/seg-6".
    crop_from: Name | None = None
    loss: Literal["cross_entropy", "focal", "binary"] = "cross_entropy"
    class_weights: LabelWeights | None = (2.5, 2.5, 0.5)
    stored_size: Annotated[int, between(SMALLEST, LARGEST)] = 256  # px, side of the prepared images
    image_size: Annotated[int, between(SMALLEST, LARGEST)] = 224  # px, side of what it sees
    # Fractions of the stored side; one that is listed twice is drawn twice as often.
    patch_scales: Scales = (0.6, 0.7, 0.8, 0.9, 1.0)
    # Small ones in the central part only, or 500 px of the original, times the scale, to move in.
    patch_places: Literal["anywhere", "centre", "margin"] = "anywhere"
    quarter_turns: bool = True  # of patches, besides flips
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.1  # of patches, up and down
    shift: Annotated[float, between(0, 1)] = 0.1  # of patches, as a fraction of their side
    views: Annotated[int, between(1, 9)] = 9  # test views averaged for the final scores
    view_scales: Scales | None = None  # views are crops at these; None: the nine fixed views
    select_views: Annotated[int, between(1, 9)] = 1  # averaged to choose the epoch
    average: Literal["probabilities", "logits"] = "probabilities"  # over the views
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of the other classes
    select_score: str = "auc_mean"

    def __post_init__(self) -> None:
        """ValueError for values that do not fit together."""
        super().__post_init__()
        if self.image_size > self.stored_size:
            raise ValueError(
                f"image_size is {self.image_size}, larger than stored_size {self.stored_size}; "
                "the network would see blown-up pixels. Raise stored_size too."
            )
        if self.patch_places == "margin" and set(self.patch_scales) != {1.0}:
            raise ValueError(
                f"patch_places is 'margin' with patch_scales {list(self.patch_scales)}; such crops "
                "are cut from the originals: use [1.0] and train_list='patches', or 'anywhere'."
            )
        if self.crop_from and self.train_list == "patches":
            raise ValueError(
                "crop_from is for whole images, train_list 'patches' for crops: set one to none."
            )
        most = max(self.views, self.select_views)
        if self.view_scales and len(self.view_scales) < most:
            raise ValueError(
                f"view_scales are {list(self.view_scales)}, for {most} views; expected as many."
            )
        if self.label_smoothing and self.loss != "cross_entropy":
            raise ValueError(
                f"label_smoothing is {self.label_smoothing} with loss {self.loss!r}; expected 0, "
                "or the loss 'cross_entropy'."
            )
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes are {', '.join(self.classes)}; expected each once.")
        if self.num_classes not in (1, len(self.classes)):
            raise ValueError(
                f"num_classes is {self.num_classes} for {len(self.classes)} classes; expected as "
                "many, or 1 for the first against the rest."
            )
        _check_number(self.class_weights, max(self.num_classes, 2))  # 2: of class 0 and the rest


@worded
@dataclass(frozen=True, config=STRICT)
class SegmentationRow(Shared):
    """One experiment of Segmentation.ipynb: one logit a pixel, the probability of lesion."""

    task: Literal["masks"] = "masks"
    encoder_from: Name | None = None  # a classification run, whose weights the encoder starts with
    depth: Literal[14, 18, 34, 50, 101, 152] = 18  # of the encoder of res_unet and arl_unet
    loss: Literal["dice", "dice_cross_entropy", "dice_squared_cross_entropy", "dice_focal"] = (
        "dice_cross_entropy"
    )
    augmentation: Literal["zoomed", "cropped"] = "zoomed"  # cropped: as the coursework did
    stored_size: Sides = Size(256, 256)  # of the prepared images
    image_size: Sides = Size(256, 256)  # of what the network sees
    batch_size: Annotated[int, between(2, 65_536)] = 16
    # Of the coursework's middle the rest is neither seen nor scored in its convention.
    test_image: Annotated[
        Literal["whole", "middle", "unstretched crop"], BeforeValidator(_renamed("test_image"))
    ] = "whole"
    views: int = 1  # test-time flips and turns: 1, 4 or 8
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.5  # above it a pixel is lesion
    clean_up: bool = False  # keep the largest component, and fill its holes
    select_score: str = "jaccard"

    def __post_init__(self) -> None:
        """ValueError for values that do not fit together."""
        super().__post_init__()
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
        _check_number(self.class_weights, 2)  # of background and lesion
        if self.weights and self.encoder_from:
            raise ValueError(
                f"weights is {self.weights!r} and encoder_from {self.encoder_from!r}; the encoder "
                "can start from only one of them: set the other to 'none'."
            )


def _check_number(class_weights: tuple[float, ...] | None, classes: int) -> None:
    if isinstance(class_weights, tuple) and len(class_weights) != classes:
        raise ValueError(f"class_weights is {list(class_weights)}; expected {classes} numbers.")
