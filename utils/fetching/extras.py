"""The further images of an enlarged training list, fetched by the ISIC archive's own isic-cli.

isic-cli (https://github.com/ImageMarkup/isic-cli) may succeed although some images are missing, so
each image is looked for and decoded here. Images are collected in a hidden folder: in the tree,
images without a row in a label table would stop everyone who reads the data. When all have arrived,
the list and the images are moved to their places, with the metadata, attribution and licences that
isic-cli writes beside them.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

from utils.data.decode import read_image
from utils.data.names import EXTENDED_LABELS, IMAGE_FOLDERS, PREFIXES, SPLITS
from utils.data.tables import read_labels
from utils.data.tree import find_images, label_files
from utils.system.console import progress, say
from utils.system.errors import DataError, listed
from utils.system.files import locked, write_atomic, writing

FOLDER = IMAGE_FOLDERS["train"][1]
PATIENCE = 1800  # seconds for one call: without a network it tries for a long time
BATCH = 100  # ids in one call: a query of 2.6 kB, which is part of the address
_ISIC_ID = re.compile(r"ISIC_[0-9]{7}")
_IMAGES = {".jpg", ".jpeg", ".png"}
_LAST_LINES = 12  # of what a failing call said
_QUESTION = "This is a bug in isic-cli"


def fetch_extras(data_dir: Path, list_file: Path, command: str = "isic") -> int:
    """Fetch the images that list_file names beyond the official ones; returns their number.

    Images that are already here are not requested; after a stop or a failure the next call resumes.
    command is the name of isic-cli's program. Raises DataError, before anything is fetched, for
    missing official tables, for a list that must not be used, without isic-cli, and while another
    process is fetching; later for a failed call of isic-cli, and for images that are missing or
    damaged. UnwritableError where they cannot be stored.
    """
    further = _further_ids(data_dir, list_file)
    target = (data_dir / FOLDER).resolve()  # a link to another disk stays one
    partial = target.with_name(f".{FOLDER}.partial")
    busy = f"another process is already fetching further images into {data_dir}; wait for its end"
    try:
        with locked(partial.with_suffix(".lock"), busy), writing(target):
            present = {*find_images(data_dir, "train")[0], *_images(partial)}
            _fetch([id_ for id_ in further if id_ not in present], partial, command)
            write_atomic(data_dir / EXTENDED_LABELS, list_file.read_bytes())
            if partial.is_dir():
                _move(partial, target, _images(partial))
                shutil.rmtree(partial)
    except BlockingIOError as error:
        raise DataError(f"{error}.") from error
    return len(further)


def _further_ids(data_dir: Path, list_file: Path) -> list[str]:
    """The ids of the list that are not official, in its order. DataError for an unusable list."""
    official = _official_labels(data_dir)
    train, wanted = official["train"], _labels(list_file)
    further = [id_ for id_ in wanted if id_ not in train]
    checks = (
        (
            "names images of the validation or the test split",
            wanted.keys() & (official["validation"].keys() | official["test"].keys()),
            "a network must not be trained on images it is scored on; remove these rows",
        ),
        (
            "lacks official training rows",
            train.keys() - wanted.keys(),
            "expected the official rows and further ones; add them",
        ),
        (
            "gives official images other labels",
            [id_ for id_, label in train.items() if wanted.get(id_) != label],
            f"expected those of {PREFIXES['train'][0]}_Part3_GroundTruth.csv; correct them",
        ),
        (
            "names ids that the ISIC archive cannot have",
            [id_ for id_ in further if not _ISIC_ID.fullmatch(id_)],
            "expected ISIC_ and seven digits; correct or remove these rows",
        ),
    )
    for what, offenders, cure in checks:
        if offenders:
            raise DataError(f"{list_file} {what}: {listed(sorted(offenders))}; {cure}.")
    return further


def _official_labels(data_dir: Path) -> dict[str, dict[str, int]]:
    """Label by id, by split. Raises DataError for a missing table."""
    files = {
        split: [file for file in label_files(data_dir, split) if file.name != EXTENDED_LABELS]
        for split in SPLITS
    }
    if lacking := [PREFIXES[split][0] for split in SPLITS if not files[split]]:
        names = ", ".join(f"{prefix}_Part3_GroundTruth.csv" for prefix in lacking)
        raise DataError(
            f"{data_dir} lacks {names}: only the official tables tell which images are further "
            "ones, and which must never be trained on. Fetch them first: python prepare_data.py "
            "download --parts labels"
        )
    return {split: _labels(files[split][0]) for split in SPLITS}


def _labels(file: Path) -> dict[str, int]:
    table = read_labels(file)
    return dict(zip(table["id"], table["label"], strict=True))


def _images(folder: Path) -> dict[str, Path]:
    """The images of a folder by id, damaged ones too; none for a missing folder."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.stem: path for path in paths if path.suffix.lower() in _IMAGES}


