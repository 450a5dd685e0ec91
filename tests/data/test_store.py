"""The prepared store: right pixels, decoded once, never half-written, constant in memory."""

import errno
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import trees
from PIL import Image

from utils import data
from utils.data import store
from utils.system import disk
from utils.system.errors import DataError
from utils.system.project import PROJECT

FILES = ("images.npy", "masks.npy", "index.csv")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """12 training images of 40×30 px."""
    return trees.add_split(tmp_path / "tree", "train", "mkbbmkbbmkbb")


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Names of the images that are decoded from here on."""
    names = []

    def decode(image, *rest, original=store.decode):
        names.append(Path(image).stem)
        return original(image, *rest)

    monkeypatch.setattr(store, "decode", decode)
    return names


def prepare(tree: Path, size: int | tuple[int, int] = 16, **options) -> store.Store:
    return store.prepare(tree, data.read(tree, **options), size)


def content(prepared: store.Store) -> dict[str, bytes]:
    return {name: (prepared.folder / name).read_bytes() for name in FILES}


def folders(tree: Path) -> list[str]:
    """What preparing made in the tree, without the lock files."""
    names = [path.name for path in tree.iterdir()]
    return sorted(name for name in names if name.startswith("prepared"))


# --- pixels ---


@pytest.mark.parametrize("size", [16, (24, 12), 40, (40, 30), 64], ids=str)
def test_pixels_equal_an_independent_decoding(tree, size):
    prepared, rows = prepare(tree, size), data.read(tree)
    width, height = (size, size) if isinstance(size, int) else size
    way = cv2.INTER_AREA if width * height < 40 * 30 else cv2.INTER_LINEAR
    for place, row in enumerate(rows.itertuples()):
        whole = np.asarray(Image.open(row.image).convert("RGB"))
        expected = cv2.resize(whole, (width, height), interpolation=way)
        np.testing.assert_array_equal(prepared.image(place), expected)
        mask = cv2.resize(np.asarray(Image.open(row.mask)), (width, height), interpolation=way)
        np.testing.assert_array_equal(prepared.mask(place), np.where(mask > 127, 255, 0))
        assert set(np.unique(prepared.mask(place))) == {0, 255}
    assert prepared.shape == (height, width)
    assert prepared.folder.name == f"prepared-{size if width == height else f'{width}x{height}'}"


def test_colours_are_rgb_and_shrinking_is_averaging(tree):
    # 40×30 px, left half pure red, right half black; 4 columns of 10 px, the middle ones mixed
    # when 3 columns are made of it.
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:, :20, 0] = 240
    Image.fromarray(pixels).save(trees.images(tree) / "ISIC_0000001.png")
    (trees.images(tree) / "ISIC_0000001.jpg").unlink()
    image = prepare(tree, (3, 3)).image(0)
    assert image[0].tolist() == [[240, 0, 0], [120, 0, 0], [0, 0, 0]]


def test_missing_masks_are_empty_and_known(tree):
    (trees.masks(tree) / "ISIC_0000003_segmentation.png").unlink()
    prepared = prepare(tree)
    assert prepared.index["has_mask"].tolist() == [True, True, False, *[True] * 9]
    assert not prepared.mask(2).any()
    assert prepared.mask(1).any()


def test_index(tree):
    prepared, rows = prepare(tree), data.read(tree)
    assert prepared.index["id"].tolist() == rows["id"].tolist()
    assert prepared.index["label"].tolist() == rows["label"].tolist()
    assert (prepared.index["width"] == 40).all()
    assert (prepared.index["height"] == 30).all()
    assert prepared.positions(rows.iloc[[5, 2]]).tolist() == [5, 2]
    with pytest.raises(KeyError, match="nobody"):
        prepared.positions(pd.DataFrame({"id": ["nobody"]}))


def test_store_is_small_to_send_and_reads_elsewhere(tree):
    prepared = prepare(tree, 64)
    sent = pickle.dumps(prepared)
    assert len(sent) < 10_000  # its images have 150 kB
    np.testing.assert_array_equal(pickle.loads(sent).image(7), prepared.image(7))


def test_an_image_is_the_callers_own(tree):
    prepared = prepare(tree)
    before = prepared.image(0)
    prepared.image(0)[:] = 0
    prepared.mask(0)[:] = 0
    np.testing.assert_array_equal(prepared.image(0), before)
    assert prepared.mask(0).any()


def test_open_without_a_store(tmp_path):
    with pytest.raises(DataError, match=r"no prepared store in .*nothing; prepare one"):
        store.open_store(tmp_path / "nothing")


# --- decoded once ---


def test_second_call_decodes_nothing(tree, decoded):
    first = prepare(tree)
    assert sorted(decoded) == trees.ids("train", 12)
    decoded.clear()
    written = {name: (first.folder / name).stat().st_mtime_ns for name in FILES}
    second = prepare(tree)
    assert decoded == []
    assert written == {name: (second.folder / name).stat().st_mtime_ns for name in FILES}
    pd.testing.assert_frame_equal(first.index, second.index)
    assert folders(tree) == ["prepared-16"]
    os.utime(trees.images(tree) / "ISIC_0000004.jpg", (1, 1))  # touched, but not changed
    prepare(tree)
    assert decoded == []


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_only_a_changed_source_is_decoded_again(tree, decoded, kind):
    before = prepare(tree)
    images, masks = ([before.image(k) for k in range(12)], [before.mask(k) for k in range(12)])
    decoded.clear()
    if kind == "image":
        trees.write_image(trees.images(tree) / "ISIC_0000004.jpg", 99)
    else:
        file = trees.masks(tree) / "ISIC_0000004_segmentation.png"
        Image.new("L", (40, 30), 255).save(file)
    after = prepare(tree)
    assert decoded == ["ISIC_0000004"]
    changed = [not np.array_equal(after.image(k), images[k]) for k in range(12)]
    changed_masks = [not np.array_equal(after.mask(k), masks[k]) for k in range(12)]
    assert [k for k in range(12) if changed[k] or changed_masks[k]] == [3]
    assert (changed[3], changed_masks[3]) == (kind == "image", kind == "mask")
    assert folders(tree) == ["prepared-16"]


def test_removed_mask_is_noticed(tree, decoded):
    prepare(tree)
    decoded.clear()
    (trees.masks(tree) / "ISIC_0000002_segmentation.png").unlink()
    after = prepare(tree)
    assert decoded == ["ISIC_0000002"]
    assert not after.mask(1).any()


def test_changed_label_is_kept_up_without_decoding(tree, decoded):
    prepare(tree)
    decoded.clear()
    table = trees.table(tree)
    trees.write_labels(table, trees.labels("train", "bkbbmkbbmkbb"))
    assert prepare(tree).index["label"].tolist()[:2] == [2, 1]
    assert decoded == []


def test_rows_added_later_keep_old_positions(tree, decoded):
    first = prepare(tree)
    old = [first.image(k) for k in range(12)]
    decoded.clear()
    trees.add_split(tree, "validation", "mkb")
    trees.write_image(trees.images(tree) / "ISIC_0000000.jpg", 0)
    table = trees.table(tree)
    trees.write_labels(table, [("ISIC_0000000", 0, 0), *trees.labels("train", "mkbbmkbbmkbb")])
    second = prepare(tree)
    assert sorted(decoded) == ["ISIC_0000000", *trees.ids("validation", 3)]
    assert second.index["id"].tolist()[:12] == trees.ids("train", 12)
    assert len(second.index) == 16
    for place in range(12):
        np.testing.assert_array_equal(second.image(place), old[place])
        # A run that opened the store before reads on.
        np.testing.assert_array_equal(first.image(place), old[place])
    place = second.positions(pd.DataFrame({"id": ["ISIC_0000000"]}))[0]
    expected = np.asarray(Image.open(trees.images(tree) / "ISIC_0000000.jpg"))
    expected = cv2.resize(expected, (16, 16), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(second.image(place), expected)


def test_fewer_rows_decode_nothing_and_lose_nothing(tree, decoded):
    prepare(tree)
    decoded.clear()
    rows = data.read(tree)
    fewer = store.prepare(tree, rows.iloc[3:6], 16)
    assert fewer.positions(rows.iloc[3:6]).tolist() == [3, 4, 5]
    assert len(fewer.index) == 12
    assert decoded == []


def test_sizes_lie_side_by_side(tree, decoded):
    prepare(tree, 16)
    prepare(tree, (24, 16))
    decoded.clear()
    prepare(tree, 16)
    assert decoded == []
    assert folders(tree) == ["prepared-16", "prepared-24x16"]


# --- never half-written ---


def interrupt_at(monkeypatch, id_: str, error: BaseException) -> None:
    def decode(image, *rest, original=store.decode):
        if Path(image).stem == id_:
            raise error
        return original(image, *rest)

    monkeypatch.setattr(store, "decode", decode)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()], ids=repr)
def test_interrupted_preparing_goes_on(tree, tmp_path, monkeypatch, error):
    twin = shutil.copytree(tree, tmp_path / "twin")
    monkeypatch.setattr(store, "CHUNK", 4)
    monkeypatch.setattr(store, "NOTE_EVERY", 0.0)
    with monkeypatch.context() as patched:
        interrupt_at(patched, "ISIC_0000010", error)
        with pytest.raises(type(error)):
            prepare(tree)
    assert folders(tree) == ["prepared-16.partial"]  # two chunks of four
    with pytest.raises(DataError, match="no prepared store"):
        store.open_store(tree / "prepared-16")
    with monkeypatch.context() as patched:
        interrupt_at(patched, "ISIC_0000008", AssertionError("decoded twice"))
        resumed = prepare(tree)
    assert folders(tree) == ["prepared-16"]
    assert content(resumed) == content(prepare(twin))


KILLED = """
import os, signal, sys
from pathlib import Path
from utils import data
from utils.data import store

