"""The segmentation rows: what they change, what is refused, what they are compared with."""

import dataclasses
import json

import pytest
import torch

import nets
from experiments import SegmentationRow, get, profiles, restore, segmentation
from utils import data, loss
from utils.evaluation.masks import METRICS
from utils.model import recipe

EVERY = [(name, profile) for name in segmentation.ROWS for profile in segmentation.RECIPES]


@pytest.mark.parametrize(("name", "profile"), EVERY)
def test_every_row_fits_what_it_is_made_of(name, profile):
    row = get(name, profile)
    assert (row.name, row.profile) == (name, profile)
    takes = nets.options(row.network)
    assert list(row.network_options(takes)) == takes
    logits, masks = torch.zeros(2, 1, 4, 4), torch.ones(2, 4, 4, dtype=torch.uint8)
    assert loss.build(row.loss, row.class_weights, row.gamma)(logits, masks) > 0
    data.masks.transform_of(row)
    recipe.make_optimizer(torch.nn.Linear(2, 2), row)
    assert row.select_score in METRICS
    assert restore(json.loads(json.dumps(dataclasses.asdict(row)))) == row


@pytest.mark.parametrize("name", segmentation.ROWS)
def test_every_network_can_be_built(name):
    row = get(name)
    with torch.device("meta"):
        options = row.network_options(nets.options(row.network))
        nets.build(row.network, 1, None, **options)


def test_the_coursework_as_it_was():
    row = get("seg-3", "coursework")
    assert (row.image_size, row.batch_size, row.epochs, row.patience) == ((336, 224), 16, 150, 45)
    assert (row.learning_rate, row.weight_decay, row.schedule) == (1e-4, 1e-4, "cosine")
    assert (row.loss, row.select_on) == ("dice_squared_cross_entropy", "validation")
    assert (row.network, row.weights, row.test_image) == ("dense_unet", "imagenet", "middle")
    assert (row.stored_size, row.augmentation, row.noise) == ((369, 246), "cropped", 0.02)
    assert (row.train_list, row.decay) == ("official", "all")
    arl = get("seg-5", "coursework")
    assert (arl.network, arl.weights, arl.attention) == ("deep_arl_unet", None, "channel")
    assert [get(f"seg-{k}").weights for k in range(1, 7)] == [None, None, *["imagenet"] * 4]


def test_best_leaves_the_validation_split_for_the_end():
    assert {get(name, "best").chosen_on for name in segmentation.ROWS} == {"holdout", ""}


def test_there_is_no_paper_that_these_rows_repeat():
    assert profiles("seg-1") == ("best", "light", "coursework", "demo")
    assert "paper" in profiles("1-3")
    with pytest.raises(ValueError, match=r"no recipe of row seg-1 called 'paper'; .* best, light,"):
        get("seg-1", "paper")


@pytest.mark.parametrize("size", [224, "224x224", [224, 224], (224, 224)])
def test_a_square_by_any_spelling(size):
    assert get("seg-6", image_size=size).image_size == (224, 224)


def test_a_larger_image_is_stored_larger():
    oblong = get("seg-6", image_size=(336, 224), side=256)
    assert (oblong.stored_size, oblong.views) == ((336, 256), 4)
    assert get("seg-6", image_size=128, side=256).stored_size == (256, 256)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": "336by224"}, r"image_size is '336by224'; expected px such as 256, or"),
        ({"image_size": 2.5}, r"image_size is 2.5; expected px such as"),
        ({"image_size": (8, 256)}, r"image_size is \(8, 256\); expected px .* at least 32"),
        ({"image_size": 300, "stored_size": 256}, r"300, larger than stored_size 256"),
        ({"views": 9}, r"views is 9 .* expected 1 \(as it is\), 4 \(flips\)"),
        ({"views": 8, "image_size": "336x224"}, r"views is 8 for images of 336x224 px"),
        ({"threshold": 1.0}, r"threshold is 1.0; expected less than 1"),
        ({"loss": "cross_entropy"}, r"loss is 'cross_entropy'; expected one of dice, dice_cross"),
        ({"test_image": "crop"}, r"test_image is 'crop'; expected one of whole, middle, unstret"),
        ({"clean_up": 1}, r"clean_up is 1; expected True or False"),
        ({"patch_scales": (1.0,)}, r"no field called 'patch_scales'"),
        (
            {"weights": "imagenet", "encoder_from": "1-5-s0"},
            r"weights is 'imagenet' and encoder_from '1-5-s0'.*one of them",
        ),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        get("seg-6", **changes)


def test_an_encoder_of_ones_own_takes_the_place_of_imagenets():
    row = get("seg-5", encoder_from="1-5-s0")
    assert (row.encoder_from, row.weights) == ("1-5-s0", None)
    assert get("seg-5", encoder_from="none").weights == "imagenet"
    assert get("seg-5", weights="none").weights is None


def test_an_older_run_keeps_its_centre_crop():
    row = get("seg-6", test_image="unstretched crop")
    settings = json.loads(json.dumps(dataclasses.asdict(row)))
    assert restore(settings | {"test_image": "centre crop"}) == row


def test_published_rows_are_in_their_own_conventions():
    for row in segmentation.ROWS.values():
        for study in row.published:
            assert set(study.scores) <= set(METRICS)
            pooled = study.source.startswith("coursework")
            assert study.convention == ("coursework" if pooled else "official")
            assert study.training_list == ("2000 official images" if pooled else "see the paper")
    found = {study.source: study.scores for study in get("seg-3").published}
    assert found["coursework, Dense-UNet pretrained"]["jaccard"] == 0.8457
    assert found["Yuan, 1st of the challenge"]["jaccard"] == 0.765
    assert not [s for s in get("seg-6").published if s.convention == "coursework"]


def test_what_a_run_of_a_segmenter_is_called():
    row = get("seg-5", seed=3)
    assert isinstance(row, SegmentationRow)
    assert row.folder() == "seg-5-s3"
    assert row.network_options(["attention", "alpha", "train_alpha", "depth", "dropout"]) == {
        "attention": "spatial", "alpha": 0.001, "train_alpha": True, "depth": 18
    }  # fmt: skip
    assert get("seg-1").network_options([]) == {}
