"""The further images of an enlarged training list, fetched by the ISIC archive's own isic-cli.

isic-cli (https://github.com/ImageMarkup/isic-cli) may end well although some images did not come,
so each image is looked for and decoded here. What comes is gathered in a hidden folder: images
without a row in a label table would stop everyone who reads the data meanwhile. When all are
there, the list and the images take their places, with the metadata, attribution and licences that
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
BATCH = 100  # ids in one call: a query of 2.6 kB, which travels in the address
_ISIC_ID = re.compile(r"ISIC_[0-9]{7}")
_IMAGES = {".jpg", ".jpeg", ".png"}
_LAST_LINES = 12  # of what a failing call said
_QUESTION = "This is a bug in isic-cli"


def fetch_extras(data_dir: Path, list_file: Path, command: str = "isic") -> int:
    """Fetch the images that list_file names beyond the official ones; how many these are.

    Images that are here already are not asked for; after a stop or a failure the next call resumes.
    command is the name of isic-cli's program. Raises DataError, before anything is fetched, for
    missing official tables, for a list that lacks official rows or contradicts them, that names
    images of the validation or the test split, or ids that the archive cannot have, and where there
    is no isic-cli or another process is already fetching them; later for a call of isic-cli that
    failed, and for images that did not come or do not decode. UnwritableError for a disk that
    refuses.
    """
    further = _further_ids(data_dir, list_file)
    target = (data_dir / FOLDER).resolve()  # a link to another disk stays one
    partial = target.with_name(f".{FOLDER}.partial")
    busy = (
        f"another process is already fetching further images into {data_dir}; wait until it has "
        "ended"
    )
    try:
        with locked(partial.with_suffix(".lock"), busy), writing(target):
            _fetch(_lacking(further, data_dir, partial), partial, command)
            write_atomic(data_dir / EXTENDED_LABELS, list_file.read_bytes())
            if partial.is_dir():
                _move(partial, target, _images(partial))
                shutil.rmtree(partial)
    except BlockingIOError as error:
        raise DataError(f"{error}.") from error
    return len(further)


def _further_ids(data_dir: Path, list_file: Path) -> list[str]:
    """The ids of the list that are not official, in its order; the list checked."""
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
    """Label by id, by split. Raises DataError where a table is missing."""
    files = {split: label_files(data_dir, split)[:1] for split in SPLITS}
    lacking = [
        split for split in SPLITS if not files[split] or files[split][0].name == EXTENDED_LABELS
    ]
    if lacking:
        names = ", ".join(f"{PREFIXES[split][0]}_Part3_GroundTruth.csv" for split in lacking)
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
    """The images of a folder by id, whether they are whole or not; a folder may be missing."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.stem: path for path in paths if path.suffix.lower() in _IMAGES}


def _lacking(further: list[str], data_dir: Path, partial: Path) -> list[str]:
    there = {*find_images(data_dir, "train")[0], *_images(partial)}
    return [id_ for id_ in further if id_ not in there]


def _fetch(ids: list[str], partial: Path, command: str) -> None:
    """Gather the images of these ids in partial, hundred by hundred, each of them whole."""
    if not ids:
        return
    # Also where the environment of this python is not activated.
    program = shutil.which(command) or shutil.which(command, path=Path(sys.executable).parent)
    if program is None:
        raise DataError(
            f"{len(ids)} further images are to be fetched by isic-cli, the archive's own tool, but "
            f"there is no command {command!r}. Install it: pip install isic-cli"
        )
    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    for batch in progress(batches, "fetching further images", f"× {BATCH} images"):
        _ask(program, batch, partial / "call")
        came = {id_: path for id_, path in _images(partial / "call").items() if id_ in batch}
        _move(partial / "call", partial, {i: path for i, path in came.items() if _is_whole(path)})
    if missing := [id_ for id_ in ids if id_ not in _images(partial)]:
        raise DataError(
            f"images that did not come, or came damaged: {listed(missing)}; the others are "
            "kept. The same command asks for these again; if they never come, the archive has "
            "withdrawn them: remove their rows from the list."
        )


def _ask(program: str, ids: list[str], folder: Path) -> None:
    """One call of isic-cli; what an earlier one left in folder is used, if it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and not (path.suffix.lower() in _IMAGES and _is_whole(path)):
            path.unlink()
    search = " OR ".join(f"isic_id:{id_}" for id_ in ids)
    say(f"asking the archive for {len(ids)} images")
    call = [program, "image", "download", "--search", search, "--limit", "0", str(folder)]
    try:
        done = subprocess.run(
            call,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,  # it asks whether to go on with a full disk, to report a bug
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"isic-cli has not ended after {PATIENCE // 60} minutes. What came is kept: look "
            "whether the archive can be reached, and call the same command again."
        ) from error
    if done.returncode:
        raise DataError(
            f"isic-cli failed with exit status {done.returncode}. What came is kept: call the same "
            "command again, later if the archive is busy; if isic-cli is too old, pip install "
            f"--upgrade isic-cli. It said:{_last_lines(done.stdout)}"
        )


def _last_lines(said: str) -> str:
    """The end of what isic-cli said, before it asks whether to report a bug."""
    lines = [line.rstrip() for line in said.partition(_QUESTION)[0].splitlines() if line.strip()]
    shown = [line if len(line) <= 200 else f"{line[:200]} …" for line in lines[-_LAST_LINES:]]
    return "".join(f"\n    {line}" for line in shown) or " nothing."


def _is_whole(image: Path) -> bool:
    try:
        read_image(image)
    except ValueError:
        return False
    return True


def _move(source: Path, target: Path, images: dict[str, Path]) -> None:
    """Move images to target, after what isic-cli noted about them."""
    _merge_metadata(source / "metadata.csv", target / "metadata.csv", images)
    notes = [*_paragraphs(target / "attribution.txt"), *_paragraphs(source / "attribution.txt")]
    if notes:
        write_atomic(target / "attribution.txt", "\n\n".join(dict.fromkeys(notes)) + "\n")
    for text in source.glob("licenses/*.txt"):
        write_atomic(target / "licenses" / text.name, text.read_bytes())
    target.mkdir(parents=True, exist_ok=True)
    for path in images.values():
        path.replace(target / path.name)


def _merge_metadata(source: Path, target: Path, images: dict[str, Path]) -> None:
    """Add the rows of these images; each call of isic-cli has the columns of its own images."""
    tables = [
        pd.read_csv(file, dtype=str, keep_default_na=False)
        for file in (target, source)
        if file.is_file()
    ]
    if tables and source.is_file():
        tables[-1] = tables[-1][tables[-1]["isic_id"].isin(images)]
        merged = pd.concat(tables).drop_duplicates("isic_id", keep="last")
        write_atomic(target, merged.to_csv(index=False, lineterminator="\n"))


def _paragraphs(file: Path) -> list[str]:
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return [part.strip() for part in text.split("\n\n") if part.strip()]
