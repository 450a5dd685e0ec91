"""Outlines, error maps and heat maps change the right pixels of a copy of the image."""

import itertools
import math

import matplotlib
import numpy as np
import pytest
from figures import photos

from utils import visualize
from utils.visualize import overlay
from utils.visualize.overlay import Case

GREY = 100


def square(low: int, high: int, side: int = 40) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[low:high, low:high] = True
    return mask


def plain(side: int = 40) -> np.ndarray:
    return np.full((side, side, 3), GREY, np.uint8)


# --- outlines ---


def test_outline_is_drawn_on_a_copy():
    image, mask = np.full((20, 20, 3), 90, np.uint8), np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 255
    image.flags.writeable = False
    assert (visualize.outlined(image[:, ::-1], mask[:, ::-1])[5, 5] == overlay.OUTLINE).all()
    drawn = visualize.outlined(image, mask)
    assert (image == 90).all()
    assert set(np.unique(mask)) == {0, 255}
    border = np.zeros((20, 20), bool)
    border[5:15, 5:15], border[6:14, 6:14] = True, False
    changed = (drawn != image).any(axis=2)
    np.testing.assert_array_equal(changed, border)
    assert (drawn[border] == overlay.OUTLINE).all()
    for nothing in (None, np.zeros_like(mask)):
        drawn = visualize.outlined(image, nothing)
        np.testing.assert_array_equal(drawn, image)
        assert drawn is not image


# --- heat maps ---


def test_overlay_by_hand():
    # Red everywhere, seen as grey of its luma, the map's lowest and highest value left and right.
    image, luma = np.zeros((8, 8, 3), np.uint8), 0.299 * 200
    image[..., 0] = 200
    values = np.repeat([[0.0, 1.0]], 2, axis=0)
    drawn = visualize.overlaid(image, values)
    assert drawn.shape == (8, 8, 3)
    colours = matplotlib.colormaps[overlay.HEAT]
    for column, end in ((0, 0.0), (-1, 1.0)):
        expected = 0.5 * luma / 255 + 0.5 * np.array(colours(end)[:3])
        np.testing.assert_allclose(drawn[:, column], np.tile(expected, (8, 1)), atol=0.02)
    # Smoothly in between: the places rise from left to right.
    brightness = drawn.sum(axis=2)[0]
    assert (np.diff(brightness) >= 0).all()
    assert len(np.unique(brightness)) > 4


def test_values_beyond_the_limits_have_the_colours_at_the_ends():
    image, values = photos(1, 24)[0], np.random.default_rng(0).random((24, 24))
    for beyond, end in ((values + 9, 1.0), (values - 9, 0.0)):
        expected = visualize.overlaid(image, np.full((24, 24), end))
        np.testing.assert_array_equal(visualize.overlaid(image, beyond), expected)


def test_overlay_refuses_what_is_no_number():
    with pytest.raises(ValueError, match="holds nan or infinite values; expected finite ones"):
        visualize.overlaid(photos(1, 24)[0], np.array([[0.0, math.nan]]))


# --- outlines ---


@pytest.mark.parametrize("values", [(False, True), (0, 1), (0, 255)], ids=str)
def test_outlines_lie_on_the_borders_of_a_copy(values):
    image, truth, prediction = plain(), square(4, 20), square(24, 36)
    drawn = overlay.outlines(image, *(np.where(m, *values[::-1]) for m in (truth, prediction)))
    assert (image == GREY).all()
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    for place in ((4, 10), (19, 10), (10, 4), (10, 19)):
        assert tuple(drawn[place]) == overlay.OUTLINE, place
    for place in ((24, 30), (35, 30), (30, 24), (30, 35)):
        assert tuple(drawn[place]) == overlay.PREDICTED, place
    for place in ((10, 10), (30, 30), (2, 2), (22, 22)):
        assert tuple(drawn[place]) == (GREY,) * 3, place


