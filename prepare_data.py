"""Download ISIC 2017, verify that it is complete, and prepare it for training; or adopt other data.

    python prepare_data.py download                  images, masks, labels: about 12 GB
    python prepare_data.py verify                    every file, to its last byte
    python prepare_data.py prepare --sizes 256       decode once, for all later runs
    python prepare_data.py patches                   the crops of rows 1-4 and 1-6, as published
    python prepare_data.py extras --list LIST.csv    the further images of an enlarged list
    python prepare_data.py adopt FOLDER              data of your own, HAM10000, ISIC 2018/2019, PH2

Each resumes where it was stopped, and does nothing if nothing is left to do. The exit status is 0
on success, 1 on failure (the last line says why), 130 after Ctrl-C. What each file is and how long
it takes: docs/data.md.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils import data, fetching, system
from utils.system import console, values
from utils.system.project import PROJECT
from utils.system.size import LARGEST, SMALLEST, Size

if TYPE_CHECKING:
    import pandas as pd

STANDARD = PROJECT / "Data" / "ISIC2017"
Command = Callable[[argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    """The command line: six commands, each with a data folder."""
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = line.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = _command(commands, "download", download, "fetch and unpack the archives")
    add("--parts", nargs="+", choices=fetching.PARTS, default=fetching.PARTS, help="default: all")
    add("--splits", nargs="+", choices=data.SPLITS, default=data.SPLITS, help="default: all")
    mirror = f"where the files are; default {fetching.BASE_URL}"
    add("--base-url", metavar="URL", default=fetching.BASE_URL, help=mirror)
    add("--jobs", type=_between(1, 64), default=3, help="files at a time; default 3")
    remove = "remove each archive once it is unpacked: 18 GB of room are enough, not 25"
    add("--remove-archives", action="store_true", help=remove)

    add = _command(commands, "extras", add_extras, "fetch the further images of an enlarged list")
    columns = ", ".join(data.names.LABEL_COLUMNS)
    enlarged = f"csv with {columns}, such as {data.names.EXTENDED_LABELS}"
    add("--list", required=True, metavar="CSV", help=enlarged)

    add = _command(commands, "verify", check, "prove that every file is complete")
    add("--near", action="store_true", help="look for near duplicates, too")
    every = "file for the full list of problems; default verify.csv in the working directory"
    add("--csv", default="verify.csv", metavar="FILE", help=every)

    add = _command(commands, "prepare", prepare, "decode every image once")
    sizes = "px: 256 for squares, 336x224 for width x height; default 256"
    add("--sizes", nargs="+", type=_size, default=[Size(256, 256)], help=sizes)
    add("--train-list", choices=data.TRAIN_LISTS, default="official", help="default official")

    add = _command(commands, "patches", cut_patches, "cut the crops of rows 1-4 and 1-6")
    side = "px of each crop; default 256"
    add("--side", type=_between(SMALLEST, LARGEST), default=256, help=side)
    add("--seed", type=_between(0, 2**32 - 1), default=0, help="another number, other crops")

    add = _command(commands, "adopt", adopt, "make a data folder of other data", "folder")
    name = "of the new folder Data/NAME; default that of the set"
    add("--name", help=name)
    into = "where the new folder is made; default Data in the project"
    add("--into", metavar="DIR", default=STANDARD.parent, help=into)
    add("--seed", type=_between(0, 2**32 - 1), default=0, help="another number, other splits")
    add("--write", action="store_true", help="without it, only show what would be written")
    return line


def _command(
    commands: Any, name: str, run: Command, what: str, folder: str = ""
) -> Callable[..., object]:
    """Adds a command with --data-dir, or with a folder; returns what adds another option to it."""
    command = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    command.set_defaults(run=run)
    if folder:
        command.add_argument("data_dir", metavar=folder.upper(), help="what was downloaded")
        return command.add_argument
    where = "the data folder; default Data/ISIC2017 in the project"
    if name != "download":
        where += ", else $ISIC2017_DIR, else the synthetic demo set ('demo')"
    command.add_argument("--data-dir", metavar="DIR", help=where)
    return command.add_argument


def _between(least: int, most: int) -> Callable[[str], int]:
    """A type for argparse: a whole number in this range."""

    def number(text: str) -> int:
        if not re.fullmatch(r"\d{1,10}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"{text!r}; expected a whole number, at least {least} and at most {most}"
            )
        return int(text)

    return number


def _size(text: str) -> Size:
    """256 or 336x224 as width and height."""
    try:
        return Size.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _named(data_dir: str | Path) -> Path:
    """The folder of that name, which need not exist yet; "~" is the user's home."""
    return values.path("--data-dir", data_dir, "folder").absolute()


def _tree(data_dir: str | None) -> Path:
    """The folder named, complete or not: verify tells what is missing; else the usual one."""
    if data_dir is None or data_dir == "demo":
        return data.locate(data_dir)
    folder = _named(data_dir)
    return folder if folder.exists() else PROJECT / data_dir


