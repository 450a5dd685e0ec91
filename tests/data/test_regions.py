"""What is cut out around a lesion, and a store of it."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from utils.data import decode, regions, store


def test_the_square_holds_the_box_and_its_margin_or_ends_at_the_border() -> None:
    draw = np.random.default_rng(0)
    for _ in range(2000):
        width, height = (int(side) for side in draw.integers(50, 4000, 2))
        x, y = np.sort(draw.random(2)), np.sort(draw.random(2))
        box = (x[0], y[0], x[1] - x[0], y[1] - y[0])
        left, top, across, down = regions.around(box, width, height)
        longer = max(box[2] * width, box[3] * height)
        least = min(width, height) / 4
        # px on each side of the box, and the side that is wanted; 6 digits of shares are kept
        room = ((box[0] - left) * width, (left + across - box[0] - box[2]) * width)
        room += ((box[1] - top) * height, (top + down - box[1] - box[3]) * height)
        side, slip = max(1.4 * longer, least), 0.01
        assert across * width == pytest.approx(min(side, width), abs=slip)
        assert down * height == pytest.approx(min(side, height), abs=slip)
        ends = (left * width, (1 - left - across) * width)
        ends += (top * height, (1 - top - down) * height)
        for margin, to_border in zip(room, ends, strict=True):
            assert margin >= -slip
            assert to_border >= -slip
        # Where one margin is less than wanted, the square is at the border on that side.
        for margin, to_border in zip(room, ends, strict=True):
            assert margin >= 0.2 * longer - slip or to_border <= slip


def test_a_region_of_an_original_is_cut_before_it_is_resized(tmp_path: Path) -> None:
    """Against the whole file, decoded by OpenCV; ours is decoded at half its size."""
    draw = np.random.default_rng(1)
    rough = draw.integers(90, 170, (15, 20, 3)).astype(np.uint8)  # as soft as skin
    picture = cv2.resize(rough, (2000, 1500), interpolation=cv2.INTER_CUBIC)
    file, mask_file = tmp_path / "a.jpg", tmp_path / "a.png"
    Image.fromarray(picture).save(file, quality=95)
    mask = np.zeros((1500, 2000), np.uint8)
    cv2.ellipse(mask, (1000, 700), (300, 200), 20, 0, 360, 255, -1)
    Image.fromarray(mask).save(mask_file)
    region = (0.3, 0.2, 0.4, 0.5)
    image, lesion, facts = decode.decode(str(file), str(mask_file), (64, 64), region)
    full = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)[300:1050, 600:1400]
    expected = cv2.resize(full, (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - expected).mean() < 0.5
    cut = cv2.resize(mask[300:1050, 600:1400], (64, 64), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(lesion, np.where(cut > 127, 255, 0))
    assert (facts["width"], facts["height"]) == (800, 750)
    whole = decode.decode(str(file), str(mask_file), (64, 64))[2]
    assert facts["sha256"] != whole["sha256"]


def test_boxes_of_originals_are_as_if_decoded_in_full(isic2017_fullres: Path) -> None:
    draw = np.random.default_rng(0)
    for file in sorted(isic2017_fullres.glob("*_Data/*.jpg"))[:6]:
        full = np.asarray(Image.open(file))
        height, width = full.shape[:2]
        region = regions.around((*(draw.random(2) * 0.7), 0.25, 0.25), width, height)
        image, _, facts = decode.decode(str(file), "", (256, 256), region)
        left, top = round(region[0] * width), round(region[1] * height)
        cut = full[top : top + facts["height"], left : left + facts["width"]]
        expected = cv2.resize(cut, (256, 256), interpolation=cv2.INTER_AREA)
        assert np.abs(image.astype(int) - expected).mean() < 1, file.name


def test_a_store_of_boxes_lies_beside_and_follows_them(
    demo_set: Path, demo_rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(store, "_writable_home", lambda _: tmp_path)
    draw = np.random.default_rng(2)
    places = {
        image: (float(x), float(y), 0.5, 0.5)
        for image, (x, y) in zip(demo_rows["id"], draw.random((len(demo_rows), 2)) / 2, strict=True)
    }
    places[demo_rows["id"][3]] = regions.WHOLE
    made = store.prepare(demo_set, demo_rows, 40, boxes=regions.Boxes("light-seg-6", places))
    assert made.folder.name == "prepared-40-light-seg-6"
    plain = store.prepare(demo_set, demo_rows, 40)
    for place, row in enumerate(demo_rows.itertuples()):
        x, y, across, down = places[row.id]
        box = [round(edge) for edge in (96 * x, 72 * y, 96 * (x + across), 72 * (y + down))]
        cut = np.asarray(Image.open(row.image).convert("RGB").crop(box))
        way = cv2.INTER_AREA if cut.shape[0] * cut.shape[1] > 1600 else cv2.INTER_LINEAR
        np.testing.assert_array_equal(
            made.image(place), cv2.resize(cut, (40, 40), interpolation=way)
        )
    same = demo_rows.iloc[[3]]
    assert made.fingerprint(same, masks=True) == plain.fingerprint(same, masks=True)
    others = demo_rows.drop(3)
    assert made.fingerprint(others) != plain.fingerprint(others)

    decoded = []
    monkeypatch.setattr(
        store,
        "decode",
        lambda image, *rest: (decoded.append(image), decode.decode(image, *rest))[1],
    )
    again = store.prepare(demo_set, demo_rows, 40, boxes=regions.Boxes("light-seg-6", places))
    assert not decoded
    places[demo_rows["id"][5]] = (0.0, 0.0, 0.5, 0.5)
    moved = store.prepare(demo_set, demo_rows, 40, boxes=regions.Boxes("light-seg-6", places))
    assert decoded == [demo_rows["image"][5]]
    assert moved.fingerprint(demo_rows) != again.fingerprint(demo_rows)
    assert moved.fingerprint(demo_rows.drop(5)) == again.fingerprint(demo_rows.drop(5))
