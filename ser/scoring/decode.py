"""Posteriors of a part as Kaldi archives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from ser.batches import Part, View
from ser.common import write_json
from ser.config import Batches
from ser.corpora.kaldi import write_table
from ser.features import ArkWriter
from ser.nets import SpeechEmotionNetwork
from ser.nets.evaluate import log_posteriors


def decode(
    network: SpeechEmotionNetwork,
    part: Part,
    config: Batches,
    device: torch.device,
    folder: Path,
    description: Mapping[str, object],
) -> None:
    """Write post.{ark,scp} (a vector of probabilities an utterance), hyp (`utterance class`) and, last, decode.json.

    Args:
        description: what decode.json says beside the class list.
    """
    found = np.exp(log_posteriors(network, View(part, config), network.head_of(part.corpus), device))
    with ArkWriter(folder / "post.ark", "float32") as writer:
        for key, row in zip(part.ids, found, strict=True):
            writer.write(key, row)
    best = found.argmax(1)
    write_table(folder / "hyp", {key: part.classes[i] for key, i in zip(part.ids, best, strict=True)})
    write_json(folder / "decode.json", {"classes": part.classes, "utterances": len(part), **description})
