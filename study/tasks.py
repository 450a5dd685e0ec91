"""The notebooks of each task: the one that trains, and the one that evaluates."""

from pathlib import Path

from utils.system.project import PROJECT

TRAINING: dict[str, Path] = {
    "labels": PROJECT / "ARL-CNN.ipynb",
    "masks": PROJECT / "Segmentation.ipynb",
}
EVALUATION: dict[str, Path] = {
    "labels": PROJECT / "Evaluation-Cls.ipynb",
    "masks": PROJECT / "Evaluation-Seg.ipynb",
}
