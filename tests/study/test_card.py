"""Released runs: the model card, and what is refused."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
import study_folders
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from ways import papermill

import experiments
from study import card, release
from utils import model
from utils.data.demo import ABOUT
from utils.data.names import ISIC_2017
from utils.logger.run import RunFolder
from utils.system.files import read_table


def finished(folder: Path, name: str, known: str = ISIC_2017) -> RunFolder:
    """A finished run of a row on these data, with weights that nobody loads."""
    experiment = experiments.get(name, "best", epochs=2)
    make = study_folders.classifier if experiment.task == "labels" else study_folders.segmenter
    run = make(folder / experiment.folder(), experiment)
    about = {"network": {"parameters": 3_400_000}, "data": run.config["data"] | {"set": known}}
    run.save_json("config.json", run.config | about)
    scores = json.loads((run / "scores-test.json").read_text())
    made = {"views": 1, "clean_up": False, "selected_on": ""}
    run.save_json("scores-test.json", made | scores)
    model.save_weights(torch.nn.Linear(2, 2), run / "best.safetensors")
    return run


def people(run: RunFolder) -> pd.DataFrame:
    (file,) = run.path.glob("p*-test.csv")
    ids = read_table(file)["id"]
    return pd.DataFrame({"id": ids, "age": 50.0, "sex": "female"})


@pytest.mark.parametrize(("name", "task", "score"), [
    ("3-1", "image-classification", "mean_auc"),
    ("seg-6", "image-segmentation", "mean_jaccard"),
])  # fmt: skip
def test_the_hub_reads_the_card(tmp_path: Path, name: str, task: str, score: str) -> None:
    run = finished(tmp_path, name)
    read = ModelCard(card.of(run, people(run)))
    assert read.data.license == "apache-2.0"
    assert read.data.pipeline_tag == task
    results = {result.metric_type: result for result in read.data.eval_results}
    assert score in results
    assert score in read.data.metrics
    assert results[score].task_type == task
    assert "test split" in results[score].dataset_name
    assert f"row {name}" in read.text
    assert "| score | official" in read.text or "| convention | class | AUC" in read.text
    assert "For research and teaching only" in read.text
    assert "Calibration" not in read.text
    assert "None" not in read.text.split("```")[-1]


@pytest.mark.parametrize(("name", "changes", "words", "licence"), [
    ("1-3", {}, "The weights started from random numbers.", "apache-2.0"),
    ("3-2", {}, "ImageNet's (Apache-2.0), and are under the same licence.", "apache-2.0"),
    ("1-1", {}, "ImageNet's as torchvision has them; their licence holds.", "other"),
    ("3-1", {"network": "timm:resnet18"}, "as the network's library has them", "other"),
    ("3-1", {"weights": "mine.pth"}, "started from a file, whose licence holds", "other"),
    ("seg-5", {"encoder_from": "1-5-s0"}, "The encoder started from a run", "other"),
])  # fmt: skip
def test_the_card_says_what_the_weights_started_from(
    tmp_path: Path, name: str, changes: dict, words: str, licence: str
) -> None:
    run = finished(tmp_path, name)
    row = dataclasses.asdict(experiments.get(name, "best", epochs=2, **changes))
    run.save_json("config.json", run.config | {"row": row})
    text = card.of(RunFolder(run.path), people(run))
    assert words in text
    assert ModelCard(text).data.license == licence
    assert "CC-0" in text
    assert ("Three diagnoses only" in text) == (not name.startswith("seg-"))


def test_a_card_of_drawn_images_claims_nothing(tmp_path: Path) -> None:
    run = finished(tmp_path, "1-3", ABOUT)
    text = card.of(run, people(run))
    assert "say nothing of real lesions: neither does this network" in text
    assert "What it says about a photograph means nothing." in text
    for word in ("CC-0", "isic-2017", "clinics", "ImageNet"):
        assert word not in text.split("```")[0] + text.split("```")[-1]
    assert ModelCard(text).data.license == "other"


def test_calibration_and_subgroups_follow_from_images_that_were_not_seen(tmp_path: Path) -> None:
    run = finished(tmp_path, "3-1")
    fitted = read_table(run / "predictions-test.csv")
    fitted["id"] = "unseen " + fitted["id"]
    text = card.of(run, people(run), fitted)
    assert f"fitted on {len(fitted)} images that the networks of cross-validation" in text
    assert "| melanoma | sex | female |" in text


def test_what_is_refused(tmp_path: Path, demo_set: Path) -> None:
    run = finished(tmp_path / "mine", "3-1", ABOUT)
    (tmp_path / "released/3-1-s0").mkdir(parents=True)
    with pytest.raises(release.RunError, match="exists; move it away to release this run"):
        release.release(run, demo_set, tmp_path / "released")
    with pytest.raises(
        release.RunError, match=r"on synthetic demo data, and .* is ISIC 2017; name"
    ):
        release.release(run, tmp_path, tmp_path / "other")
    run.save_json("config.json", {"row": run.config["row"]})
    for file in run.path.glob("scores-*"):
        file.unlink()
    with pytest.raises(release.RunError, match="is not finished; train it to its end"):
        release.release(run, demo_set, tmp_path / "other")


def test_a_value_that_fp16_cannot_hold_is_named(tmp_path: Path, demo_set: Path) -> None:
    run = finished(tmp_path / "mine", "3-1", ABOUT)
    network = torch.nn.Linear(2, 2)
    with torch.no_grad():
        network.bias[0] = 70_000
    model.save_weights(network, run / "best.safetensors")
    with pytest.raises(release.RunError, match=r"bias has a value of 7e\+04, fp16 reaches 65504"):
        release.release(run, demo_set, tmp_path / "released")
    assert not (tmp_path / "released").exists()


@pytest.mark.slow
def test_a_released_run_is_half_as_large_and_scored_by_what_it_holds(
    demo_set: Path, tmp_path: Path
) -> None:
    made = {"data_dir": demo_set, "run_dir": tmp_path / "1-3-s0", "epochs": 1, "image_size": 64}
    papermill("ARL-CNN.ipynb", tmp_path, experiment="1-3", **made)
    run = RunFolder(tmp_path / "1-3-s0")
    released = release.release(run, demo_set, tmp_path / "released")
    whole, half = (load_file(each / "best.safetensors") for each in (run, released))
    assert all(half[name].equal(whole[name].half()) for name in whole if whole[name].ndim)
    tables = [pd.read_csv(each / "predictions-test.csv") for each in (run, released)]
    assert tables[0]["id"].equals(tables[1]["id"])
    difference = (tables[0]["melanoma"] - tables[1]["melanoma"]).abs().max()
    assert 0 < difference < 0.01
    assert "test split" in (released / "README.md").read_text()
