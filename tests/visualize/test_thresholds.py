"""What a threshold decides is counted as scikit-learn does, and drawn as it is counted."""

import itertools

import numpy as np
import pandas as pd
import pytest
from counted import counted, referee
from figures import NOTE, TITLE, check, legend, rendered
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from utils import visualize
from utils.visualize.thresholds import decisions, threshold_figure

LONG = "isic2017-256-coursework/seg-3-s1 (1-5-s0)"


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


def labels_at(threshold: float, name: str = "melanoma") -> Figure:
    labels, rng = np.arange(90) % 3, np.random.default_rng(0)
    table = pd.DataFrame({"label": labels, name: 0.75 * rng.random(90) + 0.25 * (labels == 0)})
    return threshold_figure(decisions(table)[name], threshold, name, TITLE, NOTE)


def masks_at(threshold: float) -> Figure:
    return threshold_figure(decisions(counted(0))["lesion"], threshold, "lesion", TITLE, NOTE)


FIGURES = {
    "labels": lambda: labels_at(0.5),
    "labels, a long name": lambda: labels_at(1.0, "seborrheic_keratosis"),
    "masks": lambda: masks_at(0.5),
    "curves of 1": lambda: visualize.threshold_curves(thresholds(1), 0.5, TITLE, NOTE),
    "curves of 3": lambda: visualize.threshold_curves(thresholds(3), 0.5, TITLE, NOTE),
    "curves of 8": lambda: visualize.threshold_curves(thresholds(8), 0.5, TITLE, NOTE),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_complete_and_its_texts_are_apart(name):
    check(FIGURES[name])


def test_scores_at_each_threshold_are_scikit_learns():
    found = visualize.threshold_scores({"a": counted(0), "b": counted(1)})
    assert len(found) == 2 * 6 * 19
    for seed, run in enumerate("ab"):
        for step in (0.05, 0.5, 0.95):
            part = found[(found["run"] == run) & np.isclose(found["threshold"], step)]
            assert part["id"].tolist() == [f"<b>{k}" for k in range(6)]
            for metric, expected in referee(seed, step).items():
                np.testing.assert_allclose(part[metric], expected, atol=1e-12)


# --- one threshold ---


def at_mark(axis) -> list[tuple[float, float]]:
    """Where the marks of the lines stand."""
    marks = [line for line in axis.lines if line.get_marker() == "o"]
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks]


def test_threshold_of_labels_by_hand():
    table = pd.DataFrame({"label": [0, 0, 0, 1, 2, 2]})
    table["melanoma"] = [0.9, 0.5, 0.2, 0.6, 0.1, 0.3]
    figure = threshold_figure(decisions(table)["melanoma"], 0.5, "melanoma", TITLE, NOTE)
    rates, cells = figure.axes
    counts = [text.get_text() for text in cells.texts]
    assert counts == ["1\n0.33", "2\n0.67", "1\n0.33", "2\n0.67"]  # tp fn / fp tn
    assert legend(rates) == ["sensitivity 0.333", "specificity 0.667", "accuracy 0.500"]
    assert cells.get_title() == "positive: above 0.50"
    assert rates.get_xlabel() == "threshold on the probability of melanoma"
    assert at_mark(rates) == [(0.5, 1 / 3), (0.5, 2 / 3), (0.5, 0.5)]
    sensitivity = dict(zip(*rates.lines[0].get_data(), strict=True))
    assert [sensitivity[at] for at in (0.0, 0.3, 0.5, 0.9)] == [1, 2 / 3, 1 / 3, 0]
    assert len({line.get_linestyle() for line in rates.lines[::2][:3]}) == 3


