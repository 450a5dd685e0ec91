"""Where the published studies cut their patches, against their steps by another library."""

import dataclasses
import random
from collections import Counter
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import pytest
from scipy import stats

from experiments import get
from utils import data
from utils.data import augmentation, decode, patches
from utils.data.augmentation import Augmentation
from utils.data.patches import TestViews, crop_views, training_transform, transform_of, views_of

SCALES = (0.2, 0.4, 0.6, 0.8)
WEIGHTS = (1, 2, 3, 3)
SIDE = 250
COURSEWORK = get("1-3", "coursework")


def by_the_library(scale: float) -> A.Compose:
    """The coursework's crop of a square of SIDE px, in its own steps."""
    px, part = round(scale * SIDE), round((1 - (1 - scale) ** 2) * SIDE)
    first = [A.CenterCrop(part, part)] if scale in (0.2, 0.4) else []
    return A.Compose([*first, A.RandomCrop(px, px)])


def left_and_side(patch: np.ndarray) -> tuple[float, float]:
    """Of a patch of an image whose red is the column, in fractions of the image's side."""
    red = patch[..., 0].astype(float)
    px = (red.max() - red.min() + 1) / SIDE
    return red.min() / SIDE, px


def coded() -> np.ndarray:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(SIDE), np.arange(SIDE)[:, None]
    return image


def test_crops_of_the_coursework_lie_where_its_steps_put_them() -> None:
    recipe = dataclasses.replace(
        transform_of(COURSEWORK).recipe, width=SIDE, height=SIDE, degrees=0, zoom=(1, 1), shift=0
    )
    drawn = augmentation.numbers(0, 0, count=9000)
    matrices = augmentation.places(recipe, drawn, SIDE, SIDE)
    sides = np.abs(matrices[:, :, :2]).sum(axis=2)[:, 0].round(3)
    middles = (matrices @ [(SIDE - 1) / 2, (SIDE - 1) / 2, 1.0] + 0.5) / SIDE
    found = Counter(sides.tolist())
    expected = np.array(WEIGHTS) / 9 * len(drawn)
    assert stats.chisquare([found[scale] for scale in SCALES], expected).pvalue > 0.01
    for scale in SCALES:
        theirs = by_the_library(scale)
        lefts = []
        for index in range(400):
            theirs.set_random_state(np.random.default_rng(index), random.Random(index))
            lefts.append(left_and_side(theirs(image=coded())["image"])[0])
        ours = middles[sides == scale, 0] - scale / 2
        assert stats.ks_2samp(lefts, ours).pvalue > 0.005, scale
        assert min(ours) >= min(lefts) - 0.01
        assert max(ours) <= max(lefts) + 0.01


def test_anywhere_is_what_it_always_was() -> None:
    recipe = training_transform(64, (0.4, 0.8), 0.2).recipe
    plain = dataclasses.replace(recipe, within=())
    drawn = augmentation.numbers(1, 2, count=50)
    ours, before = (augmentation.places(each, drawn, 256, 192) for each in (recipe, plain))
    np.testing.assert_array_equal(ours, before)
    assert (recipe.zoom, recipe.shift, recipe.degrees) == ((0.9, 1.1), 0.1, 10)


def test_without_quarter_turns_a_square_is_only_flipped() -> None:
    transform = training_transform(SIDE, (1.0,), quarter_turns=False, zoom=0, shift=0)
    transform = Augmentation(dataclasses.replace(transform.recipe, degrees=0))
    seen = set()
    for index in range(80):
        transform.draw(0, 0, index)
        seen.add(transform(image=coded())["image"].tobytes())
    flips = [coded()[::down, ::across] for down in (1, -1) for across in (1, -1)]
    assert seen == {np.ascontiguousarray(each).tobytes() for each in flips}


def test_crops_with_a_margin_need_the_original() -> None:
    with pytest.raises(ValueError, match=r"patch_places 'margin'; expected \(1.0,\), whole"):
        training_transform(32, (0.4,), places="margin")
    with pytest.raises(ValueError, match=r"patch_places is 'margin' with patch_scales \[0.6, "):
        get("1-3", patch_places="margin")
    with pytest.raises(ValueError, match=r"view_scales are \[0.5\], for 9 views; expected as many"):
        get("1-3", view_scales=[0.5])
    assert get("1-3", view_scales=[0.5], views=1).view_scales == (0.5,)


def test_the_nine_crops_of_a_test_image() -> None:
    scales = COURSEWORK.view_scales
    assert scales is not None
    boxes = crop_views("ISIC_0000001", scales, "centre", 1000, 800)
    assert Counter(boxes[:, 0]) == dict(zip(SCALES, WEIGHTS, strict=True))
    np.testing.assert_array_equal(boxes, crop_views("ISIC_0000001", scales, "centre", 900, 900))
    assert not np.array_equal(boxes, crop_views("ISIC_0000002", scales, "centre", 1000, 800))
    many = [crop_views(f"ISIC_{k:07d}", scales, "centre", 1000, 800) for k in range(1500)]
    first = Counter(np.array(many)[:, 0, 0].tolist())  # the one crop that chooses the epoch
    expected = np.array(WEIGHTS) / 9 * len(many)
    assert stats.chisquare([first[scale] for scale in SCALES], expected).pvalue > 0.01
    side, corner = np.array(many)[..., :1], np.array(many)[..., 1:]
    part = np.where(side < 0.5, 1 - (1 - side) ** 2, 1.0)
    assert (corner >= (1 - part) / 2 - 1e-9).all()
    assert (corner + side <= (1 + part) / 2 + 1e-9).all()


