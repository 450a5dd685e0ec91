"""Evaluation-Cls.ipynb runs three ways, twice in a row with the same outcome, on every kind of run.

The third way, a person in JupyterLab, is in test_browser.py.
"""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import small_run
from ways import TIMES, contents, outputs, papermill, run, script

NOTEBOOK = "Evaluation-Cls.ipynb"
SHARED = {"alpha", "case", "side-by-side", "threshold"}
TRUST = {"reliability", "operating-points", "decision", "subgroups"}
EACH = {"confusion", "roc", "precision-recall", "maps", "attention", "least-certain-cases", *TRUST}


@pytest.fixture(scope="module")
def folders(demo_set: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs with and without attention, and one with a single logit."""
    models = tmp_path_factory.mktemp("model") / "demo-demo"
    for name, changes in (("1-3", {}), ("3-1", {}), ("1-4", {"image_size": 32})):
        small_run.finished(demo_set, models / f"{name}-s0", name, **changes)
    return sorted(models.glob("[0-9]*"))


def test_papermill_evaluates_every_kind_of_run(
    folders: list[Path], demo_set: Path, tmp_path: Path
) -> None:
    wanted = ",".join(map(str, folders))
    photo = demo_set / "ISIC-2017_Test_v2_Data/DEMO_2000001.jpg"
    executed = papermill(NOTEBOOK, tmp_path, runs=wanted, data_dir=demo_set, photos=photo)
    assert not outputs(executed, "stderr")
    made = folders[0].parent / "evaluation-cls-test"
    names = {path.stem for path in (made / "figures").iterdir()}
    expected = SHARED | {f"{kind}-{folder.name}" for kind in EACH for folder in folders}
    assert names - {n for n in names if n.startswith("most-")} == expected - {"attention-3-1-s0"}
    assert len(outputs(executed, "image/png")) == len(names)
    printed = "".join(outputs(executed, "stdout"))
    assert "each run minus 1-3-s0" in printed
    assert printed.count("fitted on 8 images (validation), reported on 8 (test)") == len(folders)
    for name in ("calibration", "operating-points", "read-off", "decision-curves", "subgroups"):
        table = pd.read_csv(made / f"{name}.csv")
        assert table["run"].unique().tolist() == [folder.name for folder in folders]
        alone = table[table["run"] == "1-4-s0"]
        assert alone["class"].unique().tolist() == ["melanoma"]
    assert "the epoch was chosen on these very images" not in printed
    for folder in folders:
        for part in ("test", "validation"):  # what is reported, and what everything is fitted on
            assert len(pd.read_csv(folder / f"predictions-{part}.csv")) == 8
        scores = json.loads((folder / "scores-test.json").read_text())
        assert scores["data"] == "synthetic demo data"
    said = pd.read_csv(made / f"photos-{folders[0].name}/photos.csv").loc[0]
    tested = pd.read_csv(folders[0] / "predictions-test.csv").set_index("id").loc[photo.stem]
    for name in ("melanoma", "seborrheic_keratosis", "benign"):
        assert said[f"p_{name}"] == pytest.approx(tested[name], abs=1e-6)
    card = next(text for text in outputs(executed, "text/html") if photo.name in text)
    assert card.count("Research and teaching only") == 2
    assert pd.read_csv(folders[0] / "submission-test.csv").columns.tolist() == [
        "image_id",
        "melanoma",
        "seborrheic_keratosis",
    ]


@pytest.mark.slow
def test_papermill_twice_in_a_row(folders: list[Path], demo_set: Path, tmp_path: Path) -> None:
    where = {"runs": ",".join(map(str, folders)), "data_dir": demo_set}
    executed = papermill(NOTEBOOK, tmp_path, **where)
    first = contents(folders[0].parent / "evaluation-cls-test")
    again = papermill(NOTEBOOK, tmp_path, **where)
    assert outputs(again, "image/png") == outputs(executed, "image/png")
    assert contents(folders[0].parent / "evaluation-cls-test") == first


@pytest.mark.parametrize("times", TIMES)
def test_a_script_on_another_split_with_other_views(
    times: int, folders: list[Path], demo_set: Path, tmp_path: Path
) -> None:
    where = {"runs": str(folders[0]), "data_dir": str(demo_set)}
    file = script(NOTEBOOK, tmp_path, split="validation", views=2, **where)
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    printed = run([sys.executable, str(file)], elsewhere)
    assert "photos = None: name a photo" in printed
    assert "the epoch was chosen on these very images" in printed
    assert not list(elsewhere.iterdir())
    made = folders[0].parent / "evaluation-cls-validation-2-views"
    first = contents(made) | contents(folders[0])
    assert "1-3-s0/predictions-validation-2-views.csv" in first
    assert "1-3-s0/submission-validation-2-views.csv" in first
    assert "8 of the 8 reported images also chose the epoch" in printed
    assert "evaluation-cls-validation-2-views/calibration.csv" not in first
    assert not [name for name in first if "reliability" in name]
    for _ in range(1, times):
        run([sys.executable, str(file)], elsewhere)
        assert contents(made) | contents(folders[0]) == first