def test_threshold_of_masks_by_hand():
    table = pd.DataFrame({"id": list("abcd") * 2, "threshold": [0.25] * 4 + [0.5] * 4})
    table["tp"] = [10, 20, 65, 97, 30, 31, 70, 100]  # Jaccard 0.10, 0.20, 0.65, …
    table["fn"], table["fp"], table["tn"] = 0, 100 - table["tp"], 100
    figure = threshold_figure(decisions(table)["lesion"], 0.25, "lesion", TITLE, NOTE)
    means, bars = figure.axes
    specificity = np.mean([100 / (200 - tp) for tp in (10, 20, 65, 97)])
    assert legend(means) == [
        "Jaccard 0.480", "sensitivity 1.000", f"specificity {specificity:.3f}",
    ]  # fmt: skip
    np.testing.assert_allclose(at_mark(means), [(0.25, 0.48), (0.25, 1), (0.25, specificity)])
    assert bars.get_title() == "at 0.25: 2 of 4 under 0.65"
    drawn = [bar for bar in bars.patches if bar.get_height()]
    heights = {round(bar.get_x(), 2): bar.get_height() for bar in drawn}
    assert heights == {0.1: 1, 0.2: 1, 0.65: 1, 0.95: 1}
    colours = {round(bar.get_x(), 2): to_hex(bar.get_facecolor()) for bar in drawn}
    assert colours[0.1] == colours[0.2] != colours[0.65] == colours[0.95]
    assert {tick % 1 for tick in bars.get_yticks()} == {0}  # images are whole
    assert len({line.get_linestyle() for line in means.lines[::2][:3]}) == 3


@pytest.mark.parametrize("draw", [labels_at, masks_at])
def test_nothing_but_marks_cells_and_bars_moves_with_the_threshold(draw):
    places = []
    for at in (0.05, 0.5, 0.95):
        figure = draw(at)
        rendered(figure)
        places.append([axis.get_position().bounds for axis in figure.axes])
        places[-1] += [(axis.get_xlim(), axis.get_ylim()) for axis in figure.axes]
    assert places[0] == places[1] == places[2]


def test_threshold_where_the_class_is_missing():
    table = pd.DataFrame({"label": [2, 2], "melanoma": [0.2, 0.7]})
    figure = threshold_figure(decisions(table)["melanoma"], 0.5, "melanoma", TITLE, NOTE)
    rendered(figure)
    assert legend(figure.axes[0])[:2] == ["sensitivity undefined", "specificity 0.500"]


# --- all thresholds ---


def test_threshold_curves_are_the_means_over_images():
    given = thresholds(3)
    mixed = given.sort_values(["run", "threshold"], key=lambda column: column.isin([0.5, 0.6]))
    figure = visualize.threshold_curves(mixed, 0.5, TITLE, NOTE)
    jaccard, rates = (axis for axis in figure.axes if axis.lines)
    curves = [line for line in jaccard.lines if len(line.get_xdata()) == 19]
    for line, (_, table) in zip(curves, given.groupby("run", sort=False), strict=True):
        expected = table.groupby("threshold")["jaccard"].mean()
        np.testing.assert_allclose(line.get_xdata(), expected.index)
        np.testing.assert_allclose(line.get_ydata(), expected)
    assert len({(line.get_color(), line.get_marker()) for line in curves}) == 3
    assert len({line.get_marker() for line in curves}) == 3  # not told by colour alone
    styles = [line.get_linestyle() for line in rates.lines if len(line.get_xdata()) == 19]
    assert styles == ["--"] * 3 + ["-."] * 3
    np.testing.assert_allclose(
        rates.lines[0].get_ydata(),
        given[given["run"] == LONG].groupby("threshold")["sensitivity"].mean(),
    )
    for axis in (jaccard, rates):
        (mark,) = [line for line in axis.lines if line.get_linestyle() == ":"]
        assert set(mark.get_xdata()) == {0.5}


def test_threshold_curves_say_what_is_used_and_what_would_be_best():
    given = thresholds(1, images=1)  # 0.8 - (threshold - 0.4)²
    figure = visualize.threshold_curves(given, 0.5, TITLE, NOTE)
    assert legend(figure) == [f"{LONG}: Jaccard 0.790 at 0.50; its best 0.800 at 0.40"]


def test_means_and_images_give_the_same_curves():
    given = thresholds(2)
    means = given.groupby(["run", "threshold"], sort=False).mean().reset_index()
    one, other = (
        rendered(visualize.threshold_curves(table, 0.5, TITLE, NOTE)) for table in (given, means)
    )
    np.testing.assert_array_equal(one, other)


def test_threshold_curves_need_the_threshold_in_use():
    given = thresholds(2)
    wanted = r"best/seg-1-s0 was not scored at the threshold 0.5; expected one of 0.05, 0.1, .*0.95"
    given = given[(given["run"] == LONG) | (given["threshold"] != 0.5)]
    with pytest.raises(ValueError, match=wanted):
        visualize.threshold_curves(given, 0.5, TITLE, NOTE)
