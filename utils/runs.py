"""Which finished runs there are, and how a missing one is made.

A run is named by its folder, or by what the folder is called under `model/<set>-<profile>/`: "3-1"
(every profile and seed of the row), "3-1-s0", "isic2017-best/3-1-s0".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from utils.data import PROJECT, is_demo, name_offenders, note, set_name
from utils.logger import RunError, RunFolder
from utils.model import best_epoch

_FOLDER = re.compile(r"(?P<row>.+)-s(?P<seed>\d+)")


def find(
    wanted: str | Sequence[str] | None,
    data_dir: Path,
    rows: Iterable[str],
    models: Path = PROJECT / "model",
) -> dict[str, RunFolder]:
    """The finished runs asked for, by a short name each, in the order of rows, profile and seed.

    wanted is one name or several (a sequence, or separated by commas), or None for all finished
    runs of these rows on the data set of data_dir. Folders that a restart moved aside are passed
    over. Raises RunError when one is missing, unfinished, of another kind or trained on other data;
    the message holds the command that makes it.
    """
    rows, kind = list(rows), set_name(data_dir)
    present = {
        f"{path.parent.name}/{path.name}": RunFolder(path)
        for path in sorted(models.glob(f"{kind}-*/*"), key=lambda path: _order(path, rows))
        if _row(path) in rows
    }
    finished = {name: run for name, run in present.items() if run.config.get("finished")}
    if wanted is None:
        if not finished:
            raise RunError(
                f"no finished run under {models / kind}-*. Train one first:\n"
                f"    {_command(rows[0], data_dir)}"
            )
        return _short(finished)
    names = re.split(r"[,\s]+", wanted.strip()) if isinstance(wanted, str) else list(wanted)
    chosen: dict[str, RunFolder] = {}
    for name in map(str, names):
        chosen |= _matching(name, present, finished, data_dir, rows, models)
    return _short(chosen)


def overview(runs: Mapping[str, RunFolder]) -> pd.DataFrame:
    """What each run is: a row a run, from its settings and its history."""
    lines = {}
    for name, run in runs.items():
        config, history = run.config, pd.read_csv(run / "history.csv")
        row = config["row"]
        kept = best_epoch(history.to_dict("records"), row["select_score"])
        lines[name] = {
            "network": row["network"],
            "weights": row["weights"] or "random",
            "profile": row["profile"],
            "seed": row["seed"],
            "image size": row["image_size"],
            "epochs": len(history),
            "kept": kept,
            "chosen on": row["select_on"],
            f"its {row['select_score']}": round(history[row["select_score"]][kept - 1], 3),
            "revision": config.get("git", ""),
        }
    return pd.DataFrame.from_dict(lines, orient="index").fillna("")


def outputs(runs: Iterable[RunFolder], name: str) -> RunFolder:
    """Where an evaluation of the runs keeps its figures and tables: beside the first of them."""
    return RunFolder(next(iter(runs)).path.parent / name)


def _matching(
    name: str,
    present: dict[str, RunFolder],
    finished: dict[str, RunFolder],
    data_dir: Path,
    rows: list[str],
    models: Path,
) -> dict[str, RunFolder]:
    """The finished runs that one name stands for."""
    for folder in (Path(name).expanduser(), models.parent / name, models / name):
        if (folder / "config.json").is_file():
            return {f"{folder.parent.name}/{folder.name}": _checked(folder, data_dir, rows)}
    fits = [key for key in present if name in (key, key.split("/")[1], _row(Path(key)))]
    if found := {key: finished[key] for key in fits if key in finished}:
        return found
    row, profile = _row(Path(name)), Path(name).parent.name.partition("-")[2]
    if row not in rows:
        raise RunError(
            f"runs: {name!r} is no run folder and no row; expected a folder, or a row such as "
            f"{rows[0]!r}, '{rows[0]}-s0' or '{set_name(data_dir)}-best/{rows[0]}-s0'. The rows "
            f"are {', '.join(rows)}; the finished runs {name_offenders(finished) or 'none yet'}."
        )
    seed = _FOLDER.fullmatch(Path(name).name)
    command = _command(row, data_dir, profile, seed["seed"] if seed else None)
    state = f"{fits[0]} is not finished; go on with" if fits else f"no run {name!r}; make it with"
    raise RunError(f"{state}\n    {command}")


def _checked(folder: Path, data_dir: Path, rows: list[str]) -> RunFolder:
    """The run in a folder that was named as such."""
    run = RunFolder(folder.resolve())
    config = run.config
    if config["row"]["name"] not in rows:
        raise RunError(
            f"{folder} holds row {config['row']['name']}; expected one of {', '.join(rows)}."
        )
    if config["data"]["set"] != note(data_dir):
        raise RunError(
            f"{folder} was trained on {config['data']['set']}, and this is {note(data_dir)} "
            f"({data_dir}); name its data with data_dir, or another run."
        )
    if not config.get("finished"):
        row = config["row"]
        command = _command(row["name"], data_dir, row["profile"], str(row["seed"]))
        raise RunError(f"{folder} is not finished; go on with\n    {command}")
    return run


def _command(row: str, data_dir: Path, profile: str = "", seed: str | None = None) -> str:
    """The command that makes a run."""
    demo = is_demo(data_dir)
    parts = ["python reproduce.py", row, "--profile", profile or ("demo" if demo else "best")]
    parts += ["--data-dir", "demo" if demo else f'"{data_dir}"']
    return " ".join(parts + (["--seeds", seed] if seed not in (None, "0") else []))


def _row(path: Path) -> str:
    """The row of a folder's name; the name itself where it has no seed."""
    match = _FOLDER.fullmatch(path.name)
    return match["row"] if match else path.name


def _order(path: Path, rows: list[str]) -> tuple:
    match = _FOLDER.fullmatch(path.name)
    if match is None or match["row"] not in rows:
        return (len(rows), path.name, 0)
    return (rows.index(match["row"]), path.parent.name, int(match["seed"]))


def _short(runs: dict[str, RunFolder]) -> dict[str, RunFolder]:
    """The same runs, named without the set and profile where that is enough to tell them apart."""
    short = [name.split("/")[-1] for name in runs]
    return dict(zip(short, runs.values(), strict=True)) if len(set(short)) == len(short) else runs
