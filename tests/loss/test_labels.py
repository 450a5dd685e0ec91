"""Losses: by hand, then against torch, then what must never happen."""

import math

import pytest
import torch
import torch.nn.functional as F

from utils import loss
from utils.loss.labels import BinaryCrossEntropy, CrossEntropy, Focal

WEIGHTS = [2.5, 2.5, 0.5]


def batch(size: int = 16, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(size, 3, generator=generator)
    return logits, torch.randint(3, (size,), generator=generator)


# Softmax of a logarithm is the number itself: sample 1 gives its class 0 p = 1/2, sample 2 gives
# its class 2 p = 3/5.
HAND_LOGITS = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]).log()
HAND_TARGETS = torch.tensor([0, 2])


def test_cross_entropy_by_hand():
    # -ln 1/2 = 0.693147, -ln 3/5 = 0.510826
    # Plain mean:    (0.693147 + 0.510826) / 2 is 0.601986.
    # Weighted mean: (2.5 * 0.693147 + 0.5 * 0.510826) / 2 = (1.732868 + 0.255413) / 2 = 0.994140
    plain = CrossEntropy()(HAND_LOGITS, HAND_TARGETS)
    weighted = CrossEntropy(WEIGHTS)(HAND_LOGITS, HAND_TARGETS)
    assert plain.item() == pytest.approx(0.601986, abs=1e-6)
    assert weighted.item() == pytest.approx(0.994140, abs=1e-6)


def test_focal_by_hand_and_again():
    # gamma 2: (1 - 1/2)^2 * 0.693147 = 0.25 * 0.693147 = 0.173287
    #          (1 - 3/5)^2 * 0.510826 = 0.16 * 0.510826 = 0.081732
    # Plain mean:    (0.173287 + 0.081732) / 2 is 0.127509.
    # Weighted mean: (2.5 * 0.173287 + 0.5 * 0.081732) / 2 = (0.433217 + 0.040866) / 2 = 0.237042
    assert Focal()(HAND_LOGITS, HAND_TARGETS).item() == pytest.approx(0.127509, abs=1e-6)
    focal = Focal(WEIGHTS)
    # Earlier code overwrote its class weights on the first batch; the second call showed it.
    for _ in range(3):
        assert focal(HAND_LOGITS, HAND_TARGETS).item() == pytest.approx(0.237042, abs=1e-6)
    assert focal.weights.tolist() == WEIGHTS


def test_binary_by_hand():
    # One logit; sigmoid(ln 3) = 3/4, sigmoid(0) = 1/2, sigmoid(-ln 3) = 1/4.
    # Melanoma at 3/4: -ln 3/4 = 0.287682; keratosis at 1/2: -ln 1/2 = 0.693147;
    # benign at 1/4: -ln (1 - 1/4) = 0.287682. Mean: 1.268511 / 3 = 0.422837
    logits = torch.tensor([[math.log(3)], [0.0], [-math.log(3)]])
    value = BinaryCrossEntropy()(logits, torch.tensor([0, 1, 2]))
    assert value.item() == pytest.approx(0.422837, abs=1e-6)


def test_label_smoothing_against_torch():
    logits, targets = batch()
    ours = loss.build("cross_entropy", smoothing=0.1)(logits, targets)
    torch.testing.assert_close(ours, F.cross_entropy(logits, targets, label_smoothing=0.1))
    each = F.cross_entropy(logits, targets, label_smoothing=0.1, reduction="none")
    weighted = loss.build("cross_entropy", WEIGHTS, smoothing=0.1)(logits, targets)
    torch.testing.assert_close(weighted, (torch.tensor(WEIGHTS)[targets] * each).mean())


def test_label_smoothing_is_refused_elsewhere():
    with pytest.raises(ValueError, match=r"smoothing is 1.0; expected a number from 0 to below 1"):
        loss.build("cross_entropy", smoothing=1.0)
    with pytest.raises(ValueError, match="'focal' has no label smoothing"):
        loss.build("focal", smoothing=0.1)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_against_torch(weights):
    logits, targets = batch()
    expected = F.cross_entropy(
        logits, targets, weight=weights and torch.tensor(weights), reduction="none"
    ).mean()
    torch.testing.assert_close(CrossEntropy(weights)(logits, targets), expected)


def test_weighted_mean_is_not_torchs():
    logits, targets = batch()
    weights = torch.tensor(WEIGHTS)
    torchs = F.cross_entropy(logits, targets, weight=weights)
    ours = CrossEntropy(WEIGHTS)(logits, targets)
    torch.testing.assert_close(ours, torchs * weights[targets].mean())
    assert not torch.isclose(ours, torchs)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_and_its_gradient_against_the_formula(gamma):
    logits, targets = batch()
    ours, theirs = logits.clone().requires_grad_(), logits.double().requires_grad_()
    value = Focal(WEIGHTS, gamma)(ours, targets)
    p = theirs.softmax(1).gather(1, targets[:, None]).squeeze(1)
    expected = (torch.tensor(WEIGHTS)[targets] * (1 - p) ** gamma * -p.log()).mean()
    torch.testing.assert_close(value, expected.float())
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad.float())


@pytest.mark.parametrize("positive", [0, 1, 2])
def test_binary_against_torch(positive):
    logits, targets = batch()
    truth = (targets == positive).double()[:, None]
    expected = F.binary_cross_entropy(logits[:, :1].double().sigmoid(), truth).float()
    torch.testing.assert_close(BinaryCrossEntropy(positive)(logits[:, :1], targets), expected)


