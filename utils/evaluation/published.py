"""Are published values comparable with ours? One rule for tables, figures and the report.

All of them are about the 600 images of the official test split. Beside scores of other images they
are shown, but not compared; beside scores of synthetic images, or of a user's own, they are not
shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from utils.data import demo
from utils.data.names import ISIC_2017
from utils.system.experiment import Experiment, Published

TEST_IMAGES = 600
TEST_POSITIVES = {"melanoma": 117, "seborrheic_keratosis": 90}
SYNTHETIC = "synthetic data: nothing published is comparable"
OWN = "data of your own: nothing published is comparable"
OTHER = "not the 600 test images"


def reason(scores: Mapping[str, Any]) -> str:
    """Why published values are not comparable with a score file: SYNTHETIC, OWN, OTHER, or ""."""
    if scores["data"] != ISIC_2017:
        return SYNTHETIC if scores["data"] == demo.ABOUT else OWN
    counts = scores.get("counts", TEST_POSITIVES)  # a segmenter counts no classes
    same = all(counts.get(name) == count for name, count in TEST_POSITIVES.items())
    split = scores["split"].split("-")[0]  # "test-1-views" is the test split, too
    return "" if split == "test" and scores["n"] == TEST_IMAGES and same else OTHER


def trained_on(scores: Mapping[str, Any], train_list: str) -> str:
    """The images that a run of ours was trained on, for tables."""
    names = {SYNTHETIC: "synthetic images", OWN: f"images of {scores['data']}"}
    return names.get(reason(scores), f"{train_list} list")


def shown(scores: Mapping[str, Any], experiment: Experiment) -> Sequence[Published]:
    """The studies of an experiment to show beside a score file: none on other data."""
    return () if reason(scores) in (SYNTHETIC, OWN) else experiment.published


def comparable(
    runs: Mapping[str, Mapping[str, Any]], experiments: Mapping[str, Experiment]
) -> list[Published]:
    """Each published study comparable with these scores, once; both by the run's name."""
    same = [one for name, one in experiments.items() if name in runs and not reason(runs[name])]
    return list({study.source: study for one in same for study in one.published}.values())
