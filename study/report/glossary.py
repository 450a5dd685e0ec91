"""The abbreviations of the report, and those that a page uses."""

import re
from collections.abc import Iterable

# What to look for on the page, what stands before the colon, and what it means.
WORDS = (
    ("AUC", "AUC", "area under the ROC curve, 1 is perfect and 0.5 guessing"),
    ("ROC", "ROC", "sensitivity against false alarms at every threshold"),
    ("SK", "M, SK", "melanoma, seborrheic keratosis"),
    ("ACC", "ACC", "accuracy, the share of correct answers"),
    ("SE", "SE", "sensitivity, the share of what is there that is found"),
    ("SP", "SP", "specificity, the share of what is not there that is left out"),
    ("JSI", "JSI", "Jaccard index, intersection over union of true and predicted mask"),
    ("DSC", "DSC", "Dice, twice the intersection over the sum of both masks"),
    ("TJI", "TJI", "threshold Jaccard, a Jaccard below 0.65 counted as 0"),
    (
        "ECE",
        "ECE",
        "expected calibration error, how far probabilities are from observed shares; by chance: "
        "what perfect probabilities, the scaled ones if any, would have on so few images",
    ),
    (
        "Brier",
        "Brier",
        "mean squared distance of probabilities from the truth, 0 is perfect; of the most "
        "probable class, summed over all classes, so up to 2",
    ),
    ("ARL", "ARL", "attention residual learning"),
    ("CAM", "CAM", "class activation map, where a network looked"),
    ("TTA", "TTA", "test-time augmentation, the mean over several views of an image"),
    ("MOVER", "MOVER", "an interval of a difference from the intervals of both sides"),
)


def used(texts: Iterable[str]) -> list[tuple[str, str]]:
    """The abbreviations that occur in the texts as words, "AUCs" too, each with its meaning.

    >>> used(["M AUC"])[0][0]
    'AUC'
    """
    page = "\n".join(texts)
    return [
        (shown, meaning)
        for word, shown, meaning in WORDS
        if re.search(rf"(?<![A-Za-z]){word}s?(?![A-Za-z])", page)
    ]
