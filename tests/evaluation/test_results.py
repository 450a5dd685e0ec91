"""What a network said of each image: computed once, written whole, read ever after."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from made_up import predictions_of, results_of

from utils.data.splits import CLASSES
from utils.evaluation import results
from utils.evaluation.results import Result
from utils.logger.run import RunFolder
from utils.system.errors import RunError

IMAGES = pd.DataFrame({"id": [f"ISIC_{k}" for k in range(8)], "label": np.arange(8) % 3})


def refuse() -> None:
    raise AssertionError("computed again")


def drawn(columns: int = 3) -> np.ndarray:
    """As a network gives them: float32."""
    table = predictions_of(IMAGES["id"], columns)
    return table[[*CLASSES[:columns]]].to_numpy(np.float32)


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.mark.parametrize("columns", [3, 1])
def test_predictions_are_computed_once_and_then_read(run, columns):
    first = results.predictions(run, "test", IMAGES, lambda: drawn(columns))
    assert first.columns.tolist() == ["id", "label", *CLASSES[:columns]]
    assert first["id"].tolist() == IMAGES["id"].tolist()
    np.testing.assert_array_equal(first[list(CLASSES[:columns])], drawn(columns))
    again = results.predictions(run, "test", IMAGES, refuse)
    pd.testing.assert_frame_equal(again, first, check_exact=True)


def test_predictions_are_a_file_that_others_can_read(run):
    results.predictions(run, "validation", IMAGES, drawn)
    lines = (run / "predictions-validation.csv").read_text().splitlines()
    assert lines[0] == "id,label,melanoma,seborrheic_keratosis,benign"
    assert len(lines) == 9
    id_, label, *numbers = lines[5].split(",")
    assert (id_, label) == ("ISIC_4", "1")
    assert sum(map(float, numbers)) == pytest.approx(1, abs=1e-6)
    # Another split is another file, and what fails leaves none.
    with pytest.raises(AssertionError, match="computed again"):
        results.predictions(run, "test", IMAGES, refuse)
    assert not (run / "predictions-test.csv").exists()


def test_results_of_masks_are_computed_once_and_then_read(run):
    first = results.per_image(run, "test", IMAGES, lambda: results_of(IMAGES["id"]))
    second = results.per_image(run, "test", IMAGES, refuse)
    for one, other in zip(first, second, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    backwards = results.per_image(run, "test", IMAGES.iloc[::-1], refuse)
    assert backwards.per_image["id"].tolist() == IMAGES["id"].tolist()[::-1]


def test_masks_that_are_asked_for_later_are_written_then(run, tmp_path):
    calls = []

    def evaluate() -> Result:
        calls.append(1)
        (tmp_path / "masks").mkdir(exist_ok=True)
        for name in IMAGES["id"]:
            (tmp_path / "masks" / results.mask_name(name)).touch()
        return results_of(IMAGES["id"])

    results.per_image(run, "test", IMAGES, evaluate)
    (tmp_path / "masks/ISIC_3_segmentation.png").unlink()
    for _ in range(2):
        results.per_image(run, "test", IMAGES, evaluate, tmp_path / "masks")
    assert len(calls) == 2


def test_a_result_half_written_is_made_again(run):
    for _ in range(2):
        results.per_image(run, "test", IMAGES, lambda: results_of(IMAGES["id"]))
        (run / "thresholds-test.csv").unlink(missing_ok=True)
    results.per_image(run, "test", IMAGES, lambda: results_of(IMAGES["id"]))
    assert (run / "thresholds-test.csv").exists()


def emptied(text: str) -> str:
    """Without the last cell of the first image."""
    head, line, *rest = text.splitlines()
    return "\n".join([head, line.rsplit(",", 1)[0] + ",", *rest])


DAMAGE = [
    (lambda text: text[:0], r"-test.csv is damaged \(No columns.*Remove that file to predict"),
    (lambda text: text.replace("id", "name", 1), r"damaged: expected the columns id, "),
    (emptied, r"none of them empty; found id, .* 1 empty\. Remove that file"),
    (
        lambda text: text.replace("ISIC_3", "ISIC_9"),
        r"about other images than the data; .*: ISIC_3, ISIC_9\.",
    ),
    (lambda text: text + text.splitlines()[2] + "\n", r"duplicate ids, .*: ISIC_1\."),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
@pytest.mark.parametrize("name", ["predictions", "per-image"])
def test_a_damaged_table_names_the_cure(run, name, damage: Callable[[str], str], message):
    def look() -> None:
        if name == "predictions":
            results.predictions(run, "test", IMAGES, drawn)
        else:
            results.per_image(run, "test", IMAGES, lambda: results_of(IMAGES["id"]))

    look()
    file = run / f"{name}-test.csv"
    file.write_text(damage(file.read_text()))
    with pytest.raises(RunError, match=message):
        look()


def test_predictions_of_other_images_or_labels_are_refused(run):
    results.predictions(run, "test", IMAGES, drawn)
    more = pd.DataFrame({"id": [f"ISIC_{k}" for k in range(20)], "label": 0})
    with pytest.raises(RunError, match=r"only in one: ISIC_10, .* … \(12 in all\)"):
        results.predictions(run, "test", more, refuse)
    with pytest.raises(RunError, match=r"different labels for ISIC_1, ISIC_2, .*expected the same"):
        results.predictions(run, "test", IMAGES.assign(label=0), refuse)
