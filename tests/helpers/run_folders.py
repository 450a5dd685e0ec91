"""What tests of run folders share: a small row, what is said of its data, a listing."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """As a row of the experiment table: two fields that count, and the free ones."""

    network: str = "arl14"
    scales: tuple[float, ...] = (0.5, 1.0)
    class_weights: tuple[float, ...] | None = None
    learning_rate: float = 0.1
    question: str = "does it learn?"
    published: tuple = ()
    workers: int | None = None


DATA = {"set": "synthetic demo data", "folder": "demo", "fingerprint": "0123456789abcdef"}


def names(folder: Path) -> list[str]:
    """What lies in a folder, without lock files."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))
