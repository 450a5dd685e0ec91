"""python predict.py: the numbers of the evaluation, resumed, named, marked."""

import re
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
from PIL import Image
from playwright.sync_api import sync_playwright
from ways import CHROMIUM, FLAGS

import predict
from utils import data, evaluation, logger, photographs
from utils.photographs import found, pages, record, work
from utils.system import project

CHANCES = [f"p_{name}" for name in data.CLASSES]


@pytest.fixture
def call(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The command, with the models of the fixture; its exit status."""
    monkeypatch.setattr(found, "MODELS", models)
    monkeypatch.setattr(found.find_runs, "__defaults__", (None, models))
    monkeypatch.setattr(predict, "PROJECT", tmp_path)
    return lambda *words: predict.main([str(word) for word in words])


def one(photo: Path, table) -> pd.Series:
    return table.set_index("photo").loc[str(photo)]


class TestNumbers:
    def test_are_those_of_the_evaluation(self, call, models, photos, tmp_path, table) -> None:
        run = models / "demo-demo/1-3-s0"
        assert call(*photos, "--runs", "1-3-s0,seg-4-s0", "--out", tmp_path / "out") == 0
        said = table(tmp_path / "out").assign(id=lambda t: t["photo"].map(lambda p: Path(p).stem))
        said = said.set_index("id")
        tested = pd.read_csv(run / "predictions-test.csv").set_index("id")
        assert len(said) == len(tested) == 8
        theirs = tested.loc[said.index, list(data.CLASSES)].to_numpy()
        assert abs(said[CHANCES].to_numpy() - theirs).max() < 1e-6
        fitted = pd.read_csv(run / "predictions-holdout.csv")
        temperature = evaluation.trust.assess(fitted, tested.reset_index()).temperature
        powers = theirs ** (1 / temperature)
        calibrated = said[[f"calibrated_{name}" for name in CHANCES]].to_numpy()
        assert abs(calibrated - powers / powers.sum(1, keepdims=True)).max() < 1e-6
        masks = pd.read_csv(models / "demo-demo/seg-4-s0/per-image-test.csv").set_index("id")
        assert (said["area_px"] == (masks["tp"] + masks["fp"]).loc[said.index]).all()
        assert (said[["width", "height"]].to_numpy() == masks.loc[said.index, ["width", "height"]]
                ).all(axis=None)  # fmt: skip

    def test_of_melanoma_alone(self, call, models, photos, tmp_path, table) -> None:
        assert call(photos[0], "--runs", "1-4-s0", "--out", tmp_path / "out") == 0
        said = table(tmp_path / "out")
        tested = pd.read_csv(models / "demo-demo/1-4-s0/predictions-test.csv").set_index("id")
        assert said["p_melanoma"][0] == pytest.approx(tested["melanoma"][photos[0].stem], abs=1e-6)
        assert "p_benign" not in said
        assert "what spoke for" in (tmp_path / "out/index.html").read_text()

    def test_of_several_are_means(self, call, models, photos, tmp_path, table) -> None:
        assert call(photos[0], "--runs", "1-3-s0,1-3-s1", "--out", tmp_path / "out") == 0
        both = [
            pd.read_csv(models / f"demo-demo/1-3-s{k}/predictions-test.csv").set_index("id")
            for k in (0, 1)
        ]
        each = [file.loc[photos[0].stem, list(data.CLASSES)].to_numpy(float) for file in both]
        said = table(tmp_path / "out").loc[0]
        assert said[CHANCES].to_numpy(float) == pytest.approx(np.mean(each, axis=0), abs=1e-6)
        assert said["p_melanoma 1-3-s1"] == pytest.approx(each[1][0], abs=1e-6)

    def test_of_weights_in_half_precision(self, call, models, photos, tmp_path, table) -> None:
        released = models / "released/half"
        released.mkdir(parents=True)
        run = models / "demo-demo/1-3-s0"
        for name in ("config.json", "predictions-holdout.csv", "history.csv"):
            (released / name).write_bytes((run / name).read_bytes())
        (released / "README.md").touch()
        weights = safetensors.torch.load_file(run / "best.safetensors")
        half = {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}
        safetensors.torch.save_file(half, released / "best.safetensors")
        try:
            assert call(photos[0]) == 0  # the default: what is released
        finally:
            for file in released.iterdir():
                file.unlink()
            released.rmdir()
        said = table(tmp_path / "model/photos-half").loc[0]
        whole = pd.read_csv(run / "predictions-test.csv").set_index("id").loc[photos[0].stem]
        assert said["p_melanoma"] == pytest.approx(whole["melanoma"], abs=0.01)
        assert said["p_melanoma"] != whole["melanoma"]


class TestFiles:
    def test_that_cannot_be_used_are_named_and_the_others_done(
        self, call, photos, tmp_path, table, capsys
    ) -> None:
        folder = tmp_path / "in"
        folder.mkdir()
        whole = photos[0].read_bytes()
        clear = Image.open(photos[0]).convert("RGBA")
        clear.putalpha(100)
        clear.save(folder / "clear.png")
        for name, content in {
            "a.jpg": whole, "cut.JPG": whole[: len(whole) // 2], "empty.png": b"",
            "text.jpeg": b"no image", "._a.jpg": b"of a Mac", "notes.txt": b"",
            "a_segmentation.png": b"a mask",
        }.items():  # fmt: skip
            (folder / name).write_bytes(content)
        for _ in range(2):
            assert call(folder, "--runs", "1-3-s0", "--out", folder / "out") == 1
            said = table(folder / "out").set_index("photo")
            assert len(said) == 5  # not the pictures of the first call
            assert said.loc[str(folder / "a.jpg"), "error"] == ""
            assert (said["note"].str.startswith("Research and teaching only")).all()
            printed = capsys.readouterr().out
            for fault in (r"cut.JPG \(.*truncated", r"empty.png \(is empty", "clear.png .*transpar",
                          r"text.jpeg \(is no JPEG, PNG, TIFF, BMP or WEBP"):  # fmt: skip
                assert re.search(f"not used: {fault}", printed)
                assert sum(bool(re.search(fault, error)) for error in said["error"]) == 1
        call(photos[0], "--runs", "1-3-s0", "--out", folder / "out")
        assert len(table(folder / "out")) == 6  # the faults of others stay
        (folder / "empty.png").write_bytes((folder / "a.jpg").read_bytes())  # mended
        call(folder, "--runs", "1-3-s0", "--out", folder / "out")
        assert (table(folder / "out")["error"] == "").sum() == 3

    @pytest.mark.parametrize(
        ("name", "mode", "near"),
        [("a.tif", "RGB", 0), ("a.bmp", "RGB", 0), ("a.png", "RGBA", 0), ("a.png", "P", 0.2),
         ("a.jpg", "CMYK", 0.2), ("a.webp", "RGB", 0.2)],
    )  # fmt: skip
    def test_of_every_kind_are_read(self, name, mode, near, photos, tmp_path) -> None:
        image = Image.open(photos[0])
        image.convert(mode).save(tmp_path / name)
        pixels = found.Photo(tmp_path / name).pixels
        far = abs(pixels.astype(int) - np.asarray(image)).mean() / 255
        assert far <= near

    def test_in_grey_and_with_16_bits(self, tmp_path) -> None:
        deep = np.arange(0, 60 * 80 * 13, 13, dtype=np.uint16).reshape(60, 80)
        Image.fromarray(deep).save(tmp_path / "deep.png")
        Image.fromarray((deep >> 8).astype(np.uint8)).save(tmp_path / "grey.png")
        both = [found.Photo(tmp_path / name).pixels for name in ("deep.png", "grey.png")]
        assert (both[0] == both[1]).all()
        assert both[0].shape == (60, 80, 3)

    def test_turned_by_exif(self, call, photos, tmp_path, table) -> None:
        upright = tmp_path / "upright.png"
        Image.open(photos[0]).save(upright)
        turned, exif = tmp_path / "turned.png", Image.Exif()
        exif[0x0112] = 6
        Image.open(upright).transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
        call(upright, turned, "--runs", "1-3-s0,seg-4-s0", "--out", tmp_path / "out")
        said = table(tmp_path / "out")
        same = ["width", "height", *CHANCES, "area_px", "diameter_px"]
        assert said.loc[0, same].tolist() == said.loc[1, same].tolist()
        assert said.loc[0, ["width", "height"]].tolist() == [96, 72]

    def test_of_the_same_name_have_pictures_of_their_own(self, call, photos, tmp_path, table):
        for name, photo in (("one", photos[0]), ("other", photos[1])):
            (tmp_path / "in" / name).mkdir(parents=True)
            (tmp_path / "in" / name / "a.jpg").write_bytes(photo.read_bytes())
        call(tmp_path / "in", "--runs", "seg-4-s0", "--out", tmp_path / "out")
        said = table(tmp_path / "out")
        assert len(set(said["pictures"])) == 2
        for line in said.itertuples():
            folder = tmp_path / "out/pictures"
            mask = cv2.imread(str(folder / f"{line.pictures}-mask.png"), cv2.IMREAD_UNCHANGED)
            assert mask.shape == (line.height, line.width)
            assert set(np.unique(mask)) <= {0, 255}
            assert np.count_nonzero(mask) == line.area_px
            outline = cv2.imread(str(folder / f"{line.pictures}-outline.jpg"))
            assert outline.shape == (line.height, line.width, 3)


class TestGoingOn:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The photos that are answered, rather than read from the table."""
        asked: list[str] = []

        def answer(photo: found.Photo, models: object) -> object:
            asked.append(photo.path.name)
            return photographs.answers.answer(photo, models)

        monkeypatch.setattr(work, "answer", answer)
        return asked

    def test_a_second_call_answers_what_is_left(self, call, asked, photos, tmp_path, table):
        out = ("--runs", "1-3-s0", "--out", tmp_path / "out")
        call(*photos[:2], *out)
        before = (tmp_path / "out/photos.csv").read_bytes()
        with (tmp_path / "out/photos.csv").open("a") as file:
            file.write(f"{photos[2]},half a li")  # killed while it wrote
        call(*photos[:3], photos[1], *out)
        assert asked == [photo.name for photo in photos[:3]]
        assert (tmp_path / "out/photos.csv").read_bytes().startswith(before)
        assert table(tmp_path / "out")["photo"].tolist() == [str(p) for p in photos[:3]]

    def test_ctrl_c_leaves_whole_lines_and_a_page(
        self, call, asked, photos, tmp_path, table, monkeypatch, capsys
    ) -> None:
        answer = work.answer

        def stop(photo: found.Photo, models: object) -> object:
            if photo.path == photos[2]:
                raise KeyboardInterrupt
            return answer(photo, models)

        out = (*photos[:4], "--runs", "1-3-s0", "--out", tmp_path / "out")
        with monkeypatch.context() as patched:
            patched.setattr(work, "answer", stop)
            assert call(*out) == 130
        assert "goes on" in capsys.readouterr().out
        assert table(tmp_path / "out")["photo"].tolist() == [str(p) for p in photos[:2]]
        assert (tmp_path / "out/index.html").read_text().count("<article") == 2
        assert call(*out) == 0
        assert asked == [photo.name for photo in photos[:4]]
        assert len(table(tmp_path / "out")) == 4

    def test_other_runs_are_refused(self, call, asked, photos, tmp_path, capsys) -> None:
        call(photos[0], "--runs", "1-3-s0", "--out", tmp_path / "out")
        before = (tmp_path / "out/photos.csv").read_bytes()
        with pytest.raises(SystemExit, match="2"):
            call(photos[1], "--runs", "1-3-s1", "--out", tmp_path / "out")
        assert (
            "holds answers of 1-3-s0, and now it is the turn of 1-3-s1" in capsys.readouterr().err
        )
        assert (tmp_path / "out/photos.csv").read_bytes() == before
        assert len(asked) == 1

    @pytest.mark.parametrize("content", ["{", "[]", '{"runs": 3}'])
    def test_a_damaged_or_strange_folder(self, content, call, photos, tmp_path, capsys) -> None:
        (tmp_path / "thesis.txt").write_text("mine")
        with pytest.raises(SystemExit, match="2"):
            call(photos[0], "--runs", "1-3-s0", "--out", tmp_path)
        assert "holds other files (thesis.txt)" in capsys.readouterr().err
        (tmp_path / "settings.json").write_text(content)
        with pytest.raises(SystemExit, match="2"):
            call(photos[0], "--runs", "1-3-s0", "--out", tmp_path)
        assert "settings.json is damaged" in capsys.readouterr().err


class TestRuns:
    @pytest.mark.parametrize(
        ("runs", "said"),
        [
            ("1-3-s00", "no run '1-3-s00'; near it are .*1-3-s0"),
            ("zzz", "no run 'zzz'; near it are none, and there are 4 in"),
            ("", "expected the path of a folder"),
            ("1-3-s0,1-4-s0", "1-3-s0, 1-4-s0 cannot answer together"),
        ],
    )
    def test_that_are_not_there(self, runs, said, call, photos, capsys) -> None:
        with pytest.raises(SystemExit, match="2"):
            call(photos[0], "--runs", runs)
        assert re.search(said, capsys.readouterr().err)

    def test_of_the_same_name(self, models, tmp_path) -> None:
        for profile in ("demo-demo", "demo-best"):
            (tmp_path / profile / "1-3-s0").mkdir(parents=True)
            for name in ("config.json", "best.safetensors"):
                (tmp_path / profile / "1-3-s0" / name).symlink_to(
                    models / "demo-demo/1-3-s0" / name
                )
        with pytest.raises(ValueError, match="'1-3-s0' is the name of demo-best/1-3-s0, demo-demo"):
            found.find_runs("1-3-s0", tmp_path)
        runs = found.find_runs(f"demo-best/1-3-s0,{tmp_path / 'demo-demo/1-3-s0'}", tmp_path)
        assert [run.path.parent.name for run in runs.values()] == ["demo-best", "demo-demo"]

    def test_one_that_sees_boxes_of_lesions(self, models, call, photos, tmp_path, capsys) -> None:
        boxed = logger.RunFolder(shutil.copytree(models / "demo-demo/1-3-s0", tmp_path / "boxed"))
        config = boxed.config
        boxed.save_json("config.json", config | {"row": config["row"] | {"crop_from": "seg-6"}})
        with pytest.raises(SystemExit, match="2"):
            call(photos[0], "--runs", boxed.path)
        said = capsys.readouterr().err
        assert "boxed sees the box of a lesion that seg-6 found in the data; expected a run" in said

    def test_none_released(self, call, photos, capsys) -> None:
        with pytest.raises(SystemExit, match="2"):
            call(photos[0])
        assert "released holds no runs; train one" in capsys.readouterr().err

    def test_unfinished(self, models, tmp_path) -> None:
        run = tmp_path / "demo-demo/1-3-s0"
        run.mkdir(parents=True)
        config = (models / "demo-demo/1-3-s0/config.json").read_text()
        (run / "config.json").write_text(config.replace('"finished": true', '"finished": false'))
        with pytest.raises(ValueError, match="is no finished run"):
            found.find_runs("1-3-s0", tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "name photos"), (("gone.jpg",), "gone.jpg is not there"), (("",), "expected the path")],
)
def test_nothing_to_do(words, said, call, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        call(*words, "--runs", "1-3-s0")
    assert said in capsys.readouterr().err


def test_a_folder_without_photos(call, tmp_path, capsys) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(SystemExit, match="2"):
        call(tmp_path / "none", "--runs", "1-3-s0")
    assert "no photos in" in capsys.readouterr().err


def test_help_loads_no_torch() -> None:
    code = "import sys, predict; predict.parser().format_help(); print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=project.PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_page_holds_the_first_pictures_and_links_the_others(
    call, photos, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(pages, "INLINE", 2)
    evil = tmp_path / "<i onload=1>'#%.jpg"
    evil.write_bytes(photos[0].read_bytes())
    call(*photos[:3], evil, "--runs", "1-3-s0,seg-4-s0", "--out", tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text()
    assert page.count("data:image/jpeg") == 4
    assert "<i onload" not in page
    for address in re.findall('href="([^"]+)"', page):
        assert (tmp_path / "out" / address).is_file()
    # The caution stands at the top, and at each table of probabilities.
    assert page.count("Research and teaching only") == 1 + page.count("<table>") == 5
    assert "calibrated with temperature" in page
    assert "--learn-features RUN" in page


def test_thousands_of_lines_make_a_page_in_little_memory(tmp_path) -> None:
    nobody = photographs.Models({}, {})
    book = record.Record(tmp_path / "out", nobody)
    line = dict.fromkeys(nobody.columns, "") | {"width": "96", "height": "72", "photo": "x" * 500}
    with book.table.open("ab") as file:
        file.write(record._line(line, book.columns) * 2000)
    peaks = []
    # The first call compiles the template; Python's table of strings may grow in either.
    for _ in range(2):
        tracemalloc.start()
        page = pages.write(book, nobody)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert page.read_text().count("<article") == 2000
    assert min(peaks) < page.stat().st_size / 5


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: install it")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_chromium(width: int, call, photos, tmp_path) -> None:
    long = tmp_path / f"{'long' * 50}.jpg"
    long.write_bytes(photos[0].read_bytes())
    call(photos[0], long, "--runs", "1-3-s0,seg-4-s0", "--out", tmp_path / "out")
    with sync_playwright() as api:
        browser = api.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        opened, asked = browser.new_page(viewport={"width": width, "height": 900}), []
        opened.on("request", lambda request: asked.append(request.url[:4]))
        opened.goto((tmp_path / "out/index.html").as_uri())
        wide = opened.evaluate("document.documentElement.scrollWidth")
        sizes = opened.locator("img").evaluate_all("all => all.map(one => one.naturalWidth)")
        browser.close()
    assert wide <= width
    assert sizes == [photographs.answers.SMALL] * 4
    assert set(asked) <= {"file", "data"}
