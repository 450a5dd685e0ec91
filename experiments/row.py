"""What one experiment is: a frozen row of settings, checked when it is made."""

from dataclasses import dataclass, field, fields
from typing import Any, get_args, get_origin, get_type_hints

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
