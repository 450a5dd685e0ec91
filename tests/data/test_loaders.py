"""Patches and views: right places and sizes, and the same in every setting."""

import dataclasses
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from utils import model
from utils.data import loaders, store
from utils.data import workers as processes
from utils.data.loaders import EpochSampler
from utils.data.patches import VIEWS, TestViews, TrainingPatches, training_transform, view
from utils.system.errors import DataError

SIDE = 250  # of the coded images

# Worker processes on a machine with one core, or forked by a python that warns of it.
workers_may_warn = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def coded_image() -> np.ndarray:
    """(250, 250, 3): red is the column, green the row, blue 100 everywhere."""
    image = np.full((SIDE, SIDE, 3), 100, np.uint8)
    image[..., 0], image[..., 1] = np.arange(SIDE), np.arange(SIDE)[:, None]
    return image


@pytest.fixture(scope="module")
def coded(mktemp: Callable[[str], Path]) -> store.Store:
    """A store of 160 coded images, without masks."""
    folder = mktemp("coded")
    np.save(folder / "images.npy", np.repeat(coded_image()[None], 160, axis=0))
    np.save(folder / "masks.npy", np.zeros((160, SIDE, SIDE), np.uint8))
    index = pd.DataFrame({"id": [f"ISIC_{k:07d}" for k in range(160)], "split": "train"})
    index = index.assign(label=np.arange(160) % 3, age=np.nan, sex="unknown", width=SIDE)
    index = index.assign(height=SIDE, has_mask=False, sha256="0" * 16, mask_sha256="none")
    index.assign(image_stat="1:1", mask_stat="").to_csv(folder / "index.csv", index=False)
    return store.open_store(folder)


def patches_of(
    prepared: store.Store, scales: tuple[float, ...] = (0.5, 1.0), seed: int = 0, **options
) -> TrainingPatches:
    transform = training_transform(options.pop("size", 32), scales, **options)
    return TrainingPatches(prepared, prepared.index, transform, seed)


@pytest.fixture
def patches(demo_store) -> TrainingPatches:
    return patches_of(demo_store, colour=0.2)


def epoch_of(loader: torch.utils.data.DataLoader, epoch: int, skip: int = 0) -> dict:
    """All batches of an epoch, put together."""
    loader.sampler.start_at(epoch, skip)
    with loaders.startable_workers():
        batches = iter(loader)
    batches = list(batches)
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def same(one: dict, other: dict) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


# --- randomness is a function of (seed, epoch, sample) ---


def test_a_key_gives_one_patch(demo_store, patches):
    keys = [(0, 3), (7, 3), (0, 4)]
    first = [patches[key]["image"] for key in keys]
    other = patches_of(demo_store, colour=0.2)
    for key, image in reversed(list(zip(keys, first, strict=True))):
        np.testing.assert_array_equal(other[key]["image"], image)


def test_epochs_samples_and_seeds_differ(coded):
    # The images are all the same, so whatever differs is the augmentation.
    patches = patches_of(coded)
    keys = [(epoch, index) for epoch in range(8) for index in range(8)]
    seen = {patches[key]["image"].tobytes() for key in keys}
    assert len(seen) == 64
    other = patches_of(coded, seed=1)
    assert not seen & {other[key]["image"].tobytes() for key in keys}


def test_a_sample_says_which_image_it_is(demo_store, patches):
    sample = patches[2, 5]
    assert sample["index"] == 5
    assert sample["label"] == demo_store.index["label"][5]
    assert patches.ids[5] == demo_store.index["id"][5]
    assert sample["image"].shape == (32, 32, 3)
    assert sample["image"].dtype == np.uint8


def test_rows_in_another_order_than_the_store(demo_store, demo_rows):
    rows = demo_rows.iloc[::-3].reset_index(drop=True)
    views = TestViews(demo_store, rows, 64, views=1)
    for place, id_ in enumerate(rows["id"]):
        position = demo_store.index["id"].tolist().index(id_)
        np.testing.assert_array_equal(views[place]["image"][0], demo_store.image(position))
        assert views[place]["label"] == demo_store.index["label"][position]


