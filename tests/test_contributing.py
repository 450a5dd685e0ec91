"""What CONTRIBUTING.md says of a network, a loss and a row is enough: it is done here, and trained.

Each change is made in a copy of the packages, in a file that the section names.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from utils.system.project import PROJECT

NETWORK = """
import torch
from torch import Tensor, nn

from nets.normalise import HALF, Normalise
from nets.unet import Segmenter


class Dab(nn.Module):
    def __init__(self, num_classes: int = 3, *, alpha: float = 0.1) -> None:
        super().__init__()
        self.normalise = Normalise(*HALF)
        self.conv = nn.Conv2d(3, 8, 3, stride=4)
        self.gate_alpha = nn.Parameter(torch.tensor(alpha))
        self.fc = nn.Linear(8, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(self.normalise(images))
        return self.fc((x + self.gate_alpha * x.softmax(1) * x).relu().mean((2, 3)))


class DabUNet(Segmenter):
    def __init__(self, num_classes: int = 1) -> None:
        super().__init__(HALF, stride=4)
        self.down = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.up = nn.ConvTranspose2d(8, num_classes, 4, stride=4)

    def logits(self, x: Tensor) -> Tensor:
        return self.up(self.down(x).relu())
"""
LOSS = '''

class Squared(torch.nn.Module):
    """The mean squared distance of the probabilities from the truth."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        truth = F.one_hot(targets, logits.shape[1]).float()
        return (logits.float().softmax(1) - truth).square().mean()

'''
LOSS_OF_MASKS = '''

class Squared(nn.Module):
    """The mean squared distance of the probability from the mask."""

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        return (logits.float().sigmoid().squeeze(1) - masks.float()).square().mean()

'''
TRAIN = """
import sys
from pathlib import Path

import small_run
import small_seg

data, out = map(Path, sys.argv[1:])
small_run.finished(data, out / "5-1", "5-1")
small_seg.finished(data, out / "seg-9", "seg-9")
"""
# Section, file, what stands there, what stands there afterwards.
CHANGES = [
    (
        "Add a network",
        "nets/__init__.py",
        "from nets.loading import",
        "from nets.dab import Dab, DabUNet\nfrom nets.loading import",
    ),
    (
        "Add a network",
        "nets/__init__.py",
        '    "lite0": "nets.lite:Lite0",\n',
        '    "lite0": "nets.lite:Lite0",\n    "dab": Dab,\n',
    ),
    (
        "Add a network",
        "nets/__init__.py",
        '    "unet": UNet,\n',
        '    "unet": UNet,\n    "dab_unet": DabUNet,\n',
    ),
    ("Add a loss", "experiments/row.py", '"focal", "binary"]', '"focal", "binary", "squared"]'),
    ("Add a loss", "experiments/row.py", 'Literal["dice",', 'Literal["squared_masks", "dice",'),
    (
        "Add a loss",
        "utils/loss/table.py",
        '    "dice": ',
        '    "squared": lambda *_: labels.Squared(),\n'
        '    "squared_masks": lambda *_: masks.Squared(),\n'
        '    "dice": ',
    ),
    (
        "Add a row",
        "experiments/classification.py",
        "_ROWS = (\n",
        '_ROWS = (\n    Row("5-1", "Is little enough?", "dab", alpha=0.25, loss="squared"),\n',
    ),
    (
        "Add a row",
        "experiments/segmentation.py",
        "_ROWS = (\n",
        '_ROWS = (\n    SegmentationRow("seg-9", "And here?", "dab_unet", loss="squared_masks"),\n',
    ),
]
APPENDED = [("utils/loss/labels.py", LOSS), ("utils/loss/masks.py", LOSS_OF_MASKS)]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what trains, with the changes that the sections describe."""
    sections = re.split(r"^## ", (PROJECT / "CONTRIBUTING.md").read_text("utf-8"), flags=re.M)
    said = {text.splitlines()[0]: text for text in sections}
    for name in ("experiments", "nets", "utils"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pyc*"))
    (tmp_path / "nets" / "dab.py").write_text(NETWORK)
    for section, name, before, after in CHANGES:
        assert name in said[section], f"{section} does not name {name}"
        file = tmp_path / name
        text = file.read_text("utf-8")
        assert text.count(before) == 1, (name, before)
        file.write_text(text.replace(before, after), "utf-8")
    for name, text in APPENDED:
        assert name in said["Add a loss"], f"Add a loss does not name {name}"
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write(text)
    for name in ("small_run.py", "small_seg.py"):
        shutil.copy(PROJECT / "tests/helpers" / name, tmp_path / name)
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


@pytest.mark.whole
def test_a_network_a_loss_and_a_row_of_ones_own_are_trained(copy: Path, demo_set: Path) -> None:
    out = copy / "out"
    command = [sys.executable, copy / "train.py", demo_set, out]
    # The folder of the script comes first on the path: the copy, not the project.
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=copy)
    assert done.returncode == 0, done.stderr
    for name, called in (("5-1", "squared"), ("seg-9", "squared_masks")):
        settings = json.loads((out / name / "config.json").read_text())["row"]
        assert (settings["name"], settings["loss"]) == (name, called)
        assert (out / name / "best.safetensors").exists()
    # It started from the row's 0.25, as config.json says, and not from the network's own 0.1.
    alpha = pd.read_csv(out / "5-1" / "history.csv")["α gate_alpha"]
    assert alpha.item() == pytest.approx(0.25, abs=0.05)
    assert (out / "seg-9" / "scores-test.json").exists()
