"""Ask the official scorer about every case and keep its answers: `make referee`.

`python -m referee.build ENVIRONMENT TARGET` runs `ENVIRONMENT/bin/isic-challenge-scoring`, its
command line, on files that our own code wrote, and writes TARGET:

    {"versions": {package: version},
     command: {case: {"inputs": sha256 of both inputs, "scores": the scorer's answer}}}
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from referee.cases import PARTS, fingerprint
from utils.system.files import write_atomic

PACKAGES = ("isic-challenge-scoring", "numpy", "pandas", "scikit-learn")
_VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


def main(environment: Path, target: Path) -> None:
    """Write the scores of all cases to target; RuntimeError when the scorer refuses one."""
    golden = {"versions": _run([environment / "bin" / "python", "-c", _VERSIONS, *PACKAGES])}
    for command, part in PARTS.items():
        golden[command] = {name: ask(environment, command, c) for name, c in part.cases().items()}
    text = json.dumps(golden, indent=2, sort_keys=True, allow_nan=False)
    write_atomic(target, text + "\n")


def ask(environment: Path, command: str, case: Any) -> dict[str, Any]:
    """The scorer's answer to one case of a command, and what it was asked about."""
    part = PARTS[command]
    scorer = environment / "bin" / "isic-challenge-scoring"
    with TemporaryDirectory() as folder:
        files = part.write(Path(folder), case)
        scores = _run([scorer, "--output", "json", command, *part.options, *files])
        return {"inputs": fingerprint(files), "scores": scores}


def _run(command: list[Path | str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        line = " ".join(map(str, command))
        raise RuntimeError(f"{line}\nended with {done.returncode}:\n{done.stderr}{done.stdout}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    main(*(Path(argument).resolve() for argument in sys.argv[1:3]))
