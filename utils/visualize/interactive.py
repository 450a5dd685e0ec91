"""Interactive figures: a slider for the threshold, a browser of cases.

In a live notebook both are ipywidgets. Elsewhere (papermill, a script) the same call shows their
first state as a figure. That figure is written in either case.
"""

import html
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from utils.evaluation import ranking
from utils.evaluation.masks import THRESHOLD
from utils.logger.run import RunFolder
from utils.system.console import in_live_jupyter, say
from utils.system.errors import listed
from utils.system.fonts import drawing
from utils.visualize.thresholds import Decision, decisions, threshold_figure

SCREEN_DPI = 100
Orders = Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]]
LABEL_ORDERS: Orders = {
    "most confident mistakes first": ranking.confident_mistakes,
    "least certain first": ranking.least_certain,
    "all, by id": lambda table: table.sort_values("id", kind="stable"),
}
MASK_ORDERS: Orders = {
    "worst first": lambda table: table.sort_values(["jaccard", "id"]),
    "best first": lambda table: table.sort_values(["jaccard", "id"], ascending=[False, True]),
    f"under {THRESHOLD}": ranking.failures,
    "all, by id": lambda table: table.sort_values("id"),
}

DrawCase = Callable[[str, pd.Series], Figure]  # (run's name, row of its table)


def threshold_slider(
    output: RunFolder, tables: Mapping[str, pd.DataFrame], note: str, threshold: float = 0.5
) -> None:
    """The rates of a run, and its decisions at a threshold that can be moved.

    tables: by the run's name, as `thresholds.decisions` takes them. The first state, the first
    run's first question at `threshold`, is written as figure "threshold". ValueError where not
    every run was scored at that threshold.
    """
    asked = {run: decisions(table) for run, table in tables.items()}
    every = [set(decision.rates.index) for of in asked.values() for decision in of.values()]
    steps = sorted(set.intersection(*every))
    if threshold not in steps:
        raise ValueError(
            f"threshold is {threshold:g}; expected one that every run was scored at: "
            f"{listed(f'{step:g}' for step in steps)}"
        )

    def draw(run: str, of: str, threshold: float) -> Figure:
        title = f"{run}: one threshold, and all"
        return threshold_figure(asked[run][of], threshold, of, title, note)

    first = next(iter(asked))
    figure = draw(first, next(iter(asked[first])), threshold)
    if _can_move(output, "threshold", figure):
        display(_slider(asked, steps, threshold, draw, figure))


def _slider(
    asked: Mapping[str, Mapping[str, Decision]],
    steps: Sequence[float],
    threshold: float,
    draw: Callable[[str, str, float], Figure],
    figure: Figure,
) -> Any:
    """Drop-downs for run and class, a slider, a line of numbers, and the picture that follows."""
    import ipywidgets as widgets  # needs a kernel whose front end knows widgets

    def classes() -> list[tuple[str, str]]:
        return [(name.replace("_", " "), name) for name in asked[run.value]]

    run = widgets.Dropdown(options=list(asked), description="run")
    of = widgets.Dropdown(options=classes(), description="class")
    slider = widgets.SelectionSlider(
        options=[(f"{step:.2f}", step) for step in steps], value=threshold, description="threshold"
    )
    slider.layout.width = "32em"
    text, picture = widgets.HTML(), _picture(figure)

    def update(_: dict | None = None) -> None:
        figure = draw(run.value, of.value, slider.value)
        picture.value = _png(figure)
        rates = asked[run.value][of.value].rates.loc[slider.value]
        numbers = [f"{name} <b>{rate:.3f}</b>" for name, rate in rates.items()]
        text.value = " &nbsp; ".join([*numbers, figure.axes[1].get_title()])

    run.observe(lambda _: of.set_trait("options", classes()), "value")
    for control in (run, of, slider):
        control.observe(update, "value")
    update()
    several = any(len(questions) > 1 for questions in asked.values())
    return widgets.VBox([widgets.HBox([run, of] if several else [run]), slider, text, picture])


def case_browser(
    output: RunFolder,
    tables: Mapping[str, pd.DataFrame],
    draw: DrawCase,
    orders: Orders | None = None,
) -> None:
    """A browser of cases, by run and in a choice of orders.

    tables: by the run's name, a row a case, with its id. draw(run's name, row of its table) makes
    the picture; each of orders chooses and sorts the rows of a table, by default as its task wants.
    The first state, the first run's first case in the first order that has one, is written as
    figure "case". Without a run there is nothing to show. ValueError where no order has a case.
    """
    if not tables:
        say("none of these runs has a network: there are no maps to step through")
        return
    first = next(iter(tables))
    if orders is None:
        orders = MASK_ORDERS if "jaccard" in tables[first] else LABEL_ORDERS
    order = next((name for name, sort in orders.items() if len(sort(tables[first]))), None)
    if order is None:
        raise ValueError(
            f"{first} has no case to show in any order ({', '.join(orders)}); expected at least one"
        )
    figure = draw(first, orders[order](tables[first]).iloc[0])
    if _can_move(output, "case", figure):
        display(_browser(tables, draw, orders, order, figure))


def _browser(
    tables: Mapping[str, pd.DataFrame],
    draw: DrawCase,
    orders: Orders,
    first_order: str,
    figure: Figure,
) -> Any:
    """Drop-downs for run and order, arrows, the number of the case, and its picture."""
    import ipywidgets as widgets  # needs a kernel whose front end knows widgets

    run = widgets.Dropdown(options=list(tables), description="run")
    order = widgets.Dropdown(options=list(orders), value=first_order, description="order")
    number = widgets.BoundedIntText(1, min=1, max=1, description="case")
    back = widgets.Button(icon="arrow-left", tooltip="previous case")
    on = widgets.Button(icon="arrow-right", tooltip="next case")
    where, picture = widgets.HTML(), _picture(figure)

    def move(step: int) -> None:
        number.value = min(max(number.value + step, 1), number.max)

    def update(change: dict) -> None:
        cases = orders[order.value](tables[run.value])
        number.max = max(len(cases), 1)
        if change["owner"] is not number and number.value != 1:
            number.value = 1  # another run or order begins with its first case; comes back here
            return
        where.value = f"{number.value if len(cases) else 0} of {len(cases)}"
        picture.layout.visibility = "visible" if len(cases) else "hidden"
        if len(cases):
            case = cases.iloc[number.value - 1]
            where.value += f": {html.escape(case['id'])}"
            picture.value = _png(draw(run.value, case))

    back.on_click(lambda _: move(-1))
    on.on_click(lambda _: move(1))
    for control in (run, order, number):
        control.observe(update, "value")
    update({"owner": number})
    choices = widgets.HBox([run, order])
    return widgets.VBox([choices, widgets.HBox([back, on, number, where]), picture])


def _can_move(output: RunFolder, name: str, figure: Figure) -> bool:
    """Write the first state; False outside a live notebook, where it is also shown."""
    live = in_live_jupyter()
    (output.save_figure if live else output.show)(name, figure)
    return live


def _picture(figure: Figure) -> Any:
    """An image widget that holds the figure at its own size."""
    import ipywidgets as widgets

    width = round(figure.get_figwidth() * SCREEN_DPI)
    layout = widgets.Layout(width=f"{width}px", max_width="100%")
    return widgets.Image(value=_png(figure), format="png", layout=layout)


def _png(figure: Figure) -> bytes:
    """The figure as a PNG, 100 px an inch."""
    buffer = io.BytesIO()
    with drawing():
        figure.savefig(buffer, format="png", dpi=SCREEN_DPI)
    return buffer.getvalue()
