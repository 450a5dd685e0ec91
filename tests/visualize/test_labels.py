"""Figures of the evaluation hold what they are given, not cut off, not told by colour alone."""

import matplotlib
import numpy as np
import pytest
from figures import NOTE, TITLE, check, legend, rendered
from matplotlib.figure import Figure

from utils import visualize
from utils.evaluation import curves


def study(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return labels, 0.75 * rng.dirichlet([1, 1, 1], n) + 0.25 * np.eye(3)[labels]


CURVES = {
    "AUC": (curves.roc_curves, visualize.roc_curves),
    "AP": (curves.precision_recall_curves, visualize.precision_recall_curves),
}


def found(area: str, columns: int = 3, without: int | None = None) -> list[curves.Curve]:
    labels, probabilities = study()
    kept = labels != without
    return CURVES[area][0](labels[kept], probabilities[kept, :columns], 50)


def drawn(area: str, columns: int = 3, without: int | None = None) -> Figure:
    return CURVES[area][1](found(area, columns, without), TITLE, NOTE)


MATRIX = np.array([[14, 5, 11], [1, 41, 0], [5, 9, 64]])
FIGURES = {
    "confusion": lambda: visualize.confusion_matrices(MATRIX, TITLE, NOTE),
    "confusion of two": lambda: visualize.confusion_matrices(MATRIX[:2, :2], TITLE, NOTE),
    "roc": lambda: drawn("AUC"),
    "roc of one": lambda: drawn("AUC", 1),
    "roc, a class missing": lambda: drawn("AUC", without=1),
    "pr": lambda: drawn("AP"),
    "pr of one": lambda: drawn("AP", 1),
    "pr, a class missing": lambda: drawn("AP", without=1),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_complete_and_its_texts_are_apart(name):
    check(FIGURES[name])


# --- confusion matrices ---


def test_confusion_matrices_by_hand():
    (axis,) = visualize.confusion_matrices(MATRIX, TITLE, NOTE).axes
    assert [text.get_text() for text in axis.texts] == [
        "14\n0.47", "5\n0.17", "11\n0.37",
        "1\n0.02", "41\n0.98", "0\n0.00",
        "5\n0.06", "9\n0.12", "64\n0.82",
    ]  # fmt: skip
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("prediction", "truth")
    for labels in (axis.get_xticklabels(), axis.get_yticklabels()):
        assert [t.get_text().replace("\n", " ") for t in labels] == list(visualize.CLASS_LABELS)
    # Row 0 is the truth melanoma, on top; column 2 the prediction benign.
    assert axis.texts[2].get_position() == (2.5, 0.5)
    assert axis.get_ylim()[0] > axis.get_ylim()[1]


def luminance(colour: np.ndarray) -> float:
    """Relative luminance of WCAG 2.2."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear[:3] @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_numbers_can_be_read_on_their_cells(share):
    many = round(100 * share)
    figure = visualize.confusion_matrices([[many, 100 - many], [0, 100]], TITLE, NOTE)
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["melanoma", "the rest"]
    (mesh,) = axis.collections
    cell = np.array(mesh.cmap(mesh.norm(share)))
    text = np.array(matplotlib.colors.to_rgb(axis.texts[0].get_color()))
    light, dark = sorted((luminance(cell), luminance(text)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) > 4  # 3 is asked for large, 4.5 for small text


def test_confusion_matrix_with_a_class_that_is_not_there():
    figure = visualize.confusion_matrices([[3, 1, 0], [0, 0, 0], [1, 0, 4]], TITLE, NOTE)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[3:6] == ["0\n–", "0\n–", "0\n–"]
    rendered(figure)


# --- curves ---


@pytest.mark.parametrize("area", CURVES)
def test_curves_are_drawn_as_they_are_with_band_and_interval(area):
    given = found(area)
    classes, pooled = drawn(area).axes
    for axis, part in ((classes, given[:3]), (pooled, given[3:])):
        assert axis.get_aspect() == 1
        for curve, line, band in zip(part, axis.lines, axis.collections, strict=False):
            np.testing.assert_array_equal(line.get_xdata(), curve.x)
            np.testing.assert_array_equal(line.get_ydata(), curve.y)
            name, (low, high) = curve.name.replace("_", " "), curve.interval
            assert line.get_label() == f"{name}: {area} {curve.area:.3f} [{low:.3f}, {high:.3f}]"
            assert line.get_label() in legend(axis)
            edge = band.get_paths()[0].vertices
            assert {*curve.low, *curve.high} <= set(edge[:, 1])
    steps = {line.get_drawstyle() for line in classes.lines[:3]}
    assert steps == ({"default"} if area == "AUC" else {"steps-pre"})


@pytest.mark.parametrize("area", CURVES)
def test_no_curve_is_told_from_another_by_colour_alone(area):
    for axis in drawn(area).axes:
        named = [line for line in axis.lines if area in line.get_label()]
        assert len({line.get_linestyle() for line in named}) == len(named) > 1


@pytest.mark.parametrize("area", CURVES)
def test_a_missing_class_is_said_and_has_no_line(area):
    classes, pooled = drawn(area, without=1).axes
    assert "seborrheic keratosis: undefined, a class is missing" in legend(classes)
    assert "macro: undefined, a class is missing" in legend(pooled)
    assert len(classes.collections) == 2  # bands
    assert len(pooled.collections) == 1


@pytest.mark.parametrize("area", CURVES)
def test_melanoma_alone_is_one_panel(area):
    (axis,) = drawn(area, 1).axes
    assert legend(axis)[0].startswith(f"melanoma: {area} 0.")


def test_chance_is_drawn():
    axis = drawn("AUC").axes[0]
    (chance,) = [line for line in axis.lines if line.get_label() == "chance"]
    assert list(chance.get_xdata()) == list(chance.get_ydata()) == [0, 1]
    axis = drawn("AP", without=1).axes[0]
    shares = [line.get_ydata()[0] for line in axis.lines if line.get_label().startswith("_")]
    assert shares == [0.5, 0.5]  # of melanoma and benign; the class that is missing has none
