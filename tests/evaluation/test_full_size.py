"""From images to masks and counts: views, the original size, clean-up, files."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import experiments
from utils import data, evaluation, logger, model, visualize
from utils.data import loaders
from utils.evaluation import full_size
from utils.evaluation.counts import count
from utils.model.forward import VIEWS
from utils.system.errors import DataError


class Darkness(nn.Module):
    """Calls dark pixels lesion: logit 4 where red is below 128, else -4."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * torch.where(images[:, :1].float() < 128, 4.0, -4.0)


class Slope(nn.Module):
    """A logit that depends on the place alone: what no flip and no turn leaves as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        down = torch.linspace(-1, 1, height)[:, None] * 0.3
        across = torch.linspace(-1, 1, width)[None] ** 2
        return self.scale * (down + across).expand(len(images), 1, height, width)


@pytest.fixture
def tested(demo_rows):
    return demo_rows[demo_rows["split"] == "test"].reset_index(drop=True)


def ways(**changes):
    """How masks are made: plainly, four images at once, but for the changes."""
    plain = {"views": 1, "threshold": 0.5, "clean_up": False}
    row = experiments.get("seg-6", "demo", batch_size=4, workers=0)
    return evaluation.mask_settings(row, "fp32", **plain | changes)


def images_of(store, rows, size=(64, 64), test_image="whole"):
    return data.masks.TestImages(store, rows, size, test_image)


def test_counts_of_an_epoch_are_those_of_the_pixels(demo_store, tested):
    images = images_of(demo_store, tested)
    network = Darkness().train()
    counts = full_size.pixel_counts(network, loaders.evaluation_loader(images, 3, 0))
    assert network.training
    for index in range(len(images)):
        truth = images[index]["label"] > 0
        said = images[index]["image"][..., 0] < 128
        assert [column[index] for column in counts] == [*count(truth.ravel(), said.ravel())]


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_answers_that_are_no_numbers_are_no_empty_masks(demo_store, tested, number):
    images, network = images_of(demo_store, tested), Darkness().train()
    with torch.no_grad():
        network.scale.fill_(float(number))
    loader = loaders.evaluation_loader(images, 3, 0)
    message = rf"nan or infinite .* the images {tested['id'][0]}, .*: scale\. They cannot be scored"
    with pytest.raises(model.forward.OutputError, match=message):
        full_size.pixel_counts(network, loader)
    with pytest.raises(model.forward.OutputError, match=message):
        full_size.evaluate(network, images, tested, ways())
    assert network.training


def test_only_the_images_at_fault_are_named(demo_store, tested):
    class Dazzled(Darkness):
        """Has nothing to say of the second image."""

        def forward(self, images):
            logits = super().forward(images)
            logits[1, :, 0] = float("nan")
            return logits

    loader = loaders.evaluation_loader(images_of(demo_store, tested), 3, 0)
    with pytest.raises(
        model.forward.OutputError, match=rf"for the images {tested['id'][1]}\. They cannot"
    ):
        list(model.forward.probabilities(Dazzled(), loader, views=8))


@pytest.mark.parametrize("turn", VIEWS)
def test_every_turn_is_undone(turn):
    images = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    seen = model.forward.turned(images, turn)
    assert torch.equal(model.forward.turned(seen, turn, back=True), images)
    assert seen.shape == ((2, 3, 6, 4) if turn[2] else images.shape)


def test_the_turns_are_eight_different_ones():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert len({tuple(model.forward.turned(image, turn).flatten().tolist()) for turn in VIEWS}) == 8


def test_views_are_averaged_as_probabilities(demo_store, tested):
    loader = loaders.evaluation_loader(images_of(demo_store, tested.head(1)), 4, 0)
    ((_, plain),) = model.forward.probabilities(Slope(), loader)
    ((_, four),) = model.forward.probabilities(Slope(), loader, views=4)
    ((_, eight),) = model.forward.probabilities(Slope(), loader, views=8)
    flips = [plain, plain[:, ::-1], plain[::-1], plain[::-1, ::-1]]
    np.testing.assert_allclose(four, np.mean(flips, axis=0), atol=1e-6)
    turns = [*flips, *(flip.T for flip in flips)]
    np.testing.assert_allclose(eight, np.mean(turns, axis=0), atol=1e-6)
    assert abs(four - plain).max() > 0.05


def test_images_come_in_order_with_their_own_probability(demo_store, tested):
    images = images_of(demo_store, tested)
    loader = loaders.evaluation_loader(images, 3, 0)
    found = dict(model.forward.probabilities(Darkness(), loader))
    assert list(found) == list(range(len(images)))
    for index, probability in found.items():
        dark = images[index]["image"][..., 0] < 128
        np.testing.assert_array_equal(probability > 0.5, dark)


def test_probabilities_are_enlarged_before_they_are_cut():
    probability = np.array([[0.0, 1.0]], np.float32)
    whole = full_size.at_original_size(probability, (1, 8))
    expected = cv2.resize(probability, (8, 1), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(whole, expected)
    assert ((whole > 0) & (whole < 1)).any()


def test_what_a_centre_crop_never_saw_is_skin():
    probability = np.ones((4, 4), np.float32)
    whole = full_size.at_original_size(probability, (8, 16), (0.25, 0.0, 0.5, 1.0))
    assert whole.shape == (8, 16)
    assert whole[:, 4:12].min() == 1
    assert whole[:, :4].max() == whole[:, 12:].max() == 0


def test_the_threshold_itself_is_skin():
    assert full_size.lesion(np.array([[0.5, 0.51]]), 0.5).tolist() == [[False, True]]


def test_clean_up_keeps_the_largest_part_and_fills_it():
    probability = np.zeros((12, 12), np.float32)
    probability[1:8, 1:8] = 0.9
    probability[3:5, 3:5] = 0.1  # a hole
    probability[10:12, 10:12] = 0.95  # a smaller part
    plain, clean = full_size.lesion(probability), full_size.lesion(probability, clean_up=True)
    assert plain.sum() == 49 - 4 + 4
    assert clean.dtype == bool
    assert clean[1:8, 1:8].all()
    assert clean.sum() == 49
    assert not full_size.lesion(np.zeros((4, 4)), clean_up=True).any()
    assert full_size.lesion(np.ones((4, 4)), clean_up=True).all()


def test_masks_are_judged_at_the_original_size(demo_store, tested, tmp_path):
    images = images_of(demo_store, tested, (32, 32))
    found = full_size.evaluate(Darkness(), images, tested, ways(), tmp_path / "masks")
    assert found.per_image["id"].tolist() == tested["id"].tolist()
    assert set(found.per_image["width"]) == {96}
    assert set(found.per_image["height"]) == {72}
    pixels = found.per_image[["tp", "fp", "fn", "tn"]].sum(axis=1)
    assert set(pixels) == {96 * 72}
    for row, line in zip(tested.itertuples(), found.per_image.itertuples(), strict=True):
        truth = cv2.imread(row.mask, cv2.IMREAD_GRAYSCALE) > 128
        file = tmp_path / "masks" / f"{row.id}_segmentation.png"
        written = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert set(np.unique(written)) <= {0, 255}
        said = written > 128
        union = (truth | said).sum()
        assert line.jaccard == pytest.approx((truth & said).sum() / union, abs=1e-12)
    at_half = found.thresholds[found.thresholds["threshold"] == 0.5]
    for name in ("tp", "fp", "fn", "tn"):
        assert at_half[name].tolist() == found.per_image[name].tolist()
    assert len(found.thresholds) == len(tested) * len(full_size.THRESHOLDS)


def test_settings_may_clean_up_and_cut_elsewhere(demo_store, tested):
    images = images_of(demo_store, tested, (32, 32))
    plain, high, clean = (
        full_size.evaluate(Darkness(), images, tested, ways(**changes)).per_image
        for changes in ({}, {"threshold": 0.9}, {"clean_up": True})
    )
    assert (high["tp"] + high["fp"]).sum() < (plain["tp"] + plain["fp"]).sum()
    assert not clean["fp"].equals(plain["fp"])


def test_a_mask_that_cannot_be_read_is_named(demo_store, tested, tmp_path):
    broken = tmp_path / "broken_segmentation.png"
    broken.write_bytes(Path(tested["mask"][0]).read_bytes()[:40])
    rows = tested.copy()
    rows.loc[0, "mask"] = str(broken)
    with pytest.raises(DataError, match=r"the mask .*broken_segmentation.png cannot be read"):
        full_size.evaluate(Darkness(), images_of(demo_store, rows), rows, ways())


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"views": 9}, "views is 9"), ({"threshold": 1.5}, "threshold is 1.5; expected less than")],
)
def test_settings_that_no_experiment_could_have_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        evaluation.mask_settings(experiments.get("seg-6"), "fp32", **changes)


def test_files_are_named_by_what_was_changed():
    assert evaluation.suffix(views=None, threshold=None, clean_up=None) == ""
    named = evaluation.suffix(views=8, threshold=0.4, clean_up=True)
    assert named == "-8-views-threshold-0.4-clean"


@pytest.mark.parametrize("original", [(542, 722), (767, 1022), (1129, 1504)])
def test_a_centre_crop_is_put_back_where_it_was_cut(original):
    truth = np.zeros(original, np.float32)
    cv2.circle(truth, (original[1] // 2, original[0] // 2), original[0] // 4, 1.0, cv2.FILLED)
    stored = cv2.resize(truth, (336, 224), interpolation=cv2.INTER_AREA)
    crop = data.masks.centre_crop(original[1], original[0], (336, 224))
    region = data.masks.on_the_grid(crop, stored.shape)
    seen = cv2.resize(data.masks.part(stored, region), (336, 224), interpolation=cv2.INTER_LINEAR)
    back = full_size.at_original_size(seen, original, region) > 0.5
    overlap = (back & (truth > 0)).sum() / (back | (truth > 0)).sum()
    assert overlap > 0.996


def test_a_case_has_the_proportions_of_the_photo(demo_store, tested):
    row = experiments.get("seg-6", "demo", image_size=(64, 64))
    settings = evaluation.mask_settings(row, "fp32", views=1)
    lines = pd.DataFrame({"id": tested["id"][:2], "width": [100, 90], "height": [50, 90]})
    lines["jaccard"] = 0.5
    wide, square = visualize.mask_cases(Darkness(), demo_store, tested, lines, row, settings)
    assert wide.image.shape == (256, 512, 3)
    assert square.image.shape == (512, 512, 3)
    for case in (wide, square):
        assert case.truth.shape == case.prediction.shape == case.image.shape[:2]
        dark = case.image[..., 0] < 128
        assert (case.prediction == dark).mean() > 0.95


@pytest.mark.parametrize("shape", [(1, 7), (64, 50), (150, 90)])
def test_strips_count_what_whole_masks_count(shape):
    rng = np.random.default_rng(0)
    probability = rng.choice([*full_size.THRESHOLDS, 0.0, 0.333, 1.0], shape).astype(np.float32)
    truth = rng.random(shape) < 0.4
    for clean_up in (False, True):
        expected = [
            full_size.pixels(truth, full_size.lesion(probability, at, clean_up))
            for at in full_size.THRESHOLDS
        ]
        assert full_size.over_thresholds(truth, probability, clean_up) == expected


class Told(nn.Module):
    """Knows the truth of each image at the network's size, in their order."""

    def __init__(self, images: data.TestImages) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.labels = iter([images[number]["label"] for number in range(len(images))])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        labels = np.stack([next(self.labels) for _ in range(len(images))])
        return self.scale * (8 * torch.from_numpy(labels)[:, None].float() - 4)


