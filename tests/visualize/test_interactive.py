"""What moves in a live notebook moves here too, without a browser; elsewhere a figure stands."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from counted import STEPS, counted, referee
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


@pytest.fixture
def counts() -> dict[str, pd.DataFrame]:
    """Two segmenters."""
    return {"seg-6-s0": counted(0), "seg-1-s0": counted(1)}


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
    wanted = r"1-1-s0 has no case .* \(none, nil\); expected at least one"
    with pytest.raises(ValueError, match=wanted):
        interactive.case_browser(RunFolder(tmp_path), tables, draw, orders)


def test_without_a_person_the_first_state_is_shown(tables, counts, tmp_path: Path, capsys) -> None:
    output = RunFolder(tmp_path)
    interactive.threshold_slider(output, tables, "synthetic")
    interactive.case_browser(output, tables, draw)
    interactive.threshold_slider(RunFolder(tmp_path / "masks"), counts, "synthetic")
    assert (tmp_path / "masks/figures/threshold.png").is_file()
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"threshold.png", "case.png"}
    assert capsys.readouterr().out.count("figure: ") == 3


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
    order.value = "most confident mistakes first"
    assert where.value == "0 of 0"
    assert shown[0].children[2].layout.visibility == "hidden"


def test_the_slider_moves_the_scores_and_the_picture(counts, shown, tmp_path: Path) -> None:
    interactive.threshold_slider(RunFolder(tmp_path), counts, "synthetic")
    choices, slider, numbers, picture = shown[0].children
    (run,) = choices.children
    assert (tmp_path / "figures/threshold.png").exists()
    assert [label for label, _ in slider.options] == [f"{step:.2f}" for step in STEPS]
    assert slider.value == 0.5
    before = bytes(picture.value)
    assert before.startswith(PNG)
    for seed, name in enumerate(counts):
        run.value = name
        slider.value = 0.3
        expected = referee(seed, 0.3)
        assert f"Jaccard <b>{expected['jaccard'].mean():.3f}</b>" in numbers.value
        assert f"sensitivity <b>{expected['sensitivity'].mean():.3f}</b>" in numbers.value
        assert f"specificity <b>{expected['specificity'].mean():.3f}</b>" in numbers.value
        failed = int((expected["jaccard"] < 0.65).sum())
        assert 0 < failed < 6
        assert numbers.value.endswith(f"{failed} of 6 under 0.65")
        assert bytes(picture.value) != before
        before = bytes(picture.value)


def test_a_threshold_read_from_a_file_is_found(counts, shown, tmp_path: Path) -> None:
    counts = {
        run: table.assign(threshold=table["threshold"] + 1e-12) for run, table in counts.items()
    }
    interactive.threshold_slider(RunFolder(tmp_path), counts, "synthetic", threshold=0.35)
    assert shown[0].children[1].label == "0.35"


def test_the_threshold_must_be_one_that_every_run_was_scored_at(counts, tmp_path: Path) -> None:
    counts["seg-1-s0"] = counted(1, np.array([0.25, 0.4]))
    wanted = r"threshold is 0.5; expected one that every run was scored at: 0.25, 0.4$"
    with pytest.raises(ValueError, match=wanted):
        interactive.threshold_slider(RunFolder(tmp_path), counts, "synthetic")


def test_orders_of_the_cases(shown, tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"id": ["d", "c", "b", "a"], "jaccard": [0.65, 0.9, 0.2, 0.2]}, index=[7, 7, 8, 9]
    )
    ids = {name: sort(table)["id"].tolist() for name, sort in interactive.MASK_ORDERS.items()}
    assert ids == {
        "worst first": ["a", "b", "d", "c"],
        "best first": ["c", "d", "a", "b"],
        "under 0.65": ["a", "b"],
        "all, by id": ["a", "b", "c", "d"],
    }
    drawn = []

    def draw(run: str, case: pd.Series) -> Figure:
        drawn.append((run, case["id"]))
        return Figure(figsize=(2, 1))

    good = table[table["jaccard"] > 0.6]
    browsed = {"seg-6-s0": table, "seg-1-s0": good}
    interactive.case_browser(RunFolder(tmp_path), browsed, draw)
    (run, order), (_, on, _, where) = (box.children for box in shown[0].children[:2])
    assert drawn[-1] == ("seg-6-s0", "a")
    order.value = "under 0.65"
    on.click()
    assert (drawn[-1], where.value) == (("seg-6-s0", "b"), "2 of 2: b")
    run.value = "seg-1-s0"
    assert where.value == "0 of 0"