store.CHUNK, store.NOTE_EVERY = 4, 0.0
original = store.decode

def decode(image, *rest):
    if Path(image).stem == "ISIC_0000010":
        os.kill(os.getpid(), signal.SIGKILL)
    return original(image, *rest)

store.decode = decode
tree = Path(sys.argv[1])
store.prepare(tree, data.read(tree), 16)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_preparing_goes_on(tree, tmp_path, decoded):
    twin = shutil.copytree(tree, tmp_path / "twin")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tree)], capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    assert folders(tree) == ["prepared-16.partial"]
    resumed = prepare(tree)
    assert sorted(decoded) == [f"ISIC_{k:07d}" for k in (9, 10, 11, 12)]
    assert content(resumed) == content(prepare(twin))


def test_interrupted_addition_leaves_the_finished_store(tree, monkeypatch):
    before = content(prepare(tree))
    trees.add_split(tree, "validation", "mkb")
    with monkeypatch.context() as patched:
        interrupt_at(patched, "ISIC_0000102", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            prepare(tree)
    assert content(store.open_store(tree / "prepared-16")) == before
    assert len(prepare(tree).index) == 15
    assert folders(tree) == ["prepared-16"]


def test_interrupted_between_the_two_renames(tree, tmp_path, monkeypatch, decoded):
    twin = shutil.copytree(tree, tmp_path / "twin")
    prepare(tree)
    for root in (tree, twin):
        trees.write_image(trees.images(root) / "ISIC_0000004.jpg", 99)
        os.utime(trees.images(root) / "ISIC_0000004.jpg", (1, 1))

    def rename(self, target, original=Path.rename):
        if self.name.endswith(".partial"):
            raise KeyboardInterrupt
        return original(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            prepare(tree)
    decoded.clear()
    after = prepare(tree)
    assert decoded == []
    assert content(after) == content(prepare(twin))
    assert folders(tree) == ["prepared-16"]


# --- sources that cannot be read ---


def damage(tree: Path) -> None:
    folder = trees.images(tree)
    whole = (folder / "ISIC_0000002.jpg").read_bytes()
    (folder / "ISIC_0000002.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "ISIC_0000007.jpg").write_text("<html>404 Not Found</html>")
    (folder / "ISIC_0000009.jpg").write_bytes(b"")


def test_unreadable_images_are_named_and_the_others_kept(tree, decoded):
    intact = {k: (tree / f"ISIC-2017_Training_Data/ISIC_000000{k}.jpg").read_bytes() for k in "279"}
    damage(tree)
    with pytest.raises(DataError, match="files that cannot be used") as error:
        prepare(tree)
    for number in (2, 7, 9):
        assert f"ISIC_000000{number}.jpg" in str(error.value)
    assert "Truncated" in str(error.value)
    assert folders(tree) == ["prepared-16.partial"]
    for number, content in intact.items():
        (tree / f"ISIC-2017_Training_Data/ISIC_000000{number}.jpg").write_bytes(content)
    decoded.clear()
    prepared = prepare(tree)
    assert sorted(decoded) == ["ISIC_0000002", "ISIC_0000007", "ISIC_0000009"]
    assert len(prepared.index) == 12
    assert folders(tree) == ["prepared-16"]


def test_unreadable_images_can_be_left_out(tree, decoded):
    damage(tree)
    with pytest.raises(DataError, match=r"allow_missing=True.*What was decoded is kept"):
        prepare(tree)
    for number in (2, 7, 9):
        (trees.images(tree) / f"ISIC_000000{number}.jpg").unlink()
    decoded.clear()
    prepared = prepare(tree, allow_missing=True)
    assert decoded == []
    rows = data.read(tree, allow_missing=True)
    assert len(rows) == 9
    for place, row in zip(prepared.positions(rows), rows.itertuples(), strict=True):
        whole = np.asarray(Image.open(row.image))
        expected = cv2.resize(whole, (16, 16), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(prepared.image(place), expected)


def test_truncated_mask_is_named(tree):
    mask = trees.masks(tree) / "ISIC_0000003_segmentation.png"
    mask.write_bytes(mask.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"cannot be used: ISIC_0000003_segmentation\.png"):
        prepare(tree)


# --- places and neighbours ---


@pytest.fixture
def read_only(tree: Path) -> Iterator[Path]:
    """The tree, where nothing may be written."""
    tree.chmod(0o555)
    yield tree
    tree.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_read_only_data_is_prepared_in_the_project(read_only, tmp_path, monkeypatch, decoded):
    monkeypatch.setattr("utils.system.project.PROJECT", tmp_path / "project")
    before = sorted(read_only.iterdir())
    prepared = prepare(read_only)
    assert sorted(read_only.iterdir()) == before
    assert prepared.folder.parent.parent == tmp_path / "project" / "Data"
    assert prepared.folder.name == "prepared-16"
    decoded.clear()
    assert prepare(read_only).folder == prepared.folder
    assert decoded == []


def test_threads_that_prepare_at_once(tree, decoded):
    rows, stores = data.read(tree), []
    threads = [
        threading.Thread(target=lambda: stores.append(store.prepare(tree, rows, 16)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 3
    assert sorted(decoded) == trees.ids("train", 12)
    assert folders(tree) == ["prepared-16"]


SLOW = """
import sys, time
from pathlib import Path
from utils import data
from utils.data import store

original = store.decode

def decode(image, *rest):
    print("decoding", flush=True)
    time.sleep(0.1)
    return original(image, *rest)

store.decode = decode
tree = Path(sys.argv[1])
print(store.prepare(tree, data.read(tree), 16, workers=1).fingerprint(data.read(tree)))
"""


def test_a_second_process_waits_for_the_first(tree, decoded):
    rows = data.read(tree)
    command = [sys.executable, "-c", SLOW, str(tree)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "decoding\n"
        assert folders(tree) == ["prepared-16.partial"]
        second = prepare(tree)
        said = first.communicate(timeout=120)[0].split()
    assert first.returncode == 0
    assert decoded == []
    assert said == [*["decoding"] * 11, second.fingerprint(rows)]
    assert folders(tree) == ["prepared-16"]


# --- the fingerprint of what a run is trained on ---


def test_fingerprint_changes_with_what_a_run_sees(tree):
    prepared, rows = prepare(tree), data.read(tree)
    first = prepared.fingerprint(rows)
    assert len(first) == 16
    assert prepared.fingerprint(rows.sample(frac=1, random_state=1)) == first
    assert prepare(tree, 24).fingerprint(rows) == first  # the size is a setting of its own
    relabelled = rows.assign(label=[2, *rows["label"][1:]])
    assert prepared.fingerprint(relabelled) != first
    resplit = rows.assign(split=["test", *rows["split"][1:]])
    assert prepared.fingerprint(resplit) != first
    assert prepared.fingerprint(rows.iloc[1:]) != first
    swapped = rows.assign(label=rows["label"][::-1].to_numpy())
    assert prepared.fingerprint(swapped) != first


def test_fingerprint_changes_with_a_source(tree):
    rows = data.read(tree)
    first = prepare(tree).fingerprint(rows)
    image = trees.images(tree) / "ISIC_0000001.jpg"
    os.utime(image, (1, 1))
    assert prepare(tree).fingerprint(rows) == first
    trees.write_image(image, 99)
    assert prepare(tree).fingerprint(rows) != first


# --- constant memory ---

MEASURED = """
import resource, sys
from pathlib import Path

import numpy as np
import pandas as pd

from utils.data import loaders, patches, store

def peak():
    unit = 1 if sys.platform == "darwin" else 1024
    of = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(who).ru_maxrss for who in of) * unit / 2**20

def prepared(folder, count, side):
    # Sparse files: 20 000 images that take no room on the disk.
    folder.mkdir()
    for name, shape in (("images.npy", (side, side, 3)), ("masks.npy", (side, side))):
        np.lib.format.open_memmap(folder / name, "w+", np.uint8, (count, *shape))
    table = pd.DataFrame({"id": [f"ISIC_{k:07d}" for k in range(count)]})
    table = table.assign(split="train", label=2, age=50.0, sex="male", width=side, height=side)
    table = table.assign(has_mask=True, image_stat="1:1", mask_stat="1:1")
    table = table.assign(sha256="0" * 16, mask_sha256="0" * 16)
    table.to_csv(folder / "index.csv", index=False)
    return store.open_store(folder)

def run(folder, count, side, train, workers):
    opened = prepared(folder, count, side)
    views = patches.TestViews(opened, opened.index, side, views=1)
    seen = sum(len(batch["label"]) for batch in loaders.evaluation_loader(views, 32, workers))
    assert seen == count
    if train:
        transform = patches.training_transform(32, (0.5, 1.0))
        seen = patches.TrainingPatches(opened, opened.index, transform, 0)
        loader = loaders.shuffled_loader(seen, 32, workers)
        assert sum(len(batch["label"]) for batch in loader) == count // 32 * 32

folder, side, train, workers = Path(sys.argv[1]), *map(int, sys.argv[2:])
run(folder / "few", 200, side, train, workers)
few = peak()
run(folder / "many", 20_000, side, train, workers)
print(peak() - few)
"""


def growth(folder: Path, *settings: int) -> float:
    """MB that 20 000 images need more than 200 (side of the images, train or not, workers)."""
    command = [sys.executable, "-c", MEASURED, str(folder), *map(str, map(int, settings))]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


needs_resource = pytest.mark.skipif(os.name == "nt", reason="Windows has no resource module")


@needs_resource
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    assert growth(tmp_path, 64, False, 0) < 50  # the images have 246 MB


@needs_resource
@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_memory_does_not_grow_in_training_either(tmp_path, workers):
    assert growth(tmp_path, 128, True, workers) < 50  # the images have 983 MB


def test_too_little_room_is_said_before_anything_is_written(demo_rows, tmp_path, monkeypatch):
    folder = tmp_path / "set"
    folder.mkdir()
    monkeypatch.setattr(disk, "free_space", lambda _: 100_000)
    wanted = (
        r"40 images would take 2\.6 MB in .*, where 100\.0 kB are free; make room, or prepare them"
    )
    with pytest.raises(DataError, match=wanted):
        store.prepare(folder, demo_rows, 128)
    assert not [path for path in folder.iterdir() if not path.name.endswith(".lock")]


FULL = """
import resource, signal, sys
from pathlib import Path
from utils import data
from utils.data import store
from utils.system.errors import DataError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
rows = data.read(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    store.prepare(Path(sys.argv[2]), rows, 64)
except DataError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux sets such limits, and reserves room"
)
@pytest.mark.parametrize("limit", [1_000, 200_000, 500_000])
def test_a_disk_that_is_full_ends_in_a_sentence(limit, demo_set, demo_rows, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    command = [sys.executable, "-c", FULL, str(demo_set), str(folder), str(limit)]
    # Coverage could not write its file either, and would say so.
    clean = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    ended = subprocess.run(
        command, cwd=PROJECT, env=clean, capture_output=True, text=True, check=False
    )
    if limit < 40 * 64 * 64 * 3:
        assert ended.returncode == 1
        assert "cannot be written" in ended.stderr
        assert "Make room" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert not (folder / "prepared-64").exists()
    made = store.prepare(folder, demo_rows, 64)
    assert len(made.index) == 40


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EACCES, r"cannot be written \(Permission denied\); make its folder writable"),
        (errno.EROFS, r"cannot be written \(Read-only file system\); make its folder"),
        (errno.ENOSPC, r"cannot be written \(No space left on device\); .* are free\. Make room"),
    ],
)
def test_a_folder_that_cannot_be_written(number, message, demo_rows, tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store, "write_index", refused)
    with pytest.raises(DataError, match=message):
        store.prepare(tmp_path, demo_rows, 32)


def test_other_faults_of_the_system_are_not_called_full_disks(demo_rows, tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "gone")

    monkeypatch.setattr(store, "write_index", refused)
    with pytest.raises(FileNotFoundError):
        store.prepare(tmp_path, demo_rows, 32)
