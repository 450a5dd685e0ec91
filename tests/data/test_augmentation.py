"""Composed augmentation: the distributions of the library's own steps, but sharper."""

import random

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import functional

from utils.data import augmentation
from utils.data.augmentation import Augmentation, Recipe

SIDE = 250
PATCH = 100
BORDER = cv2.BORDER_REFLECT_101


def coded(width: int = SIDE, height: int = SIDE) -> np.ndarray:
    """(height, width, 3): red is the column, green the row, blue 100 everywhere."""
    image = np.full((height, width, 3), 100, np.uint8)
    image[..., 0], image[..., 1] = np.arange(width), np.arange(height)[:, None]
    return image


def seen_place(patch: np.ndarray) -> list[float]:
    """What a patch of a coded image shows: centre (x, y), px of the image for one of the patch in
    its own two directions, rotation beyond a quarter turn in degrees, mirrored or not."""
    middle = slice(PATCH // 2 - 15, PATCH // 2 + 15)
    part = patch[middle, middle, :2].astype(float)
    rows, columns = np.mgrid[middle, middle] - (PATCH - 1) / 2
    known = np.column_stack([columns.ravel(), rows.ravel(), np.ones(rows.size)])
    linear = np.linalg.lstsq(known, part.reshape(-1, 2), rcond=None)[0].T  # (2, 3)
    scales = np.linalg.norm(linear[:, :2], axis=0)
    angle = np.degrees(np.arctan2(linear[1, 0], linear[0, 0]))
    determinant = np.linalg.det(linear[:, :2])
    return [*linear[:, 2], *scales, angle - 90 * round(angle / 90), float(determinant > 0)]


def test_places_are_distributed_as_by_the_librarys_own_steps() -> None:
    image = coded()
    side = 0.5
    stepwise = A.Compose(
        [
            A.RandomResizedCrop((PATCH, PATCH), scale=(side**2, side**2), ratio=(1, 1)),
            A.D4(p=1.0),
            A.Affine(
                rotate=(-10, 10),
                scale=(0.9, 1.1),
                translate_percent=(-0.1, 0.1),
                border_mode=BORDER,
                p=1.0,
            ),
        ]
    )
    recipe = Recipe(PATCH, PATCH, (side,), degrees=10, zoom=(0.9, 1.1), shift=0.1)
    composed = Augmentation(recipe)
    places: list[list[list[float]]] = [[], []]
    for index in range(600):
        stepwise.set_random_state(np.random.default_rng(index), random.Random(index))
        composed.draw(0, 0, index)
        for transform, found in zip((stepwise, composed), places, strict=True):
            found.append(seen_place(transform(image=image)["image"]))
    for theirs, ours in zip(*np.transpose(places, (0, 2, 1)), strict=True):
        assert stats.ks_2samp(theirs, ours).pvalue > 0.01
    sides = Augmentation(Recipe(PATCH, PATCH, (0.2, 0.4, 1.0)))
    shown = []
    for index in range(300):
        sides.draw(0, 0, index)
        shown.append(seen_place(sides(image=image)["image"])[2] * PATCH / SIDE)
    values, counts = np.unique(np.round(shown, 1), return_counts=True)
    assert values.tolist() == [0.2, 0.4, 1.0]
    assert counts.min() > 75


def test_without_anything_drawn_it_is_a_resize() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    mask = (image[..., 0] > 127).astype(np.uint8)
    for width, height in ((90, 60), (71, 47), (180, 120)):
        transform = Augmentation(Recipe(width, height))
        transform.drawn[:] = 0.5
        transform.drawn[:, 3] = 0.0
        seen = transform(image=image, mask=mask)
        theirs = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        inside = (slice(1, -1), slice(1, -1))  # at the border theirs repeats, ours is mirrored
        assert np.abs(seen["image"].astype(int) - theirs)[inside].max() <= 2
        theirs = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        assert (seen["mask"] != theirs).mean() < 0.03


@pytest.mark.parametrize("size", [(PATCH, PATCH), (120, 80)])
def test_every_turn_that_keeps_the_shape(size: tuple[int, int]) -> None:
    image = coded(*(2 * side for side in size))
    transform = Augmentation(Recipe(*size))
    seen = set()
    for index in range(80):
        transform.draw(3, 0, index)
        seen.add(transform(image=image)["image"].tobytes())
    assert len(seen) == (8 if size[0] == size[1] else 4)


def test_beside_a_crop_lies_what_the_image_shows_there() -> None:
    transform = Augmentation(Recipe(PATCH, PATCH, (0.4,), shift=0.5))
    reached = set()
    for index in range(200):
        transform.draw(0, 0, index)
        left, top = transform.drawn[0, 1:3] * 0.6
        patch = transform(image=coded())["image"]
        inside = [left * SIDE, (left + 0.4) * SIDE, top * SIDE, (top + 0.4) * SIDE]
        columns, rows = patch[..., 0], patch[..., 1]
        reached |= {columns.min() < inside[0] - 5, rows.max() > inside[3] + 5}
        if 0.25 < left < 0.35 and 0.25 < top < 0.35:  # far from the image's border: no mirror
            steps = np.abs(np.diff(patch[..., :2].astype(int).sum(axis=2)[0]))
            assert steps.max() <= 2
            assert len(np.unique(columns)) == pytest.approx(0.4 * SIDE, abs=3)
    assert reached == {True, False}


def test_a_pattern_stays_sharp() -> None:
    """One interpolation keeps more of a pattern's contrast than crop, turn and shift in turn."""
    columns, rows = np.arange(SIDE), np.arange(SIDE)[:, None]
    waves = 127 + 60 * np.cos(2 * np.pi * columns / 5) + 60 * np.cos(2 * np.pi * rows / 5)
    image = np.repeat(waves[..., None], 3, axis=2).astype(np.uint8)
    transform = Augmentation(Recipe(PATCH, PATCH, (0.4,), degrees=10, zoom=(0.9, 1.1), shift=0.1))
    kept, stepwise = [], []
    for index in range(60):
        transform.draw(0, 0, index)
        patch = transform(image=image)["image"]
        kept.append(patch.std())
        matrix = cv2.getRotationMatrix2D(((PATCH - 1) / 2,) * 2, 7, 1.03)
        crop = cv2.resize(image[3:103, 5:105], (PATCH, PATCH), interpolation=cv2.INTER_LINEAR)
        turned = cv2.warpAffine(crop, matrix, (PATCH, PATCH), borderMode=BORDER)
        matrix[:, :2], matrix[:, 2] = np.eye(2), (3.4, 2.7)
        stepwise.append(cv2.warpAffine(turned, matrix, (PATCH, PATCH), borderMode=BORDER).std())
    assert np.median(kept) > 1.15 * np.median(stepwise)


def test_shrinking_gives_no_false_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    board = np.indices((512, 512)).sum(axis=0) % 2 * 255
    image = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)
    transform = Augmentation(Recipe(100, 100, degrees=10))
    transform.draw(0, 0, 0)
    assert transform(image=image)["image"].std() < 3
    monkeypatch.setattr(augmentation, "halvings", lambda matrices: np.zeros(len(matrices), int))
    assert transform(image=image)["image"].std() > 15  # what it prevents


