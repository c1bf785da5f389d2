"""The loss of a batch, with smoothed, mixed or voted targets where asked for, and of a whole validation part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ser.augment.spectral import mixup_weights
from ser.batches import Batch
from ser.config import Training
from ser.nets import SpeechEmotionNetwork
from ser.nets.adversarial import weight_at
from ser.training.device import DeviceConfig
from ser.training.losses import smoothed_targets


def batch_loss(
    network: SpeechEmotionNetwork,
    loss: nn.Module,
    batch: Batch,
    weights: Tensor,
    config: Training,
    device_config: DeviceConfig,
    rng: np.random.Generator,
    done: float,
    whole: Callable[[Tensor], Tensor] = lambda rows: rows,
) -> Tensor:
    """A scalar, float32.

    Args:
        loss: of (logits, target probabilities, class weights), from the registry.
        weights: of the classes of the batch's head, (classes,).
        rng: draws the mixing.
        done: share of the training that is done, 0 to 1.
        whole: gathers the rows of all processes of the training, whose loss this is; `batch` is a share.
    """
    features, lengths = batch.features.to(device_config.device), batch.lengths.to(device_config.device)
    targets = batch.targets.to(device_config.device)
    if config.soft_labels:
        even = torch.full_like(batch.votes, 1 / len(weights))
        soft = torch.lerp(batch.votes, even, config.label_smoothing).to(device_config.device)
    else:
        soft = smoothed_targets(targets, len(weights), config.label_smoothing)
    if config.mixup:
        order = torch.from_numpy(rng.permutation(len(targets))).to(device_config.device)
        shares = torch.from_numpy(mixup_weights(rng, config.mixup, len(targets))).to(device_config.device)
        features, lengths, soft = mixed(features, lengths, soft, order, shares)
    with device_config.autocast():
        pooled = network.regularised(whole(network.pooled(features, lengths)))
    logits = network.classify(pooled, network.head_of(batch.corpus), batch.corpus)
    genders = whole(batch.genders.to(device_config.device))
    return loss(logits, whole(soft), weights) + auxiliary_loss(network, batch.corpus, genders, pooled, config, done)


@torch.no_grad()
def validation_loss(loss: nn.Module, log_posteriors: np.ndarray, targets: np.ndarray, weights: Tensor) -> float:
    """The loss of a whole part at once, without smoothing, in float64.

    Args:
        loss: as of `batch_loss`; left in evaluation mode.
        log_posteriors: (utterances, classes).
        targets: class indices, (utterances,).
        weights: of the classes, (classes,), on the device of the loss.
    """
    logits = torch.from_numpy(log_posteriors).double().to(weights.device)
    hard = smoothed_targets(torch.from_numpy(targets).to(weights.device), len(weights), 0.0)
    return float(loss.eval()(logits, hard, weights))


def auxiliary_loss(
    network: SpeechEmotionNetwork, corpus: str, genders: Tensor, pooled: Tensor, config: Training, done: float
) -> Tensor | float:
    """What the heads that only training uses add: gender, where known, and the corpus behind a reversed gradient."""
    loss: Tensor | float = 0.0
    known = genders >= 0
    if network.gender is not None and bool(known.any()):
        logits = network.gender(pooled[known]).float()
        loss = loss + config.gender_weight * functional.cross_entropy(logits, genders[known])
    if network.domain is not None:
        domains = torch.full((len(pooled),), network.corpora.index(corpus), device=pooled.device)
        logits = network.domain(pooled, weight_at(done))
        loss = loss + config.adversarial_weight * functional.cross_entropy(logits, domains)
    return loss


def mixed(
    features: Tensor, lengths: Tensor, targets: Tensor, order: Tensor, shares: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Each example with the one that `order` names, over the frames that both have (mixup: Zhang et al. 2018).

    Args:
        features: (batch, frames, bins); lengths: (batch,); targets: probabilities, (batch, classes).
        shares: of the first of the two, (batch,).
    """
    targets = torch.lerp(targets[order], targets, shares[:, None])
    lengths = torch.minimum(lengths, lengths[order])
    features = torch.lerp(features[order], features, shares[:, None, None])
    there = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
    return features * there[..., None], lengths, targets
