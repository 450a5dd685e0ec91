"""Figures of the evaluation hold what they are given, not cut off, not told by colour alone."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from figures import legend, made_whole, rendered, texts_apart
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import experiments
from utils import visualize
from utils.evaluation import curves, score_tables
from utils.evaluation.conventions import classification_scores

NOTE = "synthetic demo data"
TITLE = "best/1-3-s0, validation split, 150 images"


def study(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return labels, 0.75 * rng.dirichlet([1, 1, 1], n) + 0.25 * np.eye(3)[labels]


def roc(columns: int = 3, without: int | None = None) -> list[curves.Curve]:
    labels, probabilities = study()
    kept = labels != without
    return curves.roc_curves(labels[kept], probabilities[kept, :columns], 50)


def precision_recall(columns: int = 3, without: int | None = None) -> list[curves.Curve]:
    labels, probabilities = study()
    kept = labels != without
    return curves.precision_recall_curves(labels[kept], probabilities[kept, :columns], 50)


def scores(seed: int = 0, columns: int = 3, without: int | None = None) -> dict:
    labels, probabilities = study(seed=seed)
    kept = labels != without
    return classification_scores(labels[kept], probabilities[kept, :columns], 50)


def points(count: int, rows: tuple[str, ...] = ()) -> pd.DataFrame:
    counts = {"melanoma": 117, "seborrheic_keratosis": 90}
    official = {"data": "ISIC 2017", "split": "test", "n": 600, "counts": counts}
    found = {f"best/1-{k % 5 + 1}-s{k}": scores(k) | official for k in range(count)}
    known = dict(zip(found, map(experiments.get, rows), strict=False))
    return score_tables.label_points(found, known)


def history(blocks: int, epochs: int = 6) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    table = pd.DataFrame({"epoch": epoch, "loss": 1 / epoch})
    for k in range(blocks):
        table[f"α layer{k // 4 + 1}.{k % 4}.alpha"] = 0.001 + (k // 2 - 1) * epoch / 1000
    return table


def threshold(at: float = 0.5, name: str = "melanoma") -> Figure:
    labels, probabilities = study()
    return visualize.labels.threshold_figure(
        labels == 0, probabilities[:, 0], at, name, TITLE, NOTE
    )


def photos(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(count)]


def heat(rows: int = 2, columns: int = 2, **options) -> Figure:
    values = np.random.default_rng(0).random((columns, rows, 7, 7))
    maps = {f"map {k}": list(values[k]) for k in range(columns)}
    captions = [f"ISIC_{k:07d}\ntruth: seborrheic keratosis\nanswer: benign" for k in range(rows)]
    return visualize.labels.heat_maps(photos(rows), maps, captions, TITLE, NOTE, **options)


MATRIX = np.array([[14, 5, 11], [1, 41, 0], [5, 9, 64]])
FIGURES = {
    "confusion": lambda: visualize.labels.confusion_matrices(MATRIX, TITLE, NOTE),
    "confusion of two": lambda: visualize.labels.confusion_matrices(MATRIX[:2, :2], TITLE, NOTE),
    "roc": lambda: visualize.labels.roc_curves(roc(), TITLE, NOTE),
    "roc of one": lambda: visualize.labels.roc_curves(roc(1), TITLE, NOTE),
    "roc, a class missing": lambda: visualize.labels.roc_curves(roc(without=1), TITLE, NOTE),
    "pr": lambda: visualize.labels.precision_recall_curves(precision_recall(), TITLE, NOTE),
    "pr of one": lambda: visualize.labels.precision_recall_curves(precision_recall(1), TITLE, NOTE),
    "pr, a class missing": lambda: visualize.labels.precision_recall_curves(
        precision_recall(without=1), TITLE, NOTE
    ),
    "scores of one": lambda: visualize.labels.score_intervals(points(1), TITLE, NOTE),
    "scores of 15": lambda: visualize.labels.score_intervals(
        points(15, tuple(experiments.ROWS)), TITLE, NOTE
    ),
    "α": lambda: visualize.labels.attention_weights({"1-3-s0": history(4)}, TITLE, NOTE),
    "α of four": lambda: visualize.labels.attention_weights(
        {f"1-1-s{k}": history(4 + 6 * (k % 3)) for k in range(4)}, TITLE, NOTE
    ),
    "threshold": threshold,
    "threshold of a long name": lambda: threshold(1.0, "seborrheic_keratosis"),
    "maps": heat,
    "maps of one": lambda: heat(1, 1),
    "many maps": lambda: heat(2, 6, limits=None),
}


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_carries_title_and_note_and_is_cut_off_nowhere(name):
    made_whole(FIGURES[name], (TITLE,), NOTE)


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_lies_on_another(name):
    texts_apart(FIGURES[name]())


# --- confusion matrices ---


def test_confusion_matrices_by_hand():
    figure = visualize.labels.confusion_matrices(MATRIX, TITLE, NOTE)
    counts, shares = figure.axes
    assert [int(text.get_text()) for text in counts.texts] == MATRIX.ravel().tolist()
    assert [text.get_text() for text in shares.texts] == [
        "0.47", "0.17", "0.37", "0.02", "0.98", "0.00", "0.06", "0.12", "0.82",
    ]  # fmt: skip
    for axis in figure.axes:
        assert (axis.get_xlabel(), axis.get_ylabel()) == ("prediction", "truth")
        for labels in (axis.get_xticklabels(), axis.get_yticklabels()):
            assert [t.get_text().replace("\n", " ") for t in labels] == list(visualize.CLASS_LABELS)
    # Row 0 is the truth melanoma, on top; column 2 the prediction benign.
    assert counts.texts[2].get_position() == (2, 0)
    assert counts.get_ylim()[0] > counts.get_ylim()[1]


def luminance(colour: np.ndarray) -> float:
    """Relative luminance of WCAG 2.2."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear[:3] @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("share", np.linspace(0, 1, 21).round(2))
