"""What the referee judges: fixed cases, written as the files that its command line reads.

`build` keeps the referee's answers, the tests compare ours. Both get their inputs from here, and
the fingerprint of the files says whether they are still the same.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from referee.masks import read_grey, segmentation_cases, write_segmentation
from utils.data.splits import CLASSES
from utils.evaluation.submission import write_submission
from utils.system.files import write_atomic

SIZES = (20, 150)
# Row 3-1, profile best, seed 0, on the official validation split. Labels: ISIC 2017, CC-0.
REAL = Path(__file__).with_name("predictions-validation.csv")


class Part(NamedTuple):
    """One command of the scorer: its options, its cases, and how a case becomes its inputs."""

    options: tuple[str, ...]
    cases: Callable[[], dict[str, Any]]
    write: Callable[[Path, Any], tuple[Path, Path]]  # (folder, case) -> (truth, prediction)


def classification_cases() -> dict[str, pd.DataFrame]:
    """Tables as in predictions-<split>.csv: id, label, and the probabilities of the classes."""
    tables = {f"{name}-{n}": _table(name, n) for name in _SCORES for n in SIZES}
    return tables | {"real-150": pd.read_csv(REAL)}


def write_classification(folder: Path, table: pd.DataFrame) -> tuple[Path, Path]:
    """The truth, sorted by id, and our submission, in the table's order; both for the scorer."""
    label = table["label"].to_numpy()
    truth = pd.DataFrame({"image_id": table["id"]})
    for number, name in enumerate(CLASSES[:2]):
        truth[name] = (label == number).astype(float)
    files = folder / "truth.csv", folder / "prediction.csv"
    text = truth.sort_values("image_id").to_csv(index=False, lineterminator="\n")
    write_atomic(files[0], text.replace("image_id,", "image,", 1))
    ours = write_submission(folder / "submission.csv", table)
    renamed = ours.read_text(encoding="utf-8").replace("image_id,", "image,", 1)
    write_atomic(files[1], renamed)
    return files


def fingerprint(files: tuple[Path, Path]) -> str:
    """SHA-256 over the content of a case's two inputs: files, or folders of masks."""
    digest = hashlib.sha256()
    for path in files:
        if path.is_dir():
            for file in sorted(path.iterdir()):
                # Name, shape and pixels, not bytes: encoders differ in how they squeeze a PNG.
                pixels = read_grey(file)
                digest.update(f"{file.name} {pixels.shape}".encode() + pixels.tobytes())
        else:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


# --- scores of n images, from their labels (n,) and a random stream: (n, 3), rows that sum to 1 ---
# Only `Generator.random` and plain arithmetic, whose digits no version and no machine changes.


def _random(labels: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    drawn = stream.random((len(labels), 3))
    return drawn / drawn.sum(axis=1, keepdims=True)


def _tied(labels: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    """Quarters, cut at random: few distinct scores, among them many that are exactly 0.5."""
    cuts = np.sort(np.floor(stream.random((len(labels), 2)) * 5), axis=1)
    return np.diff(cuts, axis=1, prepend=0, append=4) / 4


def _half(labels: np.ndarray, _stream: np.random.Generator) -> np.ndarray:
    """Every score is 0.5, which is not above 0.5: no positives, and an AUC of 0.5."""
    return np.tile([0.5, 0.5, 0.0], (len(labels), 1))


def _perfect(labels: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    return _around(np.array([[0.6, 0.0], [0.0, 0.6], [0.0, 0.0]])[labels], stream)


def _reversed(labels: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    return _around(np.array([[0.0, 0.6], [0.6, 0.0], [0.3, 0.3]])[labels], stream)


def _around(lowest: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    scores = lowest + 0.19 * stream.random(lowest.shape)
    return np.column_stack([scores, 1 - scores.sum(axis=1)])


_SCORES = {
    "random": _random,
    "tied": _tied,
    "half": _half,
    "perfect": _perfect,
    "reversed": _reversed,
}


def _table(name: str, n: int) -> pd.DataFrame:
    # A seed of its own for every case: another case changes none of these.
    stream = np.random.default_rng([n, *name.encode()])
    shares = [n // 5, n // 4, n - n // 5 - n // 4]  # about those of the validation split
    labels = np.repeat(range(3), shares)[np.argsort(stream.random(n))]
    ids = [f"ISIC_{number:07d}" for number in np.argsort(stream.random(n))]
    table = pd.DataFrame({"id": ids, "label": labels})
    table[list(CLASSES)] = _SCORES[name](labels, stream)
    return table


PARTS = {
    "classification": Part(("--metric", "auc"), classification_cases, write_classification),
    "segmentation": Part((), segmentation_cases, write_segmentation),
}
