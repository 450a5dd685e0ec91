"""Finished fold runs of a segmenter whose networks draw a known box, whatever the image shows."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

import experiments
from utils import data, evaluation, logger, model

SIDE = 32  # px, of what these networks see
SMALL = {"image_size": SIDE, "stored_size": 40, "batch_size": 8, "workers": 0, "weights": "none"}
BOXES = ((4, 6, 20, 18), (8, 6, 24, 18), (12, 6, 28, 18))  # left, top, right, bottom by fold


class Drawer(nn.Module):
    """Sure of one rectangle: `corners` are its left, top, right and bottom in px."""

    def __init__(self, corners: tuple[int, ...] = (0, 0, 0, 0)) -> None:
        super().__init__()
        self.corners = nn.Parameter(torch.tensor(corners, dtype=torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        left, top, right, bottom = self.corners.int().tolist()
        logits = torch.full((len(images), 1, *images.shape[2:]), -10.0)
        logits[:, :, top:bottom, left:right] = 10.0
        return logits


DRAWERS = evaluation.Segmenters(experiments.restore, lambda *_, **__: Drawer(), lambda _: [])


def make(
    models: Path,
    data_dir: Path,
    networks: list[nn.Module] | None = None,
    network: str = "lite_unet",
    **changes: object,
) -> list[logger.RunFolder]:
    """A run `seg-6-f<k>-s0` for each of the networks, by default of BOXES; network names them."""
    networks = [Drawer(box) for box in BOXES] if networks is None else networks
    images, runs = data.read(data_dir), []
    for number, drawer in enumerate(networks, 1):
        fold = f"{number}/{len(networks)}"
        row = experiments.get(
            "seg-6", "demo", **(SMALL | {"fold": fold, "train_images": 12} | changes)
        )
        row = replace(row, network=network)
        kept = data.prepare(data_dir, images, row.stored_size)
        train, held = data.training_images(images, "fold", row.seed, row.fold)
        train = data.drawn(train, row.train_images, row.seed)
        used = kept.fingerprint(pd.concat([train, held]), masks=True)
        facts = {"set": data.note(data_dir), "folder": data_dir.name, "fingerprint": used}
        run = logger.start_run(models / row.folder(), row, facts)
        model.save_weights(drawer, run / "best.safetensors")
        run.save_json("config.json", run.config | {"precision": "fp32", "finished": True})
        runs.append(run)
    return runs
