"""A planned execution of a notebook, as it is handed to another process."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from utils.system.files import write_json

State = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True)
class Job:
    """A notebook (or the script of the baselines), its parameters, and the folder it works in.

    epochs and score are those of a training: the number of epochs, and the column of `history.csv`
    by which one is chosen. after names jobs that must be done first.
    """

    name: str
    notebook: Path
    folder: Path
    parameters: dict[str, Any] = field(compare=False)
    epochs: int = 0
    score: str = ""
    after: tuple[str, ...] = ()

    def save(self, file: Path) -> Path:
        """Write the job as JSON, for `load`; returns the file."""
        write_json(file, asdict(self))
        return file

    @classmethod
    def load(cls, file: Path) -> "Job":
        """The job that `save` wrote."""
        stored = json.loads(file.read_text(encoding="utf-8"))
        paths = {name: Path(stored[name]) for name in ("notebook", "folder")}
        return cls(**stored | paths | {"after": tuple(stored["after"])})
