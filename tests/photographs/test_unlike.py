"""How far a photo is from the training images."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis, pdist
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

import predict
from utils import photographs
from utils.logger.run import RunFolder
from utils.photographs import found, unlike


def drawn(seed: int, count: int, spread: float = 1.0) -> np.ndarray:
    """Features (count, 20), of which five directions vary much."""
    generator = np.random.default_rng(seed)
    axes = np.random.default_rng(0).normal(size=(5, 20))
    inside = generator.normal(size=(count, 5)) @ axes
    return 3 + spread * (inside + 0.1 * generator.normal(size=(count, 20)))


def test_the_distance_is_mahalanobis_under_probabilistic_pca() -> None:
    train, unseen = drawn(1, 200), drawn(2, 100)
    known = unlike.fitted(train, unseen)
    longer = 3 * unseen  # the length of features says nothing
    assert known.mahalanobis(longer) == pytest.approx(known.mahalanobis(unseen))
    train, unseen = normalize(train), normalize(unseen)
    pca = PCA(10, svd_solver="full").fit(train)
    precision = pca.get_precision()
    theirs = [mahalanobis(one, pca.mean_, precision) for one in unseen]
    assert known.mahalanobis(unseen) == pytest.approx(theirs, rel=1e-3)
    assert known.threshold == pytest.approx(np.quantile(theirs, 0.95), rel=1e-3)
    assert (known.marked, known.unseen) == (5, 100)
    assert "of 100 images that it was not trained on" in known.said
    assert "marks 5 (5.0%)" in known.said


def test_a_new_direction_is_far_and_others_like_these_are_not() -> None:
    known = unlike.fitted(drawn(1, 200), drawn(2, 100))
    assert (known.distances(drawn(3, 1000)) > 1).mean() == pytest.approx(0.05, abs=0.05)
    away = drawn(4, 1)
    away[:, 0] += 2.0  # less than the others' deviation, but where they do not vary
    assert known.distances(away)[0] > 2


def test_constant_features_are_no_error() -> None:
    train, unseen = (np.column_stack([drawn(k, 9)[:, :1], np.ones((9, 30))]) for k in (1, 2))
    known = unlike.fitted(train, unseen)
    assert np.isfinite(known.distances(unseen)).all()
    assert known.distances(unseen[:1] + np.eye(31)[1]) > 1


class TestLearned:
    @pytest.fixture
    def run(self, models: Path, demo_set: Path, tmp_path: Path, monkeypatch, capsys) -> RunFolder:
        """A run that knows its training images."""
        folder = tmp_path / "model/demo-demo/1-3-s0"
        folder.mkdir(parents=True)
        for file in (models / "demo-demo/1-3-s0").iterdir():
            if file.is_file():
                (folder / file.name).write_bytes(file.read_bytes())
        monkeypatch.setattr(found.find_runs, "__defaults__", (None, tmp_path / "model"))
        assert predict.main(["--learn-features", "1-3-s0", "--data-dir", str(demo_set)]) == 0
        assert "of 4 images that it was not trained on" in capsys.readouterr().out
        return RunFolder(folder)

    def test_what_is_beyond_the_threshold_is_marked(self, run, photos, tmp_path, table) -> None:
        words = ["--runs", str(run.path), *map(str, photos[:2]), "--out"]
        assert predict.main([*words, str(tmp_path / "before")]) == 0
        distances = table(tmp_path / "before")["distance"]
        # A hardly trained network tells nothing apart: a threshold between these two does.
        known = unlike.read(run)
        unlike.save(run, known._replace(threshold=known.threshold * distances.mean()))
        assert predict.main([*words, str(tmp_path / "out")]) == 0
        said = table(tmp_path / "out")
        expected = ["yes" if far > distances.mean() else "no" for far in distances]
        assert said["unlike"].tolist() == expected
        assert sorted(expected) == ["no", "yes"]
        page = (tmp_path / "out/index.html").read_text()
        assert page.count("Unlike the training images (distance") == 1
        assert "of 4 images that it was not trained on" in page
        assert (run / "features.npz").stat().st_size < 3e6

    def test_a_damaged_file(self, run) -> None:
        content = (run / "features.npz").read_bytes()
        (run / "features.npz").write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=r"features.npz is damaged .* --learn-features"):
            unlike.read(run)

    def test_other_data_are_refused(self, run, demo_set, capsys) -> None:
        run.save_json("config.json", run.config | {"data": {"set": "ISIC 2017"}})
        with pytest.raises(SystemExit, match="2"):
            predict.main(["--learn-features", str(run.path), "--data-dir", str(demo_set)])
        assert "was trained on ISIC 2017, and" in capsys.readouterr().err

    def test_a_segmenter_alone_marks_them_too(
        self, models, demo_set, photos, tmp_path, table, capsys
    ) -> None:
        run = RunFolder(tmp_path / "demo-demo/seg-4-s0")
        shutil.copytree(models / "demo-demo/seg-4-s0", run.path)
        words = [*map(str, photos[:4]), "--runs", str(run.path), "--out"]
        assert predict.main([*words, str(tmp_path / "before")]) == 0
        assert table(tmp_path / "before")["distance"].isna().all()
        assert "was not measured: these runs do not" in (tmp_path / "before/index.html").read_text()
        assert predict.main(["--learn-features", str(run.path), "--data-dir", str(demo_set)]) == 0
        assert "images that it was not trained on" in capsys.readouterr().out
        assert predict.main([*words, str(tmp_path / "out")]) == 0
        distances = table(tmp_path / "out")["distance"].astype(float)
        assert (distances > 0).all()
        assert table(tmp_path / "out")["unlike"].tolist() == [
            "yes" if far > 1 else "no" for far in distances
        ]
        assert "by seg-4-s0, 1 being the threshold" in (tmp_path / "out/index.html").read_text()


@pytest.mark.parametrize("seed", range(5))
def test_the_diameter_is_the_greatest_distance_of_two_pixels(seed: int) -> None:
    noise = np.random.default_rng(seed).random((30, 40)).astype(np.float32)
    mask = (cv2.GaussianBlur(noise, (0, 0), 2) > 0.52).astype(np.uint8) * 255
    assert mask.any()
    expected = pdist(np.argwhere(mask)).max()
    assert photographs.answers.diameter(mask) == pytest.approx(expected)
    assert photographs.answers.diameter(np.zeros_like(mask)) == 0
