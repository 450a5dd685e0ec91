"""The segmentation rows, what each profile makes of them, and the published numbers."""

from dataclasses import replace
from typing import Any

from experiments.published import Published
from experiments.row import SegmentationRow

_SCORES = ("accuracy", "sensitivity", "specificity", "jaccard", "dice", "threshold_jaccard")
_OFFICIAL = ("jaccard", "dice", "accuracy", "sensitivity", "specificity")


def _coursework(source: str, *values: float) -> Published:
    scores = dict(zip(_SCORES, values, strict=True))
    return Published(f"coursework, {source}", scores, "2000 official images")


def _official(source: str, training_list: str, *values: float) -> Published:
    scores = dict(zip(_OFFICIAL, values, strict=False))
    return Published(source, scores, training_list, convention="official")


# To compare every row with: per-image means on the official test split.
_PER_IMAGE = (
    _official("Yuan, 1st of the challenge", "see the paper", 0.765, 0.849, 0.934, 0.825, 0.975),
    _official("U-Net baseline", "see the paper", 0.736, 0.825, 0.926, 0.828, 0.964),
    _official("MB-DCNN, TMI 2020", "see the paper", 0.804),
    _official("best found, PMC10407008", "see the paper", 0.807, 0.880, 0.948),
)

# fmt: off
_ROWS = (
    SegmentationRow("seg-1", "How well does a plain U-Net do from scratch?", "unet",
        published=(_coursework("UNet", .8924, .6872, .9705, .7525, .8539, .6784), *_PER_IMAGE)),
    SegmentationRow("seg-2", "Does a dense encoder help, from scratch? (against seg-1)",
        "dense_unet", published=(
            _coursework("Dense-UNet", .9215, .8224, .9593, .8207, .8995, .7420), *_PER_IMAGE)),
    SegmentationRow("seg-3", "What do ImageNet weights add to Dense-UNet? (against seg-2)",
        "dense_unet", weights="imagenet", published=(
            _coursework("Dense-UNet pretrained", .9335, .8452, .9672, .8457, .9150, .7875),
            *_PER_IMAGE)),
    SegmentationRow("seg-4", "A pretrained residual encoder (against seg-3 and seg-5)", "res_unet",
        weights="imagenet", published=(
            _coursework("Res-UNet pretrained", .9222, .7765, .9778, .8174, .8972, .7447),
            *_PER_IMAGE)),
    SegmentationRow("seg-5", "Does attention in the encoder help? (against seg-4)", "arl_unet",
        weights="imagenet", published=(
            _coursework("ARL-UNet (trained from scratch: its weights were never loaded)",
                        .9220, .7795, .9764, .8173, .8972, .7413), *_PER_IMAGE)),
    SegmentationRow("seg-6", "EfficientNet-Lite0 as encoder, pretrained without a download",
        "lite_unet", weights="imagenet", published=_PER_IMAGE),
    SegmentationRow("seg-7", "Does a deeper EfficientNet-Lite do better? (against seg-6)",
        "lite1_unet", weights="imagenet", published=_PER_IMAGE),
    SegmentationRow("seg-8", "Does a wider one? (against seg-7)",
        "lite2_unet", weights="imagenet", published=_PER_IMAGE),
)
# fmt: on
ROWS = {row.name: row for row in _ROWS}

# What is known without a trained network, by `utils.evaluation.mask_baselines`.
_BASELINES = (
    SegmentationRow("seg-0-1", "Otsu's threshold on the blue channel, image by image", "otsu"),
    SegmentationRow("seg-0-2", "The mean training mask, the same for every image", "mean_mask"),
)
BASELINES = {
    row.name: replace(row, epochs=1, keep="last", clean_up=row.network == "otsu")
    for row in _BASELINES
}

# The row that a row is compared with, as its question says; seg-6 with the plain one.
AGAINST = {
    "seg-2": "seg-1",
    "seg-3": "seg-2",
    "seg-4": "seg-3",
    "seg-5": "seg-4",
    "seg-6": "seg-1",
    "seg-7": "seg-6",
    "seg-8": "seg-7",
}

RECIPES: dict[str, dict[str, Any]] = {
    "best": {"epochs": 30},
    # Half an hour a run on two CPU cores; on all training images, as for classifiers.
    "light": {
        "image_size": (128, 128),
        "epochs": 10,
        "ema_decay": 0.99,
        "keep": "last",
        "select_on": "validation",
    },
    "coursework": {
        "select_on": "validation",
        # Stretched to the one, of which the middle is the other.
        "stored_size": (369, 246),
        "image_size": (336, 224),
        "test_image": "middle",
        "loss": "dice_squared_cross_entropy",
        "augmentation": "cropped",
        "noise": 0.02,
        "colour": 0.0,
        "epochs": 150,
        "learning_rate": 1e-4,
        "weight_decay": 1e-4,
        "decay": "all",
        "warmup_epochs": 0.0,
        "clip_norm": 0.0,
        "patience": 45,
        "attention": "channel",  # as its code is
    },
    # A U-Net of full width is slow on a CPU: few, small images and few epochs.
    "demo": {
        "stored_size": (80, 80),
        "image_size": (32, 32),
        "epochs": 3,
        "batch_size": 8,
        "train_images": 60,
        "learning_rate": 2e-3,
        "select_on": "validation",
        "weights": None,
        "colour": 0.1,
    },
}
# The rows that are to be as good as the official images allow.
_OURS = ("seg-6", "seg-7", "seg-8")
# Their sizes in "best" where the images are smaller than is stored.
SMALL = {"image_size": (256, 256), "stored_size": (256, 256)}
EXCEPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("light", "seg-1"): {"learning_rate": 1e-3},
    ("light", "seg-2"): {"learning_rate": 1e-3},
    **{
        ("light", name): {"image_size": (192, 192), "colour": 0.3, "views": 8, "clean_up": True}
        for name in _OURS
    },
    # A network of its own, which its code never gave ImageNet's weights.
    ("coursework", "seg-5"): {"network": "deep_arl_unet", "weights": None},
    # From random weights: faster.
    ("best", "seg-1"): {"learning_rate": 1e-3},
    ("best", "seg-2"): {"learning_rate": 1e-3},
    # A light network affords larger images.
    **{
        ("best", name): {
            "image_size": (384, 384),
            "stored_size": (512, 512),
            "colour": 0.3,
            "ema_decay": 0.99,
            "keep": "last",
            "select_on": "validation",
            "views": 8,
            "clean_up": True,
        }
        for name in _OURS
    },
    # EfficientNet-Lite0's weights come with a package, so the demo can use them.
    ("demo", "seg-6"): {
        "weights": "imagenet",
        "image_size": (64, 64),
        "epochs": 4,
        "batch_size": 16,
        "train_images": 240,
    },
}
