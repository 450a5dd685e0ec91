"""What moves in a live notebook moves here too, without a browser; elsewhere a figure stands."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import recall_score

from utils import data
from utils.logger.run import RunFolder
from utils.visualize import interactive

PNG = b"\x89PNG"


def predictions(seed: int, classes: int = 3) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    given = generator.dirichlet(np.ones(3), 30)[:, :classes]
    table = pd.DataFrame(given, columns=list(data.CLASSES[:classes]))
    ids, labels = [f"<b>{k:02d}" for k in range(30)], generator.integers(0, 3, 30)
    table.insert(0, "label", labels)
    table.insert(0, "id", ids)
    return table


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """Two runs with three classes, one that knows melanoma alone."""
    return {"1-1-s0": predictions(0), "1-3-s0": predictions(1), "1-4-s0": predictions(2, 1)}


def draw(run: str, case: pd.Series) -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.text(0.5, 0.5, f"{run} {case['id']}")
    return figure


def test_orders_of_choice(tables, shown, tmp_path) -> None:
    orders = {
        "none": lambda table: table.head(0),
        "last three": lambda table: table.tail(3),
    }
    interactive.case_browser(RunFolder(tmp_path), tables, draw, orders)
    (_, order), (_, on, _, where) = (box.children for box in shown[0].children[:2])
    assert order.options == ("none", "last three")
    assert (order.value, where.value) == ("last three", "1 of 3: &lt;b&gt;27")
    on.click()
    assert where.value == "2 of 3: &lt;b&gt;28"
    order.value = "none"
    assert where.value == "0 of 0"


def test_no_order_with_a_case_is_said(tables, tmp_path) -> None:
    orders = {"none": lambda table: table.head(0), "nil": lambda table: table.head(0)}
    with pytest.raises(ValueError, match=r"1-1-s0 has no case .* \(none, nil\); expected one"):
        interactive.case_browser(RunFolder(tmp_path), tables, draw, orders)


def test_without_a_person_the_first_state_is_shown(tables, tmp_path: Path, capsys) -> None:
    output = RunFolder(tmp_path)
    interactive.threshold_slider(output, tables, "synthetic")
    interactive.case_browser(output, tables, draw)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"threshold.png", "case.png"}
    assert capsys.readouterr().out.count("figure: ") == 2


def test_the_slider_moves_the_rates(tables, shown, tmp_path: Path) -> None:
    interactive.threshold_slider(RunFolder(tmp_path), tables, "synthetic")
    _, slider, numbers, picture = shown[0].children
    before = bytes(picture.value)
    assert (tmp_path / "figures/threshold.png").exists()
    slider.value = 0.2
    table = tables["1-1-s0"]
    truth, said = table["label"] == 0, table["melanoma"] > 0.2
    assert f"sensitivity <b>{recall_score(truth, said):.3f}" in numbers.value
    assert f"specificity <b>{recall_score(~truth, ~said):.3f}" in numbers.value
    assert bytes(picture.value).startswith(PNG)
    assert bytes(picture.value) != before


def test_a_run_that_knows_melanoma_alone_offers_no_other_class(tables, shown, tmp_path) -> None:
    interactive.threshold_slider(RunFolder(tmp_path), tables, "synthetic")
    run, name = shown[0].children[0].children
    name.value = "seborrheic_keratosis"
    run.value = "1-4-s0"
    assert name.options == (("melanoma", "melanoma"),)
    assert name.value == "melanoma"


def test_the_browser_goes_forth_and_back_and_stays_within_the_cases(
    tables, shown, tmp_path
) -> None:
    drawn: list = []

    def noted(run: str, case: pd.Series) -> Figure:
        drawn.append((run, case["id"]))
        return draw(run, case)

    interactive.case_browser(RunFolder(tmp_path), tables, noted)
    (run, order), (back, on, number, where) = (box.children for box in shown[0].children[:2])
    order.value = "all, by id"
    assert drawn[-1] == ("1-1-s0", "<b>00")
    on.click()
    assert drawn[-1] == ("1-1-s0", "<b>01")
    assert where.value == "2 of 30: &lt;b&gt;01"
    run.value = "1-4-s0"
    assert drawn[-1] == ("1-4-s0", "<b>00")
    back.click()
    assert number.value == 1
    number.value = 30
    on.click()
    assert (number.value, drawn[-1]) == (30, ("1-4-s0", "<b>29"))


def test_a_run_without_mistakes_is_browsed_too(shown, tmp_path) -> None:
    table = predictions(0)
    table["label"] = table[list(data.CLASSES)].to_numpy().argmax(axis=1)
    interactive.case_browser(RunFolder(tmp_path), {"run": table}, draw)
    (_, order), (_, _, _, where) = (box.children for box in shown[0].children[:2])
    assert order.value == "least certain first"
    order.value = "surest mistakes first"
    assert where.value == "0 of 0"
    assert shown[0].children[2].layout.visibility == "hidden"
