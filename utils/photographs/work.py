"""Many photos, one after the other, in the memory of one."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from utils.photographs import pages
from utils.photographs.answers import Models, answer
from utils.photographs.found import Photo, PhotoError, photos_in
from utils.photographs.record import Record, name_of, require_ours
from utils.system.console import progress
from utils.system.files import locked


class Outcome(NamedTuple):
    """What became of the photos that were asked for."""

    record: Record
    page: Path
    photos: list[Path]
    faults: list[str]  # the files that cannot be used, and why


def predict(paths: Sequence[Path], models: Models, folder: Path) -> Outcome:
    """Answer all photos at these paths that have no answer in the folder yet.

    A file that cannot be used gets a line that says why, and is tried again the next time. The page
    is written however it ends. Errors as of `require_ours`, `Record` and `photos_in`;
    BlockingIOError while another process works in the folder.
    """
    require_ours(folder)
    photos = photos_in(paths, leave=folder)
    busy = f"another process writes into {folder}; wait for it, or name another folder with --out."
    with locked(folder / ".lock", busy):
        record, faults = Record(folder, models, {*map(name_of, photos)}), []
        left = [path for path in photos if name_of(path) not in record.done]
        try:
            for path in progress(left, "photos", "photos"):
                try:
                    record.add(path, answer(Photo(path), models))
                except PhotoError as error:
                    faults.append(str(error))
                    record.add(path, None, f"not used: {error}")
        finally:
            page = pages.write(record, models)
    return Outcome(record, page, photos, faults)