def test_truth_lies_on_the_prediction_which_shows_on_both_sides():
    drawn = overlay.outlines(plain(256), square(60, 200, 256), square(60, 200, 256))
    across = [tuple(drawn[100, x]) for x in range(54, 68)]
    colours = [colour for colour, _ in itertools.groupby(across)]
    grey = (GREY,) * 3
    assert colours == [grey, overlay.PREDICTED, overlay.OUTLINE, overlay.PREDICTED, grey]


def test_holes_and_islands_have_outlines_too():
    ring = square(4, 36) & ~square(12, 28)
    ring[20, 20] = True
    drawn = overlay.outlines(plain(), ring)
    assert tuple(drawn[20, 11]) == overlay.OUTLINE
    assert tuple(drawn[20, 20]) == overlay.OUTLINE
    assert tuple(drawn[20, 16]) == (GREY,) * 3


# --- error maps ---


def test_errors_by_hand():
    image = plain()
    drawn = overlay.errors(image, square(0, 20), square(10, 30))
    assert drawn[5, 5].tolist() == [173, 96, 35]  # 0.35 · 100 + 0.65 · (213, 94, 0): missed
    assert drawn[25, 25].tolist() == [35, 109, 151]  # … + 0.65 · (0, 114, 178): too much
    assert drawn[15, 15].tolist() == [135, 132, 92]  # 0.75 · 100 + 0.25 · (240, 228, 66): right
    assert drawn[35, 35].tolist() == drawn[5, 25].tolist() == [GREY] * 3
    assert (image == GREY).all()
    # As many pixels of each kind as there are: 20² - 10², 20² - 10², 10².
    _, counts = np.unique(drawn.reshape(-1, 3), axis=0, return_counts=True)
    assert sorted(counts) == [100, 300, 300, 40**2 - 700]


def test_errors_keep_the_colour_for_the_errors():
    image = plain()
    image[..., 0] = 200
    away = overlay.errors(image, square(0, 2), square(0, 2))[20, 20]
    assert away.tolist() == [round(0.299 * 200 + 0.701 * GREY)] * 3  # luma of ITU-R BT.601


@pytest.mark.parametrize("draw", [overlay.outlines, overlay.errors])
def test_masks_that_do_not_fit_are_refused(draw):
    image, mask = plain(), square(4, 20)
    wanted = r"prediction has shape \(20, 40\) for an image of \(40, 40\)"
    with pytest.raises(ValueError, match=wanted):
        draw(image, mask, mask[:20])
    with pytest.raises(ValueError, match=r"truth has shape .* resize one of them"):
        draw(image, mask[:, :20], mask)
    for wrong in (0.7 * mask, 128 * mask.astype(np.uint8), -1 * mask.astype(int)):
        with pytest.raises(ValueError, match=r"prediction holds other values .* threshold it"):
            draw(image, mask, wrong)
    with pytest.raises(ValueError, match=r"truth holds .*, as float32; threshold"):
        draw(image, mask.astype(np.float32), mask)


# --- the size at which it is shown ---


@pytest.mark.parametrize("shape", [(48, 64), (512, 300), (1500, 2000)], ids=str)
def test_cases_are_drawn_at_the_size_they_are_shown(shape):
    truth, prediction = np.zeros(shape, np.uint8), np.zeros(shape, bool)
    truth[: shape[0] // 2], prediction[:, : shape[1] // 3] = 255, True
    case = Case(np.zeros((*shape, 3), np.uint8), truth, prediction, "id")
    shown = overlay.at_shown_size(case)
    height, width = shown.image.shape[:2]
    assert max(height, width) == 512
    assert (height, width) == shown.truth.shape == shown.prediction.shape
    assert height / width == pytest.approx(shape[0] / shape[1], rel=0.01)
    assert shown.caption == case.caption
    for mask, before in ((shown.truth, truth), (shown.prediction, prediction)):
        assert set(np.unique(mask)) == {0, 255}
        assert (mask > 0).mean() == pytest.approx((before > 0).mean(), rel=0.1)
    if max(shape) == 512:
        np.testing.assert_array_equal(shown.truth, truth)
        np.testing.assert_array_equal(shown.prediction > 0, prediction)
