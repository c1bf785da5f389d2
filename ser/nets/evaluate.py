"""Posteriors of whole utterances."""

from __future__ import annotations

import numpy as np
import torch

from ser.batches import UtteranceDataset, by_length, collate
from ser.nets.network import SpeechEmotionNetwork

BATCH_FRAMES = 4_000  # padded frames in a batch: more take more memory and no less time


@torch.inference_mode()
def log_posteriors(
    network: SpeechEmotionNetwork,
    dataset: UtteranceDataset,
    head: str,
    device: torch.device,
    chosen: np.ndarray | None = None,
) -> np.ndarray:
    """Natural logarithms of a head's posteriors, float32, (utterances, classes), in the order of the part.

    Always in float32, so that a batch and its utterances one by one agree, and validation agrees with decoding. The
    network is left in evaluation mode.

    Args:
        chosen: indices of utterances, in ascending order; None: all.
    """
    network.eval()
    indices = np.arange(len(dataset)) if chosen is None else chosen
    result = np.empty((len(dataset), len(network.classes[head])), np.float32)
    for group in by_length(dataset.frames[indices], BATCH_FRAMES):
        crops = [(int(indices[index]), start, rows) for index, start, rows in group]
        batch = collate(dataset, crops)
        logits = network(batch.features.to(device), batch.lengths.to(device), head, dataset.part.corpus)
        result[batch.indices] = torch.log_softmax(logits, dim=1).cpu().numpy()
    return result[indices]