class TestWorkers:
    pytestmark = workers_may_warn

    def test_number_of_workers_changes_nothing(self, patches):
        loader = loaders.shuffled_loader(patches, 8, 0)
        expected = [epoch_of(loader, epoch) for epoch in range(2)]
        assert not same(*expected)
        for workers in (1, 2):
            loader = loaders.shuffled_loader(patches, 8, workers)
            for epoch in range(2):  # the second with the workers of the first
                assert same(epoch_of(loader, epoch), expected[epoch])

    def test_skipping_goes_on_with_what_is_left(self, patches):
        whole = epoch_of(loaders.shuffled_loader(patches, 8, 0), 3)
        for workers in (0, 2):
            loader = loaders.shuffled_loader(patches, 8, workers)
            left = epoch_of(loader, 3, skip=16)
            assert same(left, {name: values[16:] for name, values in whole.items()})
            assert same(epoch_of(loader, 3), whole)  # an epoch that is not cut short

    def test_views_come_in_order(self, demo_store):
        views = TestViews(demo_store, demo_store.index, 48, views=2)
        expected = np.stack([views[k]["image"] for k in range(len(views))])
        for workers in (0, 2):
            batches = list(loaders.evaluation_loader(views, 14, workers))
            assert torch.cat([b["index"] for b in batches]).tolist() == list(range(len(views)))
            images = torch.cat([batch["image"] for batch in batches]).movedim(-3, -1)
            np.testing.assert_array_equal(images.numpy(), expected)


def test_sampler_gives_every_sample_once():
    sampler = EpochSampler(50, seed=0)
    orders = []
    for epoch in range(3):
        sampler.start_at(epoch)
        keys = list(sampler)
        assert keys == list(sampler)
        assert {key[0] for key in keys} == {epoch}
        assert sorted(index for _, index in keys) == list(range(50))
        orders.append([index for _, index in keys])
    assert orders[0] != orders[1] != orders[2] != orders[0]
    other = [index for _, index in EpochSampler(50, seed=1)]
    assert other != orders[0]
    sampler.start_at(2, skip=30)
    assert [index for _, index in sampler] == orders[2][30:]
    assert len(sampler) == 20


# --- patches to train on ---


def test_colour_jitter(coded):
    plain, coloured = patches_of(coded, (1.0,)), patches_of(coded, (1.0,), colour=0.3)
    assert {int(plain[0, k]["image"][16, 16, 2]) for k in range(30)} == {100}
    blue = {int(coloured[0, k]["image"][16, 16, 2]) for k in range(30)}
    assert len(blue) > 10
    assert min(blue) < 90
    assert max(blue) > 110


# --- views to test on ---


def test_plain_and_flipped_views():
    image = coded_image()
    flipped = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]]
    for number, expected in enumerate(flipped):
        np.testing.assert_array_equal(view(image, number, SIDE), expected)
    expected = cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(view(image, 0, 96), expected)


@pytest.mark.parametrize(
    ("number", "left", "top"), [(4, 0, 0), (5, 50, 0), (6, 0, 50), (7, 50, 50), (8, 25, 25)]
)
def test_cropped_views(number, left, top):
    # 80 % of 250 px are 200 px.
    crop = view(coded_image(), number, 200)
    np.testing.assert_array_equal(crop, coded_image()[top : top + 200, left : left + 200])
    assert view(coded_image(), number, 64).shape == (64, 64, 3)


def test_views_of_one_image(demo_store):
    rows = demo_store.index
    views = TestViews(demo_store, rows, 48)
    assert VIEWS == 9
    sample = views[3]
    assert sample["image"].shape == (9, 48, 48, 3)
    assert len({view.tobytes() for view in sample["image"]}) == 9
    for number in range(9):
        expected = view(demo_store.image(3), number, 48)
        np.testing.assert_array_equal(sample["image"][number], expected)
    one = TestViews(demo_store, rows, 48, views=1)[3]["image"]
    np.testing.assert_array_equal(one, sample["image"][:1])


@pytest.mark.parametrize("views", [0, 10])
def test_number_of_views_that_do_not_exist(demo_store, views):
    expected = rf"views is {views}; expected 1 \(the plain image\) to 9"
    with pytest.raises(ValueError, match=expected):
        TestViews(demo_store, demo_store.index, 48, views=views)


# --- batches ---