def test_who_knows_the_truth_scores_one_where_the_coursework_scored(demo_store, tested, tmp_path):
    """Its test image is the middle of the photo: what lies outside counts for nobody."""
    images = images_of(demo_store, tested, (48, 32), "middle")
    network = Told(images)
    result = full_size.evaluate(network, images, tested, ways())
    run = logger.RunFolder(tmp_path)
    for table in (result, evaluation.results.per_image(run, "test", tested, lambda: result)):
        seen = table.per_image.filter(like="seen_")
        assert seen.sum(axis=1).eq(48 * 32).all()
        assert not seen[["seen_fp", "seen_fn"]].to_numpy().any()
        scores = evaluation.score_files.mask_scores(run, "test", table.per_image, "demo", ways())
        assert {score["value"] for score in scores["coursework"].values()} == {1.0}
        assert {score["value"] for score in scores["lesion"].values()} == {1.0}
        # The challenge scores the whole photo, at its own size.
        assert 0.5 < scores["official"]["jaccard"]["value"] < 1
    columns = full_size.evaluate(
        Told(images_of(demo_store, tested)), images_of(demo_store, tested), tested, ways()
    ).per_image
    assert not [name for name in columns if name.startswith("seen_")]


def test_who_knows_the_truth_scores_less_where_the_border_counts(demo_store, tested):
    images = images_of(demo_store, tested, (48, 32), "unstretched crop")
    counts = full_size.evaluate(Told(images), images, tested, ways()).per_image
    pooled = evaluation.masks.coursework(evaluation.counts.counts_of(counts))
    assert pooled["jaccard"] < 0.99
