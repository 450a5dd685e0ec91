"""What the fields of a row may be: their types, the known words, the least and the most."""

import math
from dataclasses import fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

CHOICES = {
    "attention": ("spatial", "channel"),
    "train_list": ("official", "extended", "patches"),
    "select_on": ("validation", "holdout"),
    "average": ("probabilities", "logits"),
    "test_image": ("whole", "centre crop"),
    "optimizer": ("adamw", "sgd"),
    "schedule": ("cosine", "halve-30", "constant"),
    "precision": ("auto", "fp32", "bf16"),
    "depth": (14, 18, 34, 50, 101, 152),
    "convention": ("coursework", "official", "unstated"),
}
LEAST = {  # the smallest value that makes sense
    "num_classes": 1,
    "stored_size": 32,
    "image_size": 32,
    "views": 1,
    "threshold": 0,
    "epochs": 1,
    "batch_size": 2,
    "learning_rate": 1e-9,
    "weight_decay": 0,
    "warmup_epochs": 0,
    "clip_norm": 0,
    "patience": 0,
    "seed": 0,
    "train_images": 6,  # two of each class, so that they can be drawn by class
    "workers": 0,
    "gamma": 0,
    "colour": 0,
    "alpha": -1000,
}
MOST = {  # what is larger is a slip: it overflows, or never ends
    "num_classes": 3,
    "stored_size": 8192,
    "image_size": 8192,
    "views": 9,
    "epochs": 100_000,
    "batch_size": 65_536,
    "learning_rate": 100,
    "weight_decay": 100,
    "warmup_epochs": 100_000,
    "patience": 100_000,
    "seed": 2**32 - 1,  # of scikit-learn
    "workers": 256,
    "gamma": 100,
    "alpha": 1000,
    "clip_norm": 1_000_000,
    "colour": 1,
    "class_weights": 1_000_000,
    "patch_scales": 1,
}


def check_fields(settings: Any) -> None:
    """ValueError for a field of a dataclass that its type, or a table above, does not allow."""
    hints = get_type_hints(type(settings))
    for entry in fields(settings):
        hint, value = hints[entry.name], getattr(settings, entry.name)
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        check_value(entry.name, value, tuple(get_origin(kind) or kind for kind in kinds))


def check_value(name: str, value: Any, kinds: tuple[type, ...]) -> None:
    """ValueError where the value is of none of these kinds, or not what a table above allows."""
    # True is an int to Python, and 1 is as good as 1.0.
    fits = isinstance(value, (*kinds, int) if float in kinds else kinds)
    if not fits or (isinstance(value, bool) and bool not in kinds):
        called = {"NoneType": "None", "tuple": "list"}
        names = " or ".join(called.get(kind.__name__, kind.__name__) for kind in kinds)
        raise ValueError(f"{name} is {value!r}; expected {names}.")
    if name in CHOICES and value not in CHOICES[name]:
        raise ValueError(
            f"{name} is {value!r}; expected one of {', '.join(map(str, CHOICES[name]))}."
        )
    if isinstance(value, int | float):
        _check_range(name, value)


def _check_range(name: str, value: float) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; expected a finite number.")
    if name in LEAST and value < LEAST[name]:
        raise ValueError(f"{name} is {value!r}; expected at least {LEAST[name]}.")
    if name in MOST and value > MOST[name]:
        raise ValueError(f"{name} is {value!r}; expected at most {MOST[name]}.")


def check_numbers(name: str, values: tuple[float, ...], count: int | None = None) -> None:
    """ValueError where these are not `count` numbers, above 0 and at most MOST."""
    right = all(type(value) in (int, float) and 0 < value <= MOST[name] for value in values)
    if not right or not values or len(values) != (count or len(values)):
        many = f"{count} numbers" if count else "one number or more"
        raise ValueError(
            f"{name} is {list(values)}; expected {many}, above 0 and at most {MOST[name]}."
        )
