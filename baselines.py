"""Make baselines: rows 0-1 to 0-6, seg-0-1 and seg-0-2, which need no training.

    python baselines.py 0-1 0-2                   on ISIC 2017, or the synthetic demo set
    python baselines.py 0-2 --fold 2/5            learns from four fifths, predicts the fifth

Each goes into its run folder, model/<set>-<profile>/<row>-s<seed>/, in seconds (0-4 to 0-6 two
minutes on a core); a finished one is left as it is. `reproduce.py` calls this, and the evaluations
make what is missing.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import experiments
from utils import data, logger, system
from utils.system import values


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rows = f"baselines: {', '.join(experiments.BASELINES)}"
    line.add_argument("rows", nargs="+", choices=experiments.BASELINES, metavar="ROW", help=rows)
    recipes = (
        "whose images it learns from; default best with a GPU, light without, demo on the demo"
    )
    line.add_argument("--profile", choices=experiments.PROFILES, help=recipes)
    line.add_argument("--data-dir", help="a data folder, or 'demo' for the synthetic set")
    line.add_argument("--run-dir", type=Path, help="the folder of a single baseline")
    line.add_argument("--seed", type=int, help="of the hold-out, as of a training; default 0")
    line.add_argument("--train-list", help="official or extended")
    line.add_argument("--select-on", help="the images it does not learn from: as of a training")
    line.add_argument("--fold", help="predict this fold, and learn from the others: 2/5")
    missing = "leave out images that are not there"
    line.add_argument("--allow-missing", action="store_true", default=None, help=missing)
    line.add_argument("--resume", default="auto", choices=values.RESUME, help="restart: anew")
    return line


def main(arguments: list[str] | None = None) -> None:
    """The command line; see the head of this file."""
    system.begin()
    line = parser()
    options = line.parse_args(arguments)
    if options.run_dir and len(options.rows) > 1:
        line.error("--run-dir is for a single baseline; name one, or leave it out.")
    try:
        data_dir = data.locate(options.data_dir)
        profile = options.profile or logger.usual_profile(data_dir)
        names = (*experiments.BASELINES_TAKE, "seed")
        given: dict[str, Any] = {name: getattr(options, name) for name in names}
        given |= data.facts(data_dir)
        rows = [experiments.get(name, profile, **given) for name in options.rows]
        folders = [logger.run_folder(data_dir, row, options.run_dir) for row in rows]
        split = data.evaluation_split(data.read(data_dir))
    except (ValueError, FileExistsError) as error:
        line.error(str(error))
    failed = [
        _made(*one, data_dir, split, options.resume) for one in zip(folders, rows, strict=True)
    ]
    sys.exit(any(failed))


def _made(path: Path, row: experiments.Row, data_dir: Path, split: str, resume: str) -> bool:
    """Make one and say how it scores; returns whether it failed."""
    import nets  # these two load torch, which --help does not need
    from utils import evaluation

    try:
        evaluation.baselines.make(path, row, data_dir, split, nets.build, resume)
    except (system.DataError, system.RunError, BlockingIOError) as error:
        print(f"{row.name}: {error}", file=sys.stderr)
        return True
    part = "fold" if row.fold else split
    scores = evaluation.score_files.read(path / f"scores-{part}.json")
    system.say(f"{path}\n{evaluation.summary(scores)}")
    return False


if __name__ == "__main__":
    main()
