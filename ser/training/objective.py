"""Training loss of a batch (label smoothing, mixup, soft labels, auxiliary heads) and loss of a validation part."""

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
    progress: float,
    gather: Callable[[Tensor], Tensor] = lambda rows: rows,
) -> Tensor:
    """Compute the training loss of a batch, a scalar in float32.

    Args:
        network: in training mode.
        loss: function of (logits, target probabilities, class weights), from the registry.
        batch: the share of this process.
        weights: class weights of the head, (classes,).
        config: the settings.
        device_config: device and precision.
        rng: draws the mixup.
        progress: completed share of the training, 0 to 1.
        gather: collects the rows of all processes; the loss is that of the whole batch.
    """
    features, lengths = batch.features.to(device_config.device), batch.lengths.to(device_config.device)
    targets = batch.targets.to(device_config.device)
    if config.soft_labels:
        uniform = torch.full_like(batch.votes, 1 / len(weights))
        soft = torch.lerp(batch.votes, uniform, config.label_smoothing).to(device_config.device)
    else:
        soft = smoothed_targets(targets, len(weights), config.label_smoothing)
    if config.mixup:
        order = torch.from_numpy(rng.permutation(len(targets))).to(device_config.device)
        shares = torch.from_numpy(mixup_weights(rng, config.mixup, len(targets))).to(device_config.device)
        features, lengths, soft = mixup(features, lengths, soft, order, shares)
    with device_config.autocast():
        pooled = network.regularised(gather(network.pooled(features, lengths)))
    logits = network.classify(pooled, network.head_of(batch.corpus), batch.corpus)
    genders = gather(batch.genders.to(device_config.device))
    auxiliary = auxiliary_loss(network, batch.corpus, genders, pooled, config, progress)
    return loss(logits, gather(soft), weights) + auxiliary


@torch.no_grad()
def validation_loss(loss: nn.Module, log_posteriors: np.ndarray, targets: np.ndarray, weights: Tensor) -> float:
    """Compute the loss of a whole part in float64, without label smoothing.

    Args:
        loss: see `batch_loss`; set to evaluation mode.
        log_posteriors: (utterances, classes).
        targets: class indices, (utterances,).
        weights: class weights, (classes,), on the device of the loss.
    """
    logits = torch.from_numpy(log_posteriors).double().to(weights.device)
    hard = smoothed_targets(torch.from_numpy(targets).to(weights.device), len(weights), 0.0)
    return float(loss.eval()(logits, hard, weights))


def auxiliary_loss(
    network: SpeechEmotionNetwork, corpus: str, genders: Tensor, pooled: Tensor, config: Training, progress: float
) -> Tensor | float:
    """Compute the losses of the auxiliary heads: gender, and corpus behind a gradient reversal layer.

    Args:
        network: with or without these heads.
        corpus: of the batch.
        genders: 0 woman, 1 man, -1 unknown and ignored, (batch,).
        pooled: (batch, values).
        config: weights of the losses.
        progress: completed share of the training, 0 to 1.
    """
    loss: Tensor | float = 0.0
    known = genders >= 0
    if network.gender is not None and bool(known.any()):
        logits = network.gender(pooled[known]).float()
        loss = loss + config.gender_weight * functional.cross_entropy(logits, genders[known])
    if network.domain is not None:
        domains = torch.full((len(pooled),), network.corpora.index(corpus), device=pooled.device)
        logits = network.domain(pooled, weight_at(progress))
        loss = loss + config.adversarial_weight * functional.cross_entropy(logits, domains)
    return loss


def mixup(
    features: Tensor, lengths: Tensor, targets: Tensor, order: Tensor, shares: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mix each utterance with a partner over the frames that both have (mixup: Zhang et al. 2018).

    Args:
        features: (batch, frames, bins).
        lengths: frames, (batch,).
        targets: probabilities, (batch, classes).
        order: index of the partner of each utterance, (batch,).
        shares: weight of the utterance itself, (batch,).
    """
    targets = torch.lerp(targets[order], targets, shares[:, None])
    lengths = torch.minimum(lengths, lengths[order])
    features = torch.lerp(features[order], features, shares[:, None, None])
    within = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
    return features * within[..., None], lengths, targets
