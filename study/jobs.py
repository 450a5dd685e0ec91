"""One notebook to be executed, as it is planned and handed to another process."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from utils.system.files import write_json


@dataclass(frozen=True)
class Job:
    """A notebook, its parameters, and the folder it works in.

    epochs and score are those of a training: how many there will be, and the name of the one in
    `history.csv` that chooses among them. after names jobs that must be done before.
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
