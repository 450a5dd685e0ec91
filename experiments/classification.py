"""The classification rows, what each profile makes of them, and the published numbers."""

from dataclasses import replace
from typing import Any

from experiments.published import Convention, Published
from experiments.row import ClassificationRow as Row

_ENLARGED = "2000 official + 1320 archive images"
_SCORES = [
    f"{name}_{score}"
    for name in ("melanoma", "seborrheic_keratosis")
    for score in ("auc", "accuracy", "sensitivity", "specificity")
]


def _published(
    source: str,
    *values: float,
    training_list: str = _ENLARGED,
    convention: Convention = "coursework",
    impossible: tuple[str, ...] = (),
) -> Published:
    scores = dict(zip(_SCORES, values, strict=False))
    return Published(source, scores, training_list, convention, impossible)


_ONE_LOGIT: dict[str, Any] = {
    "weights": "imagenet",
    "num_classes": 1,
    "loss": "binary",
    "class_weights": None,
    "average": "logits",
    "select_score": "auc_melanoma",
}

# fmt: off
_STUDY_14 = _published("coursework, ARL-CNN14", .882, .857, .632, .911, .955, .925, .811, .945)

_ROWS = (
    Row("1-1", "Does attention residual learning help a 50-layer network? (against 1-2)",
        "arl50", weights="imagenet", published=(
            _published("Zhang et al. 2019, ARL-CNN50",
                       .875, .850, .658, .896, .958, .868, .878, .867, convention="unstated"),
            _published("coursework, ARL-CNN50",
                       .861, .853, .590, .917, .959, .927, .722, .963))),
    Row("1-2", "The plain 50-layer network that 1-1 is compared with",
        "resnet50", weights="imagenet", published=(
            _published("Zhang et al. 2019, ResNet50",
                       .857, .838, .632, .888, .948, .842, .867, .837, convention="unstated"),
            _published("coursework, ResNet50",
                       .849, .860, .504, .946, .919, .908, .533, .975))),
    Row("1-3", "Is a small ARL-CNN enough? (against 1-1)", "arl14", published=(_STUDY_14,)),
    Row("1-4", "Melanoma against the rest with one logit, official images only (against 1-6)",
        "arl50", **_ONE_LOGIT, published=(
            # Its results file has .87295 and 453/483 = .93789.
            _published("re-implementation, ARL-CNN50, melanoma only (AUC and SP cut, not rounded)",
                       .872, .850, .487, .937, training_list="2000 official images",
                       impossible=("melanoma_specificity",)),)),
    Row("1-5", "ARL-CNN18: the depth between 1-3 and 1-1", "arl18", weights="imagenet"),
    Row("1-6", "The plain 50-layer network that 1-4 is compared with", "resnet50", **_ONE_LOGIT,
        published=(
            _published("re-implementation, ResNet50, melanoma only",
                       .8657, .865, .573, .936, training_list="2000 official images"),)),
    Row("2-1", "Focal loss instead of cross-entropy, unweighted (against 2-3)", "arl14",
        loss="focal", class_weights=(1.0, 1.0, 1.0), published=(
            _published("coursework, focal [1, 1, 1]",
                       .846, .858, .538, .936, .924, .912, .511, .982),)),
    Row("2-2", "Focal loss with class weights (against 2-4)", "arl14", loss="focal", published=(
            _published("coursework, focal [2.5, 2.5, 0.5] (in effect unweighted: its weights were "
                       "lost)",
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
    Row("3-3", "Does a deeper EfficientNet-Lite do better? (against 3-1)", "lite1",
        weights="imagenet"),
    Row("3-4", "Does a wider one? (against 3-3)", "lite2", weights="imagenet"),
    Row("3-5", "Does the lesion's box, found by our own segmenter, help? (against 3-1)", "lite0",
        weights="imagenet", crop_from="seg-6"),
    Row("4-1", "Ablation of 1-3: α frozen at 0, the plain ResNet14", "arl14",
        alpha=0.0, train_alpha=False),
    Row("4-2", "Ablation of 1-3: the other softmax (in 'coursework' over positions)", "arl14",
        attention="channel"),
)
ROWS = {row.name: row for row in _ROWS}

# What is known without a trained network, by `utils.evaluation.baselines`; run once, cheaply.
_BASELINES = (
    Row("0-1", "Majority class: the frequencies of the classes", "majority"),
    Row("0-2", "Age and sex alone, by logistic regression", "age_sex"),
    Row("0-3", "Size and colour of the lesion's mask, by logistic regression", "mask_colour"),
    Row("0-4", "Frozen EfficientNet-Lite0, the whole image", "lite0_whole", weights="imagenet"),
    Row("0-5", "Frozen EfficientNet-Lite0, the lesion under a box of constant size", "lite0_boxed",
        weights="imagenet"),
    Row("0-6", "Frozen EfficientNet-Lite0, all but the lesion hidden", "lite0_lesion",
        weights="imagenet"),
)
# fmt: on
BASELINES = {
    row.name: replace(row, class_weights=None, image_size=160, views=1, epochs=1, keep="last")
    for row in _BASELINES
}

# What another group's predictions are taken for, see `utils.evaluation.others`: nothing is known.
OTHERS = {
    "other": replace(
        Row("other", "Predictions of another group", "of another group", weights="unknown"),
        profile="other", class_weights=None, views=1, epochs=1, select_on="validation", keep="last",
    )
}  # fmt: skip

# Rows that train the same network in the same way; the later one is run as the earlier.
SAME_RUN = {"2-4": "1-3"}

# The row that a row is compared with, as its question says, by the name under which it is run.
AGAINST = {
    "1-1": "1-2",
    "1-3": "1-1",
    "1-4": "1-6",
    "2-1": "2-3",
    "2-2": "1-3",
    "2-3": "1-3",
    "3-2": "3-1",
    "3-3": "3-1",
    "3-4": "3-3",
    "3-5": "3-1",
    "4-1": "1-3",
    "4-2": "1-3",
}

# Its scales with their weights 1:2:3:3, in training and for the nine crops of a test image.
_AS_OFTEN = (0.2, 0.4, 0.4, 0.6, 0.6, 0.6, 0.8, 0.8, 0.8)

RECIPES: dict[str, dict[str, Any]] = {
    "best": {"epochs": 30},
    # Half an hour a run on two CPU cores; docs/recipes.md says how it was chosen. The last epoch is
    # kept, so nothing is held out to choose one: validation is watched.
    "light": {
        "image_size": 192,
        "epochs": 14,
        "ema_decay": 0.99,
        "keep": "last",
        "select_on": "validation",
    },
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
        "patch_scales": _AS_OFTEN,
        "patch_places": "centre",
        "quarter_turns": False,
        "view_scales": _AS_OFTEN,
        "colour": 0.0,
        "epochs": 100,
        "learning_rate": 1e-4,
        "weight_decay": 1e-2,
        "decay": "all",
        "warmup_epochs": 0.0,
        "clip_norm": 0.0,
        "patience": 30,
        "attention": "channel",
    },
    # 480 small images, three views: all rows together take a quarter of an hour on two cores.
    "demo": {
        "image_size": 64,
        "stored_size": 80,
        "views": 3,
        "epochs": 6,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "patch_scales": (0.8, 0.9, 1.0),
        "select_on": "validation",
        "weights": None,
        "colour": 0.1,
    },
}
# What single rows change in a profile's recipe.
_FROM_SCRATCH = ("1-3", "2-1", "2-2", "2-3", "2-4", "4-1", "4-2")
_REIMPLEMENTATION: dict[str, Any] = {
    # It cropped once, into a folder (`python prepare_data.py patches`).
    "train_list": "patches",
    "select_on": "validation",
    "select_views": 9,
    "select_score": "accuracy_melanoma",
    "stored_size": 256,
    "patch_scales": (1.0,),
    "patch_places": "margin",
    "quarter_turns": False,
    "zoom": 0.0,
    "shift": 0.0,
    "view_scales": (0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.8, 0.8, 1.0),
    "colour": 0.0,
    "normalise": "lesions",
    "attention": "channel",
    "train_alpha": False,
    "epochs": 100,
    "optimizer": "sgd",
    "learning_rate": 1e-4,
    "weight_decay": 1e-4,
    "decay": "all",
    "schedule": "halve-30",
    "warmup_epochs": 0.0,
    "clip_norm": 0.0,
    "patience": 0,
}
_COURSEWORK_14 = {"network": "arl18", "weights": "imagenet"}
# The rows that are to be as good as the official images allow.
_OURS = ("3-1", "3-2", "3-3", "3-4", "3-5")
_BEST: dict[str, Any] = {
    "image_size": 384,
    "stored_size": 512,
    "ema_decay": 0.99,
    "keep": "last",
    "select_on": "validation",
}
# What of these is left where the images are smaller than is stored.
SMALL = {"image_size": 224, "stored_size": 256}
EXCEPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    # From random weights: more epochs, and a higher rate.
    **{("best", name): {"epochs": 60, "learning_rate": 1e-3} for name in _FROM_SCRATCH},
    **{
        ("light", name): {"epochs": 40, "learning_rate": 1e-3, "image_size": 128}
        for name in _FROM_SCRATCH
    },
    # 50 layers cost three times as much as 18, which is compared with them.
    **{("light", name): {"image_size": 128} for name in ("1-1", "1-2", "1-4", "1-5", "1-6")},
    # Only these rows do not ask about the loss, and weights cost AUC (docs/recipes.md).
    **{("light", name): {"class_weights": (1.0, 1.0, 1.0)} for name in _OURS},
    **{("best", name): {"class_weights": (1.0, 1.0, 1.0)} | _BEST for name in _OURS},
    **{("paper", name): {"learning_rate": 0.01} for name in _FROM_SCRATCH},
    # What the coursework calls ARL-CNN14 is an ARL-CNN18 in its code, with ImageNet's weights.
    **{("coursework", name): _COURSEWORK_14 for name in _FROM_SCRATCH},
    # Its baseline already has the softmax over channels.
    ("coursework", "4-2"): {**_COURSEWORK_14, "attention": "spatial"},
    # These two are a study of their own, in either profile what its code did.
    **{
        (profile, name): _REIMPLEMENTATION
        for profile in ("paper", "coursework")
        for name in ("1-4", "1-6")
    },
    # Deep networks are slow: a part of the images.
    **{
        ("demo", name): {"train_images": 120, "epochs": 2}
        for name in ("1-1", "1-2", "1-4", "1-5", "1-6")
    },
    # EfficientNet-Lite0's weights come with a package, so the demo can use them.
    **{("demo", name): {"weights": "imagenet", "epochs": 4} for name in _OURS},
    # Which has no recipe for segmenters.
    ("paper", "3-5"): {"crop_from": "best/seg-6"},
}