def test_batches_are_channels_last_bytes(demo_store, patches):
    batch = next(iter(loaders.shuffled_loader(patches, 8, 0)))
    assert batch["image"].shape == (8, 3, 32, 32)
    assert batch["image"].dtype == torch.uint8
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert (batch["label"].dtype, batch["index"].dtype) == (torch.int64, torch.int64)
    sample = patches[0, batch["index"][5].item()]
    np.testing.assert_array_equal(batch["image"][5].permute(1, 2, 0).numpy(), sample["image"])
    views = next(
        iter(loaders.evaluation_loader(TestViews(demo_store, demo_store.index, 48), 18, 0))
    )
    assert views["image"].shape == (2, 9, 3, 48, 48)
    flat = views["image"].flatten(0, 1)
    assert flat.is_contiguous(memory_format=torch.channels_last)
    assert flat.data_ptr() == views["image"].data_ptr()  # no copy


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(16, [16, 16]), (39, [39]), (40, [40]), (64, [40])]
)
def test_a_smaller_last_batch_is_dropped_unless_it_is_the_only_one(patches, batch_size, sizes):
    loader = loaders.shuffled_loader(patches, batch_size, 0)
    assert len(patches) == 40
    assert [len(batch["label"]) for batch in loader] == sizes
    assert len(loader) == len(sizes)


@pytest.mark.parametrize(("batch_size", "images"), [(32, 3), (9, 1), (4, 1)])
def test_evaluation_batches_count_views(demo_store, batch_size, images):
    views = TestViews(demo_store, demo_store.index, 16)
    sizes = [len(batch["label"]) for batch in loaders.evaluation_loader(views, batch_size, 0)]
    assert max(sizes) == images
    assert sum(sizes) == 40


def test_masks_are_not_needed(demo_store, tmp_path):
    folder = shutil.copytree(demo_store.folder, tmp_path / "store")
    (folder / "masks.npy").unlink()
    without = dataclasses.replace(demo_store, folder=folder)
    assert patches_of(without)[0, 0]["image"].shape == (32, 32, 3)
    assert TestViews(without, without.index, 32)[0]["image"].shape == (9, 32, 32, 3)


