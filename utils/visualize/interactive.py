"""What moves where somebody looks: a slider for the threshold, a browser through the cases.

In a live notebook both are ipywidgets. Elsewhere (papermill, a script) nobody can move them: the
same call shows their first state as a figure. That figure is written in either case.
"""

import html
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from utils.data.splits import CLASSES
from utils.evaluation import ranking
from utils.evaluation.curves import operating_points
from utils.evaluation.labels import OFFICIAL_CLASSES
from utils.logger.run import RunFolder
from utils.system.console import in_live_jupyter
from utils.system.fonts import drawing
from utils.visualize import labels

SCREEN_DPI = 100
Orders = Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]]
ORDERS: Orders = {
    "surest mistakes first": ranking.confident_mistakes,
    "least certain first": ranking.least_certain,
    "all, by id": lambda table: table.sort_values("id", kind="stable"),
}

DrawCase = Callable[[str, pd.Series], Figure]  # (run's name, row of its table)


def threshold_slider(
    output: RunFolder, tables: Mapping[str, pd.DataFrame], note: str, threshold: float = 0.5
) -> None:
    """Sensitivity, specificity and confusion matrix of one class at a threshold that moves.

    tables: predictions by the run's name, as `results.predictions` gives them. The first state,
    the first run's melanomas at `threshold`, is written as figure "threshold".
    """

    def draw(run: str, name: str, threshold: float) -> Figure:
        truth = tables[run]["label"] == CLASSES.index(name)
        return labels.threshold_figure(
            truth, tables[run][name], threshold, name, f"{run}: one threshold, and all", note
        )

    first = next(iter(tables))
    figure = draw(first, CLASSES[0], threshold)
    if not can_move(output, "threshold", figure):
        return
    import ipywidgets as widgets  # needs a kernel whose front end knows widgets

    run = widgets.Dropdown(options=list(tables), description="run")
    name = widgets.Dropdown(options=_tasks(tables[first]), description="class")
    slider = widgets.FloatSlider(
        threshold, min=0, max=1, step=0.01, description="threshold", readout_format=".2f"
    )

    def numbers() -> str:
        truth = tables[run.value]["label"] == CLASSES.index(name.value)
        return _numbers(truth, tables[run.value][name.value], slider.value)

    run.observe(lambda _: name.set_trait("options", _tasks(tables[run.value])), "value")
    show_panel(
        (run, name), slider, figure, lambda: draw(run.value, name.value, slider.value), numbers
    )


def case_browser(
    output: RunFolder,
    tables: Mapping[str, pd.DataFrame],
    draw: DrawCase,
    orders: Orders = ORDERS,
) -> None:
    """One case after the other: whose turn it is, in which order, for which run.

    tables: by the run's name, a row a case, with its id. draw(run's name, row of its table) makes
    the picture; each of orders chooses and sorts the rows of a table. The first state, the first
    run's first case in the first order that has one, is written as figure "case". ValueError where
    no order has one.
    """
    first = next(iter(tables))
    order = next((name for name, sort in orders.items() if len(sort(tables[first]))), None)
    if order is None:
        raise ValueError(
            f"{first} has no case to show in any order ({', '.join(orders)}); expected one at least"
        )
    figure = draw(first, orders[order](tables[first]).iloc[0])
    if can_move(output, "case", figure):
        display(_Browser(tables, draw, orders, order, figure).box)


class _Browser:
    """Drop-downs for run and order, arrows, the number of the case, and its picture."""

    def __init__(
        self,
        tables: Mapping[str, pd.DataFrame],
        draw: DrawCase,
        orders: Orders,
        order: str,
        figure: Figure,
    ) -> None:
        import ipywidgets as widgets  # needs a kernel whose front end knows widgets

        self.tables, self.draw, self.orders = tables, draw, orders
        self.run = widgets.Dropdown(options=list(tables), description="run")
        self.order = widgets.Dropdown(options=list(orders), value=order, description="order")
        self.number = widgets.BoundedIntText(1, min=1, max=1, description="case")
        self.where, self.picture = widgets.HTML(), picture_widget(figure)
        back = widgets.Button(icon="arrow-left", tooltip="the case before")
        on = widgets.Button(icon="arrow-right", tooltip="the next case")
        back.on_click(lambda _: self.move(-1))
        on.on_click(lambda _: self.move(1))
        for control in (self.run, self.order, self.number):
            control.observe(self.update, "value")
        choices = widgets.HBox([self.run, self.order])
        controls = widgets.HBox([back, on, self.number, self.where])
        self.box = widgets.VBox([choices, controls, self.picture])
        self.update({"owner": self.number})

    def move(self, step: int) -> None:
        """To another case, as far as there are any."""
        self.number.value = min(max(self.number.value + step, 1), self.number.max)

    def update(self, change: dict) -> None:
        """Show the case that the controls name; another run or order begins with its first one."""
        cases = self.orders[self.order.value](self.tables[self.run.value])
        self.number.max = max(len(cases), 1)
        if change["owner"] is not self.number and self.number.value != 1:
            self.number.value = 1  # which comes back here
            return
        text = f"{self.number.value if len(cases) else 0} of {len(cases)}"
        self.picture.layout.visibility = "visible" if len(cases) else "hidden"
        if len(cases):
            case = cases.iloc[self.number.value - 1]
            text += f": {html.escape(case['id'])}"
            self.picture.value = png(self.draw(self.run.value, case))
        self.where.value = text


def _tasks(table: pd.DataFrame) -> list[tuple[str, str]]:
    """The challenge's questions that a run answers, as a drop-down shows them."""
    return [(name.replace("_", " "), name) for name in OFFICIAL_CLASSES if name in table.columns]


def _numbers(truth: pd.Series, score: pd.Series, threshold: float) -> str:
    """The rates at a threshold in one line of HTML."""
    point = operating_points(truth, score, threshold)
    rates = {name: getattr(point, name) for name in ("sensitivity", "specificity", "accuracy")}
    return " &nbsp; ".join(f"{name} <b>{value:.3f}</b>" for name, value in rates.items())


def can_move(output: RunFolder, name: str, figure: Figure) -> bool:
    """Write the first state; False where nobody is there to move it: then it is shown, too."""
    live = in_live_jupyter()
    (output.save_figure if live else output.show)(name, figure)
    return live


def show_panel(
    choices: Sequence[Any],
    slider: Any,
    figure: Figure,
    draw: Callable[[], Figure],
    numbers: Callable[[], str],
) -> None:
    """Drop-downs in a line, a slider, a line of HTML and a picture; the last two follow the others.

    figure is the picture's first state.
    """
    import ipywidgets as widgets

    text, picture = widgets.HTML(numbers()), picture_widget(figure)
    slider.layout.width = "32em"

    def update(_: dict) -> None:
        picture.value = png(draw())
        text.value = numbers()

    for control in (*choices, slider):
        control.observe(update, "value")
    display(widgets.VBox([widgets.HBox(choices), slider, text, picture]))


def picture_widget(figure: Figure) -> Any:
    """An image widget that holds the figure at its own size."""
    import ipywidgets as widgets

    width = round(figure.get_figwidth() * SCREEN_DPI)
    layout = widgets.Layout(width=f"{width}px", max_width="100%")
    return widgets.Image(value=png(figure), format="png", layout=layout)


def png(figure: Figure) -> bytes:
    """The figure as a PNG, 100 px an inch."""
    buffer = io.BytesIO()
    with drawing():
        figure.savefig(buffer, format="png", dpi=SCREEN_DPI)
    return buffer.getvalue()
