"""ISIC 2017 from the network into a folder: fetched, checked, unpacked, and never twice."""

import json
from pathlib import Path

from utils.console import say
from utils.fetching.checksums import Checksums
from utils.fetching.download import PATIENCE, Job, fetch_all, require_space, sizes
from utils.fetching.http import Patience
from utils.fetching.sources import Source
from utils.fetching.unpack import is_unpacked, unpack
from utils.files import write_json

ARCHIVES = "archives"
RECORD = "downloads.json"  # what was fetched; `utils.fetching.checksums`
PICTURES = {".jpg", ".jpeg", ".png"}
UNPACKED = "unpacked.json"  # {archive: number of files it gave}


def bring(
    folder: Path,
    wanted: list[Source],
    base_url: str,
    workers: int = 3,
    remove_archives: bool = False,
    patience: Patience = PATIENCE,
) -> None:
    """Fetch the wanted files into folder, and unpack the archives.

    A file's checksum is recorded once its content has proved whole (every member of an archive has
    its own), and compared from then on. Archives go to `archives/` and stay there unless
    remove_archives. What is here is left alone. Raises DownloadError, UnpackError or DataError,
    each with what to do; what came is kept, and the next call goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = Checksums(folder / RECORD)
    todo = [source for source in wanted if not _was_unpacked(source, folder)]
    jobs = [_job(source, folder, base_url, record) for source in todo]
    _require_room(folder, todo, jobs, patience)
    fetched = fetch_all(jobs, workers, patience=patience)
    for source, found in zip(todo, fetched, strict=True):
        if source.folder:
            _unpack(source, folder, found.path)
        record.record(source.name, found)
        if source.folder and remove_archives:
            found.path.unlink()


def _job(source: Source, folder: Path, base_url: str, record: Checksums) -> Job:
    home, kind = (folder / ARCHIVES, "zip") if source.folder else (folder, "csv")
    url = f"{base_url.rstrip('/')}/{source.name}"
    return Job(url, home / source.name, kind, record.expected(source.name))


def _require_room(folder: Path, todo: list[Source], jobs: list[Job], patience: Patience) -> None:
    """Room for what is to come, and as much again for archives that are not unpacked yet.

    Photos and masks are compressed already: they are as large outside an archive as in it.
    """
    archives = {job: source for source, job in zip(todo, jobs, strict=True) if source.folder}
    absent = [job for job in archives if not job.path.exists()]
    held = [
        job.path.stat().st_size
        for job, source in archives.items()
        if job.path.exists() and not is_unpacked(job.path, folder / source.folder)
    ]
    tables = [job for job in jobs if job not in archives]
    needed = 2 * sizes(absent, patience) + sum(held) + sizes(tables, patience)
    require_space(folder, needed, f"ISIC 2017 ({len(jobs)} files)")


def _unpack(source: Source, folder: Path, archive: Path) -> None:
    found = unpack(archive, folder / source.folder)
    note = read_notes(folder / UNPACKED) | {source.name: found.files}
    write_json(folder / UNPACKED, dict(sorted(note.items())))
    left = f", {found.skipped} left out" * bool(found.skipped)
    say(f"{source.folder}: {found.files} files{left}")


def _was_unpacked(source: Source, folder: Path) -> bool:
    """Whether the archive was unpacked and removed, and its files are all here.

    A folder that was filled by hand needs the official number of files.
    """
    if not source.folder or (folder / ARCHIVES / source.name).exists():
        return False
    home = folder / source.folder
    files = [path for path in home.glob("*") if path.is_file() and path.suffix.lower() in PICTURES]
    expected = read_notes(folder / UNPACKED).get(source.name, source.files)
    return len([path for path in files if not path.stem.endswith("_superpixels")]) >= expected


def read_notes(file: Path) -> dict[str, int]:
    """How many files each archive gave; empty where nothing readable says it."""
    try:
        return {str(name): int(count) for name, count in json.loads(file.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
