"""Every image's Jaccard is shown, and the failed ones are counted."""

import numpy as np
import pandas as pd
import pytest
from figures import NOTE, TITLE, check

from utils import visualize

LONG = "isic2017-256-coursework/seg-3-s1 (1-5-s0)"


def tables(runs: int, images: int) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)
    names = [LONG, *(f"seg-{k}-s0" for k in range(1, runs))]
    return {name: pd.DataFrame({"jaccard": rng.beta(6, 2, images)}) for name in names}


@pytest.mark.parametrize("images", [8, 600])
@pytest.mark.parametrize("runs", [1, 3, 6])
def test_distributions_are_whole_and_their_texts_are_apart(runs, images):
    check(lambda: visualize.jaccard_distributions(tables(runs, images), TITLE, NOTE))


def test_distributions_show_every_image_and_count_the_failed():
    given = {
        "a": pd.DataFrame({"jaccard": [0.2, 0.64, 0.65, 0.9]}),
        "b": pd.DataFrame({"jaccard": [0.7, 0.8, 0.9, 1.0]}),
    }
    figure = visualize.jaccard_distributions(given, TITLE, NOTE)
    (axis,) = figure.axes
    (dots,) = axis.collections
    x, y = dots.get_offsets().T
    np.testing.assert_allclose(x, [0.2, 0.64, 0.65, 0.9, 0.7, 0.8, 0.9, 1.0])
    assert (np.abs(y - np.repeat([0, 1], 4)) < 0.4).all()
    failed = [len(path.vertices) == len(dots.get_paths()[0].vertices) for path in dots.get_paths()]
    assert failed == [True, True, *[False] * 6]  # by their mark; 0.65 itself has not failed
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
