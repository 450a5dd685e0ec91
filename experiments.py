"""The experiments: one frozen row each, a baseline and only what differs from it.

`get("2-2", epochs=50)` gives row 2-2 with 50 epochs. A row says what question it answers, and
carries the published numbers it is compared with. Four profiles give the recipe: "paper" (Zhang et
al., IEEE TMI 2019), "coursework" (its re-implementation by students), "best" (ours) and "demo"
(minutes on a CPU).
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args, get_origin, get_type_hints

PROFILES = ("best", "paper", "coursework", "demo")
CHOICES = {
    "attention": ("spatial", "channel"),
    "loss": ("cross_entropy", "focal", "binary"),
    "train_list": ("official", "extended"),
    "select_on": ("validation", "holdout"),
    "average": ("probabilities", "logits"),
    "optimizer": ("adamw", "sgd"),
    "schedule": ("cosine", "halve-30", "constant"),
    "precision": ("auto", "fp32", "bf16"),
}
LEAST = {  # the smallest value that makes sense
    "num_classes": 1,
    "stored_size": 32,
    "image_size": 32,
    "views": 1,
    "epochs": 1,
    "batch_size": 2,
    "learning_rate": 1e-9,
    "weight_decay": 0,
    "warmup_epochs": 0,
    "clip_norm": 0,
    "patience": 0,
    "seed": 0,
}


def _check_value(name: str, value: Any, kinds: tuple[type, ...]) -> None:
    # True is an int to Python, and 1 is as good as 1.0.
    fits = isinstance(value, (*kinds, int) if float in kinds else kinds)
    if not fits or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join(kind.__name__.replace("NoneType", "None") for kind in kinds)
        raise ValueError(f"{name} is {value!r}; expected {names}.")
    if name in CHOICES and value not in CHOICES[name]:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(CHOICES[name])}.")
    if name in LEAST and value < LEAST[name]:
        raise ValueError(f"{name} is {value!r}; expected at least {LEAST[name]}.")


@dataclass(frozen=True)
class Published:
    """Numbers that a study printed for the official 600 test images, and what it trained on.

    The coursework's accuracy, sensitivity and specificity hold the argmax of the three classes
    against the rest; Zhang et al. are quoted as they printed them.
    """

    source: str
    scores: dict[str, float]
    training_list: str


@dataclass(frozen=True)
class Row:
    """One experiment. None means "decided when it runs" (workers, weights from scratch)."""

    name: str
    question: str
    network: str
    profile: str = "best"
    published: tuple[Published, ...] = field(default=(), repr=False)
    # network
    num_classes: int = 3  # 1: melanoma against the rest
    weights: str | None = None  # "imagenet", a file, or None for from scratch
    attention: str = "spatial"  # softmax over positions ("spatial") or over channels ("channel")
    alpha: float = 0.001  # start value of every attention weight
    train_alpha: bool = True
    # loss
    loss: str = "cross_entropy"  # cross_entropy, focal, binary
    class_weights: tuple[float, ...] | None = (2.5, 2.5, 0.5)
    gamma: float = 2.0  # focal loss only
    # data
    train_list: str = "official"
    select_on: str = "holdout"
    allow_missing: bool = False
    stored_size: int = 256  # px, side of the prepared images
    image_size: int = 224  # px, side of what the network sees
    patch_scales: tuple[float, ...] = (0.6, 0.7, 0.8, 0.9, 1.0)  # fractions of the stored side
    colour: float = 0.2  # strength of the colour jitter
    views: int = 9  # test views averaged for the final scores
    average: str = "probabilities"  # or "logits": what is averaged over the views
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
    select_score: str = "auc_mean"
    # how it runs
    seed: int = 0
    precision: str = "auto"
    compile_network: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        """ValueError for a value of the wrong type, out of range, or not among the known ones."""
        hints = get_type_hints(Row)
        for entry in fields(self):
            kinds = get_args(hints[entry.name]) or (hints[entry.name],)
            kinds = tuple(get_origin(kind) or kind for kind in kinds)
            if get_origin(hints[entry.name]) is not tuple:
                _check_value(entry.name, getattr(self, entry.name), kinds)
        if self.image_size > self.stored_size:
            raise ValueError(
                f"image_size is {self.image_size}, larger than stored_size {self.stored_size}; "
                "the network would see blown-up pixels. Raise stored_size too."
            )

    def network_options(self) -> dict[str, Any]:
        """What `nets.build` wants to know beyond the name, the classes and the weights."""
        if not self.network.startswith("arl"):
            return {}
        return {
            "attention": self.attention,
            "alpha": self.alpha,
            "train_alpha": self.train_alpha,
        }

    def describe(self) -> str:
        """All fields but the published numbers, one a line."""
        names = [entry.name for entry in fields(self) if entry.name != "published"]
        return "\n".join(f"{name:16} {getattr(self, name)}" for name in names)

    def folder(self) -> str:
        """`<row>-s<seed>`, the name of the run's folder within its set and profile."""
        return f"{self.name}-s{self.seed}"


