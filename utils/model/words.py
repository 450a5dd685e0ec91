"""What training says: a line at its start, and one for each epoch."""

from collections.abc import Mapping

import numpy as np
import torch

from utils.model.checkpoints import Progress
from utils.model.device import arithmetic, device_name
from utils.model.recipe import computes_bf16
from utils.system.console import duration


def start_line(device: torch.device, precision: str, loader: str, workers: int) -> str:
    """What computes, how, and where the images come from."""
    if precision == "fp32" and (products := arithmetic(device)) != "ieee":
        precision += f" ({products})"
    elif precision == "bf16" and not computes_bf16(device):
        precision += " (emulated here: precision='fp32' is faster)"
    by = f"loaded by {workers} worker{'s' * (workers > 1)}" if workers else "loaded by this process"
    if loader == "resident":
        by = "augmented there"
    return f"training on {device_name(device)} in {precision}; images are {by}"


def epoch_line(
    row: Mapping[str, float], score: str, best: int, progress: Progress, epochs: int
) -> str:
    """A row of the history in words, and how long the rest will take."""
    seconds = [epoch["seconds"] for epoch in progress.timing]
    left = float(np.mean(seconds)) * (epochs - progress.epoch)
    more = "" if progress.finished else f", about {duration(left)} of training left"
    return (
        f"epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f}  "
        f"{score} {row[score]:.4f}{' (best)' if best == row['epoch'] else ''}  "
        f"{seconds[-1]:.0f} s{more}"
    )