def _fetch(ids: list[str], partial: Path, command: str) -> None:
    """Collect the images of these ids in partial, batch by batch, undamaged ones only."""
    if not ids:
        return
    # The second place, for an environment that is not activated.
    program = shutil.which(command) or shutil.which(command, path=Path(sys.executable).parent)
    if program is None:
        raise DataError(
            f"{len(ids)} further images have to be fetched by isic-cli, the archive's own tool, "
            f"but there is no command {command!r}. Install it: pip install isic-cli"
        )
    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    for batch in progress(batches, "fetching further images", f"× {BATCH} images"):
        _ask(program, batch, partial / "call")
        arrived = _images(partial / "call")
        good = {id_: arrived[id_] for id_ in batch if id_ in arrived and _decodes(arrived[id_])}
        _move(partial / "call", partial, good)
    if missing := [id_ for id_ in ids if id_ not in _images(partial)]:
        raise DataError(
            f"images that are missing or damaged: {listed(missing)}; the others are kept. The same "
            "command requests these again; if they never arrive, the archive has withdrawn them: "
            "remove their rows from the list."
        )


def _ask(program: str, ids: list[str], folder: Path) -> None:
    """One call of isic-cli; undamaged images of an earlier one in folder are used."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and not (path.suffix.lower() in _IMAGES and _decodes(path)):
            path.unlink()
    search = " OR ".join(f"isic_id:{id_}" for id_ in ids)
    say(f"requesting {len(ids)} images from the archive")
    call = [program, "image", "download", "--search", search, "--limit", "0", str(folder)]
    try:
        done = subprocess.run(
            call,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,  # it asks what to do with a full disk, or to report a bug
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"isic-cli has not ended after {PATIENCE // 60} minutes. What was fetched is kept: "
            "check whether the archive can be reached, and run the same command again."
        ) from error
    if done.returncode:
        raise DataError(
            f"isic-cli failed with exit status {done.returncode}. What was fetched is kept: run "
            "the same command again, later if the archive is busy; if isic-cli is too old, pip "
            f"install --upgrade isic-cli. Its output:{_last_lines(done.stdout)}"
        )


def _last_lines(output: str) -> str:
    """The end of isic-cli's output, before it asks whether to report a bug."""
    lines = [line.rstrip() for line in output.partition(_QUESTION)[0].splitlines() if line.strip()]
    shown = [line if len(line) <= 200 else f"{line[:200]} …" for line in lines[-_LAST_LINES:]]
    return "".join(f"\n    {line}" for line in shown) or " none."


def _decodes(image: Path) -> bool:
    try:
        read_image(image)
    except ValueError:
        return False
    return True


def _move(source: Path, target: Path, images: dict[str, Path]) -> None:
    """Move images to target, after isic-cli's notes about them."""
    files = [folder / "metadata.csv" for folder in (target, source)]
    tables = [
        pd.read_csv(file, dtype=str, keep_default_na=False) for file in files if file.is_file()
    ]
    if tables and files[1].is_file():  # each call's table has the columns of its own images
        tables[-1] = tables[-1][tables[-1]["isic_id"].isin(images)]
        merged = pd.concat(tables).drop_duplicates("isic_id", keep="last")
        write_atomic(files[0], merged.to_csv(index=False, lineterminator="\n"))
    notes = [*_paragraphs(target / "attribution.txt"), *_paragraphs(source / "attribution.txt")]
    if notes:
        write_atomic(target / "attribution.txt", "\n\n".join(dict.fromkeys(notes)) + "\n")
    for text in source.glob("licenses/*.txt"):
        write_atomic(target / "licenses" / text.name, text.read_bytes())
    target.mkdir(parents=True, exist_ok=True)
    for path in images.values():
        path.replace(target / path.name)


def _paragraphs(file: Path) -> list[str]:
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return [part.strip() for part in text.split("\n\n") if part.strip()]
