"""Training loss of a batch (label smoothing, mixup, soft labels, auxiliary heads) and loss of a validation part."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

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


class BatchLoss(nn.Module):
    """The training loss of a batch; a module, as DistributedDataParallel needs it.

    Args:
        network: in training mode.
        loss: function of (logits, target probabilities, class weights), from the registry.
    """

    def __init__(
        self, network: SpeechEmotionNetwork, loss: nn.Module, config: Training, device_config: DeviceConfig
    ) -> None:
        super().__init__()
        self.network, self.loss, self.config, self.device_config = network, loss, config, device_config

    def forward(
        self,
        batch: Batch,
        weights: Tensor,
        rng: np.random.Generator,
        progress: float,
        gather: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Compute the loss, a scalar in float32.

        Args:
            batch: the share of this process.
            weights: class weights of the head, (classes,).
            rng: draws the mixup.
            progress: completed share of the training, 0 to 1.
            gather: collects the rows of all processes; the loss is that of the whole batch.
        """
        network, config, device = self.network, self.config, self.device_config.device
        features, lengths, targets = (x.to(device) for x in (batch.features, batch.lengths, batch.targets))
        if config.soft_labels:
            uniform = torch.full_like(batch.votes, 1 / len(weights))
            soft = torch.lerp(batch.votes, uniform, config.label_smoothing).to(device)
        else:
            soft = smoothed_targets(targets, len(weights), config.label_smoothing)
        if config.mixup:
            order = torch.from_numpy(rng.permutation(len(targets))).to(device)
            shares = torch.from_numpy(mixup_weights(rng, config.mixup, len(targets))).to(device)
            features, lengths, soft = mixup(features, lengths, soft, order, shares)
        with self.device_config.autocast():
            pooled = network.regularised(gather(network.pooled(features, lengths)))
        logits = network.classify(pooled, network.head_of(batch.corpus), batch.corpus)
        auxiliary: Tensor | float = 0.0
        genders = gather(batch.genders.to(device))
        known = genders >= 0
        if network.gender is not None and bool(known.any()):
            predicted = network.gender(pooled[known]).float()
            auxiliary = auxiliary + config.gender_weight * functional.cross_entropy(predicted, genders[known])
        if network.domain is not None:  # behind a gradient reversal layer
            domains = torch.full((len(pooled),), network.corpora.index(batch.corpus), device=pooled.device)
            predicted = network.domain(pooled, weight_at(progress))
            auxiliary = auxiliary + config.adversarial_weight * functional.cross_entropy(predicted, domains)
        return cast(Tensor, self.loss(logits, gather(soft), weights) + auxiliary)


@torch.no_grad()
def validation_loss(loss: nn.Module, log_posteriors: np.ndarray, targets: np.ndarray, weights: Tensor) -> float:
    """Compute the loss of a whole part in float64, without label smoothing.

    Args:
        loss: as of `BatchLoss`; set to evaluation mode.
        log_posteriors: (utterances, classes).
        targets: class indices, (utterances,).
        weights: class weights, (classes,), on the device of the loss.
    """
    logits = torch.from_numpy(log_posteriors).double().to(weights.device)
    hard = smoothed_targets(torch.from_numpy(targets).to(weights.device), len(weights), 0.0)
    return float(loss.eval()(logits, hard, weights))


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
