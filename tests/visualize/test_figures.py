"""Figures hold what they were given, and become a file without a warning or a display."""

import io
import math

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from utils import visualize
from utils.data.splits import CLASSES

NOTE = "synthetic demo data"


def photos(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (24, 24, 3), dtype=np.uint8) for _ in range(count)]


def history(epochs: int = 5, alphas: int = 0, **columns: list[float]) -> pd.DataFrame:
    """As `fit` gives it."""
    epoch = np.arange(1, epochs + 1)
    table = pd.DataFrame({"epoch": epoch, "learning_rate": 1e-3, "loss": 1 / epoch})
    table["auc_melanoma"] = 0.9 - 0.3 / epoch
    table["auc_seborrheic_keratosis"] = 0.8 - 0.3 / epoch
    table["auc_mean"] = 0.85 - 0.3 / epoch
    for number in range(alphas):
        table[f"α layer{number}.0.alpha"] = 0.001 + number * epoch / 1000
    return table.assign(**columns)


def predictions(count: int, classes: int = 3) -> pd.DataFrame:
    drawn = np.random.default_rng(0).dirichlet([1, 1, 1], count)
    table = pd.DataFrame({"id": [f"ISIC_{k:07d}" for k in range(count)]})
    table["label"] = np.arange(count) % 3
    return table.assign(**{name: drawn[:, k] for k, name in enumerate(CLASSES[:classes])})


