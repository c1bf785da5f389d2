"""The loss of a batch: weighted cross-entropy, with smoothed and mixed targets where asked for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ser.augment.spectral import mixup_weights
from ser.batches import Batch
from ser.config import Training
from ser.nets import SpeechEmotionNetwork
from ser.training.loss import weighted_cross_entropy
from ser.training.losses import mixed_targets, smoothed_targets, soft_cross_entropy
from ser.training.machine import Machine


def batch_loss(
    network: SpeechEmotionNetwork,
    batch: Batch,
    weights: Tensor,
    config: Training,
    machine: Machine,
    rng: np.random.Generator,
) -> Tensor:
    """A scalar, float32.

    Args:
        weights: of the classes of the batch's head, (classes,).
        rng: draws the mixing.
    """
    features, lengths = batch.features.to(machine.device), batch.lengths.to(machine.device)
    targets = batch.targets.to(machine.device)
    head = network.head_of(batch.corpus)
    soft: Tensor | None = None
    if config.label_smoothing or config.mixup:
        soft = smoothed_targets(targets, len(weights), config.label_smoothing)
    if config.mixup and soft is not None:
        order = torch.from_numpy(rng.permutation(len(targets))).to(machine.device)
        shares = torch.from_numpy(mixup_weights(rng, config.mixup, len(targets))).to(machine.device)
        features, lengths = mixed(features, lengths, order, shares)
        soft = mixed_targets(soft, soft[order], shares)
    with machine.autocast():
        logits = network(features, lengths, head, batch.corpus)
    if soft is None:
        return weighted_cross_entropy(logits, targets, weights)
    return soft_cross_entropy(logits, soft, weights)


def mixed(features: Tensor, lengths: Tensor, order: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Each example with the one that `order` names, over the frames that both have (mixup: Zhang et al. 2018).

    Args:
        features: (batch, frames, bins); lengths: (batch,); shares: of the first of the two, (batch,).
    """
    lengths = torch.minimum(lengths, lengths[order])
    features = torch.lerp(features[order], features, shares[:, None, None])
    there = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
    return features * there[..., None], lengths
