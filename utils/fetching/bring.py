"""ISIC 2017 from the network into a folder: fetched, checked, unpacked, and never twice."""

from pathlib import Path

from utils.fetching.archives import opened, select
from utils.fetching.checksums import Checksums
from utils.fetching.download import PATIENCE, Job, fetch_all, require_space, sizes
from utils.fetching.http import Patience
from utils.fetching.part import files_of
from utils.fetching.sources import Source
from utils.fetching.unpack import OFFICIAL, is_unpacked, unpack
from utils.fetching.unpacked import UNPACKED, unpacked
from utils.system.console import say
from utils.system.errors import DataError
from utils.system.files import locked, write_json

ARCHIVES = "archives"
RECORD = "downloads.json"  # what was fetched; `fetching.checksums`
PICTURES = {".jpg", ".jpeg", ".png"}


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
    busy = f"another download into {folder} is running; wait until it has ended"
    try:
        with locked(folder / ".download.lock", busy):
            record = Checksums(folder / RECORD)
            todo = [source for source in wanted if not _was_unpacked(source, folder)]
            jobs = [_job(source, folder, base_url, record) for source in todo]
            _require_room(folder, todo, jobs, remove_archives, patience)
            fetched = fetch_all(jobs, workers, patience=patience)
            for source, found in zip(todo, fetched, strict=True):
                if source.folder:
                    _unpack(source, folder, found.path)
                record.record(source.name, found)
                if source.folder and remove_archives:
                    found.path.unlink()
    except BlockingIOError as error:
        raise DataError(f"{error}.") from error


def _job(source: Source, folder: Path, base_url: str, record: Checksums) -> Job:
    home, kind = (folder / ARCHIVES, "zip") if source.folder else (folder, "csv")
    url = f"{base_url.rstrip('/')}/{source.name}"
    return Job(url, home / source.name, kind, record.expected(source.name))


def _require_room(
    folder: Path, todo: list[Source], jobs: list[Job], remove: bool, patience: Patience
) -> None:
    """Room for what is to come, and for what archives hold: all of it, or the largest one.

    Photos and masks are compressed already: they are as large outside an archive as in it.
    """
    coming, unpacking = 0, [0]
    for source, job in zip(todo, jobs, strict=True):
        coming += (left := sizes([job], patience))
        held = [path.stat().st_size for path in (job.path, files_of(job.path)[0]) if path.exists()]
        if source.folder and not (
            job.path.exists() and is_unpacked(job.path, folder / source.folder)
        ):
            unpacking.append(left + sum(held))
    needed = coming + (max(unpacking) if remove else sum(unpacking))
    require_space(folder, needed, f"ISIC 2017 ({len(jobs)} files)")


def _unpack(source: Source, folder: Path, archive: Path) -> None:
    found = unpack(archive, folder / source.folder)
    with opened(archive) as zipped:
        members, _ = select(archive, zipped.infolist(), OFFICIAL)
    crcs = {name: member.CRC for name, member in sorted(members.items())}
    write_json(folder / UNPACKED, unpacked(folder) | {source.folder: crcs})
    left = f", {found.skipped} left out" * bool(found.skipped)
    say(f"{source.folder}: {found.files} files{left}")


def _was_unpacked(source: Source, folder: Path) -> bool:
    """Whether the archive was unpacked and removed, and its files are all here.

    A folder that was filled by hand needs the official number of pictures.
    """
    if not source.folder or (folder / ARCHIVES / source.name).exists():
        return False
    home = folder / source.folder
    here = {path.name for path in home.glob("*") if path.is_file()}
    if known := unpacked(folder).get(source.folder):
        return here >= known.keys()
    pictures = [Path(name) for name in here if Path(name).suffix.lower() in PICTURES]
    return sum(not path.stem.endswith("_superpixels") for path in pictures) >= source.files