def test_a_margin_is_in_px_of_the_original() -> None:
    boxes = np.stack([crop_views(str(k), (0.2,), "margin", 4000, 200)[0] for k in range(2000)])
    across, down = boxes[:, 1], boxes[:, 2]
    # 100 px more than the crop's 800 of 4000, around the middle; 140 px are all of the height.
    assert 0.3875 <= across.min() < across.max() <= 0.4125
    assert across.max() - across.min() == pytest.approx(0.025, abs=0.001)
    assert 0.15 <= down.min() < down.max() <= 0.65
    assert down.max() - down.min() == pytest.approx(0.5, abs=0.01)


def test_crops_as_views_of_a_store(demo_store) -> None:
    rows = demo_store.index
    views = TestViews(demo_store, rows, 24, 9, COURSEWORK.view_scales, "centre")
    sample = views[3]
    assert sample["image"].shape == (9, 24, 24, 3)
    image = demo_store.image(3)
    boxes = crop_views(rows["id"][3], COURSEWORK.view_scales or (), "centre", 1, 1)
    for number, (side, left, top) in enumerate(boxes):
        px, x, y = (round(each * 64) for each in (side, left, top))
        expected = decode.resized(image[y : y + px, x : x + px], (24, 24))
        np.testing.assert_array_equal(sample["image"][number], expected)
    one = TestViews(demo_store, rows, 24, 1, COURSEWORK.view_scales, "centre")[3]["image"]
    np.testing.assert_array_equal(one, sample["image"][:1])
    with pytest.raises(ValueError, match=r"views is 3; expected 1 \(one crop\) to 2"):
        TestViews(demo_store, rows, 24, 3, (0.5, 0.5))
    plain = views_of(get("1-3"), demo_store, rows)
    assert (plain.views, plain.scales) == (9, None)
    crops = views_of(COURSEWORK, demo_store, rows, 1)
    assert (crops.views, crops.scales, crops.places) == (1, COURSEWORK.view_scales, "centre")


@pytest.fixture
def lesions(isic2017: Path) -> np.ndarray:
    """The masks of the official training images as sums (n, SIDE + 1, SIDE + 1) of their pixels."""
    rows = data.read(isic2017)
    files = rows.loc[rows["split"] == "train", "mask"]
    masks = np.stack(
        [
            cv2.resize(
                decode.read_mask(f).astype(np.uint8), (SIDE,) * 2, interpolation=cv2.INTER_NEAREST
            )
            for f in files
        ]
    )
    sums = masks.cumsum(1, dtype=np.int32).cumsum(2, dtype=np.int32)
    return np.pad(sums, ((0, 0), (1, 0), (1, 0)))


def without_lesion(sums: np.ndarray, left: np.ndarray, top: np.ndarray, px: np.ndarray) -> float:
    image = np.arange(len(sums))
    right, bottom = left + px, top + px
    corners = sums[image, bottom, right] - sums[image, top, right]
    return float((corners == sums[image, bottom, left] - sums[image, top, left]).mean())


def test_nearly_every_patch_of_the_coursework_shows_some_lesion(lesions: np.ndarray) -> None:
    draw, theirs, ours, before = np.random.default_rng(0), [], [], []
    n = len(lesions)
    for epoch in range(300):
        # Their sampling, stated anew in whole px.
        scale = draw.choice(SCALES, n, p=np.array(WEIGHTS) / 9)
        px = (scale * SIDE).round().astype(int)
        part = np.where(scale < 0.5, ((1 - (1 - scale) ** 2) * SIDE).round(), SIDE).astype(int)
        left, top = (SIDE - part) // 2 + draw.integers(0, part - px + 1, (2, n))
        theirs.append(without_lesion(lesions, left, top, px))
        for row, shares in ((COURSEWORK, ours), (get("1-3", "paper"), before)):
            still = {"degrees": 0, "zoom": (1, 1), "shift": 0, "width": SIDE, "height": SIDE}
            recipe = dataclasses.replace(transform_of(row).recipe, **still)
            drawn = augmentation.numbers(0, epoch, count=n)
            drawn[:, 3] = 0  # no turn, so that the offset is the corner
            matrices = augmentation.places(recipe, drawn, SIDE, SIDE)
            px = (matrices[:, 0, 0] * SIDE).round().astype(int)
            corner = (matrices[:, :, 2] + 0.5 - matrices[:, 0, :1] / 2).round().astype(int)
            shares.append(without_lesion(lesions, *corner.T, px))
    assert 0.002 <= np.mean(theirs) <= 0.003
    assert 0.002 <= np.mean(ours) <= 0.003
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=0.0005)
    assert np.mean(before) > 0.1  # crops anywhere


def test_all_places_have_a_name() -> None:
    assert set(patches.PLACES) == {"anywhere", "centre", "margin"}
    assert {get("1-3", p).patch_places for p in ("best", "paper", "coursework")} <= {
        *patches.PLACES
    }
