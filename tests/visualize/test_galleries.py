"""Galleries show the right pictures in order, with captions, names and a legend."""

import numpy as np
import pandas as pd
import pytest
from figures import NOTE, TITLE, check, legend, photos, pictures
from matplotlib.figure import Figure

from utils import visualize
from utils.data.splits import CLASSES
from utils.visualize import overlay
from utils.visualize.overlay import Case


def predictions(count: int, classes: int = 3) -> pd.DataFrame:
    drawn = np.random.default_rng(0).dirichlet([1, 1, 1], count)
    table = pd.DataFrame({"id": [f"ISIC_{k:07d}" for k in range(count)]})
    table["label"] = np.arange(count) % 3
    return table.assign(**{name: drawn[:, k] for k, name in enumerate(CLASSES[:classes])})


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


def heat(rows: int = 2, columns: int = 2) -> Figure:
    values = np.random.default_rng(0).random((columns, rows, 7, 7))
    maps = {f"map {k}": list(values[k]) for k in range(columns)}
    captions = [f"ISIC_{k:07d}\ntruth: seborrheic keratosis\nanswer: benign" for k in range(rows)]
    return visualize.heat_maps(photos(rows), maps, captions, TITLE, NOTE)


GROUPS = {"best": cases(3), "under 0.65": cases(1), "median": []}
CASE = f"{TITLE}: ISIC_0000000, Jaccard 0.000"
FIGURES = {
    "grid": lambda: visualize.image_grid(photos(7), list("abcdefg"), TITLE, NOTE, columns=3),
    "predictions": lambda: visualize.prediction_gallery(photos(6), predictions(6), TITLE, NOTE),
    "maps": heat,
    "maps of one": lambda: heat(1, 1),
    "many maps": lambda: heat(2, 6),
    "ranked": lambda: visualize.ranked_gallery(GROUPS, TITLE, NOTE),
    "ranked errors": lambda: visualize.ranked_gallery(GROUPS, TITLE, NOTE, overlay.errors),
    "ranked, tall": lambda: visualize.ranked_gallery({"a": cases(2, (90, 40))}, TITLE, NOTE),
    "case": lambda: visualize.case_figure(cases(1)[0], TITLE, NOTE),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_complete_and_its_texts_are_apart(name):
    check(FIGURES[name], CASE if name == "case" else TITLE)


# --- grids ---


def test_grid_holds_the_images_in_order():
    images = photos(7)
    figure = visualize.image_grid(images, list("abcdefg"), TITLE, NOTE, columns=3)
    assert len(figure.axes) == 9  # 3 × 3, the last two empty
    assert [axis.get_title() for axis in pictures(figure)] == list("abcdefg")
    for axis, image in zip(pictures(figure), images, strict=True):
        np.testing.assert_array_equal(axis.images[0].get_array(), image)


# --- predictions ---


def test_gallery_names_image_truth_and_probabilities():
    table = predictions(6)
    figure = visualize.prediction_gallery(photos(6), table, TITLE, NOTE)
    titles = [axis.get_title() for axis in pictures(figure)]
    assert titles[:2] == ["ISIC_0000000\nmelanoma", "ISIC_0000001\nseborrheic keratosis"]
    bars = figure.axes[4]  # below the first image, in the second row of axes
    said = [text.get_text() for text in bars.texts]
    expected = [f"{table[name][0]:.2f}" for name in CLASSES]
    assert said == [
        "melanoma", expected[0], "seborrheic keratosis", expected[1], "benign", expected[2],
    ]  # fmt: skip
    widths = [patch.get_width() for patch in bars.patches if patch.get_width() != 1]
    np.testing.assert_allclose(widths, table[list(CLASSES)].iloc[0])


@pytest.mark.parametrize("label", [0, 1, 2])
def test_gallery_marks_the_true_class(label):
    table = predictions(1).assign(label=label)
    figure = visualize.prediction_gallery(photos(1), table, TITLE, NOTE)
    bold = [t.get_text() for axis in figure.axes for t in axis.texts if t.get_weight() == "bold"]
    assert bold == [visualize.CLASS_LABELS[label]]


def test_gallery_of_melanoma_alone():
    figure = visualize.prediction_gallery(photos(3), predictions(3, classes=1), TITLE, NOTE)
    assert figure.axes[4].texts[0].get_text() == "melanoma"
    assert "seborrheic keratosis" not in [t.get_text() for t in figure.axes[5].texts]


def test_gallery_needs_a_row_an_image():
    with pytest.raises(ValueError, match="zip"):
        visualize.prediction_gallery(photos(3), predictions(2), TITLE, NOTE)
    assert not pictures(visualize.prediction_gallery([], predictions(0), TITLE, NOTE))


# --- heat maps ---


def test_maps_stand_under_their_headers_beside_their_captions():
    figure = heat(3, 2)
    grid = [axis for axis in figure.axes if axis.images]
    assert len(grid) == 9
    assert [axis.get_title() for axis in grid[:3]] == ["image", "map 0", "map 1"]
    assert grid[3].texts[0].get_text().startswith("ISIC_0000001\ntruth")
    np.testing.assert_array_equal(grid[3].images[0].get_array(), photos(3)[1])
    ends = [text.get_text() for text in figure.axes[-1].get_yticklabels()]
    assert ends == ["low (0)", "high (1)"]


def test_maps_need_a_caption_and_a_map_an_image():
    with pytest.raises(ValueError, match="zip"):
        visualize.heat_maps(photos(2), {"a": [np.ones((7, 7))]}, ["x", "y"], TITLE, NOTE)
    with pytest.raises(ValueError, match="zip"):
        visualize.heat_maps(photos(2), {}, ["x"], TITLE, NOTE)


@pytest.mark.parametrize("draw", [overlay.outlines, overlay.errors])
def test_gallery_holds_the_cases_in_order(draw):
    given = cases(6)
    figure = visualize.ranked_gallery({"first": given[:4], "last": given[4:]}, TITLE, NOTE, draw)
    shown = pictures(figure)
    assert [axis.get_title() for axis in shown] == [case.caption for case in given]
    for axis, case in zip(shown, given, strict=True):
        expected = draw(*overlay.at_shown_size(case)[:3])
        np.testing.assert_array_equal(axis.images[0].get_array(), expected)
    boxes = [axis.get_position() for axis in shown]
    for one, other in zip(boxes[:4], boxes[4:], strict=False):
        assert (one.x0, one.width) == pytest.approx((other.x0, other.width))
        assert one.y0 > other.y1


def colours(figure: Figure) -> list[np.ndarray]:
    """Those of the legend, 0 .. 255."""
    (key,) = figure.legends
    return [np.round(255 * np.array(patch.get_facecolor()[:3])) for patch in key.get_patches()]


def test_galleries_say_what_the_colours_mean():
    outlines, errors = FIGURES["ranked"](), FIGURES["ranked errors"]()
    assert legend(outlines) == ["truth", "prediction"]
    np.testing.assert_array_equal(colours(outlines), [overlay.OUTLINE, overlay.PREDICTED])
    assert legend(errors) == ["missed (truth alone)", "too much (prediction alone)", "right"]
    grey, across = np.full((3, 3, 3), 170, np.uint8), np.eye(3, dtype=bool)
    seen = overlay.errors(grey, across | (np.arange(3) < 1), across | (np.arange(3) > 1))
    np.testing.assert_array_equal(colours(errors), [seen[1, 0], seen[1, 2], seen[1, 1]])


def test_ranked_gallery_has_a_row_a_group():
    figure = visualize.ranked_gallery(GROUPS, TITLE, NOTE)
    tops = [round(axis.get_position().y1, 3) for axis in pictures(figure)]
    assert len(set(tops[:3])) == 1  # three best …
    assert tops[3] < tops[0]  # … one under 0.65, none in the middle
    names = [(axis.get_position().y1, t.get_text()) for axis in figure.axes for t in axis.texts]
    assert [name for _, name in sorted(names, reverse=True)] == list(GROUPS)


def test_case_is_image_outlines_and_errors():
    case = cases(1, (512, 384))[0]
    figure = visualize.case_figure(case, TITLE, NOTE)
    image, outlines, errors = pictures(figure)
    titles = [axis.get_title() for axis in (image, outlines, errors)]
    assert titles == ["image", "outlines", "errors"]
    np.testing.assert_array_equal(image.images[0].get_array(), case.image)
    np.testing.assert_array_equal(outlines.images[0].get_array(), overlay.outlines(*case[:3]))
    np.testing.assert_array_equal(errors.images[0].get_array(), overlay.errors(*case[:3]))
    assert figure.get_suptitle() == CASE
