"""ISIC 2017 from the network into a folder: fetched, checked and unpacked once."""

from pathlib import Path

from utils.fetching.checksums import RECORD, UNPACKED, read_record, unpacked
from utils.fetching.download import Job, fetch_all, size_of
from utils.fetching.sources import Source
from utils.fetching.unpack import unpack
from utils.system.console import say
from utils.system.disk import require_room
from utils.system.errors import DataError
from utils.system.files import locked, write_json

ARCHIVES = "archives"
PICTURES = {".jpg", ".jpeg", ".png"}


def fetch_set(
    folder: Path,
    wanted: list[Source],
    base_url: str,
    workers: int = 3,
    remove_archives: bool = False,
) -> None:
    """Fetch the wanted files into folder, and unpack the archives.

    A file's checksum is recorded once its content has proved complete (every member of an archive
    has its own), and compared from then on. Archives are kept in `archives/` unless
    remove_archives. Raises DownloadError, UnpackError, DataError or UnwritableError, each with what
    to do; the next call resumes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    busy = f"another process is already downloading into {folder}; wait until it has ended"
    try:
        with locked(folder / ".download.lock", busy):
            record = read_record(folder / RECORD)
            todo = [source for source in wanted if not _was_unpacked(source, folder)]
            jobs = [_job(source, folder, base_url, record) for source in todo]
            sizes = [size_of(job) for job in jobs]
            _require_room(folder, jobs, sizes, remove_archives)
            hashes = fetch_all(jobs, sizes, workers)
            for source, job, size, sha256 in zip(todo, jobs, sizes, hashes, strict=True):
                if source.folder:
                    _unpack(source, folder, job.path)
                record[source.name] = {"size": size, "sha256": sha256, "url": job.url}
                write_json(folder / RECORD, dict(sorted(record.items())))
                if source.folder and remove_archives:
                    job.path.unlink()
    except BlockingIOError as error:
        raise DataError(f"{error}.") from error


def _job(source: Source, folder: Path, base_url: str, record: dict[str, dict]) -> Job:
    home = folder / ARCHIVES if source.folder else folder
    url = f"{base_url.rstrip('/')}/{source.name}"
    return Job(url, home / source.name, record.get(source.name, {}).get("sha256"))


def _require_room(folder: Path, jobs: list[Job], sizes: list[int], remove: bool) -> None:
    """DataError without room for the downloads and for what the archives hold, all or the largest.

    Photos and masks are compressed already: they are as large outside an archive as in it.
    """
    unpacking = [
        size
        for job, size in zip(jobs, sizes, strict=True)
        if job.path.suffix == ".zip" and not (folder / job.path.stem).exists()
    ]
    needed = sum(sizes) - sum(job.held for job in jobs)
    needed += max(unpacking, default=0) if remove else sum(unpacking)
    cure = (
        "name a folder on another disk with --data-dir, fetch less at a time (--parts, --splits), "
        "or remove each archive once it is unpacked (--remove-archives)"
    )
    require_room(f"ISIC 2017 ({len(jobs)} files)", folder, needed, cure)


def _unpack(source: Source, folder: Path, archive: Path) -> None:
    content = unpack(archive, folder / source.folder)
    write_json(folder / UNPACKED, unpacked(folder) | {source.folder: content.files})
    skipped = f", {content.skipped} skipped" * bool(content.skipped)
    say(f"{source.folder}: {len(content.files)} files{skipped}")


def _was_unpacked(source: Source, folder: Path) -> bool:
    """Whether the archive was unpacked and removed, and all its files are still here.

    A folder filled by hand needs the official number of pictures.
    """
    if not source.folder or (folder / ARCHIVES / source.name).exists():
        return False
    home = folder / source.folder
    here = {path.name for path in home.glob("*") if path.is_file()}
    if held := unpacked(folder).get(source.folder):
        return here >= held.keys()
    pictures = [Path(name) for name in here if Path(name).suffix.lower() in PICTURES]
    return sum(not path.stem.endswith("_superpixels") for path in pictures) >= source.files