def test_numbers_can_be_read_on_their_cells(share):
    many = round(100 * share)
    figure = visualize.labels.confusion_matrices([[many, 100 - many], [0, 100]], TITLE, NOTE)
    axis = figure.axes[1]
    image = axis.images[0]
    cell = np.array(image.cmap(image.norm(share)))
    text = np.array(matplotlib.colors.to_rgb(axis.texts[0].get_color()))
    light, dark = sorted((luminance(cell), luminance(text)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) > 4  # 3 is asked for large, 4.5 for small text


def test_confusion_matrix_with_a_class_that_is_not_there():
    figure = visualize.labels.confusion_matrices([[3, 1, 0], [0, 0, 0], [1, 0, 4]], TITLE, NOTE)
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert texts[3:6] == ["–", "–", "–"]
    rendered(figure)


def test_confusion_matrix_of_two_names_the_rest():
    figure = visualize.labels.confusion_matrices([[3, 1], [0, 2]], TITLE, NOTE)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["melanoma", "the rest"]
    figure = visualize.labels.confusion_matrices([[3, 1], [0, 2]], TITLE, NOTE, ("a", "b"))
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["a", "b"]


# --- curves ---

KINDS = {
    "AUC": (roc, visualize.labels.roc_curves),
    "AP": (precision_recall, visualize.labels.precision_recall_curves),
}


@pytest.mark.parametrize("area", KINDS)
def test_curves_are_drawn_as_they_are_with_band_and_interval(area):
    data, draw = KINDS[area]
    found = data()
    figure = draw(found, TITLE, NOTE)
    classes, pooled = figure.axes
    for axis, part in ((classes, found[:3]), (pooled, found[3:])):
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


@pytest.mark.parametrize("area", KINDS)
def test_no_curve_is_told_from_another_by_colour_alone(area):
    data, draw = KINDS[area]
    for axis in draw(data(), TITLE, NOTE).axes:
        named = [line for line in axis.lines if area in line.get_label()]
        assert len({line.get_linestyle() for line in named}) == len(named) > 1
        assert len({to_hex(line.get_color()) for line in named}) == len(named)
    first = draw(data(), TITLE, NOTE).axes[0]
    colours = [to_hex(line.get_color()).upper() for line in first.lines[:3]]
    assert colours == list(visualize.CLASS_COLOURS)


@pytest.mark.parametrize("area", KINDS)
def test_a_missing_class_is_said_and_has_no_line(area):
    data, draw = KINDS[area]
    classes, pooled = draw(data(without=1), TITLE, NOTE).axes
    assert "seborrheic keratosis: undefined, a class is missing" in legend(classes)
    assert "macro: undefined, a class is missing" in legend(pooled)
    assert len(classes.collections) == 2  # bands
    assert len(pooled.collections) == 1


@pytest.mark.parametrize("area", KINDS)
def test_melanoma_alone_is_one_panel(area):
    data, draw = KINDS[area]
    (axis,) = draw(data(1), TITLE, NOTE).axes
    assert legend(axis)[0].startswith(f"melanoma: {area} 0.")


def test_chance_is_drawn():
    axis = visualize.labels.roc_curves(roc(), TITLE, NOTE).axes[0]
    (chance,) = [line for line in axis.lines if line.get_label() == "chance"]
    assert list(chance.get_xdata()) == list(chance.get_ydata()) == [0, 1]
    axis = visualize.labels.precision_recall_curves(precision_recall(without=1), TITLE, NOTE).axes[
        0
    ]
    shares = [line.get_ydata()[0] for line in axis.lines if line.get_label().startswith("_")]
    assert shares == [0.5, 0.5]  # of melanoma and benign; the class that is missing has none


# --- several runs ---


def test_forest_holds_points_intervals_and_numbers():
    table = points(2, ("1-1", "1-4"))
    figure = visualize.labels.score_intervals(table, TITLE, NOTE)
    assert [axis.get_title() for axis in figure.axes] == [
        "AUC melanoma", "AUC seborrheic keratosis", "mean AUC",
    ]  # fmt: skip
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == [
        "best/1-1-s0",
        "best/1-2-s1",
        "Zhang et al. 2019, ARL-CNN50\n(2000 official + 1320 archive images)",
        "coursework, ARL-CNN50\n(2000 official + 1320 archive images)",
        "re-implementation, ARL-CNN50, melanoma only\n(2000 official images)",
    ]
    axis, metric = figure.axes[0], table[table["metric"] == "AUC melanoma"]
    marks = [line for line in axis.lines if line.get_marker() in ("o", "D")]
    assert [line.get_ydata()[0] for line in marks] == [0, 1, 2, 3, 4]
    assert [line.get_xdata()[0] for line in marks] == metric["value"].tolist()
    assert [line.get_markerfacecolor() == "w" for line in marks] == metric["published"].tolist()
    bars = [list(line.get_xdata()) for line in axis.lines if line.get_marker() == "None"][:2]
    assert bars == metric[["low", "high"]][:2].to_numpy().tolist()
    value, low, high = metric.iloc[1][["value", "low", "high"]]
    assert [text.get_text() for text in axis.texts[1:4]] == [
        f"{value:.3f} [{low:.3f}, {high:.3f}]", "0.875", "0.861",
    ]  # fmt: skip
    assert (
        "hollow: published, on the 600 official test images; training lists differ"
        in figure.get_supxlabel()
    )
    # The study that knows melanoma alone has no mark in the other panels.
    assert [line.get_ydata()[0] for line in figure.axes[2].lines if line.get_marker() == "D"] == [
        2,
        3,
    ]


def test_forest_without_published_values_does_not_speak_of_them():
    figure = visualize.labels.score_intervals(points(2), TITLE, NOTE)
    assert "hollow" not in words(figure)
    assert not [line for line in figure.axes[0].lines if line.get_marker() == "D"]


def test_forest_says_what_is_undefined_and_leaves_out_what_is_not_asked():
    found = {"a": scores(without=1), "b": scores(1, columns=1), "c": scores(2)}
    figure = visualize.labels.score_intervals(score_tables.label_points(found, {}), TITLE, NOTE)
    texts = [{t.get_position()[1]: t.get_text() for t in axis.texts} for axis in figure.axes]
    assert texts[1][0] == texts[2][0] == "undefined"
    assert list(texts[0]) == [0, 1, 2]
    assert list(texts[1]) == list(texts[2]) == [0, 2]
    rendered(figure)


# --- attention weights ---


@pytest.mark.parametrize("blocks", [1, 4, 6])
def test_few_blocks_are_named_at_their_lines(blocks):
    figure = visualize.labels.attention_weights({"1-3-s0": history(blocks)}, TITLE, NOTE)
    rendered(figure)
    (axis,) = figure.axes
    assert (axis.get_title(), axis.get_xlabel(), axis.get_ylabel()) == ("1-3-s0", "epoch", "α")
    drawn = {line.get_label(): line.get_ydata() for line in axis.lines}
    names = {text.get_text(): text for text in axis.texts}
    assert len(names) == blocks
    for k in range(blocks):
        name = f"layer{k // 4 + 1}.{k % 4}"
        np.testing.assert_array_equal(drawn[name], history(blocks)[f"α {name}.alpha"])
        (line,) = [line for line in axis.lines if line.get_label() == name]
        assert names[name].get_color() == line.get_color()
    # Two blocks end in each place: their names do not lie on each other.
    tops = sorted(text.get_window_extent().y0 for text in names.values())
    height = axis.texts[0].get_window_extent().height
    assert all(np.diff(tops) > 0.8 * height)


def test_many_blocks_have_a_colour_bar():
    figure = visualize.labels.attention_weights({"1-1-s0": history(16)}, TITLE, NOTE)
    rendered(figure)
    axis = figure.axes[0]
    assert not axis.texts
    bar = axis.child_axes[0]
    assert [text.get_text() for text in bar.get_yticklabels()] == ["layer1.0", "layer4.3"]
    assert len({to_hex(line.get_color()) for line in axis.lines[:16]}) == 16


def test_runs_without_attention_are_left_out():
    runs = {"3-1-s0": history(0), "1-3-s0": history(4), "4-1-s0": history(4) * 0 + 1}
    figure = visualize.labels.attention_weights(runs, TITLE, NOTE)
    assert [axis.get_title() for axis in figure.axes] == ["1-3-s0", "4-1-s0"]
    rendered(figure)
    none = visualize.labels.attention_weights({"3-1-s0": history(0)}, TITLE, NOTE)
    assert "no attention weights α in these runs" in words(none)


# --- the threshold ---


def test_threshold_by_hand():
    truth, score = [1, 1, 1, 0, 0, 0], [0.9, 0.5, 0.2, 0.6, 0.1, 0.3]
    figure = visualize.labels.threshold_figure(truth, score, 0.5, "melanoma", TITLE, NOTE)
    rates, cells = figure.axes
    assert [text.get_text() for text in cells.texts] == ["1", "2", "1", "2"]  # tp fn / fp tn
    assert legend(rates) == ["sensitivity 0.333", "specificity 0.667"]
    assert cells.get_title() == "positive: above 0.50"
    assert rates.get_xlabel() == "threshold on the probability of melanoma"
    marks = [line for line in rates.lines if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks] == [
        (0.5, 1 / 3), (0.5, 2 / 3),
    ]  # fmt: skip
    sensitivity = rates.lines[0]
    at = dict(zip(sensitivity.get_xdata().round(3), sensitivity.get_ydata(), strict=True))
    assert (at[0.0], at[0.3], at[0.5], at[0.9]) == (1, 2 / 3, 1 / 3, 0)
    assert len({line.get_linestyle() for line in (rates.lines[0], rates.lines[2])}) == 2


def test_nothing_but_the_marks_moves_with_the_threshold():
    places = []
    for at in (0.0, 0.37, 1.0):
        figure = threshold(at)
        rendered(figure)
        places.append([axis.get_position().bounds for axis in figure.axes])
        places[-1] += [figure.axes[0].get_xlim(), figure.axes[0].get_ylim()]
    assert places[0] == places[1] == places[2]


def test_threshold_where_the_class_is_missing():
    figure = visualize.labels.threshold_figure([0, 0], [0.2, 0.7], 0.5, "melanoma", TITLE, NOTE)
    rendered(figure)
    assert legend(figure.axes[0]) == ["sensitivity undefined", "specificity 0.500"]


# --- heat maps ---


def test_maps_stand_under_their_headers_beside_their_captions():
    figure = heat(3, 2)
    grid = [axis for axis in figure.axes if axis.images]
    assert len(grid) == 9
    assert [axis.get_title() for axis in grid[:3]] == ["image", "map 0", "map 1"]
    assert grid[3].get_ylabel().startswith("ISIC_0000001\ntruth")
    np.testing.assert_array_equal(grid[3].images[0].get_array(), photos(3)[1])
    ends = [text.get_text() for text in figure.axes[-1].get_yticklabels()]
    assert ends == ["low (0)", "high (1)"]
    ends = [text.get_text() for text in heat(limits=None).axes[-1].get_yticklabels()]
    assert ends == ["low", "high"]


def test_maps_need_a_caption_and_a_map_an_image():
    with pytest.raises(ValueError, match="zip"):
        visualize.labels.heat_maps(photos(2), {"a": [np.ones((7, 7))]}, ["x", "y"], TITLE, NOTE)
    with pytest.raises(ValueError, match="zip"):
        visualize.labels.heat_maps(photos(2), {}, ["x"], TITLE, NOTE)
