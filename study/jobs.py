"""One notebook to be executed, as it is planned and handed to another process."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from utils.system.files import write_json

State = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True)
class Job:
    """A notebook, its parameters, and the folder it works in.

    epochs and score are those of a training: how many epochs there will be, and the score in
    `history.csv` by which one is chosen. after names jobs that must be done before.
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
        known = json.loads(file.read_text(encoding="utf-8"))
        paths = {name: Path(known[name]) for name in ("notebook", "folder")}
        return cls(**known | paths | {"after": tuple(known["after"])})