@pytest.mark.parametrize("positive", [0, 2])
def test_weights_of_binary_against_torchs_pos_weight(positive):
    logits, targets = batch()
    truth = (targets == positive).double()[:, None]
    judge = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0]).double())
    expected = 0.5 * judge(logits[:, :1].double(), truth)  # weights 1.5 and 0.5
    found = BinaryCrossEntropy(positive, (1.5, 0.5))(logits[:, :1], targets)
    torch.testing.assert_close(found, expected.float())


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_focal_with_gamma_zero_is_cross_entropy(weights):
    logits, targets = batch()
    focal = Focal(weights, gamma=0.0)(logits, targets)
    torch.testing.assert_close(focal, CrossEntropy(weights)(logits, targets))


def test_order_of_the_batch_changes_nothing():
    logits, targets = batch()
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(1))
    for criterion in (CrossEntropy(WEIGHTS), Focal(WEIGHTS)):
        torch.testing.assert_close(
            criterion(logits, targets), criterion(logits[order], targets[order])
        )


def criteria() -> list[torch.nn.Module]:
    return [
        CrossEntropy(WEIGHTS),
        *(Focal(WEIGHTS, gamma) for gamma in (0.0, 0.5, 1.0, 2.0)),
        BinaryCrossEntropy(),
    ]


@pytest.mark.parametrize("criterion", criteria(), ids=repr)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_value_and_gradient_stay_finite(criterion, scale):
    columns = 1 if isinstance(criterion, BinaryCrossEntropy) else 3
    # Every class once far above and once far below the others.
    logits = scale * torch.cat([torch.eye(3), -torch.eye(3)])[:, :columns]
    for target in range(3):
        leaf = logits.clone().requires_grad_()
        value = criterion(leaf, torch.full((6,), target))
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("criterion", criteria(), ids=repr)
def test_computes_in_float32(criterion, dtype):
    logits, targets = batch()
    logits = logits.to(dtype)[:, : 1 if isinstance(criterion, BinaryCrossEntropy) else 3]
    expected = criterion(logits.float(), targets)
    value = criterion(logits, targets)
    assert value.dtype == torch.float32
    assert value == expected
    with torch.autocast("cpu", torch.bfloat16):
        assert criterion(logits, targets) == expected


def test_gradient_passes_autocast():
    layer = torch.nn.Linear(4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        logits = layer(torch.ones(2, 4))
        value = Focal(WEIGHTS)(logits, torch.tensor([0, 2]))
    value.backward()
    assert logits.dtype == torch.bfloat16
    assert torch.isfinite(layer.weight.grad).all()
    assert layer.weight.grad.abs().sum() > 0


def test_weights_are_buffers_outside_the_checkpoint():
    criterion = loss.build("focal", WEIGHTS)
    assert [name for name, _ in criterion.named_buffers()] == ["weights"]
    assert not criterion.state_dict()
    assert not list(criterion.parameters())
    assert criterion.to("meta").weights.device.type == "meta"


def test_build():
    assert isinstance(loss.build("cross_entropy", WEIGHTS, 2.0), CrossEntropy)
    assert isinstance(loss.build("binary", None, 2.0), BinaryCrossEntropy)
    focal = loss.build("focal", WEIGHTS, gamma=3.0)
    assert isinstance(focal, Focal)
    assert focal.gamma == 3.0
    for name in ("cross_entropy", "focal", "binary"):
        assert isinstance(loss.build(name), torch.nn.Module)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("focus", None, 2.0), "unknown loss 'focus'; known: cross_entropy, focal, binary"),
        (("cross_entropy", [1, 0, 1]), r"class weights are \[1.0, 0.0, 1.0\]; expected one finite"),
        (("focal", [1, -1, 1]), "expected one finite number > 0 per class"),
        (("focal", [1, math.nan, 1]), "expected one finite number > 0 per class"),
        (("focal", []), "expected one finite number > 0 per class"),
        (("focal", WEIGHTS, -1.0), "gamma is -1.0; focal loss needs a finite number >= 0"),
        (("focal", WEIGHTS, math.inf), "gamma is inf"),
        (("binary", WEIGHTS), r"are \[2.5, 2.5, 0.5\]; expected 2 .*, the class and the rest"),
    ],
)
def test_build_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        loss.build(*arguments)


INTEGERS = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("criterion", "logits", "targets", "message"),
    [
        (CrossEntropy([1, 2]), torch.zeros(2, 3), INTEGERS, "2 class weights for logits of 3"),
        (Focal([1] * 4), torch.zeros(2, 3), INTEGERS, "4 class weights for logits of 3"),
        (Focal(), torch.zeros(2, 1), INTEGERS, "choose the loss 'binary' for one logit"),
        (CrossEntropy(), torch.zeros(2, 1), INTEGERS, "at least two classes"),
        (CrossEntropy(), torch.zeros(3, 3), INTEGERS, r"logits have shape \(3, 3\) and"),
        (CrossEntropy(), torch.zeros(2), INTEGERS, r"expected \(B, C\) and \(B,\)"),
        (Focal(), torch.zeros(2, 3), INTEGERS[:, None], r"expected \(B, C\) and \(B,\)"),
        (Focal(), torch.zeros(0, 3), INTEGERS[:0], "B >= 1"),
        (Focal(), torch.zeros(2, 3), INTEGERS.float(), "targets are torch.float32"),
        (BinaryCrossEntropy(), torch.zeros(2, 3), INTEGERS, r"needs \(B, 1\): build the net"),
        (BinaryCrossEntropy(), torch.zeros(2), INTEGERS, r"expected \(B, C\) and \(B,\)"),
    ],
)
def test_forward_refuses(criterion, logits, targets, message):
    with pytest.raises(ValueError, match=message):
        criterion(logits, targets)
