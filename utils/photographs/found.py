"""Which photographs there are, which runs are to answer, and a photograph as a store holds it."""

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.data.decode import decode, read_image
from utils.data.store import Store
from utils.evaluation.ensembles import members
from utils.logger.run import RunFolder
from utils.logger.runs import MODELS
from utils.system import values
from utils.system.errors import RunError, listed
from utils.system.values import ValueRefusedError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")  # of a folder's photos
KINDS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")  # of their contents, as Pillow names them


class PhotoError(ValueError):
    """A file that cannot be used, and why."""


def given(photos: Any, name: str = "photos") -> list[Path] | None:
    """The paths that a parameter names: None, a file or a folder, or a list of these.

    Nothing is searched yet. ValueRefusedError for what is none of them, or is not there.
    """
    if photos is None:
        return None
    several = list(photos) if isinstance(photos, list | tuple) else [photos]
    if not several:
        raise ValueRefusedError(f"{name} is {photos!r}; expected None, a path, or a list of paths.")
    paths = [values.path(name, one) for one in several]
    if missing := [path for path in paths if not os.access(path, os.F_OK)]:
        raise ValueRefusedError(
            f"{name}: {listed(missing)} is not there; expected photos, or folders of photos."
        )
    return paths


def photos_in(paths: Sequence[Path], leave: Path) -> list[Path]:
    """The photos at these paths, each once: files as they are, folders with all that is in them.

    Of a folder those files are taken whose names end like an image's; what a Mac writes beside them
    (`._photo.jpg`), links to folders and the folder `leave` are left out. ValueRefusedError where
    there are none.
    """
    photos: dict[Path, None] = {}  # in order
    for path in map(Path.absolute, paths):
        if not path.is_dir():
            photos[path] = None
            continue
        for folder, below, names in os.walk(path):
            below[:] = sorted(name for name in below if Path(folder, name) != leave.absolute())
            fit = (name for name in names if _is_photo(name.lower()))
            photos |= dict.fromkeys(Path(folder, name) for name in sorted(fit))
    if not photos:
        raise ValueRefusedError(
            f"no photos in {listed(paths)}; expected files that end in {', '.join(SUFFIXES)}."
        )
    return list(photos)


def _is_photo(name: str) -> bool:
    """Not what macOS writes beside a file, nor a mask of the challenge."""
    others = name.startswith("._") or name.endswith(("_segmentation.png", "_superpixels.png"))
    return name.endswith(SUFFIXES) and not others


@dataclass(frozen=True)
class InMemory(Store):
    """A store of images that lie in memory, without masks."""

    pixels: np.ndarray  # (n, H, W, 3)

    def image(self, position: int) -> np.ndarray:
        """(H, W, 3) uint8, RGB, 0..255."""
        return self.pixels[position]

    def mask(self, position: int) -> np.ndarray:
        """(H, W) uint8 of 0."""
        return np.zeros_like(self.pixels[position, :, :, 0])


class Photo:
    """A photograph, turned as its EXIF orientation says; PhotoError where it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # As the table of images has it. No mask of it is ever read.
        self.images = pd.DataFrame([{"id": path.stem, "label": 0, "mask": "unknown"}])

    def store(self, size: int | tuple[int, int]) -> Store:
        """A store of this image alone, decoded as `data.prepare` does."""
        width, height = (size, size) if isinstance(size, int) else size
        decoded = decode(str(self.path), "", (width, height), kinds=KINDS)
        if isinstance(decoded, str):
            raise PhotoError(decoded)
        pixels, _, facts = decoded
        index = pd.DataFrame([{"id": self.path.stem} | facts])
        return InMemory(self.path.parent, index, pixels.shape[:2], (0, 0), pixels[None])

    @cached_property
    def pixels(self) -> np.ndarray:
        """The image at its own size, (H, W, 3) uint8 RGB."""
        try:
            return read_image(self.path, kinds=KINDS)
        except ValueError as error:
            raise PhotoError(str(error)) from error


def find_runs(wanted: str | None = None, models: Path = MODELS) -> dict[str, RunFolder]:
    """Finished runs by name: those named, separated by commas, else those that are released.

    Released are those in `model/released/` that have a model card; an evaluation leaves baselines
    beside them. A name is that of a run folder in `model/*/` ("3-1-s0", "isic2017-best/3-1-s0") or
    a path; an ensemble stands for its members. RunError, with the names that are near, for one that
    is missing, unfinished, or found twice.
    """
    if wanted is None:
        folders = sorted(file.parent for file in models.glob("released/*/README.md"))
        if not folders:
            raise RunError(
                f"{models / 'released'} holds no runs; train one (python reproduce.py 3-1) and "
                "name it: --runs 3-1-s0, or with a segmenter --runs 3-1-s0,seg-6-s0."
            )
    else:
        folders = [_folder(name.strip(), models) for name in wanted.split(",")]
    runs: dict[str, RunFolder] = {}
    for folder in folders:
        run = RunFolder(folder)
        for one in members(run) or [run]:
            if not one.finished:
                raise RunError(f"{one.path} is no finished run; name another, or resume it first.")
            known = runs.get(one.path.name)
            runs[one.path.name if known is None else str(one.path)] = one
    return runs


def _folder(name: str, models: Path) -> Path:
    path = values.path("--runs", name, "folder")
    if (path / "config.json").is_file():
        return path
    folders = [file.parent for file in models.glob("*/*/config.json")]
    folders = [folder for folder in folders if not re.search(r"\.\d+$", folder.name)]
    called = {f"{folder.parent.name}/{folder.name}": folder for folder in sorted(folders)}
    fit = [key for key in called if name in (key, called[key].name)]
    if len(fit) == 1:
        return called[fit[0]]
    if fit:
        raise RunError(f"--runs: {name!r} is the name of {listed(fit)}; name one of them.")
    names = set(called) | {folder.name for folder in called.values()}
    near = difflib.get_close_matches(name, sorted(names), n=5, cutoff=0.5)
    raise RunError(
        f"--runs: no run {name!r}; near it are {listed(near) or 'none'}, and there are "
        f"{len(called)} in {models}. Expected the name of a run folder, or its path."
    )
