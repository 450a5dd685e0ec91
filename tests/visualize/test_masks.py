"""Pictures and figures of segmentation show the right pixels and numbers, nothing cut off."""

import itertools

import matplotlib
import numpy as np
import pandas as pd
import pytest
from figures import legend, made_whole, rendered, texts_apart
from matplotlib.figure import Figure
from PIL import Image

from utils import visualize
from utils.visualize import overlay
from utils.visualize.overlay import Case

NOTE = "synthetic demo data"
TITLE = "best/seg-6-s0, validation split, 150 images"
LONG = "isic2017-256-coursework/seg-3-s1 (1-5-s0)"
GREY = 100


def square(low: int, high: int, side: int = 40) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[low:high, low:high] = True
    return mask


def plain(side: int = 40) -> np.ndarray:
    return np.full((side, side, 3), GREY, np.uint8)


def cases(count: int, shape: tuple[int, int] = (40, 60)) -> list[Case]:
    rng = np.random.default_rng(0)
    found = []
    height, width = shape
    for k in range(count):
        image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        truth, prediction = np.zeros(shape, np.uint8), np.zeros(shape, bool)
        truth[height // 4 : height // 2, width // 5 : width // 2] = 255
        prediction[height // 3 : height, width // 4 : width // 2 + k] = True
        found.append(Case(image, truth, prediction, f"ISIC_{k:07d}\nJaccard 0.{k:03d}"))
    return found


def per_image(n: int, seed: int = 0) -> pd.DataFrame:
    values = np.random.default_rng(seed).beta(6, 2, n)
    return pd.DataFrame({"id": [f"ISIC_{k:07d}" for k in range(n)], "jaccard": values})


def thresholds(runs: int, images: int = 8) -> pd.DataFrame:
    """A row a run, an image and a threshold."""
    names = [f"best/seg-{k}-s0" if k else LONG for k in range(runs)]
    at = np.arange(1, 20) / 20
    keys = itertools.product(names, range(images), at)
    table = pd.DataFrame(keys, columns=["run", "id", "threshold"])
    shift = (table["run"].factorize()[0] + table["id"]) / 60
    table["jaccard"] = 0.8 - (table["threshold"] - 0.4) ** 2 - shift
    table["sensitivity"] = 1 - table["threshold"] ** 2 / 2 - shift
    return table.assign(specificity=0.8 + table["threshold"] / 5 - shift)


def tables(runs: int, images: int) -> dict[str, pd.DataFrame]:
    return {(f"seg-{k}-s0" if k else LONG): per_image(images, k) for k in range(runs)}


GROUPS = {"best": cases(3), "under 0.65": cases(1), "median": []}
FIGURES = {
    "gallery": lambda: visualize.masks.gallery(cases(6), TITLE, NOTE),
    "gallery of one": lambda: visualize.masks.gallery(cases(1), TITLE, NOTE, columns=1),
    "gallery of none": lambda: visualize.masks.gallery([], TITLE, NOTE),
    "errors": lambda: visualize.masks.gallery(cases(5), TITLE, NOTE, draw=overlay.errors),
    "tall": lambda: visualize.masks.gallery(cases(2, (90, 40)), TITLE, NOTE),
    "ranked": lambda: visualize.masks.ranked_gallery(GROUPS, TITLE, NOTE),
    "ranked errors": lambda: visualize.masks.ranked_gallery(GROUPS, TITLE, NOTE, overlay.errors),
    "case": lambda: visualize.masks.case_figure(cases(1)[0], LONG, NOTE),
    "threshold": lambda: visualize.masks.threshold_figure(thresholds(1), 0.5, TITLE, NOTE),
} | {
    f"{name} of {runs}": draw
    for runs in (1, 3, 6)
    for name, draw in {
        "distributions of 8": lambda runs=runs: visualize.masks.jaccard_distributions(
            tables(runs, 8), TITLE, NOTE
        ),
        "distributions of 600": lambda runs=runs: visualize.masks.jaccard_distributions(
            tables(runs, 600), TITLE, NOTE
        ),
        "thresholds": lambda runs=runs: visualize.masks.threshold_curves(
            thresholds(runs), 0.5, TITLE, NOTE
        ),
    }.items()
}


def pictures(figure: Figure) -> list:
    return [axis for axis in figure.axes if axis.images]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_carries_title_and_note_and_is_cut_off_nowhere(name):
    made_whole(
        FIGURES[name],
        (TITLE, f"{LONG}: ISIC_0000000, Jaccard 0.000"),
        NOTE,
        name == "gallery of none",
    )


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_lies_on_another(name):
    texts_apart(FIGURES[name]())


# --- outlines ---


@pytest.mark.parametrize("values", [(False, True), (0, 1), (0, 255)], ids=str)
def test_outlines_lie_on_the_borders_of_a_copy(values):
    image, truth, prediction = plain(), square(4, 20), square(24, 36)
    masks = [
        np.array(values)[mask.astype(int)].astype(type(values[0])) for mask in (truth, prediction)
    ]
    drawn = overlay.outlines(image, *masks)
    assert (image == GREY).all()
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    for place in ((4, 10), (19, 10), (10, 4), (10, 19)):
        assert tuple(drawn[place]) == visualize.overlay.OUTLINE, place
    for place in ((24, 30), (35, 30), (30, 24), (30, 35)):
        assert tuple(drawn[place]) == overlay.PREDICTED, place
    for place in ((10, 10), (30, 30), (2, 2), (22, 22)):
        assert tuple(drawn[place]) == (GREY,) * 3, place


def test_truth_lies_on_the_prediction_which_shows_on_both_sides():
    drawn = overlay.outlines(plain(256), square(60, 200, 256), square(60, 200, 256))
    across = [tuple(drawn[100, x]) for x in range(54, 68)]
    colours = [colour for colour, _ in itertools.groupby(across)]
    grey = (GREY,) * 3
    assert colours == [grey, overlay.PREDICTED, visualize.overlay.OUTLINE, overlay.PREDICTED, grey]


def test_holes_and_islands_have_outlines_too():
    ring = square(4, 36) & ~square(12, 28)
    ring[20, 20] = True
    drawn = overlay.outlines(plain(), ring)
    assert tuple(drawn[20, 11]) == visualize.overlay.OUTLINE
    assert tuple(drawn[20, 20]) == visualize.overlay.OUTLINE
    assert tuple(drawn[20, 16]) == (GREY,) * 3


def test_outlines_of_the_truth_alone_and_of_nothing():
    image = plain()
    np.testing.assert_array_equal(
        overlay.outlines(image, square(4, 20)),
        visualize.outlined(image, 255 * square(4, 20).astype(np.uint8)),
    )
    nothing = overlay.outlines(image, np.zeros((40, 40), bool), np.zeros((40, 40), bool))
    np.testing.assert_array_equal(nothing, image)
    assert nothing is not image


def test_lines_are_as_wide_as_the_image_is_large():
    widths = {}
    for side in (128, 512, 1024):
        drawn = overlay.outlines(plain(side), square(side // 4, side // 2, side))
        widths[side] = (drawn[3 * side // 8, : 3 * side // 8] != GREY).any(axis=1).sum()
    assert widths[128] == 1
    assert 3 <= widths[512] <= 5
    assert 7 <= widths[1024] <= 9


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
    with pytest.raises(
        ValueError, match=r"prediction has shape \(20, 40\) for an image of \(40, 40\)"
    ):
        draw(image, mask, mask[:20])
    with pytest.raises(ValueError, match=r"truth has shape .* resize one of them"):
        draw(image, mask[:, :20], mask)
    for wrong in (0.7 * mask, 128 * mask.astype(np.uint8), -1 * mask.astype(int)):
        with pytest.raises(
            ValueError, match=r"prediction holds other values .* threshold it first"
        ):
            draw(image, mask, wrong)
    with pytest.raises(ValueError, match=r"truth holds .*, as float32; threshold"):
        draw(image, mask.astype(np.float32), mask)


def lab(colours: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB colours 0..255."""
    linear = colours / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array(
        [[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]]
    )
    f = xyz / [0.9505, 1, 1.089]
    f = np.where(f > 0.008856, np.cbrt(f), 7.787 * f + 16 / 116)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


SEEN = {  # Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB
    "all colours": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                 [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def apart(one: tuple, other: tuple, eyes: str) -> float:
    """The distance of two colours in CIE L*a*b*, as those eyes see them; 2.3 can just be told."""
    linear = (np.array([one, other]) / 255) ** 2.2
    seen = np.clip(linear @ np.array(SEEN[eyes]).T, 0, 1) ** (1 / 2.2) * 255
    return float(np.linalg.norm(np.diff(lab(seen), axis=0)))


@pytest.mark.parametrize("eyes", SEEN)
def test_outlines_stay_apart_for_all_eyes(eyes):
    assert apart(visualize.overlay.OUTLINE, overlay.PREDICTED, eyes) > 60
    skins = [(224, 172, 150), (236, 200, 185), (150, 105, 75), (80, 50, 40)]
    for skin in skins:
        assert apart(overlay.PREDICTED, skin, eyes) > 40
        assert apart(visualize.overlay.OUTLINE, skin, eyes) > (8 if eyes == "no blue" else 40)


@pytest.mark.parametrize("grey", [50, 100, 160, 210])
@pytest.mark.parametrize("eyes", SEEN)
def test_errors_stay_apart_for_all_eyes(eyes, grey):
    image = np.full((40, 40, 3), grey, np.uint8)
    drawn = overlay.errors(image, square(0, 20), square(10, 30))
    kinds = [drawn[k, k] for k in (5, 25, 15, 35)]  # missed, too much, right, background
    for one, other in itertools.combinations(kinds, 2):
        assert apart(one, other, eyes) > (6 if eyes == "no blue" else 20), (one, other)


# --- the size at which it is shown ---


@pytest.mark.parametrize("shape", [(48, 64), (512, 300), (1500, 2000)], ids=str)
def test_cases_are_drawn_at_the_size_they_are_shown(shape):
    case = cases(1, shape)[0]
    shown = overlay.at_shown_size(case)
    assert max(shown.image.shape) == 512
    assert shown.image.shape[:2] == shown.truth.shape == shown.prediction.shape
    assert shown.image.shape[0] / shown.image.shape[1] == pytest.approx(
        shape[0] / shape[1], rel=0.01
    )
    assert shown.caption == case.caption
    for mask, before in ((shown.truth, case.truth), (shown.prediction, case.prediction)):
        assert set(np.unique(mask)) == {0, 255}
        assert (mask > 0).mean() == pytest.approx((before > 0).mean(), rel=0.1)


def test_cases_of_the_shown_size_stay_as_they_are():
    case = cases(1, (512, 384))[0]
    shown = overlay.at_shown_size(case)
    np.testing.assert_array_equal(shown.image, case.image)
    np.testing.assert_array_equal(shown.truth > 0, case.truth > 0)
    np.testing.assert_array_equal(shown.prediction > 0, case.prediction)


# --- galleries ---


@pytest.mark.parametrize("draw", [overlay.outlines, overlay.errors])
def test_gallery_holds_the_cases_in_order(draw):
    given = cases(6)
    figure = visualize.masks.gallery(given, TITLE, NOTE, columns=4, draw=draw)
    shown = pictures(figure)
    assert [axis.get_title() for axis in shown] == [case.caption for case in given]
    for axis, case in zip(shown, given, strict=True):
        expected = draw(*overlay.at_shown_size(case)[:3])
        np.testing.assert_array_equal(axis.images[0].get_array(), expected)
    places = [axis.get_subplotspec() for axis in shown]
    assert [(place.rowspan.start, place.colspan.start) for place in places] == [
        (0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["gallery", "gallery of one", "tall", "ranked", "ranked errors"])
def test_pictures_are_large_enough_to_see_something(name):
    figure = FIGURES[name]()
    rendered(figure)
    for axis in pictures(figure):
        assert axis.get_position().width * figure.get_figwidth() > 2.2  # inches


def test_galleries_say_what_the_colours_mean():
    outlines = FIGURES["gallery"]()
    (key,) = [axis for axis in outlines.axes if axis.get_legend()]
    assert legend(key) == ["truth", "prediction"]
    colours = [
        np.round(255 * np.array(p.get_facecolor()[:3])) for p in key.get_legend().get_patches()
    ]
    np.testing.assert_array_equal(colours, [visualize.overlay.OUTLINE, overlay.PREDICTED])
    (key,) = [axis for axis in FIGURES["errors"]().axes if axis.get_legend()]
    assert legend(key) == ["missed (truth alone)", "too much (prediction alone)", "right"]
    colours = [
        np.round(255 * np.array(p.get_facecolor()[:3])) for p in key.get_legend().get_patches()
    ]
    grey = np.full((40, 40, 3), 170, np.uint8)
    seen = overlay.errors(grey, square(0, 20), square(10, 30))
    np.testing.assert_array_equal(colours, [seen[5, 5], seen[25, 25], seen[15, 15]])


def test_ranked_gallery_has_a_row_a_group():
    figure = visualize.masks.ranked_gallery(GROUPS, TITLE, NOTE)
    rendered(figure)
    rows = [axis.get_subplotspec().rowspan.start for axis in pictures(figure)]
    assert rows == [0, 0, 0, 1]  # three best, one under 0.65, none in the middle
    headers = {
        axis.get_ylabel(): axis.get_subplotspec() for axis in figure.axes if axis.get_ylabel()
    }
    assert list(headers) == list(GROUPS)
    assert [place.rowspan.start for place in headers.values()] == [0, 1, 2]
    assert {place.colspan.start for place in headers.values()} == {0}


def test_case_is_image_outlines_and_errors():
    case = cases(1, (512, 384))[0]
    figure = visualize.masks.case_figure(case, "seg-6-s0", NOTE)
    image, outlines, errors = pictures(figure)
    assert [axis.get_title() for axis in (image, outlines, errors)] == [
        "image",
        "outlines",
        "errors",
    ]
    np.testing.assert_array_equal(image.images[0].get_array(), case.image)
    np.testing.assert_array_equal(outlines.images[0].get_array(), overlay.outlines(*case[:3]))
    np.testing.assert_array_equal(errors.images[0].get_array(), overlay.errors(*case[:3]))
    assert figure.get_suptitle() == "seg-6-s0: ISIC_0000000, Jaccard 0.000"


def test_gallery_refuses_a_mask_of_another_size():
    case = cases(1)[0]._replace(prediction=np.zeros((20, 20), bool))
    with pytest.raises(
        ValueError, match=r"prediction has shape \(20, 20\) for an image of \(40, 60\)"
    ):
        visualize.masks.gallery([case], TITLE, NOTE)


# --- scores of images ---


def test_distributions_show_every_image_and_count_the_failed():
    given = {
        "a": pd.DataFrame({"jaccard": [0.2, 0.64, 0.65, 0.9]}),
        "b": pd.DataFrame({"jaccard": [0.7, 0.8, 0.9, 1.0]}),
    }
    figure = visualize.masks.jaccard_distributions(given, TITLE, NOTE)
    (axis,) = figure.axes
    right, wrong, other, none = (dots.get_offsets() for dots in axis.collections)
    np.testing.assert_allclose(sorted(wrong[:, 0]), [0.2, 0.64])
    np.testing.assert_allclose(sorted(right[:, 0]), [0.65, 0.9])  # 0.65 itself has not failed
    np.testing.assert_allclose(sorted(other[:, 0]), [0.7, 0.8, 0.9, 1.0])
    assert len(none) == 0
    assert (np.abs(right[:, 1]) < 0.4).all()
    assert (np.abs(other[:, 1] - 1) < 0.4).all()
    assert [text.get_text() for text in axis.texts] == [
        "mean 0.598\n2 of 4 under 0.65", "mean 0.850\n0 of 4 under 0.65",
    ]  # fmt: skip
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "b"]
    means = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "D"]
    np.testing.assert_allclose(means, [0.5975, 0.85])
    medians = [0.645, 0.85]
    found = [line.get_xdata()[0] for line in axis.lines if line.get_linewidth() == 1.6]
    np.testing.assert_allclose(found, medians)
    (limit,) = [line for line in axis.lines if line.get_linestyle() == ":"]
    assert set(limit.get_xdata()) == {0.65}
    low, high = axis.get_ylim()
    assert low > high  # the first run is on top


# --- thresholds ---


def test_threshold_curves_are_the_means_over_images():
    given = thresholds(3)
    mixed = given.sort_values(["run", "threshold"], key=lambda column: column.isin([0.5, 0.6]))
    figure = visualize.masks.threshold_curves(mixed, 0.5, TITLE, NOTE)
    jaccard, rates = (axis for axis in figure.axes if axis.lines)
    curves = [line for line in jaccard.lines if len(line.get_xdata()) == 19]
    for line, (_, table) in zip(curves, given.groupby("run", sort=False), strict=True):
        expected = table.groupby("threshold")["jaccard"].mean()
        np.testing.assert_allclose(line.get_xdata(), expected.index)
        np.testing.assert_allclose(line.get_ydata(), expected)
    assert len({(line.get_color(), line.get_marker()) for line in curves}) == 3
    assert len({line.get_marker() for line in curves}) == 3  # not told by colour alone
    assert {line.get_linestyle() for line in rates.lines[:2]} == {"--", "-."}
    np.testing.assert_allclose(
        rates.lines[0].get_ydata(),
        given[given["run"] == LONG].groupby("threshold")["sensitivity"].mean(),
    )
    for axis in (jaccard, rates):
        (mark,) = [line for line in axis.lines if line.get_linestyle() == ":"]
        assert set(mark.get_xdata()) == {0.5}


def test_threshold_curves_say_what_is_used_and_what_would_be_best():
    given = thresholds(1, images=1)  # 0.8 - (threshold - 0.4)²
    figure = visualize.masks.threshold_curves(given, 0.5, TITLE, NOTE)
    (key,) = [axis for axis in figure.axes if axis.get_legend() and not axis.lines]
    assert legend(key) == [f"{LONG}: Jaccard 0.790 at 0.50; its best 0.800 at 0.40"]


def test_means_and_images_give_the_same_curves():
    given = thresholds(2)
    means = given.groupby(["run", "threshold"], sort=False).mean().reset_index()
    one, other = (
        rendered(visualize.masks.threshold_curves(table, 0.5, TITLE, NOTE))
        for table in (given, means)
    )
    np.testing.assert_array_equal(one, other)


def test_threshold_curves_need_the_threshold_in_use():
    given = thresholds(2)
    wanted = r"best/seg-1-s0 was not scored at the threshold 0.5; expected one of 0.05, 0.1, .*0.95"
    given = given[(given["run"] == LONG) | (given["threshold"] != 0.5)]
    with pytest.raises(ValueError, match=wanted):
        visualize.masks.threshold_curves(given, 0.5, TITLE, NOTE)


def test_threshold_figure_by_hand():
    given = pd.DataFrame({
        "threshold": [0.25] * 4 + [0.5] * 4,
        "jaccard": [0.1, 0.2, 0.65, 0.97, 0.3, 0.31, 0.7, 1.0],
        "sensitivity": [1.0] * 4 + [0.5, 0.5, 1, 1],
        "specificity": [0.5] * 4 + [0.9] * 4,
    })  # fmt: skip
    figure = visualize.masks.threshold_figure(given, 0.25, TITLE, NOTE)
    means, bars = figure.axes
    assert legend(means) == ["Jaccard 0.480", "sensitivity 1.000", "specificity 0.500"]
    marks = [line for line in means.lines if line.get_marker() == "o"]
    places = [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks]
    np.testing.assert_allclose(places, [(0.25, 0.48), (0.25, 1), (0.25, 0.5)])
    assert bars.get_title() == "at 0.25: 2 of 4 under 0.65"
    heights = {round(bar.get_x(), 2): bar.get_height() for bar in bars.patches if bar.get_height()}
    assert heights == {0.1: 1, 0.2: 1, 0.65: 1, 0.95: 1}
    colours = {
        round(bar.get_x(), 2): matplotlib.colors.to_hex(bar.get_facecolor())
        for bar in bars.patches
        if bar.get_height()
    }
    assert colours[0.1] == colours[0.2] != colours[0.65] == colours[0.95]
    assert len({line.get_linestyle() for line in means.lines[::2][:3]}) == 3


def test_nothing_but_marks_and_bars_moves_with_the_threshold():
    places, given = [], thresholds(1)
    given.loc[given["threshold"] == 0.5, "jaccard"] = 0.7  # all images in one bar
    for at in (0.05, 0.5, 0.95):
        figure = visualize.masks.threshold_figure(given, at, TITLE, NOTE)
        rendered(figure)
        places.append([axis.get_position().bounds for axis in figure.axes])
        places[-1] += [(axis.get_xlim(), axis.get_ylim()) for axis in figure.axes]
    assert places[0] == places[1] == places[2]
    assert places[0][-1][1][1] > 8


def test_images_are_counted_in_whole_numbers():
    figure = visualize.masks.threshold_figure(thresholds(1, images=2), 0.5, TITLE, NOTE)
    assert {tick % 1 for tick in figure.axes[1].get_yticks()} == {0}


# --- real masks ---


def test_errors_of_real_masks_are_where_the_masks_differ(isic2017):
    folder = isic2017 / "ISIC-2017_Validation_Data"
    for file in sorted(folder.glob("*.jpg"))[:5]:
        image = np.asarray(Image.open(file).convert("RGB"))
        part = folder.with_name("ISIC-2017_Validation_Part1_GroundTruth")
        truth = np.asarray(Image.open(part / f"{file.stem}_segmentation.png").convert("L"))
        prediction = np.roll(truth, 9, axis=1)
        drawn, right = (overlay.errors(image, truth, p).astype(int) for p in (prediction, truth))
        changed = (drawn != right).any(axis=2)
        assert (changed <= (truth != prediction)).all()
        assert changed.sum() > 0.9 * (truth != prediction).sum()