@pytest.mark.parametrize(("shrink", "times"), [(0.7, 0), (1.99, 0), (2.01, 1), (4.01, 2)])
def test_how_often_an_image_is_halved(shrink: float, times: int) -> None:
    matrices = np.array([[[0.0, shrink, 0.0], [-shrink, 0.0, 0.0]]])
    assert augmentation.halvings(matrices).tolist() == [times]


def test_a_halved_image_lies_where_it_lay() -> None:
    transform = Augmentation(Recipe(50, 50))
    transform.drawn[:] = 0.5
    transform.drawn[:, 3] = 0.0
    patch = transform(image=coded(220, 220))["image"]  # one px of the patch is 4.4 of the image
    expected = (np.arange(50) + 0.5) * 4.4 - 0.5
    assert np.abs(patch[0, 1:-1, 0] - expected[1:-1]).max() <= 1.5


def test_colours_are_torchvisions_in_any_order() -> None:
    patch = torch.randint(80, 170, (3, 20, 20), generator=torch.Generator().manual_seed(0))
    recipe = Recipe(20, 20, colour=0.3)
    steps = ("adjust_brightness", "adjust_contrast", "adjust_saturation")
    drawn = augmentation.numbers(0, 0, count=40)
    unchanged = drawn[:, 9] >= augmentation.JITTERED
    assert 2 < unchanged.sum() < 16
    for numbers, matrix in zip(drawn, augmentation.colours(recipe, drawn), strict=True):
        factors = 0.7 + 0.6 * numbers[10:13]
        mean = patch.double().mean((1, 2)).numpy()
        ours = matrix[:, :3] @ patch.reshape(3, -1).numpy() + (matrix[:, 3:] @ mean)[:, None]
        for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
            theirs = patch.double() / 255
            if numbers[9] < augmentation.JITTERED:
                for step in order:
                    theirs = getattr(functional, steps[step])(theirs, factors[step])
            theirs = theirs.reshape(3, -1).numpy() * 255
            exact = (theirs > 1) & (theirs < 254)  # they clip after each step
            assert exact.mean() > 0.9
            assert np.abs(ours - theirs)[exact].max() < 0.1


def test_the_numbers_of_a_sample_are_its_own() -> None:
    together = augmentation.numbers(5, 2, count=200)
    alone = [augmentation.numbers(5, 2, index)[0] for index in range(200)]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(augmentation.numbers(5, 2, 50, count=3), together[50:53])
    between = np.corrcoef(together.T) - np.eye(augmentation.COUNT)
    assert abs(between).max() < 0.25
    others = [augmentation.numbers(5, 3, count=200), augmentation.numbers(6, 2, count=200)]
    assert not np.isin(together, others).any()
