"""predict.py with runs of classes of one's own."""

from collections.abc import Callable
from pathlib import Path

import own_sets
import pandas as pd
import pytest
import small_run

import predict
from utils import data, logger
from utils.photographs import answers

NAMES = ("mole", "blue nevus", "scar", "wart")


@pytest.fixture(scope="module")
def runs(
    evaluate: Callable[[logger.RunFolder, Path], None], mktemp: Callable[[str], Path]
) -> tuple[Path, Path]:
    """The data of four classes, and a folder of runs of all of them and of the first alone."""
    folder = mktemp("own")
    rows = own_sets.table(32, NAMES)
    own_sets.make(folder / "few", rows)
    for name in ("3-1", "1-4"):
        run = folder / "few-demo" / f"{name}-s0"
        small_run.finished(folder / "few", run, name, image_size=32)
        evaluate(logger.RunFolder(run), folder / "few")
    return folder / "few", folder / "few-demo"


@pytest.mark.parametrize(("row", "width"), [("3-1", 4), ("1-4", 1)])
def test_numbers_are_those_of_the_evaluation(
    runs: tuple[Path, Path], row: str, width: int, tmp_path: Path
) -> None:
    own, models = runs
    classes = data.classes(own)
    assert classes == ("blue_nevus", "mole", "scar", "wart")
    images = data.read(own).set_index("id")
    tested = pd.read_csv(models / f"{row}-s0/predictions-test.csv").set_index("id")
    photos = [images["image"][name] for name in tested.index]
    given = [*photos, "--runs", str(models / f"{row}-s0"), "--out", str(tmp_path / "out")]
    assert predict.main(list(map(str, given))) == 0
    said = pd.read_csv(tmp_path / "out/photos.csv")
    chances = [f"p_{name}" for name in classes[:width]]
    assert [name for name in said if name.startswith("p_")] == chances
    theirs = tested[list(classes[:width])].to_numpy()
    assert abs(said[chances].to_numpy() - theirs).max() < 1e-6
    page = (tmp_path / "out/index.html").read_text()
    assert "blue nevus" in page
    assert "melanoma" not in page


def test_runs_of_other_classes_do_not_answer_together(
    runs: tuple[Path, Path], demo_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_isic = tmp_path / "demo-demo/1-3-s0"
    small_run.finished(demo_set, of_isic, "1-3", image_size=32)
    photo = demo_set / "ISIC-2017_Test_v2_Data/DEMO_2000001.jpg"
    named = f"{runs[1] / '3-1-s0'},{of_isic}"
    with pytest.raises(SystemExit):
        predict.main([str(photo), "--runs", named, "--out", str(tmp_path / "out")])
    assert "cannot answer together; expected classifiers of the same classes" in (
        " ".join(capsys.readouterr().err.split())
    )
    assert answers.Models({}, {}).classes == ()
