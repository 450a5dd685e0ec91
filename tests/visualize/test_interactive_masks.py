"""The slider over stored thresholds moves scores and picture; cases come in the order chosen."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import jaccard_score, recall_score

from utils.evaluation.counts import count
from utils.logger.run import RunFolder
from utils.visualize import interactive, interactive_masks

STEPS = np.arange(1, 20) / 20
PNG = b"\x89PNG"


def masks(seed: int, images: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Truth (n, pixels) of 0/1 and probabilities of lesion, better ones from image to image."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, (images, 400))
    sure = np.linspace(0, 0.8, images)[:, None]
    return truth, (1 - sure) * rng.random(truth.shape) + sure * truth


def counted(seed: int, steps: np.ndarray = STEPS) -> pd.DataFrame:
    truth, given = masks(seed)
    rows = [
        {"id": f"<b>{k}", "threshold": step} | count(truth[k], given[k] > step)._asdict()
        for k in range(len(truth))
        for step in steps
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    return {"seg-6-s0": counted(0), "seg-1-s0": counted(1)}


def referee(seed: int, step: float) -> dict[str, np.ndarray]:
    truth, given = masks(seed)
    pairs = list(zip(truth, given > step, strict=True))
    return {
        "jaccard": np.array([jaccard_score(t, p) for t, p in pairs]),
        "sensitivity": np.array([recall_score(t, p) for t, p in pairs]),
        "specificity": np.array([recall_score(1 - t, ~p) for t, p in pairs]),
    }


def test_scores_at_each_threshold_are_scikit_learns(tables) -> None:
    found = interactive_masks.threshold_scores(tables)
    assert len(found) == 2 * 6 * len(STEPS)
    for seed, run in enumerate(tables):
        for step in (0.05, 0.5, 0.95):
            part = found[(found["run"] == run) & np.isclose(found["threshold"], step)]
            assert part["id"].tolist() == [f"<b>{k}" for k in range(6)]
            for metric, expected in referee(seed, step).items():
                np.testing.assert_allclose(part[metric], expected, atol=1e-12)


def test_without_a_person_the_first_state_is_shown(tables, tmp_path: Path, capsys) -> None:
    interactive_masks.threshold_slider(RunFolder(tmp_path), tables, "synthetic")
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["threshold.png"]
    assert capsys.readouterr().out.count("figure: ") == 1


def test_the_slider_moves_the_scores_and_the_picture(tables, shown, tmp_path: Path) -> None:
    interactive_masks.threshold_slider(RunFolder(tmp_path), tables, "synthetic")
    choices, slider, numbers, picture = shown[0].children
    (run,) = choices.children
    assert (tmp_path / "figures/threshold.png").exists()
    assert [label for label, _ in slider.options] == [f"{step:.2f}" for step in STEPS]
    assert slider.value == 0.5
    before = bytes(picture.value)
    assert before.startswith(PNG)
    for seed, name in enumerate(tables):
        run.value = name
        slider.value = 0.3
        expected = referee(seed, 0.3)
        assert f"Jaccard <b>{expected['jaccard'].mean():.3f}</b>" in numbers.value
        assert f"sensitivity <b>{expected['sensitivity'].mean():.3f}</b>" in numbers.value
        assert f"specificity <b>{expected['specificity'].mean():.3f}</b>" in numbers.value
        failed = int((expected["jaccard"] < 0.65).sum())
        assert 0 < failed < 6
        assert numbers.value.endswith(f"under 0.65: <b>{failed}</b> of 6 images")
        assert bytes(picture.value) != before
        before = bytes(picture.value)


def test_a_threshold_read_from_a_file_is_found(tables, shown, tmp_path: Path) -> None:
    tables = {
        run: table.assign(threshold=table["threshold"] + 1e-12) for run, table in tables.items()
    }
    interactive_masks.threshold_slider(RunFolder(tmp_path), tables, "synthetic", threshold=0.35)
    assert shown[0].children[1].label == "0.35"


def test_the_threshold_must_be_one_that_every_run_was_scored_at(tables, tmp_path: Path) -> None:
    tables["seg-1-s0"] = counted(1, np.array([0.25, 0.4]))
    wanted = r"threshold is 0.5; expected one that every run was scored at: 0.25, 0.4$"
    with pytest.raises(ValueError, match=wanted):
        interactive_masks.threshold_slider(RunFolder(tmp_path), tables, "synthetic")


def test_orders_of_the_cases(shown, tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"id": ["d", "c", "b", "a"], "jaccard": [0.65, 0.9, 0.2, 0.2]}, index=[7, 7, 8, 9]
    )
    ids = {name: sort(table)["id"].tolist() for name, sort in interactive_masks.ORDERS.items()}
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
    interactive.case_browser(RunFolder(tmp_path), browsed, draw, interactive_masks.ORDERS)
    (run, order), (_, on, _, where) = (box.children for box in shown[0].children[:2])
    assert drawn[-1] == ("seg-6-s0", "a")
    order.value = "under 0.65"
    on.click()
    assert (drawn[-1], where.value) == (("seg-6-s0", "b"), "2 of 2: b")
    run.value = "seg-1-s0"
    assert where.value == "0 of 0"
