"""The notebooks of each task: the one that trains, and the one that evaluates."""

from pathlib import Path

from utils.system.project import NOTEBOOKS

TRAINING: dict[str, Path] = {
    "labels": NOTEBOOKS / "ARL-CNN.ipynb",
    "masks": NOTEBOOKS / "Segmentation.ipynb",
}
EVALUATION: dict[str, Path] = {
    "labels": NOTEBOOKS / "Evaluation-Cls.ipynb",
    "masks": NOTEBOOKS / "Evaluation-Seg.ipynb",
}
