"""Galleries: many pictures in one figure. Images in, a matplotlib Figure out; nothing is saved.

Each picture has a place of its own in inches: to let constrained layout find places for many of
them takes longer than to draw them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from utils.evaluation.labels import classes_in, set_classes
from utils.visualize.figures import (
    STYLE,
    axes_at,
    class_label,
    class_look,
    finish,
    note_lines,
)
from utils.visualize.overlay import (
    HEAT,
    LEGENDS,
    Case,
    Colours,
    Draw,
    at_shown_size,
    errors,
    outlines,
    overlaid,
)

MARGIN, GAP = 0.08, 0.12  # inches around all pictures, between two of them
BARS = 6  # probabilities that a picture has room for


@rc_context(STYLE)
def image_grid(
    images: Sequence[np.ndarray], captions: Sequence[str], title: str, note: str, columns: int = 6
) -> Figure:
    """Images (H, W, 3) uint8 in a grid, each under its caption."""
    side = 1.5
    lines = [captions[first : first + columns] for first in range(0, len(images), columns)] or [[]]
    rows = [(_text_height(line), side * _tallest(images)) for line in lines]
    figure, axes = _tiles(rows, columns, side, note)
    _fill(axes.flat, images, captions)
    return finish(figure, title, note)


@rc_context(STYLE)
def prediction_gallery(
    images: Sequence[np.ndarray],
    predictions: pd.DataFrame,
    title: str,
    note: str,
    classes: Sequence[str] | None = None,
) -> Figure:
    """Images, each over bars of its predicted probabilities; the true class is named and marked.

    predictions: one row an image, with id, label and a probability column a class; of more than
    `BARS` those of the true class and of the most probable ones. classes: as `set_classes`.
    """
    names, cases = classes_in(predictions), predictions.to_dict("records")
    known = set_classes(predictions, classes)
    captions = [f"{case['id']}\n{class_label(case['label'], known)}" for case in cases]
    side, columns = 2.1, 4
    bars = 0.62 + 0.2 * max(0, min(len(names), BARS) - 3)
    tile = [(_text_height(["id\nclass"]), side * _tallest(images)), (0.04, bars)]
    figure, axes = _tiles(tile * max(1, -(-len(images) // columns)), columns, side, note)
    _fill(axes[::2].flat, images, captions)
    for axis, case in zip(axes[1::2].flat, cases, strict=False):
        _probability_bars(axis, {name: case[name] for name in names}, case["label"])
    return finish(figure, title, note)


def _probability_bars(axis: Axes, probabilities: Mapping[str, float], label: int) -> None:
    names = list(probabilities)
    order = sorted(range(len(names)), key=lambda k: (k != label, -probabilities[names[k]]))
    shown = sorted(order[:BARS])
    for place, number in enumerate(shown):
        probability, colour = probabilities[names[number]], class_look(number)["color"]
        axis.barh(place, 1, color="0.93", height=0.8)
        axis.barh(place, probability, color=colour, height=0.8, alpha=0.55)
        weight = "bold" if number == label else "normal"
        called = names[number].replace("_", " ")
        axis.text(0.02, place, called, va="center", fontsize=7, weight=weight)
        axis.text(0.98, place, f"{probability:.2f}", va="center", ha="right", fontsize=7)
    axis.set(xlim=(0, 1), ylim=(len(shown) - 0.5, -0.5))


@rc_context(STYLE)
def ranked_gallery(
    groups: Mapping[str, Sequence[Case]], title: str, note: str, draw: Draw = outlines
) -> Figure:
    """A row of cases a group ("best", "median", "worst", say), whose name stands at its left.

    draw: `overlay.outlines` or `overlay.errors`; a legend says what its colours mean.
    """
    cases = [case for group in groups.values() for case in group]
    side, columns = 2.3, max(1, *map(len, groups.values()))
    row = (_text_height([c.caption for c in cases]), side * _tallest([c.image for c in cases]))
    left = 0.2 + 0.1 * max(map(len, groups))  # inches
    rows = [row] * len(groups)
    figure, axes = _tiles(rows, columns, side, note, left, legend=LEGENDS[draw])
    for line, (name, group) in zip(axes, groups.items(), strict=True):
        _name_row(line[0], name, 10)
        pictures = [draw(*at_shown_size(case)[:3]) for case in group]
        _fill(line, pictures, [case.caption for case in group])
    return finish(figure, title, note)


@rc_context(STYLE)
def case_figure(case: Case, title: str, note: str) -> Figure:
    """One case: the image, the outlines of truth and prediction, and the error map."""
    case = at_shown_size(case)
    pictures = (case.image, outlines(*case[:3]), errors(*case[:3]))
    row = (_text_height([""]), 3.3 * _tallest(pictures))
    legend = LEGENDS[outlines] | LEGENDS[errors]
    figure, axes = _tiles([row], 3, 3.3, note, legend=legend)
    _fill(axes[0], pictures, ("image", "outlines", "errors"))
    caption = case.caption.replace("\n", ", ")
    return finish(figure, f"{title}: {caption}", note)


@rc_context(STYLE)
def heat_maps(
    images: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray] | np.ndarray],
    captions: Sequence[str],
    title: str,
    note: str,
) -> Figure:
    """A row a case: the image (H, W, 3) uint8, then each of its maps laid over it in grey.

    maps: by the column's header, one map (h, w) in [0, 1] per image, as `overlay.overlaid` takes
    them. captions stand left of each row.
    """
    headers = ("image", *maps)
    side = min(2.2, 9.6 / len(headers))  # inches
    tall = side * _tallest(images)
    rows = [(_text_height(headers), tall)] + [(0.05, tall)] * (len(images) - 1)
    figure, axes = _tiles(rows, len(headers), side, note, left=1.75, right=0.9)
    for line, image, caption, *values in zip(axes, images, captions, *maps.values(), strict=True):
        _name_row(line[0], caption)
        pictures = [image, *(overlaid(image, value) for value in values)]
        _fill(line, pictures, headers)
        headers = ("",) * len(line)  # above the first row alone
    _heat_bar(figure)
    return finish(figure, title, note)


def _heat_bar(figure: Figure) -> None:
    """What the colours of heat maps mean, right of them."""
    boxes = [axis.get_position() for axis in figure.axes]
    low, high = min(box.y0 for box in boxes), max(box.y1 for box in boxes)
    place = figure.add_axes((max(b.x1 for b in boxes) + 0.015, low, 0.015, high - low))
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), HEAT), cax=place)
    bar.set_ticks([0, 1], labels=["low (0)", "high (1)"])


def _tiles(
    rows: Sequence[tuple[float, float]],
    columns: int,
    side: float,
    note: str,
    left: float = 0,
    right: float = 0,
    legend: Colours | None = None,
) -> tuple[Figure, np.ndarray]:
    """A figure of fixed places for pictures so many inches wide, and its axes (rows, columns).

    rows: from the top, the free space above each row of axes and their height, in inches. left and
    right of all of them stays room for names.
    """
    wide = max(left + (side + GAP) * columns + right + 2 * MARGIN, 5.6 if legend else 0)
    foot = 0.22 + 0.13 * len(note_lines(note, wide)) + (0.25 if legend else 0)
    top = foot + sum(map(sum, rows))
    figure = Figure(figsize=(wide, top + 0.32))
    axes = []
    for space, height in rows:
        top -= space + height
        places = [MARGIN + left + GAP / 2 + (side + GAP) * column for column in range(columns)]
        axes.append([axes_at(figure, place, top, side, height) for place in places])
    for axis in figure.axes:
        axis.set_axis_off()
    if legend:
        patches = [
            Patch(facecolor=(red / 255, green / 255, blue / 255), ec="0.4", lw=0.5, label=name)
            for name, (red, green, blue) in legend.items()
        ]
        place = (0.5, (foot - 0.35) / figure.get_figheight())
        figure.legend(handles=patches, loc="lower center", bbox_to_anchor=place, ncols=len(legend))
    return figure, np.array(axes)


def _fill(axes: Iterable[Axes], pictures: Sequence[np.ndarray], captions: Sequence[str]) -> None:
    """The pictures on the first of the axes, each under its caption."""
    pairs = list(zip(pictures, captions, strict=True))
    for axis, (picture, caption) in zip(axes, pairs, strict=False):
        axis.imshow(picture)
        # At a given place: to look for ticks above which to put it takes as long as to draw it all.
        axis.set_title(caption, fontsize=8, linespacing=1.4, y=1)


def _name_row(axis: Axes, name: str, size: float = 8) -> None:
    """A name left of the first picture of a row."""
    place: dict[str, Any] = {"transform": axis.transAxes, "ha": "right", "va": "center"}
    axis.text(-0.05, 0.5, name, fontsize=size, linespacing=1.4, **place)


def _text_height(captions: Sequence[str]) -> float:
    """The inches that the longest of these captions needs above its picture."""
    return 0.18 + 0.156 * max((caption.count("\n") + 1 for caption in captions), default=1)


def _tallest(images: Sequence[np.ndarray]) -> float:
    """The largest height of these images, over its width."""
    return max((image.shape[0] / image.shape[1] for image in images), default=1)
