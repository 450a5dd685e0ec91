"""Numbers that a study printed, beside which a row's own are shown."""

from typing import Any, Literal

from pydantic.dataclasses import dataclass

from experiments.allowed import STRICT, Texts, worded

Convention = Literal["coursework", "official", "unstated"]


@worded
@dataclass(frozen=True, config=STRICT)
class Published:
    """Numbers that a study printed for the official 600 test images, and what it trained on.

    Classification: the coursework's accuracy, sensitivity and specificity count the argmax of the
    three classes against the rest; Zhang et al. do not say how they count ("unstated").
    Segmentation: convention "coursework" pools all pixels, "official" is the mean over images.
    """

    source: str
    scores: dict[str, float]
    training_list: str
    convention: Convention = "coursework"
    # Scores that no counts of these images give when they are rounded as printed.
    impossible: Texts = ()


def studies(value: Any) -> Any:
    """The published numbers of a file as Published."""
    if not isinstance(value, list | tuple):
        return value
    return tuple(Published(**study) if isinstance(study, dict) else study for study in value)