def test_default_workers(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert processes.default_workers() == 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for cores, workers in ((4, 4), (64, 8)):
        monkeypatch.setattr(processes, "cores", lambda cores=cores: cores)
        assert processes.default_workers() == workers


BATCH = 8 * (32 * 32 * 3 + 2 * 8)  # bytes of eight patches with label and index


class TestSharedMemory:
    """What a container without much of it can do."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(processes, "SHARED", tmp_path)
        monkeypatch.setattr(processes, "free_space", lambda _: 6 * BATCH)

    def test_workers_that_fit_are_used(self, patches):
        assert loaders.shuffled_loader(patches, 8, 2).num_workers == 2

    def test_more_than_fit_are_refused_with_what_does(self, patches):
        with pytest.raises(DataError, match=r"^3 workers need .*; use workers=2 or workers=0, or"):
            loaders.shuffled_loader(patches, 8, 3)
        with pytest.raises(DataError, match=r"; use workers=0, or .* \(docker run --shm-size=2g"):
            loaders.shuffled_loader(patches, 24, 1)

    def test_nobody_asked_for_so_many(self, patches, monkeypatch, capsys):
        monkeypatch.setattr(loaders, "default_workers", lambda: 8)
        for _ in range(2):
            assert loaders.shuffled_loader(patches, 8, None).num_workers == 2
        assert capsys.readouterr().out.count("8 workers need ") == 1

    def test_views_count(self, demo_store, demo_rows):
        views = TestViews(demo_store, demo_rows, 32)
        with pytest.raises(DataError, match="1 workers need"):
            loaders.evaluation_loader(views, 9 * 24, 1)

    def test_other_systems_have_none(self, patches, monkeypatch):
        monkeypatch.setattr(sys, "platform", "darwin")
        assert loaders.shuffled_loader(patches, 24, 1).num_workers == 1


class Broken(loaders.LesionDataset):
    """A worker that dies, or stands still, over its second image."""

    def __init__(self, store, rows, fault: str) -> None:
        super().__init__(store, rows)
        self.fault = fault

    def __getitem__(self, index: int) -> dict:
        if index and self.fault == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if index:
            time.sleep(1.5)
        return {"image": np.zeros((8, 8, 3), np.uint8), "label": 0, "index": index}


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="nothing tells of a dead process")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "dies",
            r"^a worker that loads images has died \(.*\); .*workers=0, and call it",
        ),
        (
            "stands still",
            r"^the workers .* have sent nothing for 0.5 s; .* workers=0, and",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_fails_ends_in_a_sentence(demo_store, demo_rows, monkeypatch, fault, message):
    for module in (processes, loaders):
        monkeypatch.setattr(module, "PATIENCE", 0.5 if fault == "stands still" else 60)
    loader = loaders.evaluation_loader(Broken(demo_store, demo_rows, fault), 1, 1)
    with pytest.raises(RuntimeError, match=message):
        list(loaders.batches(loader))


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="nothing tells of a dead process")
@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_dies_while_the_network_computes_ends_in_a_sentence(demo_store, demo_rows):
    """torch raises then in the middle of the step, not where a batch is asked for."""

    class Slow(torch.nn.Conv2d):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            time.sleep(20)  # which the signal ends
            return super().forward(images)

    loader = loaders.evaluation_loader(Broken(demo_store, demo_rows, "dies"), 1, 1)
    with pytest.raises(processes.WorkerError, match=r"^a worker that .* has died \(DataLoader"):
        model.training.predict(Slow(3, 3, 1), loader)


# --- processes ---

# As a converted notebook: no guard, and a class of the notebook's own beside.
SCRIPT = """
import contextlib
import multiprocessing
import socket
import sys
import time
from pathlib import Path

print("the script runs", flush=True)
asked = []
socket.create_connection = lambda address, *_, **__: asked.append(address) or 1 / 0
method, guarded, folder = sys.argv[1:]
multiprocessing.set_start_method(method)

from utils.data import loaders, patches, store

prepared = store.open_store(Path(folder))
views = patches.TestViews(prepared, prepared.index, 32, views=1)
loader = loaders.evaluation_loader(views, 16, workers=1)
with loaders.startable_workers() if guarded == "1" else contextlib.nullcontext():
    batches = iter(loader)
images = sum(len(batch["label"]) for batch in batches)
print(images, "images;", __file__, __spec__, asked)
"""


def run_script(folder: Path, prepared: store.Store, method: str, guarded: bool) -> tuple[int, str]:
    script = folder / "notebook.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), method, str(int(guarded)), str(prepared.folder)]
    # albumentations asks the network for updates, unless this variable is set by who imports it.
    surroundings = {k: v for k, v in os.environ.items() if k != "NO_ALBUMENTATIONS_UPDATE"}
    ended = subprocess.run(
        command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=120
    )
    return ended.returncode, ended.stdout + ended.stderr


SLOW = pytest.mark.slow  # the other tests here fork


@pytest.mark.parametrize(
    "method", [pytest.param("fork", marks=SLOW), pytest.param("forkserver", marks=SLOW), "spawn"]
)
def test_workers_start_from_a_script_without_a_guard(demo_store, tmp_path, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    code, said = run_script(tmp_path, demo_store, method, guarded=True)
    assert code == 0, said
    assert said.count("the script runs") == 1
    # All images, __main__ as it was before, and no look-up on the network.
    assert f"40 images; {tmp_path / 'notebook.py'} None []" in said


@pytest.mark.slow
def test_without_care_the_script_runs_again_in_the_worker(demo_store, tmp_path):
    code, said = run_script(tmp_path, demo_store, "spawn", guarded=False)
    assert code != 0
    assert said.count("the script runs") > 1


def test_main_module_is_put_back_after_an_error():
    main = sys.modules["__main__"]
    before = {name: getattr(main, name, "none") for name in ("__file__", "__spec__")}
    seen = []
    with pytest.raises(ZeroDivisionError), loaders.startable_workers():
        seen.append((hasattr(main, "__file__"), main.__spec__, 1 / 0))
    assert {name: getattr(main, name, "none") for name in ("__file__", "__spec__")} == before


@pytest.mark.parametrize("scales", [(), (0.0, 0.5), (0.8, 1.2), (-0.5,), (float("nan"),)])
def test_patch_scales_outside_the_image(scales):
    with pytest.raises(ValueError, match=r"patch_scales are .*; expected fractions with 0 < s <="):
        training_transform(32, scales)
