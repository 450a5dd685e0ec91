"""Images and masks go the same way, repeatably, and masks stay binary."""

import dataclasses

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomResizedCrop, functional

from utils import data
from utils.data import augmentation, loaders, store
from utils.data.masks import TestImages, TrainingMasks, centre_crop, training_transform
from utils.system.errors import DataError
from utils.system.size import Size


@pytest.fixture
def oblong(demo_set, demo_rows):
    return store.prepare(demo_set, demo_rows, (96, 64))


def ellipse(width: int, height: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    middle, axes = (width * 2 // 5, height // 2), (width // 5, height // 4)
    return cv2.ellipse(mask, middle, axes, 25, 0, 360, 255, cv2.FILLED)


@pytest.mark.parametrize("size", [(96, 96), (80, 48), (48, 80)])
def test_a_mask_drawn_into_the_image_is_recovered(size):
    mask = ellipse(128, 96)
    image = np.repeat(mask[..., None], 3, axis=2)
    transform = training_transform(Size(*size))
    overlaps, turns = [], set()
    for index in range(60):
        transform.draw(0, 0, index)
        seen = transform(image=image, mask=mask)
        assert seen["image"].shape == (size[1], size[0], 3)
        assert seen["mask"].shape == (size[1], size[0])
        drawn, kept = seen["image"][..., 0] > 127, data.masks.as_label(seen["mask"]) > 0
        overlaps.append((drawn & kept).sum() / (drawn | kept).sum())
        turns.add(kept.tobytes())
    assert min(overlaps) > 0.93
    assert len(turns) == 60  # no two alike


def test_colour_leaves_the_mask_alone():
    mask = ellipse(64, 64)
    image = np.full((64, 64, 3), 120, np.uint8)
    plain, coloured = training_transform(Size(64, 64)), training_transform(Size(64, 64), colour=0.5)
    changed = 0
    for index in range(20):
        seen = []
        for transform in (plain, coloured):
            transform.draw(0, 0, index)
            seen.append(transform(image=image, mask=mask))
        np.testing.assert_array_equal(seen[0]["mask"], seen[1]["mask"])
        changed += (seen[0]["image"] != seen[1]["image"]).any()
    assert 10 <= changed < 20  # it is left out now and then


def batch_of(workers: int, dataset: TrainingMasks) -> dict[str, torch.Tensor]:
    loader = loaders.shuffled_loader(dataset, 8, workers)
    loader.sampler.start_at(2)
    found = list(loaders.batches(loader))
    return {name: torch.cat([batch[name] for batch in found]) for name in found[0]}


def test_runs_repeat_whatever_the_number_of_workers(demo_store, demo_rows):
    train = demo_rows[demo_rows["split"] == "train"]
    dataset = TrainingMasks(demo_store, train, training_transform(Size(48, 48), 0.2), seed=1)
    alone, helped = (batch_of(workers, dataset) for workers in (0, 2))
    assert alone["image"].shape == (24, 3, 48, 48)
    assert alone["label"].shape == (24, 48, 48)
    assert alone["label"].dtype == torch.uint8
    assert set(alone["label"].unique().tolist()) == {0, 1}
    for name, values in alone.items():
        assert torch.equal(values, helped[name])
    other = TrainingMasks(demo_store, train, training_transform(Size(48, 48), 0.2), seed=2)
    assert not torch.equal(batch_of(0, other)["label"], alone["label"])


def test_test_images_come_whole_and_in_order(oblong, demo_rows):
    test = demo_rows[demo_rows["split"] == "test"]
    images = TestImages(oblong, test, (96, 64))
    loader = loaders.evaluation_loader(images, 3, 0)
    batches = list(loaders.batches(loader))
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(8))
    place = oblong.positions(test)[0]
    np.testing.assert_array_equal(images[0]["image"], oblong.image(place))
    np.testing.assert_array_equal(images[0]["label"] * 255, oblong.mask(place))
    small = TestImages(oblong, test, (48, 32))[0]
    assert (small["image"].shape, small["label"].shape) == ((32, 48, 3), (32, 48))
    assert set(np.unique(small["label"])) <= {0, 1}


def test_the_centre_crop_stretches_nothing():
    left, top, across, down = centre_crop(1000, 1000, (300, 200))
    assert (left, across) == (0, 1)
    assert top == pytest.approx(1 / 6)
    assert down == pytest.approx(2 / 3)
    left, top, across, down = centre_crop(4000, 1000, (300, 200))
    assert (top, down) == (0, 1)
    assert across == pytest.approx(1500 / 4000)
    assert left == pytest.approx((1 - across) / 2)
    assert centre_crop(300, 200, (600, 400)) == (0, 0, 1, 1)


def test_the_centre_crop_drops_the_border(oblong, demo_rows):
    test = demo_rows[demo_rows["split"] == "test"]
    images = TestImages(oblong, test, (64, 64), "unstretched crop")  # of 96 × 72 px originals
    assert images.regions[0] == pytest.approx((0.125, 0.0, 0.75, 1.0))
    place = oblong.positions(test)[0]
    inside = oblong.image(place)[:, 12:84]
    expected = cv2.resize(inside, (64, 64), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(images[0]["image"], expected)


def test_the_middle_of_a_stretched_image(demo_set, demo_rows, tmp_path, monkeypatch):
    """As torchvision crops it: 336 × 224 of 369 × 246 px, whatever shape the photo has."""
    monkeypatch.setattr(store, "_writable_home", lambda _: tmp_path)
    test = demo_rows[demo_rows["split"] == "test"].head(2)
    prepared = store.prepare(demo_set, test, (369, 246))
    images = TestImages(prepared, test, Size(336, 224), "middle")
    for number, place in enumerate(prepared.positions(test)):
        sample = images[number]
        stretched = torch.from_numpy(prepared.image(place).copy()).movedim(-1, 0)
        theirs = functional.center_crop(stretched, [224, 336])
        np.testing.assert_array_equal(sample["image"], theirs.movedim(0, -1))
        mask = functional.center_crop(torch.from_numpy(prepared.mask(place).copy()), [224, 336])
        np.testing.assert_array_equal(sample["label"], mask > 127)


def test_crops_by_area_are_torchvisions():
    for size, shape in (((336, 224), 1.5), ((256, 256), 1.0), ((336, 224), 2.5), ((60, 100), 0.6)):
        recipe = training_transform(Size(*size), way="cropped").recipe
        height, width = 1000, round(1000 * shape)
        still = dataclasses.replace(recipe, degrees=0)
        drawn = augmentation.numbers(0, 0, count=3000)
        drawn[:, 3] = 1  # not turned
        matrices = augmentation.places(still, drawn, width, height)
        sides = np.abs(matrices[:, [0, 1], [0, 1]]) * size
        corner = matrices[:, :, 2] + 0.5 - sides / size / 2
        canvas = torch.empty(1, height, width)
        torch.manual_seed(0)
        draws = [
            RandomResizedCrop.get_params(canvas, [0.6, 1.3], [3 / 4, 4 / 3]) for _ in range(3000)
        ]
        theirs = np.array(draws)  # top, left, height, width
        ours = np.column_stack([corner[:, ::-1], sides[:, ::-1]])
        for found, expected in zip(ours.T, theirs.T, strict=True):
            assert stats.ks_2samp(found.round(), expected).statistic < 0.05, (size, shape)


def test_half_of_the_courseworks_patches_are_flipped_and_half_rotated():
    """As A.Flip(p=0.5), which draws one axis, the other, or both, and A.Rotate(180, p=0.5)."""
    recipe = training_transform(Size(60, 60), way="cropped").recipe
    drawn = augmentation.numbers(0, 0, count=6000)
    linear = augmentation.places(recipe, drawn, 100, 100)[:, :, :2]
    linear /= np.linalg.norm(linear, axis=1, keepdims=True)  # the crop's sides
    still = np.isclose(np.abs(linear[:, 0, 0]), 1)
    assert still.mean() == pytest.approx(0.5, abs=0.02)
    flips = pd.Series(map(tuple, linear[still][:, [0, 1], [0, 1]].round()))
    shares = flips.value_counts(normalize=True)
    assert shares[1.0, 1.0] == pytest.approx(1 / 2, abs=0.03)
    for flip in ((-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)):
        assert shares[flip] == pytest.approx(1 / 6, abs=0.03)
    turned = np.sign(np.linalg.det(linear[~still]))  # mirrored by one of the flips, or not
    assert (turned < 0).mean() == pytest.approx(1 / 3, abs=0.03)
    assert recipe.degrees == 180
    angles = np.degrees(np.arctan2(linear[~still][:, 1, 0], linear[~still][:, 0, 0]))
    assert stats.kstest(angles, stats.uniform(-180, 360).cdf).statistic < 0.05


def test_images_without_a_mask_are_named(demo_store, demo_rows):
    rows = demo_rows.copy()
    rows.loc[rows.index[:2], "mask"] = ""
    expected = rf"images without a mask: {rows['id'][0]}, {rows['id'][1]}; put the masks"
    with pytest.raises(DataError, match=expected):
        TestImages(demo_store, rows, (32, 32))
    with pytest.raises(DataError, match=expected):
        TrainingMasks(demo_store, rows, training_transform(Size(32, 32)), 0)


def test_a_changed_mask_changes_the_fingerprint_of_a_segmenter_alone(demo_store, demo_rows):
    index = demo_store.index.copy()
    index.loc[index["id"] == demo_rows["id"][0], "mask_sha256"] = "other"
    other = store.Store(demo_store.folder, index, demo_store.shape, demo_store.offsets)
    assert other.fingerprint(demo_rows) == demo_store.fingerprint(demo_rows)
    assert other.fingerprint(demo_rows, masks=True) != demo_store.fingerprint(demo_rows, masks=True)


def test_a_mask_at_half_the_size_lies_where_it_lay(demo_store, demo_rows):
    test = demo_rows[demo_rows["split"] == "test"]
    labels = [
        sample["label"]
        for sample in map(TestImages(demo_store, test, (32, 32)).__getitem__, range(8))
    ]
    for label, place in zip(labels, demo_store.positions(test), strict=True):
        whole = demo_store.mask(place) > 0
        fine, coarse = (np.argwhere(mask).mean(axis=0) for mask in (whole, label))
        np.testing.assert_allclose((coarse + 0.5) * 2, fine + 0.5, atol=0.3)
