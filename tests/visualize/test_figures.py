"""Learning curves, attention weights and forest plots show the numbers they were given."""

import math

import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from figures import NOTE, TITLE, check, rendered, words
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex, to_rgb

import experiments
from utils import visualize
from utils.evaluation import score_tables
from utils.evaluation.conventions import classification_scores
from utils.visualize.figures import SEABORN


def history(epochs: int = 5, alphas: int = 0, **columns: list[float]) -> pd.DataFrame:
    """As `fit` gives it."""
    epoch = np.arange(1, epochs + 1)
    table = pd.DataFrame({"epoch": epoch, "learning_rate": 1e-3, "loss": 1 / epoch})
    table["auc_melanoma"] = 0.9 - 0.3 / epoch
    table["auc_seborrheic_keratosis"] = 0.8 - 0.3 / epoch
    table["auc_mean"] = 0.85 - 0.3 / epoch
    for k in range(alphas):
        table[f"α layer{k // 4 + 1}.{k % 4}.alpha"] = 0.001 + (k // 2 - 1) * epoch / 1000
    return table.assign(**columns)


def alphas(blocks: int) -> pd.DataFrame:
    return history(6, blocks)


def scores(seed: int = 0, columns: int = 3, without: int | None = None) -> dict:
    labels = np.arange(90) % 3
    rng = np.random.default_rng(seed)
    probabilities = 0.75 * rng.dirichlet([1, 1, 1], 90) + 0.25 * np.eye(3)[labels]
    kept = labels != without
    return classification_scores(labels[kept], probabilities[kept, :columns], 50)


def points(count: int, rows: tuple[str, ...] = ()) -> pd.DataFrame:
    counts = {"melanoma": 117, "seborrheic_keratosis": 90}
    official = {"data": "ISIC 2017", "split": "test", "n": 600, "counts": counts}
    found = {f"best/1-{k % 5 + 1}-s{k}": scores(k) | official for k in range(count)}
    known = dict(zip(found, map(experiments.get, rows), strict=False))
    return score_tables.label_points(found, known)


FIGURES = {
    "curves": lambda: visualize.learning_curves(history(alphas=4), "auc_mean", TITLE, NOTE),
    "scores of one": lambda: visualize.score_intervals(points(1), TITLE, NOTE),
    "scores of 15": lambda: visualize.score_intervals(
        points(15, tuple(experiments.ROWS)), TITLE, NOTE
    ),
    "α": lambda: visualize.attention_weights({"1-3-s0": alphas(4)}, TITLE, NOTE),
    "α of four": lambda: visualize.attention_weights(
        {f"1-1-s{k}": alphas(4 + 6 * (k % 3)) for k in range(4)}, TITLE, NOTE
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_complete_and_its_texts_are_apart(name):
    check(FIGURES[name])


# --- learning curves ---


def test_curves_show_loss_and_scores():
    table = history(5)
    figure = visualize.learning_curves(table, "auc_mean", TITLE, NOTE)
    loss, scores = figure.axes
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), table["loss"])
    drawn = {line.get_label(): line.get_ydata() for line in scores.lines}
    np.testing.assert_array_equal(drawn["AUC melanoma"], table["auc_melanoma"])
    np.testing.assert_array_equal(drawn["AUC mean"], table["auc_mean"])
    assert "AUC seborrheic keratosis" in drawn
    assert len({line.get_linestyle() for line in scores.lines[:3]}) == 3  # not by colour alone
    assert {loss.get_xlabel(), scores.get_xlabel()} == {"epoch"}


def test_curves_ring_the_epoch_that_was_kept():
    table = history(5, auc_mean=[0.5, 0.7, 0.9, 0.9, 0.8])
    figure = visualize.learning_curves(table, "auc_mean", TITLE, NOTE)
    (ring,) = [line for line in figure.axes[1].lines if len(line.get_xdata()) == 1]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (3, 0.9)  # the first of equals


def test_curves_of_the_last_epoch_say_that_scores_choose_nothing():
    table = history(5, auc_mean=[0.5, 0.7, 0.9, 0.9, 0.8])
    figure = visualize.learning_curves(table, "auc_mean", TITLE, NOTE, "last")
    (ring,) = [line for line in figure.axes[1].lines if len(line.get_xdata()) == 1]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (5, 0.8)
    assert figure.axes[1].get_title() == "scores, watched only (ring: the epoch kept)"


def test_the_legend_of_curves_lies_below_them():
    figure = visualize.learning_curves(history(5), "auc_mean", TITLE, NOTE)
    rendered(figure)
    axis = figure.axes[1]
    assert axis.get_legend().get_window_extent().y1 < axis.get_window_extent().y0


def test_curves_show_the_attention_weights_where_there_are_some():
    assert len(visualize.learning_curves(history(5), "auc_mean", TITLE, NOTE).axes) == 2
    for blocks in (4, 33):
        axis = visualize.learning_curves(history(5, blocks), "auc_mean", TITLE, NOTE).axes[2]
        assert len(axis.lines) == blocks + 1  # and the line at zero


@pytest.mark.parametrize("epochs", [1, 2])
def test_curves_of_short_runs_can_be_seen(epochs):
    figure = visualize.learning_curves(history(epochs, alphas=2), "auc_mean", TITLE, NOTE)
    rendered(figure)
    for axis in figure.axes:
        curves = [line for line in axis.lines if len(line.get_xdata()) == epochs]
        assert {line.get_marker() for line in curves} >= {"o"}
        low, high = axis.get_xlim()
        assert [tick for tick in axis.get_xticks() if low <= tick <= high] == [1, 2][:epochs]


def test_curves_with_undefined_scores():
    table = history(4, auc_mean=[math.nan, 0.6, 0.5, math.nan])
    figure = visualize.learning_curves(table, "auc_mean", TITLE, NOTE)
    (ring,) = [line for line in figure.axes[1].lines if len(line.get_xdata()) == 1]
    assert ring.get_xdata()[0] == 2
    rendered(figure)
    table = history(3, auc_mean=[math.nan] * 3)  # a split without melanomas, say
    rendered(visualize.learning_curves(table, "auc_mean", TITLE, NOTE))


# --- several runs ---


def test_forest_holds_points_intervals_and_numbers():
    table = points(2, ("1-1", "1-4"))
    figure = visualize.score_intervals(table, TITLE, NOTE)
    assert [axis.get_title() for axis in figure.axes] == [
        "AUC melanoma", "AUC seborrheic keratosis", "mean AUC",
    ]  # fmt: skip
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == [
        "best/1-1-s0",
        "best/1-2-s1",
        "Zhang et al. 2019, ARL-CNN50\n(2000 official + 1320 archive images)",
        "coursework, ARL-CNN50\n(2000 official + 1320 archive images)",
        "re-implementation, ARL-CNN50, melanoma only\n(AUC and SP cut, not rounded)\n"
        "(2000 official images)",
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
    assert "hollow: published, on the 600 official test images;" in figure.get_supxlabel()
    # The study that knows melanoma alone has no mark in the other panels.
    hollow = [line for line in figure.axes[2].lines if line.get_marker() == "D"]
    assert [line.get_ydata()[0] for line in hollow] == [2, 3]


def test_forest_says_what_is_undefined_and_leaves_out_what_is_not_asked():
    found = {"a": scores(without=1), "b": scores(1, columns=1), "c": scores(2)}
    figure = visualize.score_intervals(score_tables.label_points(found, {}), TITLE, NOTE)
    assert "hollow" not in words(figure)  # nothing is published
    texts = [{t.get_position()[1]: t.get_text() for t in axis.texts} for axis in figure.axes]
    assert texts[1][0] == texts[2][0] == "undefined"
    assert list(texts[0]) == [0, 1, 2]
    assert list(texts[1]) == list(texts[2]) == [0, 2]
    rendered(figure)


# --- attention weights ---


@pytest.mark.parametrize("blocks", [1, 4, 9, 16])
def test_blocks_have_colours_that_a_bar_names(blocks):
    table = alphas(blocks)
    figure = visualize.attention_weights({"1-3-s0": table}, TITLE, NOTE)
    rendered(figure)
    (axis,) = figure.axes
    assert (axis.get_title(), axis.get_xlabel(), axis.get_ylabel()) == ("1-3-s0", "epoch", "α")
    (bar,) = axis.child_axes
    names = [f"layer{k // 4 + 1}.{k % 4}" for k in range(blocks)]
    shown = names if blocks <= 9 else [names[0], names[-1]]
    assert [text.get_text() for text in bar.get_yticklabels()] == shown
    (mesh,) = bar.findobj(QuadMesh)
    colours = mesh.get_cmap().colors
    for line, name, colour in zip(axis.lines, names, colours, strict=False):
        np.testing.assert_array_equal(line.get_ydata(), table[f"α {name}.alpha"])
        assert line.get_color() == tuple(colour)
    assert len(set(map(to_hex, colours))) == blocks


def test_runs_without_attention_are_left_out():
    runs = {"3-1-s0": alphas(0), "1-3-s0": alphas(4), "4-1-s0": alphas(4) * 0 + 1}
    figure = visualize.attention_weights(runs, TITLE, NOTE)
    assert [axis.get_title() for axis in figure.axes] == ["1-3-s0", "4-1-s0"]
    rendered(figure)
    none = visualize.attention_weights({"3-1-s0": alphas(0)}, TITLE, NOTE)
    assert "no attention weights α in these runs" in words(none)


def test_the_style_is_that_of_seaborn():
    theirs = sns.axes_style("whitegrid") | sns.plotting_context("paper", font_scale=0.85)
    for name, value in SEABORN.items():
        if isinstance(value, str) and "color" in name:
            assert to_rgb(value) == to_rgb(theirs[name]), name
        else:
            assert value == pytest.approx(theirs[name]), name
    chosen = set(visualize.figures.STYLE) - set(SEABORN)
    # No figure uses these: all have DejaVu Sans, and no image is drawn without its colours.
    assert set(theirs) - set(SEABORN) - chosen == {"font.sans-serif", "image.cmap"}
