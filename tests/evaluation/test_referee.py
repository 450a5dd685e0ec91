"""Our official scores against those of the organisers' own scorer, kept by `make referee`."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from referee.build import PACKAGES, ask, main
from referee.cases import PARTS, classification_cases, fingerprint
from referee.masks import REAL, Pair, read_grey, real_pairs, segmentation_cases, write_segmentation

from utils.data.splits import CLASSES
from utils.evaluation.conventions import classification_scores, segmentation_scores
from utils.evaluation.counts import Counts, count
from utils.evaluation.curves import average_precision
from utils.evaluation.labels import OFFICIAL_CLASSES
from utils.evaluation.masks import METRICS as MASK_METRICS
from utils.evaluation.masks import official as official_masks
from utils.evaluation.masks import per_image
from utils.system.project import PROJECT

GOLDEN = json.loads((PROJECT / "tests/golden/official-scores.json").read_text(encoding="utf-8"))
REQUIREMENTS = PROJECT / "tests/helpers/referee/requirements.txt"
REFEREE = PROJECT / ".venv-referee"
TABLES = classification_cases()
FOLDERS = segmentation_cases()
METRICS = ("auc", "accuracy", "sensitivity", "specificity")


def exactly(value: float):
    return pytest.approx(value, rel=0, abs=1e-12)


def referee(case: str) -> dict:
    return GOLDEN["classification"][case]["scores"]


@pytest.mark.parametrize("command", PARTS)
def test_the_golden_file_holds_every_case_with_the_inputs_of_today(command, tmp_path):
    part = PARTS[command]
    today = {}
    for name, case in part.cases().items():
        (tmp_path / name).mkdir()
        today[name] = fingerprint(part.write(tmp_path / name, case))
    kept = {name: entry["inputs"] for name, entry in GOLDEN[command].items()}
    assert kept == today, "the cases have changed: run `make referee` and look at what it changes"


def test_the_golden_file_was_made_by_the_versions_that_are_required():
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", line) for line in lines)
    required = dict(line.split("==") for line in lines)
    assert GOLDEN["versions"] == {name: required[name] for name in PACKAGES}
    assert set(GOLDEN) == {"versions", *PARTS}


@pytest.mark.parametrize("case", TABLES)
def test_the_score_file_holds_the_referees_scores(case):
    table, theirs = TABLES[case], referee(case)
    ours = classification_scores(table["label"], table[list(CLASSES)], resamples=2)["official"]
    found = {
        name: {metric: ours[name][metric]["value"] for metric in METRICS}
        for name in OFFICIAL_CLASSES
    }
    for name in OFFICIAL_CLASSES:
        expected = {metric: theirs["per_category"][metric][name] for metric in METRICS}
        assert found[name] == exactly(expected)
    assert ours["mean_auc"]["value"] == exactly(theirs["overall"])


@pytest.mark.parametrize("case", TABLES)
def test_average_precision_is_the_referees(case):
    table, theirs = TABLES[case], referee(case)["per_category"]["ap"]
    for number, name in enumerate(OFFICIAL_CLASSES):
        truth, score = (table["label"] == number).to_numpy(), table[name].to_numpy()
        assert average_precision(truth, score) == exactly(theirs[name])


def test_the_real_predictions_are_those_of_the_validation_split():
    table = TABLES["real-150"]
    assert table["label"].value_counts().sort_index().tolist() == [30, 42, 78]
    assert referee("real-150")["overall"] == pytest.approx(
        0.917, abs=5e-4
    )  # docs/history.md, row 3-1


# --- masks ---


def means(case: str) -> dict:
    return GOLDEN["segmentation"][case]["scores"]["macro_average"]


def counted(folder: Path, pairs: dict[str, Pair]) -> Counts:
    """Counts (n,) of the files that the referee is given, cut where it cuts: grey ones, too.

    The project itself refuses masks that hold other values than 0 and 255.
    """
    truths, predictions = write_segmentation(folder, pairs)
    each = []
    for file in sorted(truths.iterdir()):
        truth, prediction = read_grey(file) > 128, read_grey(predictions / file.name) > 128
        each.append(count(truth.ravel(), prediction.ravel()))
    return Counts(*map(np.array, zip(*each, strict=True)))


@pytest.mark.parametrize("case", FOLDERS)
def test_official_scores_of_masks_are_the_referees(case, tmp_path):
    counts, theirs = counted(tmp_path, FOLDERS[case]), GOLDEN["segmentation"][case]["scores"]
    ours = official_masks(counts)
    assert set(ours) == set(MASK_METRICS) == set(theirs["macro_average"])
    for metric in MASK_METRICS:
        assert ours[metric] == exactly(theirs["macro_average"][metric]), metric
    # What the scorer calls overall is the threshold-Jaccard, the ranking of 2018; 2017's was by
    # the Jaccard.
    assert ours["threshold_jaccard"] == exactly(theirs["overall"])
    kept = segmentation_scores(counts, resamples=2)["official"]
    assert {name: kept[name]["value"] for name in kept} == exactly(theirs["macro_average"])


def test_scores_of_each_image_are_the_referees(tmp_path):
    ours = per_image(counted(tmp_path, FOLDERS["all"]))
    alone = [case for case, pairs in FOLDERS.items() if len(pairs) == 1]
    assert len(alone) == len(FOLDERS["all"]) > 15
    for metric in MASK_METRICS:
        theirs = [means(case)[metric] for case in alone]
        assert ours[metric].tolist() == exactly(theirs), metric


def test_real_masks_are_those_of_the_validation_split(isic2017):
    for file in REAL.iterdir():
        original = isic2017 / "ISIC-2017_Validation_Part1_GroundTruth" / file.name
        if read_grey(original).shape == (256, 256):
            np.testing.assert_array_equal(read_grey(original), read_grey(file))
    assert len(list(REAL.iterdir())) == len(FOLDERS["real"]) == 6


@pytest.mark.skipif(not (REFEREE / ".installed").exists(), reason="needs the scorer: make referee")
def test_the_validation_split_against_the_referee_itself(isic2017, tmp_path):
    pairs = real_pairs(isic2017 / "ISIC-2017_Validation_Part1_GroundTruth")
    assert len(pairs) == 150
    theirs = ask(REFEREE, "segmentation", pairs)["scores"]["macro_average"]
    assert official_masks(counted(tmp_path, pairs)) == exactly(theirs)


# --- how the answers are kept ---


def test_a_fingerprint_sees_every_change(tmp_path: Path):
    truth, masks = tmp_path / "truth.csv", tmp_path / "masks"
    truth.write_text("a")
    masks.mkdir()
    mask = np.zeros((4, 6), np.uint8)

    def fingerprint_with(name: str, pixels: np.ndarray) -> str:
        cv2.imwrite(str(masks / name), pixels)
        return fingerprint((truth, masks))

    seen = [fingerprint_with("1.png", mask), fingerprint_with("1.png", mask + 1)]
    seen += [fingerprint_with("1.png", mask.reshape(6, 4)), fingerprint_with("2.png", mask)]
    (masks / "2.png").rename(masks / "3.png")
    seen += [fingerprint((truth, masks)), fingerprint((masks, truth))]
    truth.write_text("b")
    seen.append(fingerprint((truth, masks)))
    assert len(set(seen)) == len(seen)
    assert fingerprint((truth, masks)) == seen[-1]


def test_a_fingerprint_is_of_pixels_not_of_an_encoder(tmp_path):
    truths, predictions = write_segmentation(tmp_path, FOLDERS["random-48x64"])
    first = fingerprint((truths, predictions))
    for file in truths.iterdir():
        before = file.read_bytes()
        cv2.imwrite(str(file), read_grey(file), (cv2.IMWRITE_PNG_COMPRESSION, 0))
        assert file.read_bytes() != before
    assert fingerprint((truths, predictions)) == first


def test_a_mask_in_colour_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(ValueError, match=r"1\.png is no grey image; expected a mask as PNG"):
        read_grey(tmp_path / "1.png")


def test_what_the_scorer_refuses_stops_the_build_with_its_words(tmp_path):
    (tmp_path / "bin").mkdir()
    programs = {
        "python": "echo '{}'",
        "isic-challenge-scoring": "echo 'No such column' >&2; exit 3",
    }
    for name, line in programs.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    expected = r"(?s)classification --metric auc .*prediction\.csv\nended with 3:\nNo such column"
    with pytest.raises(RuntimeError, match=expected):
        main(tmp_path, tmp_path / "scores.json")
    assert not (tmp_path / "scores.json").exists()
