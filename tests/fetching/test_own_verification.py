"""`prepare_data.py verify` on data of one's own: every file is read, twins across splits found."""

import shutil
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import own_sets
import pytest

import prepare_data
from utils import data, fetching
from utils.fetching import duplicates


@pytest.fixture
def three(tmp_path: Path) -> Path:
    return own_sets.make(tmp_path / "three", own_sets.table(24))


def problems(folder: Path, near: bool = False) -> dict[str, str]:
    """Severity by check of what is found; each check at most once."""
    table = fetching.verify(folder, near).problems
    return dict(zip(table["check"], table["severity"], strict=True))


def test_a_good_set_has_no_problems(three: Path, capsys: pytest.CaptureFixture) -> None:
    report = fetching.verify(three)
    assert report.ok
    assert report.problems.empty
    assert report.counts.columns.tolist() == [*data.classes(three), "all"]
    assert report.images == 24
    file = three.parent / "verify.csv"
    assert prepare_data.main(["verify", "--data-dir", str(three), "--csv", str(file)]) == 0
    said = capsys.readouterr().out
    assert "images found:" in said
    assert "official" not in said


def test_files_are_read_to_their_last_byte(three: Path) -> None:
    image = three / "images" / "own_003.jpg"
    image.write_bytes(image.read_bytes()[:-200])
    report = fetching.verify(three)
    assert report.problems["id"].tolist() == ["own_003"]
    assert not report.ok
    mask = three / "masks" / "own_004_segmentation.png"
    own_sets.write(mask, np.zeros((32, 32), np.uint8))
    found = fetching.verify(three).problems.set_index("id")["check"]
    assert {"sizes", "masks"} <= set(found.loc["own_004"])


def test_one_picture_in_two_splits_is_an_error(three: Path) -> None:
    images = data.read(three).groupby("split")["id"].first()
    places = [three / "images" / f"{images[split]}.jpg" for split in ("train", "test")]
    shutil.copy(*places)
    shutil.copy(places[0], three / "images" / f"{data.read(three)['id'][1]}.jpg")
    table = fetching.verify(three).problems
    assert table["severity"].tolist() == ["error"]
    assert "a network must not be scored on what it was trained on" in table["message"][0]


def test_one_picture_twice_in_a_split_is_a_note_with_a_cure(three: Path) -> None:
    first, second = data.read(three)["id"][:2]
    shutil.copy(three / "images" / f"{first}.jpg", three / "images" / f"{second}.jpg")
    table = fetching.verify(three).problems
    assert table["severity"].tolist() == ["note"]
    assert table["message"][0].endswith("leave one out, or give them one group in labels.csv.")


def test_near_duplicates_are_found(three: Path) -> None:
    images = data.read(three).groupby("split")["id"].first()
    picture = cv2.imread(str(three / "images" / f"{images['train']}.jpg"))
    cv2.imwrite(str(three / "images" / f"{images['test']}.jpg"), cv2.add(picture, 3))
    assert problems(three, near=True)["near duplicates"] == "note"


def test_a_missing_mask_is_a_note_where_others_are_there(three: Path) -> None:
    (three / "masks" / "own_005_segmentation.png").unlink()
    table = fetching.verify(three).problems
    assert table[["severity", "check", "id"]].to_numpy().tolist() == [["note", "masks", "own_005"]]
    shutil.rmtree(three / "masks")
    assert fetching.verify(three).problems.empty


def test_a_set_that_cannot_be_read_is_one_sentence(three: Path, capsys, tmp_path: Path) -> None:
    (three / "images" / "own_005.jpg").unlink()
    file = str(tmp_path / "verify.csv")
    assert prepare_data.main(["verify", "--data-dir", str(three), "--csv", file]) == 1
    assert "without an image in" in capsys.readouterr().err
    for command in (["patches"], ["extras", "--list", file]):
        assert prepare_data.main([*command, "--data-dir", str(three)]) == 1
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_pairs_are_the_same_whatever_is_compared_at_once(monkeypatch, rows: int) -> None:
    monkeypatch.setattr(duplicates, "_ROWS", rows)
    bits = np.random.default_rng(0).integers(0, 2, (9, 256), dtype=np.uint8)
    bits[7] = bits[2]
    bits[8, :250] = bits[3, :250]
    expected = {(a, b): int((bits[a] != bits[b]).sum()) for a, b in combinations(range(9), 2)}
    found = [*duplicates.near_pairs([np.packbits(row).tobytes() for row in bits], 130)]
    assert {(a, b): distance for a, b, distance in found} == {
        pair: distance for pair, distance in expected.items() if distance <= 130
    }
    assert len(found) == len({pair[:2] for pair in found})