_ENLARGED = "2000 official + 1320 archive images"
_SCORES = (
    "melanoma_auc",
    "melanoma_accuracy",
    "melanoma_sensitivity",
    "melanoma_specificity",
    "seborrheic_keratosis_auc",
    "seborrheic_keratosis_accuracy",
    "seborrheic_keratosis_sensitivity",
    "seborrheic_keratosis_specificity",
)


def _published(source: str, *values: float, training_list: str = _ENLARGED) -> Published:
    return Published(source, dict(zip(_SCORES, values, strict=False)), training_list)


# fmt: off
_STUDY_14 = _published("coursework, ARL-CNN14", .882, .857, .632, .911, .955, .925, .811, .945)

_ROWS = (
    Row("1-1", "Does attention residual learning help a 50-layer network? (against 1-2)",
        "arl50", weights="imagenet", published=(
            _published("Zhang et al. 2019, ARL-CNN50",
                       .875, .850, .658, .896, .958, .868, .878, .867),
            _published("coursework, ARL-CNN50",
                       .861, .853, .590, .917, .959, .927, .722, .963))),
    Row("1-2", "The plain 50-layer network that 1-1 is compared with",
        "resnet50", weights="imagenet", published=(
            _published("Zhang et al. 2019, ResNet50",
                       .857, .838, .632, .888, .948, .842, .867, .837),
            _published("coursework, ResNet50",
                       .849, .860, .504, .946, .919, .908, .533, .975))),
    Row("1-3", "Is a small ARL-CNN enough? (against 1-1)", "arl14", published=(_STUDY_14,)),
    Row("1-4", "Melanoma against the rest with one logit, official images only (against 1-1)",
        "arl50", weights="imagenet", num_classes=1, loss="binary", class_weights=None,
        average="logits", select_score="auc_melanoma", published=(
            _published("re-implementation, ARL-CNN50, melanoma only",
                       .872, .850, .487, .937, training_list="2000 official images"),)),
    Row("1-5", "ARL-CNN18: the depth between 1-3 and 1-1", "arl18", weights="imagenet"),
    Row("2-1", "Focal loss instead of cross-entropy, unweighted (against 2-3)", "arl14",
        loss="focal", class_weights=(1.0, 1.0, 1.0), published=(
            _published("coursework, focal [1, 1, 1]",
                       .846, .858, .538, .936, .924, .912, .511, .982),)),
    Row("2-2", "Focal loss with class weights (against 2-4)", "arl14", loss="focal", published=(
            _published("coursework, focal [2.5, 2.5, 0.5]",
                       .863, .862, .556, .936, .927, .903, .444, .984),)),
    Row("2-3", "Cross-entropy without class weights (against 2-4)", "arl14",
        class_weights=(1.0, 1.0, 1.0), published=(
            _published("coursework, cross-entropy [1, 1, 1]",
                       .822, .835, .487, .919, .929, .893, .833, .904),)),
    Row("2-4", "Cross-entropy with class weights; the same run as 1-3", "arl14",
        published=(_STUDY_14,)),
    Row("3-1", "EfficientNet-Lite0, pretrained without a download", "lite0", weights="imagenet"),
    Row("3-2", "Does attention residual learning help EfficientNet-Lite0? (against 3-1)",
        "arl_lite0", weights="imagenet"),
    Row("4-1", "Ablation of 1-3: α frozen at 0, the plain ResNet14", "arl14",
        alpha=0.0, train_alpha=False),
    Row("4-2", "Ablation of 1-3: the other softmax (in 'coursework' over positions)", "arl14",
        attention="channel"),
)
# fmt: on
ROWS = {row.name: row for row in _ROWS}

