"""Baselines: what each knows, by scikit-learn and by hand; and run folders that all can read."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn

import experiments
import nets
from utils import data, logger
from utils.data import store
from utils.evaluation import baselines, label_baselines, mask_baselines, paired
from utils.system.errors import DataError, RunError

LABELS = [name for name in experiments.BASELINES if not name.startswith("seg-")]


class FakeStore:
    """Four images of 8×8 px; the lesion of each is a rectangle, the last has none."""

    RECTANGLES = (
        (0, 0, 2, 4),
        (2, 3, 4, 4),
        (5, 5, 3, 3),
        (0, 0, 0, 0),
    )  # left, top, width, height

    def positions(self, images: pd.DataFrame) -> np.ndarray:
        return np.arange(len(images))

    def mask(self, place: int) -> np.ndarray:
        left, top, width, height = self.RECTANGLES[place]
        mask = np.zeros((8, 8), np.uint8)
        mask[top : top + height, left : left + width] = 255
        return mask

    def image(self, place: int) -> np.ndarray:
        image = np.full((8, 8, 3), 200, np.uint8)
        image[self.mask(place) > 0] = (51, 102, 153)
        return image


def people(count: int = 60, **columns: object) -> pd.DataFrame:
    random = np.random.default_rng(0)
    label = np.arange(count) % 3
    table = {
        "id": [f"ISIC_{number:07}" for number in range(count)],
        "split": "train",
        "label": label,
        "mask": "there",
        "age": 5.0 * (random.integers(3, 14, count) - 2 * (label == 2)),
        "sex": random.choice(["male", "female"], count),
    }
    return pd.DataFrame(table | columns)


def fitted(name: str, train: pd.DataFrame, kept=None, build=None):
    return label_baselines.LabelBaseline(
        name, kept or FakeStore(), train, 64, 0, build or nets.build
    )


# --- what each knows ---


def test_the_majority_class_answers_with_the_frequencies():
    train = people(label=[0] * 6 + [1] * 9 + [2] * 45)
    answer = fitted("majority", train).predict(people(4))
    np.testing.assert_allclose(answer, [[0.1, 0.15, 0.75]] * 4)


def test_age_and_sex_equal_a_logistic_regression_by_hand():
    train = people()
    baseline = fitted("age_sex", train)
    answer = baseline.predict(train)
    numbers = np.column_stack([train["age"], train["sex"] == "male"]).astype(float)
    numbers = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    strength = baseline.fitted.best_params_["logisticregression__C"]
    model = LogisticRegression(C=strength, max_iter=5000).fit(numbers, train["label"])
    np.testing.assert_allclose(answer, model.predict_proba(numbers), atol=1e-6)
    expected = -np.log(answer[np.arange(len(train)), train["label"]]).mean()
    assert baseline.loss == pytest.approx(expected)


def test_that_an_age_is_unknown_is_knowledge_too():
    train = people(90)
    train.loc[train["label"] == 0, "age"] = np.nan  # of melanomas alone
    answer = fitted("age_sex", train).predict(train)
    assert roc_auc_score(train["label"] == 0, answer[:, 0]) > 0.99
    some = people(3, age=np.nan, sex="unknown")
    with pytest.raises(
        DataError, match=r"age and sex are unknown in the split train; expected .*go"
    ):
        fitted("age_sex", train).predict(some)
    assert fitted("age_sex", train).predict(some.assign(age=[50.0, np.nan, 20.0])).shape == (3, 3)


@pytest.mark.parametrize("lacking", [{"age": np.nan}, {"sex": "unknown"}])
def test_own_data_may_know_ages_without_sexes_or_the_reverse(lacking):
    """As a regression on the column that is known, and warns of nothing."""
    train = people().assign(**lacking)
    known = train[["age"]] if "sex" in lacking else (train[["sex"]] == "male").astype(float)
    alone = label_baselines.regression(5, 0).fit(known.to_numpy(), train["label"])
    answer = fitted("age_sex", train).predict(train)
    np.testing.assert_allclose(answer, alone.predict_proba(known.to_numpy()), atol=1e-6)


def test_size_and_colour_by_hand():
    numbers = label_baselines.size_and_colour(FakeStore(), people(4))
    # a rectangle of 2×4 px of 8×8, of one colour
    expected = [np.log(8 / 64), 2 / 8, 4 / 8, 0.2, 0.4, 0.6, 0, 0, 0]
    np.testing.assert_allclose(numbers[0], expected, atol=1e-12)
    np.testing.assert_allclose(numbers[1, :3], [np.log(16 / 64), 4 / 8, 4 / 8])
    assert np.isnan(numbers[3]).all()  # without a lesion
    with pytest.raises(DataError, match="images without a mask: ISIC_0000000"):
        label_baselines.size_and_colour(FakeStore(), people(4, mask=""))


def test_the_box_has_one_size_and_covers_the_lesion_where_it_fits():
    kept = FakeStore()
    for place in range(4):
        image, lesion = kept.image(place), kept.mask(place) > 0
        covered = label_baselines.boxed(image, lesion)
        black = (covered == 0).all(axis=-1)
        assert black.sum() == 36  # 6×6 of 8×8, at a border, too
        assert not (lesion & ~black).any()
        np.testing.assert_array_equal(covered[~black], image[~black])
        assert (image > 0).all()  # the store's own is unchanged


def test_all_but_the_lesion_is_black():
    kept = FakeStore()
    image, lesion = kept.image(1), kept.mask(1) > 0
    alone = label_baselines.lesion_only(image, lesion)
    np.testing.assert_array_equal((alone > 0).all(axis=-1), lesion)
    np.testing.assert_array_equal(alone[lesion], image[lesion])


class Mean(nn.Module):
    """Its outputs are the mean colours, through a `classifier` that the baseline takes away."""

    def __init__(self, *_, **__) -> None:
        super().__init__()
        self.classifier: nn.Module = nn.Linear(3, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(images.float().mean(dim=(2, 3)))


def test_features_are_what_the_network_gives_before_its_last_layer():
    baseline = fitted("lite0_lesion", people(4), build=Mean)
    numbers = baseline.numbers(people(4))
    share = np.array([8, 16, 9, 0]) / 64
    np.testing.assert_allclose(numbers, share[:, None] * [51, 102, 153], rtol=0.02, atol=0.3)
    whole = fitted("lite0_whole", people(4), build=Mean).numbers(people(4, mask=""))
    np.testing.assert_allclose(whole[3], [200, 200, 200])


def test_weights_that_are_not_there_are_a_sentence():
    def lacking(*_, **__):
        raise nets.WeightsError("looked for the file")

    with pytest.raises(DataError, match="no network to take features from: looked for the file"):
        fitted("lite0_whole", people(), build=lacking).predict(people(4))


def test_a_class_with_one_image_is_a_sentence():
    with pytest.raises(DataError, match="at least 2 training images of each class"):
        fitted("age_sex", people(label=[0] + [1] * 29 + [2] * 30)).predict(people(4))


# --- masks ---


def test_otsu_finds_the_dark_disc_as_opencv_does():
    image = np.full((64, 64, 3), 210, np.uint8)
    cv2.circle(image, (32, 32), 15, (90, 60, 40), -1)
    network = nets.build("otsu")
    logits = network(torch.from_numpy(image).movedim(-1, 0)[None])
    assert logits.shape == (1, 1, 64, 64)
    found = logits[0, 0].numpy() > 0
    disc = image[..., 2] < 100
    assert (found & disc).sum() / (found | disc).sum() > 0.97
    blurred = cv2.GaussianBlur(image[..., 2], (0, 0), 64 * 3 / 256)
    _, expected = cv2.threshold(blurred, 0, 1, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    np.testing.assert_array_equal(found, expected > 0)
    as_floats = network(torch.from_numpy(image).movedim(-1, 0)[None] / 255)
    assert torch.equal(as_floats, logits)


def test_the_mean_mask_by_hand():
    kept, rows = FakeStore(), people(2)
    share = mask_baselines.mean_mask(kept, rows, (8, 8))
    np.testing.assert_allclose(share, (kept.mask(0) / 255 + kept.mask(1) / 255) / 2)
    network = nets.build("mean_mask")
    assert mask_baselines.learn(network, kept, rows) == "the mean of 2 training masks"
    answer = torch.sigmoid(network(torch.zeros(3, 3, 8, 8)))
    assert answer.shape == (3, 1, 8, 8)
    assert answer[2, 0, 0, 0] == pytest.approx(0.5, abs=0.01)  # one of two
    assert "nothing is learned" in mask_baselines.learn(nets.build("otsu"), kept, rows)


@pytest.mark.parametrize("name", ["otsu", "mean_mask"])
def test_a_segmenter_without_training_has_one_logit(name: str):
    with pytest.raises(ValueError, match="got num_classes=3, expected 1"):
        nets.build(name, 3)


# --- run folders ---


@pytest.fixture(scope="module")
def made(demo_set: Path, mktemp: Callable[[str], Path]) -> Path:
    """A folder with a run of each baseline on the small demo set."""
    models = mktemp("model") / "demo-demo"
    for name in experiments.BASELINES:
        row = experiments.get(name, "demo", train_images=None)
        baselines.make(models / row.folder(), row, demo_set, "test", nets.build)
    return models


def test_a_baseline_is_found_and_read_as_a_run(made: Path, demo_set: Path):
    rows = experiments.ROWS
    found = logger.find(sorted(map(str, made.glob("*-s0"))), demo_set, rows, models=made.parent)
    assert sorted(found) == sorted(f"{name}-s0" for name in experiments.BASELINES)
    table = logger.overview(found)
    assert table.loc["0-2-s0", "network"] == "age_sex"
    assert set(table["epochs (kept)"]) == {"1 (1)"}
    for run in found.values():
        assert run.config["finished"]
        assert experiments.restore(run.config["row"]).name in experiments.BASELINES
        scores = json.loads((run / "scores-test.json").read_text())
        assert (scores["n"], scores["split"], scores["selected_on"]) == (8, "test", "")
    for name in LABELS:
        for part in ("test", "validation"):
            answer = pd.read_csv(made / f"{name}-s0" / f"predictions-{part}.csv")
            np.testing.assert_allclose(answer[list(data.CLASSES)].sum(axis=1), 1)


def test_none_leaves_baselines_out(made: Path, demo_set: Path):
    with pytest.raises(RunError, match="no finished run"):
        logger.find(
            None, demo_set, experiments.ROWS, models=made.parent, unasked=experiments.BASELINES
        )


def test_what_is_made_is_read_again_and_another_split_is_added(made: Path, demo_set: Path):
    def never(*_, **__):
        raise AssertionError("was built")

    row = experiments.get("0-4", "demo", train_images=None)
    before = (made / "0-4-s0" / "predictions-test.csv").read_bytes()
    again = baselines.make(made / "0-4-s0", row, demo_set, "test", never)
    assert len(again) == 8
    assert (made / "0-4-s0" / "predictions-test.csv").read_bytes() == before
    row = experiments.get("0-2", "demo", train_images=None)
    assert len(baselines.make(made / "0-2-s0", row, demo_set, "train", never)) == 24
    with pytest.raises(RunError, match=r"other settings: .*select_on.*resume='restart'"):
        baselines.make(made / "0-2-s0", replace(row, select_on="holdout"), demo_set, "test", never)


def test_other_data_are_noticed(demo_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    folder = Path(shutil.copytree(demo_set, tmp_path / "demo"))
    path, row = tmp_path / "0-2-s0", experiments.get("0-2", "demo", select_on="validation")
    told = baselines.make(path, row, folder, "test", nets.build)
    (people,) = folder.glob("*Training*metadata.csv")
    (truth,) = folder.glob("*Training*Part3*.csv")
    for file in (people, truth):
        text = file.read_bytes()
        if file == people:
            table = pd.read_csv(file)
            table.assign(**{table.columns[1]: 40}).to_csv(file, index=False)
        else:
            table = pd.read_csv(file)
            table.assign(melanoma=1.0, seborrheic_keratosis=0.0).head(3).to_csv(file, index=False)
            pd.concat([pd.read_csv(file), table.iloc[3:]]).to_csv(file, index=False)
        with pytest.raises(RunError, match=r"was made of other training images, labels, "):
            baselines.make(path, row, folder, "train", nets.build)
        one = {"a": logger.RunFolder(path)}
        beside = (one, {"a": row}, lambda _: [row], folder, "test", nets.build)
        assert baselines.beside(*beside) == {"a": {}}
        assert "0-2-s0 is left out: " in capsys.readouterr().out
        file.write_bytes(text)
    pd.testing.assert_frame_equal(baselines.make(path, row, folder, "test", nets.build), told)


def test_a_fold_predicts_what_it_did_not_learn_from(demo_set: Path, tmp_path: Path):
    row = experiments.get("0-2", "demo", fold="2/3")
    assert row.folder() == "0-2-f2-s0"
    baselines.make(tmp_path / row.folder(), row, demo_set, "test", nets.build)
    images = data.read(demo_set)
    train, held_out = data.training_images(images, "fold", 0, "2/3")
    answer = pd.read_csv(tmp_path / row.folder() / "predictions-fold.csv")
    assert answer["id"].tolist() == held_out["id"].tolist()
    assert not set(answer["id"]) & set(train["id"])
    expected = fitted("age_sex", train).predict(held_out)
    np.testing.assert_allclose(answer[list(data.CLASSES)], expected, atol=1e-9)
    results = [file.name for file in (tmp_path / row.folder()).glob("*-*.*")]
    assert sorted(results) == ["predictions-fold.csv", "scores-fold.json"]


def test_beside_a_run_stand_the_baselines_of_its_images(
    made: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    unknown = data.read(demo_set).assign(age=np.nan, sex="unknown")
    monkeypatch.setattr(baselines.splits, "read", lambda *_: unknown)
    runs = {
        "3-1-s0": logger.RunFolder(made / "3-1-s0"),
        "3-1-s1": logger.RunFolder(made / "3-1-s1"),
    }
    rows = {f"3-1-s{seed}": experiments.get("3-1", "demo", seed=seed) for seed in (0, 1)}
    few = {"0-1", "0-2"}

    def some(row):
        return [one for one in experiments.baselines_of(row) if one.name in few]

    found = baselines.beside(runs, rows, some, demo_set, "test", nets.build)
    # Those of seed 0 are there; those of seed 1 are made, as far as they can be.
    assert {name: [*tables] for name, tables in found.items()} == {
        "3-1-s0": ["0-1-s0", "0-2-s0"],
        "3-1-s1": ["0-1-s1"],
    }
    said = capsys.readouterr().out
    assert "0-2-s1 is left out: age and sex are unknown in the split" in said


def test_the_table_of_what_is_beyond(made: Path):
    answer = {f"{n}-s0": pd.read_csv(made / f"{n}-s0" / "predictions-test.csv") for n in LABELS}
    beside = {"0-4-s0": {"0-2-s0": answer["0-2-s0"], "0-1-s0": answer["0-1-s0"]}}
    knows = {name: row.question for name, row in experiments.BASELINES.items()}
    table = paired.beyond(answer, beside, paired.label_differences, knows)
    assert table.index.tolist() == [("0-4-s0", "0-2-s0"), ("0-4-s0", "0-1-s0")]
    assert table["the baseline"].tolist()[0] == "Age and sex alone, by logistic regression"
    mean = paired.paired_difference(answer["0-4-s0"], answer["0-2-s0"]).value
    assert float(table["mean AUC"].iloc[0].split()[0]) == pytest.approx(mean, abs=6e-4)
    empty = paired.beyond({}, {}, paired.label_differences, knows)
    assert empty.empty


# --- the table of rows ---


def test_baselines_learn_from_the_images_of_their_run():
    run = experiments.get("1-4", "paper", seed=3, train_list="patches")
    for row in experiments.baselines_of(run):
        assert (row.train_list, row.select_on, row.seed) == ("official", "validation", 3)
    fold = experiments.get("3-1", fold="series 2/5")
    assert [row.folder() for row in experiments.baselines_of(fold)] == [
        f"{name}-series-f2-s0" for name in LABELS
    ]
    masks = experiments.baselines_of(experiments.get("seg-6", "coursework"))
    assert [row.name for row in masks] == ["seg-0-1", "seg-0-2"]
    assert {row.image_size for row in masks} == {(336, 224)}


def test_a_baseline_is_no_row_of_a_notebook():
    with pytest.raises(
        ValueError, match=r"row '0-2' is a baseline.* python reproduce.py 0-2 makes"
    ):
        experiments.check_notebook("0-2", "ARL-CNN.ipynb")


# --- real images ---


def test_age_and_sex_on_isic_2017(isic2017: Path):
    """Melanoma .758, seborrheic keratosis .783 on the official validation split."""
    images = data.read(isic2017)
    train, validation = data.training_images(images, "validation", 0)
    answer = fitted("age_sex", train).predict(validation)
    areas = [roc_auc_score(validation["label"] == k, answer[:, k]) for k in (0, 1)]
    assert areas == pytest.approx([0.758, 0.783], abs=0.02)


def test_masks_on_isic_2017(isic2017: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The box covers most lesions; Otsu's threshold overlaps with half of the lesion."""
    chosen = data.read(isic2017)
    chosen = chosen[chosen["split"] == "validation"].reset_index(drop=True)
    monkeypatch.setattr(store, "_writable_home", lambda _: tmp_path)
    kept = store.prepare(isic2017, chosen, 128)
    covered, overlaps, network = [], [], nets.build("otsu")
    for place in kept.positions(chosen):
        image, lesion = kept.image(place), kept.mask(place) > 0
        hidden = (label_baselines.boxed(image, lesion) == 0).all(axis=-1)
        covered.append(hidden[lesion].mean())
        found = network(torch.from_numpy(image).movedim(-1, 0)[None])[0, 0].numpy() > 0
        overlaps.append((found & lesion).sum() / (found | lesion).sum())
    assert np.mean(covered) > 0.95
    assert 0.4 < np.mean(overlaps) < 0.6
