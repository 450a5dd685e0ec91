"""Figures of calibration hold what they are given, not cut off, not told by colour alone."""

import numpy as np
import pytest
from figures import NOTE, TITLE, check, legend, rendered, words
from matplotlib.colors import to_hex
from people import study

from utils import evaluation
from utils.visualize import trust as visualize


def found(
    columns: int = 3, n: int = 300, without: int | None = None
) -> evaluation.trust.Assessment:
    fitted = study(200, 1, columns)[0].assign(id=[f"fit{k}" for k in range(200)])
    reported, people = study(n, 2, columns)
    return evaluation.trust.assess(
        fitted, reported[reported["label"] != without], people, resamples=50
    )


ALL, ONE, FEW = found(), found(1), found(n=30)
NONE = found(1, without=0)
DRAW = {
    "reliability": lambda a: visualize.reliability_diagram(a.reliability, TITLE, NOTE),
    "decision": lambda a: visualize.decision_curves(a.decision, TITLE, NOTE),
    "operating": lambda a: visualize.operating_points(a.roc, a.operating, TITLE, NOTE),
    "subgroups": lambda a: visualize.subgroup_forest(a.subgroups, TITLE, NOTE),
}
CASES = {"all": ALL, "melanoma alone": ONE, "few images": FEW}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", DRAW)
def test_every_figure_is_complete_and_its_texts_are_apart(name, case):
    check(lambda: DRAW[name](CASES[case]))


@pytest.mark.parametrize("name", ["operating", "subgroups"])
def test_a_table_without_rows_is_said(name):
    check(lambda: DRAW[name](NONE), empty=True)
    assert "nothing to show: a class or the metadata is missing" in words(DRAW[name](NONE))


def test_a_class_without_images_is_drawn_where_it_can_be():
    rendered(DRAW["reliability"](NONE))
    rendered(DRAW["decision"](NONE))


def test_bins_are_drawn_as_they_are_with_error_and_counts():
    figure = DRAW["reliability"](ALL)
    assert len(figure.axes) == 4
    top, bottom = figure.axes[0], figure.axes[2]
    assert top.get_title() == "melanoma"
    errors = ALL.calibration.set_index(["class", "probabilities"])["ece"]
    for version, container in zip(("as they are", "scaled"), top.containers, strict=True):
        bins = ALL.reliability[
            (ALL.reliability["class"] == "melanoma") & (ALL.reliability["probabilities"] == version)
        ]
        held = bins[bins["n"] > 0]
        line, _, (bars,) = container
        np.testing.assert_array_equal(line.get_xdata(), held["mean_probability"])
        np.testing.assert_array_equal(line.get_ydata(), held["observed"])
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, held[["observed_low", "observed_high"]])
        assert f"{version}: calibration error {errors['melanoma', version]:.3f}" in legend(bottom)
    counts = [patch.get_data().values.tolist() for patch in bottom.patches]
    assert counts == [ALL.reliability["n"][part].tolist() for part in np.s_[:10, 20:30]]


@pytest.mark.parametrize("name", ["reliability", "decision"])
def test_no_line_is_told_from_another_by_colour_alone(name):
    axis = DRAW[name](ALL).axes[0]
    lines = [line for line in axis.lines if len(line.get_xdata()) > 1 and line.get_ls() != "None"]
    looks = {(line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(looks) == len(lines) == {"reliability": 3, "decision": 4}[name]


def test_decision_curves_are_drawn_as_they_are():
    axis = DRAW["decision"](ALL).axes[1]
    assert legend(axis) == ["as they are", "scaled", "treat all", "treat no one"]
    rows = ALL.decision[ALL.decision["class"] == "seborrheic_keratosis"]
    scaled = rows[rows["probabilities"] == "scaled"]
    np.testing.assert_array_equal(axis.lines[1].get_ydata(), scaled["model"])
    np.testing.assert_array_equal(axis.lines[2].get_ydata(), scaled["treat_all"])
    assert axis.get_ylim()[1] > scaled["high"].max()


def test_operating_points_lie_on_the_curve():
    axis = DRAW["operating"](ALL).axes[0]
    curve = set(zip(*(axis.lines[0].get_data()), strict=True))
    rows = ALL.operating[ALL.operating["class"] == "melanoma"]
    marks = [container[0] for container in axis.containers]
    for mark, row in zip(marks, rows.itertuples(), strict=True):
        x, y = mark.get_xdata()[0], mark.get_ydata()[0]
        assert (x, y) == pytest.approx((1 - row.specificity, row.sensitivity))
        assert min(abs(a - x) + abs(b - y) for a, b in curve) < 1e-12
    assert len({mark.get_marker() for mark in marks}) == len(marks) == 3
    assert len({to_hex(mark.get_color()) for mark in marks}) == 3
    assert "sensitivity at least 0.9: above" in legend(axis)[1]


def test_forest_holds_points_intervals_and_numbers():
    figure = DRAW["subgroups"](ALL)
    area = figure.axes[0]
    names = [label.get_text() for label in area.get_yticklabels()]
    assert names[0] == "melanoma"
    lines = ALL.subgroups[ALL.subgroups["class"] == "melanoma"]
    assert len(lines) == 8
    assert names[1] == f"all images ({lines['positives'].iloc[0]} of 300)"
    assert names[9] == "seborrheic keratosis"
    points = [line for line in area.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == ALL.subgroups["auc"].tolist()
    hollow = [line.get_markerfacecolor() == "w" for line in points]
    assert hollow == ALL.subgroups["small"].tolist()
    assert 0 < sum(hollow) < len(hollow)
    texts = [text.get_text() for text in area.texts]
    first = lines.iloc[0]
    assert texts[0] == f"{first['auc']:.3f} [{first['auc_low']:.3f}, {first['auc_high']:.3f}]"
    assert sum("too few" in text for text in texts) == sum(hollow)
    note = figure.get_supxlabel().replace("\n", " ")
    assert "hollow: fewer than 10 positives or negatives" in note
    dashed = [line for line in area.lines if line.get_linestyle() == "--"]
    of_all = ALL.subgroups.loc[ALL.subgroups["group"] == "all images", "auc"]
    assert [line.get_xdata()[0] for line in dashed] == of_all.tolist()
