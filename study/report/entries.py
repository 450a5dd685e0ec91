"""What the report reads of run folders: every file once, and a note for each that is not there."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from utils.data.splits import CLASSES
from utils.evaluation.labels import checked
from utils.logger.run import RunFolder
from utils.system.errors import RunError

SEED, PROFILE = 0, "best"  # of `reproduce.py`, where nothing else is said
_IDS = {"converters": {"id": str}}  # "NA" is an id, too


class Lack(NamedTuple):
    """A file that the report would read, why it could not, and what makes it."""

    run: str
    file: str
    why: str  # "missing" or "damaged"
    command: str


@dataclass(frozen=True)
class Entry:
    """One run as its folder holds it; None or an empty table for what is not there."""

    name: str
    folder: Path
    config: dict[str, Any]
    history: pd.DataFrame
    timing: pd.DataFrame
    predictions: pd.DataFrame | None
    selection: pd.DataFrame | None  # predictions for the images that chose the epoch
    per_image: pd.DataFrame | None
    scores: dict[str, Any] | None
    lacks: tuple[Lack, ...] = field(default=())

    @property
    def settings(self) -> dict[str, Any]:
        """The row with every override, as `config.json` holds it."""
        return self.config.get("row", {})

    @property
    def row(self) -> str:
        """The name of the row; that of the run where its settings are not there."""
        return str(self.settings.get("name", self.name.rpartition("-s")[0] or self.name))

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.settings.get("seed", SEED))

    @property
    def segments(self) -> bool:
        """Whether it is a segmenter."""
        return self.row.startswith("seg-")

    @property
    def counted(self) -> pd.DataFrame | None:
        """A row an image of the split: predictions of a classifier, scores of a segmenter."""
        return self.per_image if self.segments else self.predictions


def read(name: str, run: RunFolder, split: str, data_dir: str) -> Entry:
    """The run's files for this split; what cannot be read is noted with the command that makes it.

    data_dir is how commands on the page name the data.
    """
    reader = _Reader(name, run, split, data_dir)
    config = reader.config()
    settings = config.get("row", {})
    segments = str(settings.get("name", name)).startswith("seg-")
    chosen_on = f"predictions-{settings.get('select_on', 'holdout')}.csv"
    history = reader.table("history.csv", {"epoch", "loss"})
    timing = reader.table("timing.csv", {"epoch", "seconds", "images", "peak_memory_mb"})
    predictions = selection = per_image = None
    if segments:
        per_image = reader.table(f"per-image-{split}.csv", {"id", "jaccard"})
    else:
        wanted = {"id", "label", CLASSES[0]}
        predictions = reader.table(f"predictions-{split}.csv", wanted)
        selection = reader.table(chosen_on, wanted)
    scores = reader.json(f"scores-{split}.json", {"official", "coursework", "n"})
    empty = pd.DataFrame()
    return Entry(
        name,
        run.path,
        config,
        empty if history is None else history,
        empty if timing is None else timing,
        predictions,
        selection,
        per_image,
        scores,
        tuple(reader.lacks),
    )


def by_row(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """The runs of each row, in the order they come: its seeds."""
    rows: dict[str, list[Entry]] = {}
    for entry in entries:
        rows.setdefault(entry.row, []).append(entry)
    return rows


class _Reader:
    """Reads files of one run and keeps in mind which could not be read."""

    def __init__(self, name: str, run: RunFolder, split: str, data_dir: str) -> None:
        self.name, self.run, self.split, self.data_dir = name, run, split, data_dir
        self.settings: Mapping[str, Any] = {}
        self.lacks: list[Lack] = []

    def config(self) -> dict[str, Any]:
        """The settings of the run; empty where there are none."""
        config = self._read("config.json", lambda _: self._known_config()) or {}
        self.settings = config.get("row", {})
        return config

    def table(self, file: str, columns: set[str]) -> pd.DataFrame | None:
        """A csv file with at least these columns and a row, or None."""

        def parse(path: Path) -> pd.DataFrame:
            table = pd.read_csv(path, **(_IDS if "id" in columns else {}))
            if not columns <= set(table.columns) or table.empty:
                raise ValueError("columns or rows are missing")
            if "id" in columns and table.isna().any(axis=None):
                raise ValueError("a cell is empty")
            table.drop(columns="id", errors="ignore").apply(pd.to_numeric)  # or ValueError
            if "label" in columns:
                checked(table["label"], table[[name for name in CLASSES if name in table]])
            return table

        return self._read(file, parse)

    def json(self, file: str, keys: set[str]) -> dict[str, Any] | None:
        """A json file with at least these keys, or None."""

        def parse(path: Path) -> dict[str, Any]:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict) or not keys <= set(content):
                raise ValueError("entries are missing")
            return content

        return self._read(file, parse)

    def _known_config(self) -> dict[str, Any]:
        config = self.run.config
        if not isinstance(config.get("row"), dict) or "name" not in config["row"]:
            raise RunError("no row")
        return config

    def _read(self, file: str, parse: Callable[[Path], Any]) -> Any:
        path = self.run / file
        why = "missing"
        if path.is_file():
            try:
                return parse(path)
            # Not UTF-8, no JSON, no table, a RunError; no permission; brackets without end.
            except (ValueError, OSError, RecursionError):
                why = "damaged"
        self.lacks.append(Lack(self.name, file, why, self._command(file)))
        return None

    def _command(self, file: str) -> str:
        row = self.settings.get("name", self.name.rpartition("-s")[0] or self.name)
        seed = self.settings.get("seed", self.name.rpartition("-s")[2])
        command = f"python reproduce.py {row} --profile {self.settings.get('profile', PROFILE)}"
        command += f" --data-dir {self.data_dir} --seeds {seed or SEED}"
        if file in ("config.json", "history.csv", "timing.csv"):  # they come with training alone
            return f"{command} --resume restart"
        return f"{command} --split {self.split}"
