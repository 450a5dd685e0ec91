"""Losses for masks: by hand on 2×2 pixels, then against other libraries, then the edges."""

import math

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from utils import loss
from utils.evaluation.counts import count
from utils.evaluation.masks import dice

MASK_LOSSES = [name for name in loss.LOSSES if name.startswith("dice")]

WEIGHTS = [0.5, 2.0]


def batch(size: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (B, 1, 6, 5) and masks with some lesion and some background in each."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(size, 1, 6, 5, generator=generator)
    masks = (torch.rand(size, 6, 5, generator=generator) < 0.3).to(torch.uint8)
    masks[:, 0, 0], masks[:, 5, 4] = 1, 0
    return logits, masks


def logit(p: list) -> torch.Tensor:
    return torch.tensor(p).logit()


# One image of 2×2 pixels, lesion in the first; the sigmoid of these logits is what is written here.
P = logit([[[[0.75, 0.5], [0.25, 0.25]]]])  # (1, 1, 2, 2)
G = torch.tensor([[[1, 0], [0, 0]]])  # (1, 2, 2)


def test_dice_by_hand():
    # Lesion: sum p g = 0.75, sum p = 1.75, sum g = 1:
    #   (2 * 0.75 + 1) / (1.75 + 1 + 1) = 2.5 / 3.75, loss 1/3
    # Background: sum (1 - p)(1 - g) = 0.5 + 0.75 + 0.75 = 2, sum (1 - p) = 2.25, sum (1 - g) = 3:
    #   (2 * 2 + 1) / (2.25 + 3 + 1) = 5 / 6.25 = 0.8, loss 0.2
    # Weighted mean: (0.5 * 0.2 + 2 * 1/3) / 2.5 = 0.306667
    assert loss.masks.Dice()(P, G).item() == pytest.approx(1 / 3, abs=1e-6)
    assert loss.masks.Dice(WEIGHTS)(P, G).item() == pytest.approx(0.306667, abs=1e-6)


def test_squared_dice_by_hand():
    # With the smoothing of 1e-5, which is left out here:
    # Lesion: sum p g = 0.75, sum p^2 = 0.5625 + 0.25 + 2 * 0.0625 = 0.9375, sum g = 1:
    #   1.5 / 1.9375, loss 0.225806
    # Background: sum q (1 - g) = 2, sum q^2 = 0.0625 + 0.25 + 2 * 0.5625 = 1.4375, sum (1 - g) = 3:
    #   4 / 4.4375, loss 0.098592
    assert loss.masks.SquaredDice()(P, G).item() == pytest.approx(0.162199, abs=1e-5)
    # Weighted mean: (0.5 * 0.098592 + 2 * 0.225806) / 2.5 = 0.200363
    assert loss.masks.SquaredDice(WEIGHTS)(P, G).item() == pytest.approx(0.200363, abs=1e-5)


def test_the_courseworks_loss_is_that_of_two_logits():
    """Its network gives two logits a pixel; ours gives their difference."""
    logits, masks = batch()
    two = torch.cat([torch.randn_like(logits), torch.zeros_like(logits)], dim=1)
    two[:, 1] = two[:, 0] + logits[:, 0]
    shares, truth = two.softmax(1), F.one_hot(masks.long(), 2).movedim(-1, 1)
    overlap, squares = (shares * truth).sum((2, 3)), (shares**2 + truth**2).sum((2, 3))
    overlaps = 1 - (2 * overlap + 1e-5) / (squares + 1e-5)
    expected = overlaps.mean() + F.cross_entropy(two, masks.long())
    ours = loss.build("dice_squared_cross_entropy")(logits, masks)
    torch.testing.assert_close(ours, expected)


def test_dice_is_the_mean_over_images_by_hand():
    # The first image as above: 1/3. The second: p all 0.5, no lesion: 1 - 1 / (2 + 0 + 1) = 2/3.
    # Mean 1/2; all eight pixels as one image would give 1 - 2.5 / (3.75 + 1 + 1) = 0.565217.
    logits = torch.cat([P, torch.zeros(1, 1, 2, 2)])
    masks = torch.cat([G, torch.zeros_like(G)])
    assert loss.masks.Dice()(logits, masks).item() == pytest.approx(1 / 2, abs=1e-6)


def test_cross_entropy_by_hand():
    # p_g: 0.75 on the lesion, 0.5, 0.75, 0.75 beside it. -ln 0.75 = 0.287682, -ln 0.5 = 0.693147;
    # beside the lesion 0.693147 + 2 * 0.287682 = 1.268511
    # Plain mean:    (0.287682 + 1.268511) / 4 = 0.389048
    # Weighted mean: (2 * 0.287682 + 0.5 * 1.268511) / 4 = 0.302405
    assert loss.masks.CrossEntropy()(P, G).item() == pytest.approx(0.389048, abs=1e-6)
    assert loss.masks.CrossEntropy(WEIGHTS)(P, G).item() == pytest.approx(0.302405, abs=1e-6)


def test_focal_by_hand_and_again():
    # gamma 2: 0.25^2 * 0.287682 = 0.017980 and 0.5^2 * 0.693147 = 0.173287;
    # beside the lesion 0.173287 + 2 * 0.017980 = 0.209247
    # Plain mean:    (0.017980 + 0.209247) / 4 = 0.056807
    # Weighted mean: (2 * 0.017980 + 0.5 * 0.209247) / 4 = 0.035146
    assert loss.masks.Focal()(P, G).item() == pytest.approx(0.056807, abs=1e-6)
    focal = loss.masks.Focal(WEIGHTS)
    # Earlier code overwrote its class weights on the first batch; the second call showed it.
    for _ in range(3):
        assert focal(P, G).item() == pytest.approx(0.035146, abs=1e-6)
    assert focal.weights.tolist() == WEIGHTS


def test_sums_by_hand():
    # The parts above: 0.333333 + 0.389048 and 0.333333 + 0.056807,
    # weighted 0.306667 + 0.302405 and 0.306667 + 0.035146.
    names = ("dice_cross_entropy", "dice_focal")
    plain = [loss.build(name)(P, G).item() for name in names]
    weighted = [loss.build(name, WEIGHTS)(P, G).item() for name in names]
    assert plain == pytest.approx([0.722381, 0.390140], abs=1e-6)
    assert weighted == pytest.approx([0.609072, 0.341813], abs=1e-6)


# --- other libraries as referee ---


def test_dice_against_smp():
    logits, masks = batch()
    # Its batch is one large image, ours are images each for itself; half a pixel in its half-sized
    # sums, 2 tp / (2 tp + fp + fn) = tp / (tp + fp / 2 + fn / 2), is our one.
    theirs = smp.losses.DiceLoss(mode="binary", smooth=0.5)
    each = torch.stack([theirs(logits[i : i + 1], masks[i : i + 1, None]) for i in range(4)])
    torch.testing.assert_close(loss.masks.Dice()(logits, masks), each.mean())
    turned = torch.stack([theirs(-logits[i : i + 1], 1 - masks[i : i + 1, None]) for i in range(4)])
    weighted = (0.5 * turned.mean() + 2.0 * each.mean()) / 2.5
    torch.testing.assert_close(loss.masks.Dice(WEIGHTS)(logits, masks), weighted)


def test_dice_of_sure_pixels_is_the_score():
    masks = batch()[1]
    answers = batch(seed=1)[1]
    value = loss.masks.Dice()(200 * (answers[:, None].float() - 0.5), masks)
    counts = count(masks.flatten(1).numpy(), answers.flatten(1).numpy())
    # The smoothing pixel in numerator and denominator, by hand.
    total = 2 * counts.tp + counts.fp + counts.fn
    smoothed = (dice(counts) * total + 1) / (total + 1)
    assert value.item() == pytest.approx(1 - smoothed.mean(), abs=1e-6)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_against_torch(weights):
    logits, masks = batch()
    factor = torch.tensor(weights or [1.0, 1.0])[masks.long()]
    expected = F.binary_cross_entropy_with_logits(
        logits.squeeze(1), masks.float(), factor, reduction="mean"
    )
    torch.testing.assert_close(loss.masks.CrossEntropy(weights)(logits, masks), expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_focal_against_torchvision(weights, gamma):
    logits, masks = batch()
    each = sigmoid_focal_loss(logits.squeeze(1), masks.float(), alpha=-1, gamma=gamma)
    expected = (torch.tensor(weights or [1.0, 1.0])[masks.long()] * each).mean()
    torch.testing.assert_close(loss.masks.Focal(weights, gamma)(logits, masks), expected)


def test_focal_weights_are_the_papers_alpha():
    logits, masks = batch()
    expected = sigmoid_focal_loss(
        logits.squeeze(1), masks.float(), alpha=0.25, gamma=2, reduction="mean"
    )
    torch.testing.assert_close(loss.masks.Focal([0.75, 0.25])(logits, masks), expected)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_focal_with_gamma_zero_is_cross_entropy(weights):
    logits, masks = batch()
    focal = loss.masks.Focal(weights, gamma=0.0)(logits, masks)
    torch.testing.assert_close(focal, loss.masks.CrossEntropy(weights)(logits, masks))


# --- gradients ---


def criteria() -> list:
    kinds = [(name, weights) for name in MASK_LOSSES for weights in (None, WEIGHTS)]
    return [
        *(pytest.param(loss.build(*kind), id=f"{kind[0]}-{kind[1]}") for kind in kinds),
        *(pytest.param(loss.masks.Focal(WEIGHTS, g), id=f"focal-{g}") for g in (0.0, 0.5, 1.0)),
    ]


@pytest.mark.parametrize("criterion", criteria())
def test_gradient_against_finite_differences(criterion):
    logits, masks = batch(size=2)
    leaf = (logits / 3).requires_grad_()
    criterion(leaf, masks).backward()
    step = 1e-2  # float32 inside: a smaller one drowns in rounding
    for index in range(0, leaf.numel(), 7):
        moved = torch.zeros(leaf.numel())
        moved[index] = step
        moved = moved.view_as(leaf)
        with torch.no_grad():
            slope = (criterion(leaf + moved, masks) - criterion(leaf - moved, masks)) / (2 * step)
        assert leaf.grad.flatten()[index] == pytest.approx(slope.item(), abs=3e-5)
        assert abs(slope) > 1e-4  # far from what the tolerance forgives


@pytest.mark.parametrize("criterion", criteria())
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("lesion", [0, 1])
def test_empty_and_full_masks_stay_finite(criterion, scale, lesion):
    # Every pixel of the mask is the same; some logits are far above, some far below, some all.
    signs = torch.tensor([[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])
    leaf = (scale * signs).view(3, 1, 1, 2).requires_grad_()
    value = criterion(leaf, torch.full((3, 1, 2), lesion))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("criterion", criteria())
@pytest.mark.parametrize("lesion", [0, 1])
def test_empty_and_full_masks_push_towards_the_truth(criterion, lesion):
    leaf = torch.zeros(2, 1, 8, 8, requires_grad=True)
    criterion(leaf, torch.full((2, 8, 8), lesion)).backward()
    # Training steps against the gradient: down where there is no lesion, up where there is.
    assert ((leaf.grad > 1e-7) if lesion == 0 else (leaf.grad < -1e-7)).all()


@pytest.mark.parametrize("lesion", [0, 1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_perfect_answers_cost_nothing(lesion, weights):
    masks = torch.full((2, 8, 8), lesion)
    for name in MASK_LOSSES:
        logits = torch.full((2, 1, 8, 8), 50.0 if lesion else -50.0)
        assert loss.build(name, weights)(logits, masks) == pytest.approx(0, abs=1e-6)
        assert loss.build(name, weights)(-logits, masks) > 0.5


# --- types, devices, order ---


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("criterion", criteria())
def test_computes_in_float32(criterion, dtype):
    logits, masks = batch()
    logits = logits.to(dtype)
    expected = criterion(logits.float(), masks)
    value = criterion(logits, masks)
    assert value.dtype == torch.float32
    assert value.shape == ()
    assert value == expected
    with torch.autocast("cpu", torch.bfloat16):
        assert criterion(logits, masks) == expected


@pytest.mark.parametrize("criterion", criteria())
def test_masks_of_every_type_count_alike(criterion):
    logits, masks = batch()
    values = {criterion(logits, masks.to(t)).item() for t in (torch.uint8, torch.bool, torch.int64)}
    assert len(values) == 1


def test_half_precision_sums_a_large_mask():
    # 65 536 pixels: float16 cannot count beyond 65 504, nor bfloat16 beyond 256 in steps of one.
    masks = torch.zeros(1, 256, 256, dtype=torch.bool)
    masks[:, :200] = True
    logits = torch.where(masks, 20.0, -20.0)[:, None]
    for dtype in (torch.float16, torch.bfloat16):
        assert loss.masks.Dice(WEIGHTS)(logits.to(dtype), masks) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("criterion", criteria())
def test_order_of_images_and_pixels_changes_nothing(criterion):
    logits, masks = batch()
    value = criterion(logits, masks)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(criterion(logits[order], masks[order]), value)
    torch.testing.assert_close(criterion(logits.mT, masks.mT), value)
    torch.testing.assert_close(criterion(logits.flip(2), masks.flip(1)), value)


def test_gradient_passes_autocast():
    layer = torch.nn.Conv2d(3, 1, 3, padding=1)
    with torch.autocast("cpu", torch.bfloat16):
        logits = layer(torch.ones(2, 3, 6, 5))
        value = loss.build("dice_focal", WEIGHTS)(logits, batch()[1][:2])
    value.backward()
    assert logits.dtype == torch.bfloat16
    assert torch.isfinite(layer.weight.grad).all()
    assert layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", MASK_LOSSES)
def test_weights_are_buffers_outside_the_checkpoint(name):
    criterion = loss.build(name, WEIGHTS)
    buffers = dict(criterion.named_buffers())
    assert len(buffers) == (1 if name == "dice" else 2)
    assert all(buffer.tolist() == WEIGHTS for buffer in buffers.values())
    assert not criterion.state_dict()
    assert not list(criterion.parameters())
    assert {b.device.type for b in criterion.to("meta").buffers()} == {"meta"}


@pytest.mark.gpu
@pytest.mark.parametrize("criterion", criteria())
def test_on_the_gpu(criterion):
    logits, masks = batch()
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        expected = criterion.cpu()(logits.to(dtype), masks)
        leaf = logits.to("cuda", dtype).requires_grad_()
        value = criterion.cuda()(leaf, masks.cuda())
        value.backward()
        assert value.is_cuda
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected.item(), rel=1e-5)
        assert torch.isfinite(leaf.grad).all()


# --- what is refused ---


def test_build():
    dice_loss = loss.build("dice", WEIGHTS)
    assert isinstance(dice_loss, loss.masks.Dice)
    assert dice_loss.weights.tolist() == WEIGHTS
    parts = [type(part) for part in loss.build("dice_cross_entropy").parts]
    assert parts == [loss.masks.Dice, loss.masks.CrossEntropy]
    focal = loss.build("dice_focal", WEIGHTS, gamma=3.0).parts[1]
    assert (type(focal), focal.gamma) == (loss.masks.Focal, 3.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lovasz",), "unknown loss 'lovasz'; known: cross_entropy, focal, binary, dice, dice_c"),
        (("dice", [1, 1, 1]), r"class weights are \[1.0, 1.0, 1.0\]; expected 2 finite numbers"),
        (("dice", [1]), "2 finite numbers > 0, background and lesion"),
        (("dice_cross_entropy", [0, 1]), "2 finite numbers > 0"),
        (("dice_focal", [1, math.nan]), "2 finite numbers > 0"),
        (("dice_focal", [1, math.inf]), "2 finite numbers > 0"),
        (("dice_focal", [1, -1]), "2 finite numbers > 0"),
        (("dice_focal", None, -1.0), "gamma is -1.0; focal loss needs a finite number >= 0"),
        (("dice_focal", None, math.nan), "gamma is nan"),
    ],
)
def test_build_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        loss.build(*arguments)


LOGITS, MASKS = torch.zeros(2, 1, 4, 5), torch.zeros(2, 4, 5, dtype=torch.uint8)


@pytest.mark.parametrize("name", MASK_LOSSES)
@pytest.mark.parametrize(
    ("logits", "masks", "message"),
    [
        (LOGITS[:, 0], MASKS, r"logits have shape \(2, 4, 5\) and masks \(2, 4, 5\); expected"),
        (LOGITS, MASKS[:, None], r"expected \(B, 1, H, W\) and \(B, H, W\)"),
        (LOGITS.expand(2, 2, 4, 5), MASKS, "build the network with num_classes=1"),
        (LOGITS, MASKS[:1], r"masks \(1, 4, 5\)"),
        (LOGITS, MASKS[:, :3], r"masks \(2, 3, 5\)"),
        (LOGITS[:0], MASKS[:0], "none of them 0"),
        (LOGITS.to(torch.int64), MASKS, "logits are torch.int64; expected a float type"),
        (LOGITS, MASKS.float(), "masks are torch.float32; expected 0/1 as torch.uint8, bool"),
        (LOGITS, MASKS + 255, "masks hold 255 to 255; expected 0 and 1: use masks > 127"),
        (LOGITS, MASKS.long() - 1, "masks hold -1 to -1; expected 0 and 1"),
    ],
)
def test_forward_refuses(name, logits, masks, message):
    with pytest.raises(ValueError, match=message):
        loss.build(name)(logits, masks)


@pytest.mark.parametrize("name", MASK_LOSSES)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_where_a_look_would_wait_wrong_masks_make_the_loss_nan(name, weights, monkeypatch):
    criterion = loss.build(name, weights)
    logits, masks = batch()
    expected = criterion(logits, masks)
    monkeypatch.setattr(loss.masks, "_LOOKED_AT", ())  # as on a GPU
    assert torch.equal(criterion(logits, masks), expected)
    masks[2, 3, 3] = 255
    assert criterion(logits, masks).isnan()