def rendered(figure: Figure) -> np.ndarray:
    """The figure as pixels; a warning (a missing glyph, a layout that fails) is an error here."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=60)
    return np.asarray(Image.open(file).convert("L"))


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


def shown(figure: Figure) -> list:
    """Axes that hold an image, in order."""
    return [axis for axis in figure.axes if axis.images]


FIGURES = {
    "grid": lambda: visualize.image_grid(photos(7), list("abcdefg"), "Seven", NOTE, columns=3),
    "curves": lambda: visualize.learning_curves(history(alphas=4), "auc_mean", "Row 1-3", NOTE),
    "gallery": lambda: visualize.prediction_gallery(photos(6), predictions(6), "Six", NOTE),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_carries_title_and_note_and_is_no_blank(name):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    assert NOTE in words(figure)
    assert figure.get_suptitle() in ("Seven", "Row 1-3", "Six")
    pixels = rendered(figure)
    assert (pixels == 255).mean() < 0.95
    assert len(np.unique(pixels)) > 50


@pytest.mark.parametrize("name", FIGURES)
def test_figures_leave_the_settings_of_the_caller_alone(name):
    before, backend = dict(matplotlib.rcParams), matplotlib.get_backend()
    rendered(FIGURES[name]())
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.get_backend() == backend


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off(name):
    figure = FIGURES[name]()
    figure.set_dpi(60)
    rendered(figure)
    width, height = figure.get_size_inches() * figure.dpi
    texts = list(figure.texts)
    for axis in figure.axes:
        legend = axis.get_legend()
        texts += [axis.title, axis.xaxis.label, *axis.texts, *(legend.texts if legend else [])]
    texts = [text for text in texts if text.get_text()]
    assert len(texts) > 7
    for text in texts:
        box = text.get_window_extent()
        assert -1 < box.x0 < box.x1 < width + 1, text.get_text()
        assert -1 < box.y0 < box.y1 < height + 1, text.get_text()


# --- outlines ---


def test_outline_is_drawn_on_a_copy():
    image, mask = np.full((20, 20, 3), 90, np.uint8), np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 255
    drawn = visualize.outlined(image, mask)
    assert (image == 90).all()
    assert set(np.unique(mask)) == {0, 255}
    border = np.zeros((20, 20), bool)
    border[5:15, 5:15], border[6:14, 6:14] = True, False
    changed = (drawn != image).any(axis=2)
    np.testing.assert_array_equal(changed, border)
    assert (drawn[border] == visualize.overlay.OUTLINE).all()


def test_outline_of_a_hole_in_a_colour_of_choice():
    image, mask = np.full((20, 20, 3), 90, np.uint8), np.zeros((20, 20), np.uint8)
    mask[2:18, 2:18], mask[7:13, 7:13] = 255, 0
    drawn = visualize.outlined(image, mask, colour=(0, 10, 200))
    changed = (drawn != image).any(axis=2)
    assert (drawn[changed] == (0, 10, 200)).all()
    assert changed[10].nonzero()[0].tolist() == [2, 6, 13, 17]  # the hole's border is lesion


@pytest.mark.parametrize("mask", [None, np.zeros((20, 20), np.uint8)], ids=["none", "empty"])
def test_no_mask_no_outline(mask):
    image = np.full((20, 20, 3), 90, np.uint8)
    drawn = visualize.outlined(image, mask)
    np.testing.assert_array_equal(drawn, image)
    assert drawn is not image


def test_outline_on_an_image_that_must_not_be_written():
    image, mask = np.full((20, 20, 3), 90, np.uint8), np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 255
    image.flags.writeable = False
    assert (
        visualize.outlined(image[:, ::-1], mask[:, ::-1])[5, 5] == visualize.overlay.OUTLINE
    ).all()


# --- heat maps ---


def test_overlay_by_hand():
    # Grey 100 everywhere, the map's lowest and highest value left and right.
    image = np.full((8, 8, 3), 100, np.uint8)
    values = np.repeat([[0.0, 1.0]], 2, axis=0)
    drawn = visualize.overlaid(image, values)
    assert drawn.shape == (8, 8, 3)
    colours = matplotlib.colormaps[visualize.overlay.HEAT]
    for column, end in ((0, 0.0), (-1, 1.0)):
        expected = 0.5 * 100 / 255 + 0.5 * np.array(colours(end)[:3])
        np.testing.assert_allclose(drawn[:, column], np.tile(expected, (8, 1)), atol=0.02)
    # Smoothly in between: the places rise from left to right.
    brightness = drawn.sum(axis=2)[0]
    assert (np.diff(brightness) >= 0).all()
    assert len(np.unique(brightness)) > 4


def test_overlay_keeps_the_colour_for_the_map():
    red, values = np.zeros((6, 6, 3), np.uint8), np.full((3, 3), 0.4)
    red[..., 0] = 200
    grey = np.full((6, 6, 3), round(0.299 * 200), np.uint8)  # of equal luma (ITU-R BT.601)
    np.testing.assert_allclose(
        visualize.overlaid(red, values), visualize.overlaid(grey, values), atol=1e-9
    )


def test_limits_of_an_overlay():
    image, values = photos(1)[0], np.random.default_rng(0).random((24, 24))
    stretched = (values - values.min()) / np.ptp(values)
    plain = visualize.overlaid(image, stretched)
    np.testing.assert_allclose(visualize.overlaid(image, values, limits=None), plain, atol=0.01)
    np.testing.assert_allclose(
        visualize.overlaid(image, 5 * stretched - 2, limits=(-2, 3)), plain, atol=0.01
    )
    # Beyond the limits: the colours at the ends. A map without differences: the lowest.
    clipped = visualize.overlaid(image, values + 9)
    np.testing.assert_array_equal(clipped, visualize.overlaid(image, np.ones((24, 24))))
    flat = visualize.overlaid(image, np.full((7, 7), 0.3), limits=None)
    np.testing.assert_array_equal(flat, visualize.overlaid(image, np.zeros((7, 7))))


def test_overlay_refuses_what_is_no_number():
    with pytest.raises(ValueError, match="holds nan or infinite values; expected finite ones"):
        visualize.overlaid(photos(1)[0], np.array([[0.0, math.nan]]))


# --- grids ---


def test_grid_holds_the_images_in_order():
    images = photos(7)
    figure = visualize.image_grid(images, list("abcdefg"), "Seven", NOTE, columns=3)
    assert len(figure.axes) == 9  # 3 × 3, the last two empty
    assert [axis.get_title() for axis in shown(figure)] == list("abcdefg")
    for axis, image in zip(shown(figure), images, strict=True):
        np.testing.assert_array_equal(axis.images[0].get_array(), image)


def test_grid_of_fewer_images_than_columns():
    figure = visualize.image_grid(photos(2), ["a\nmelanoma", "b\nbenign"], "Two", NOTE)
    assert len(shown(figure)) == 2
    rendered(figure)


# --- learning curves ---


def lines(axis) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_ydata() for line in axis.lines}


def test_curves_show_loss_and_scores():
    table = history(5)
    figure = visualize.learning_curves(table, "auc_mean", "Row 1-2", NOTE)
    loss, scores = figure.axes
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), table["loss"])
    drawn = lines(scores)
    np.testing.assert_array_equal(drawn["AUC melanoma"], table["auc_melanoma"])
    np.testing.assert_array_equal(drawn["AUC mean"], table["auc_mean"])
    assert "AUC seborrheic keratosis" in drawn
    assert {loss.get_xlabel(), scores.get_xlabel()} == {"epoch"}


def test_curves_ring_the_epoch_that_was_kept():
    table = history(5, auc_mean=[0.5, 0.7, 0.9, 0.9, 0.8])
    figure = visualize.learning_curves(table, "auc_mean", "Row 1-2", NOTE)
    (ring,) = [line for line in figure.axes[1].lines if len(line.get_xdata()) == 1]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (3, 0.9)  # the first of equals


@pytest.mark.parametrize(("alphas", "panels", "legend"), [(0, 2, None), (4, 3, 4), (33, 3, None)])
def test_curves_show_the_attention_weights_where_there_are_some(alphas, panels, legend):
    figure = visualize.learning_curves(history(5, alphas), "auc_mean", "Row 1-1", NOTE)
    assert len(figure.axes) == panels
    rendered(figure)
    if alphas:
        axis = figure.axes[2]
        assert len(axis.lines) == alphas + 1  # and the line at zero
        assert (axis.get_legend() is None) == (legend is None)
    if legend:
        labels = [text.get_text() for text in figure.axes[2].get_legend().get_texts()]
        assert labels == [f"layer{number}.0" for number in range(4)]


@pytest.mark.parametrize("epochs", [1, 2])
def test_curves_of_short_runs_can_be_seen(epochs):
    figure = visualize.learning_curves(history(epochs, alphas=2), "auc_mean", "Row 1-3", NOTE)
    rendered(figure)
    for axis in figure.axes:
        curves = [line for line in axis.lines if len(line.get_xdata()) == epochs]
        assert {line.get_marker() for line in curves} >= {"o"}
        low, high = axis.get_xlim()
        assert [tick for tick in axis.get_xticks() if low <= tick <= high] == [1, 2][:epochs]


def test_curves_of_melanoma_alone():
    table = history(4).drop(columns=["auc_seborrheic_keratosis", "auc_mean"])
    figure = visualize.learning_curves(table, "auc_melanoma", "Row 1-4", NOTE)
    assert {"AUC melanoma"} == {name for name in lines(figure.axes[1]) if name[0] != "_"}
    rendered(figure)


def test_curves_with_undefined_scores():
    table = history(4, auc_mean=[math.nan, 0.6, 0.5, math.nan])
    figure = visualize.learning_curves(table, "auc_mean", "Row 1-2", NOTE)
    (ring,) = [line for line in figure.axes[1].lines if len(line.get_xdata()) == 1]
    assert ring.get_xdata()[0] == 2
    rendered(figure)
    table = history(3, auc_mean=[math.nan] * 3)  # a split without melanomas, say
    rendered(visualize.learning_curves(table, "auc_mean", "Row 1-2", NOTE))


# --- predictions ---


def test_gallery_names_image_truth_and_probabilities():
    table = predictions(6)
    figure = visualize.prediction_gallery(photos(6), table, "Six", NOTE)
    titles = [axis.get_title() for axis in shown(figure)]
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
    figure = visualize.prediction_gallery(photos(1), table, "One", NOTE)
    bold = [t.get_text() for axis in figure.axes for t in axis.texts if t.get_weight() == "bold"]
    assert bold == [visualize.CLASS_LABELS[label]]


def test_gallery_of_melanoma_alone():
    figure = visualize.prediction_gallery(photos(3), predictions(3, classes=1), "Three", NOTE)
    assert figure.axes[4].texts[0].get_text() == "melanoma"
    assert "seborrheic keratosis" not in [t.get_text() for t in figure.axes[5].texts]
    rendered(figure)


def test_gallery_needs_a_row_an_image():
    with pytest.raises(ValueError, match="zip"):
        visualize.prediction_gallery(photos(3), predictions(2), "Three", NOTE)


def test_gallery_of_nothing_is_blank():
    figure = visualize.prediction_gallery([], predictions(0), "None", NOTE)
    assert not shown(figure)
    rendered(figure)


def test_class_colours_differ():
    assert len(set(visualize.CLASS_COLOURS)) == len(CLASSES) == len(visualize.CLASS_LABELS)