def download(options: argparse.Namespace) -> int:
    """Fetch and unpack what is missing."""
    folder = _named(STANDARD if options.data_dir is None else options.data_dir)
    wanted = fetching.sources_of(tuple(options.parts), tuple(options.splits))
    fetching.fetch_set(folder, wanted, options.base_url, options.jobs, options.remove_archives)
    console.say(f"{folder} holds {len(wanted)} of {len(wanted)} files asked for.")
    console.say(f'Next: python prepare_data.py verify --data-dir "{folder}"')
    return 0


def add_extras(options: argparse.Namespace) -> int:
    """Fetch the images that an enlarged list adds."""
    folder = _tree(options.data_dir)
    count = fetching.fetch_extras(folder, values.path("--list", options.list, "file"))
    console.say(f"{count} further images are in {folder}; use them with train_list='extended'.")
    return 0


def check(options: argparse.Namespace) -> int:
    """Read every file; 1 if one is wrong."""
    folder, file = _tree(options.data_dir), values.path("--csv", options.csv, "file")
    system.files.require_writable(file)  # reading every file takes minutes
    report = fetching.verify(folder, options.near)
    official = "" if data.own.is_own(folder) else " (and in the official set)"
    console.say(f"images found{official}:")
    console.show_table(_side_by_side(report.counts))
    console.say("")
    console.show_table(report.table())
    report.write(file)
    console.say(report.summary())
    console.say(f"the full list: {file.absolute()}")
    return 0 if report.ok else 1


def _side_by_side(counts: "pd.DataFrame") -> "pd.DataFrame":
    """Cells such as "374 (374)": the number, and in brackets the official one if there is one."""
    official = counts.filter(regex="^official ").rename(columns=lambda name: name[9:])
    own = counts.drop(columns=[f"official {name}" for name in official])
    beside = official.reindex(columns=own.columns).astype("Int64").astype("string")
    return own.astype(str) + (" (" + beside + ")").fillna("")


def prepare(options: argparse.Namespace) -> int:
    """Make the prepared stores."""
    folder = data.locate(options.data_dir)
    images = data.read(folder, options.train_list)
    for size in options.sizes:
        start = time.monotonic()
        prepared = data.prepare(folder, images, size)
        seconds = time.monotonic() - start
        console.say(
            f"{prepared.folder}: {len(images)} images, {len(images) / seconds:.0f} a second"
        )
    return 0


def cut_patches(options: argparse.Namespace) -> int:
    """Cut the crops of the official training images."""
    folder = data.locate(options.data_dir)
    if data.own.is_own(folder):
        raise system.DataError(
            f"{folder} holds data of your own, and only ISIC 2017 is trained on crops in a folder; "
            "use any row but 1-4 and 1-6 of profile 'paper' or 'coursework', which need none."
        )
    images = data.read(folder)
    data.require_labels(images)
    settings = data.crops.Settings(options.side, options.seed)
    count = data.crops.make(folder, images[images["split"] == "train"], settings)
    console.say(
        f"{folder / data.crops.FOLDER}: {count} pictures; {data.crops.LABELS} has their labels"
    )
    return 0


def adopt(options: argparse.Namespace) -> int:
    """Show what a folder holds and what would be made of it; make it with --write."""
    folder, into = _named(options.data_dir), values.path("--into", options.into, "folder")
    if options.name is not None and not re.fullmatch(r"\w[\w.-]*", options.name):
        raise values.ValueRefusedError(
            f"--name is {options.name!r}; expected letters, digits, '.', '_' and '-'."
        )
    planned = fetching.adopt.plan(folder, options.name, into.absolute(), options.seed)
    for line in planned.lines():
        console.say(line)
    console.show_table(planned.counts())
    if planned.done:
        console.say(f'Nothing to write: use it with -p data_dir "{folder}".')
    elif options.write:
        fetching.adopt.write(planned)
        console.say(f'{planned.target} is written; use it with -p data_dir "{planned.target}".')
        console.say(f'Next: python prepare_data.py verify --data-dir "{planned.target}"')
    else:
        new = planned.target if planned.target != folder else folder / data.own.SPLIT_TABLE
        console.say(f"Nothing is written yet: --write makes {new}, and changes nothing else.")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    console.begin()
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        console.say("stopped; what is finished is kept, and the same command resumes.")
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (system.DataError, system.UnwritableError, values.ValueRefusedError) as error:
        sys.stderr.write(f"{error}\n")
    except OSError as error:
        refused = system.disk.unwritable(error, Path(options.data_dir or STANDARD))
        where = f"{error.filename or options.data_dir}: {error.strerror}"
        cure = "name another folder with --data-dir, or repair this one"
        sys.stderr.write(f"{where}; {cure}.\n" if refused is error else f"{refused}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
