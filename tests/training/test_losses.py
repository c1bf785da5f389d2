import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from ser.config import load
from ser.training.losses import CrossEntropy, Focal, smoothed_targets
from ser.training.objective import mixup, validation_loss

CONFIG = load("strict", overrides=["corpora=[ravdess]"]).training
CROSS_ENTROPY = CrossEntropy(CONFIG)
WEIGHTS = torch.tensor([0.5, 2.0, 0.0, 1.0])


def test_smoothed_targets_by_hand():
    targets = smoothed_targets(torch.tensor([2, 0]), 4, 0.2)
    assert targets.flatten().tolist() == pytest.approx([0.05, 0.05, 0.85, 0.05, 0.85, 0.05, 0.05, 0.05])
    assert smoothed_targets(torch.tensor([1]), 3, 0.0).tolist() == [[0.0, 1.0, 0.0]]
    assert smoothed_targets(torch.tensor([1]), 2, 1.0).tolist() == [[0.5, 0.5]]


def test_soft_cross_entropy_by_hand():
    # p = (1/2, 1/2) and (1/4, 3/4); w q = (2 * 0.5, 1 * 0.5) and (2 * 0, 1 * 1)
    logits = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    targets = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    loss = CROSS_ENTROPY(logits, targets, torch.tensor([2.0, 1.0]))
    assert float(loss) == pytest.approx((1.5 * math.log(2) + math.log(4 / 3)) / 2.5, abs=1e-6)


def test_cross_entropy_of_one_hot_targets_equals_that_of_torch():
    torch.manual_seed(0)
    one, other = (torch.randn(9, 4).requires_grad_() for _ in range(2))
    other.data.copy_(one.data)
    targets = torch.tensor([0, 1, 3, 1, 0, 3, 3, 1, 0])
    loss = CROSS_ENTROPY(one, smoothed_targets(targets, 4, 0.0), WEIGHTS)
    expected = functional.cross_entropy(other, targets, weight=WEIGHTS)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(one.grad, other.grad)


def test_gradient_is_that_of_the_formula():
    torch.manual_seed(0)
    logits, q = torch.randn(5, 4, requires_grad=True), torch.softmax(torch.randn(5, 4), 1)
    CROSS_ENTROPY(logits, q, WEIGHTS).backward()
    weighted = WEIGHTS * q
    expected = (logits.softmax(1) * weighted.sum(1, keepdim=True) - weighted) / weighted.sum()
    torch.testing.assert_close(logits.grad, expected.detach())


def test_soft_cross_entropy_is_in_float32():
    torch.manual_seed(0)
    logits, q = torch.randn(5, 4).bfloat16(), torch.softmax(torch.randn(5, 4), 1)
    with torch.autocast("cpu", torch.bfloat16):
        loss = CROSS_ENTROPY(logits, q, WEIGHTS)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, CROSS_ENTROPY(logits.float(), q, WEIGHTS))


def focal(gamma):
    return Focal(replace(CONFIG, focal_gamma=gamma))


def test_focal_by_hand():
    # p = (1/2, 1/2) and (1/4, 3/4); w q = (2, 0) and (0, 1): 2 (1/2)^2 ln 2 and (1/4)^2 ln 4/3
    logits = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    targets, weights = torch.eye(2), torch.tensor([2.0, 1.0])
    loss = focal(2.0)(logits, targets, weights)
    assert float(loss) == pytest.approx((0.5 * math.log(2) + math.log(4 / 3) / 16) / 3, abs=1e-6)
    torch.testing.assert_close(focal(0.0)(logits, targets, weights), CROSS_ENTROPY(logits, targets, weights))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_of_a_sure_answer_has_a_finite_gradient(gamma):
    logits = torch.tensor([[200.0, 0.0], [200.0, 0.0]], requires_grad=True)
    focal(gamma)(logits, torch.eye(2), torch.ones(2)).backward()
    assert bool(logits.grad.isfinite().all())
    assert logits.grad[0].abs().max() < 1e-6 < logits.grad[1].abs().min()


def test_validation_loss_by_hand():
    # -(2 ln 0.5 + 1 ln 0.25) / 3
    log = np.log(np.array([[0.5, 0.5], [0.75, 0.25]], np.float32))
    loss = validation_loss(CROSS_ENTROPY, log, np.array([0, 1]), torch.tensor([2.0, 1.0]))
    assert loss == pytest.approx((2 * np.log(2) + np.log(4)) / 3, abs=1e-6)


def test_validation_loss_of_many_utterances_is_exact():
    rng = np.random.default_rng(0)
    log = torch.log_softmax(torch.from_numpy(rng.normal(0, 4, (20_000, 4))).float(), 1).numpy()
    targets, weights = rng.integers(0, 4, 20_000), np.array([0.5, 2.0, 0.0, 1.0])
    w = weights[targets]
    expected = -(w * log[np.arange(20_000), targets].astype(np.float64)).sum() / w.sum()
    assert validation_loss(CROSS_ENTROPY, log, targets, torch.from_numpy(weights).float()) == pytest.approx(
        expected, abs=1e-6
    )


def test_mixup_uses_the_frames_that_both_have():
    features = torch.tensor([[[1.0], [2.0], [3.0]], [[10.0], [20.0], [0.0]]])
    order, shares = torch.tensor([1, 0]), torch.tensor([0.75, 1.0])
    mixed, lengths, targets = mixup(features, torch.tensor([3, 2]), torch.eye(2), order, shares)
    assert lengths.tolist() == [2, 2]
    assert mixed[:, :, 0].tolist() == [[3.25, 6.5, 0.0], [10.0, 20.0, 0.0]]
    assert targets.tolist() == [[0.75, 0.25], [0.0, 1.0]]