# Rows that train the very same network in the same way; the later name is run under the earlier.
SAME_RUN = {"2-4": "1-3"}

_RECIPES: dict[str, dict[str, Any]] = {
    "best": {},
    "paper": {
        "train_list": "extended",
        "select_on": "validation",
        "stored_size": 512,
        "patch_scales": (0.2, 0.4, 0.6, 0.8),
        "colour": 0.0,
        "epochs": 100,
        "optimizer": "sgd",
        "learning_rate": 1e-4,
        "weight_decay": 1e-4,
        "schedule": "halve-30",
        "warmup_epochs": 0.0,
        "clip_norm": 0.0,
    },
    "coursework": {
        "train_list": "extended",
        "select_on": "validation",
        "stored_size": 512,
        "patch_scales": (0.2, 0.4, 0.6, 0.8),
        "colour": 0.0,
        "epochs": 100,
        "learning_rate": 1e-4,
        "weight_decay": 1e-2,
        "warmup_epochs": 0.0,
        "clip_norm": 0.0,
        "patience": 30,
        "attention": "channel",
    },
    "demo": {
        "image_size": 96,
        "stored_size": 112,
        "epochs": 16,
        "learning_rate": 1e-3,
        "patch_scales": (0.8, 0.9, 1.0),
        "select_on": "validation",
        "weights": None,
        "colour": 0.1,
    },
}
# What single rows change in a profile's recipe.
_FROM_SCRATCH = ("1-3", "2-1", "2-2", "2-3", "2-4", "4-1", "4-2")
_EXCEPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    # From random weights: longer, faster, and at a size that lets 40 epochs fit into half an hour.
    **{
        ("best", name): {"epochs": 40, "learning_rate": 1e-3, "image_size": 160}
        for name in _FROM_SCRATCH
    },
    **{("paper", name): {"learning_rate": 0.01} for name in _FROM_SCRATCH},
    # What the coursework calls ARL-CNN14 is an ARL-CNN18 in its code.
    **{("coursework", name): {"network": "arl18"} for name in _FROM_SCRATCH},
    # Its baseline has the softmax over channels already: the other one is over positions.
    ("coursework", "4-2"): {"network": "arl18", "attention": "spatial"},
    ("paper", "1-4"): {"train_list": "official", "patch_scales": (0.2, 0.4, 0.6, 0.8, 1.0)},
    ("coursework", "1-4"): {"train_list": "official"},
    # EfficientNet-Lite0's weights come with a package, so the demo need not do without them.
    ("demo", "3-1"): {"weights": "imagenet"},
    ("demo", "3-2"): {"weights": "imagenet"},
}


def get(name: str, profile: str | None = None, **overrides: Any) -> Row:
    """The row called name, with the profile's recipe and then the overrides that are not None.

    weights "none" means from scratch. A larger image_size raises stored_size with it.
    Raises ValueError for an unknown row, profile, field or value, listing the known ones.
    """
    profile = profile or "best"
    _check("row", name, ROWS)
    _check("profile", profile, PROFILES)
    known = [entry.name for entry in fields(Row)]
    for override in overrides:
        _check("field", override, known)
    changes = _RECIPES[profile] | _EXCEPTIONS.get((profile, name), {})
    changes |= {key: value for key, value in overrides.items() if value is not None}
    changes = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
    if changes.get("weights") == "none":
        changes["weights"] = None
    if isinstance(overrides.get("image_size"), int) and "stored_size" not in overrides:
        stored = changes.get("stored_size", ROWS[name].stored_size)
        changes["stored_size"] = max(stored, changes["image_size"])
    return replace(ROWS[name], profile=profile, **changes)


def _check(what: str, name: str, known: Any) -> None:
    if name not in known:
        raise ValueError(f"no {what} called {name!r}; the {what}s are {', '.join(known)}.")
