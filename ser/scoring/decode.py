"""Decode parts: posteriors of the trained network, as Kaldi archives."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ser.batches import Data, Part, UtteranceDataset, by_length, collate
from ser.common import InputError, digest
from ser.common.run_folder import MODEL, posteriors_path
from ser.config import Experiment
from ser.nets import SpeechEmotionNetwork, build
from ser.nets.evaluate import BATCH_FRAMES, log_posteriors
from ser.scoring.files import read_train
from ser.scoring.posteriors import DecodedCorpus, read_posteriors, write_posteriors
from ser.training.checkpoint import load_tensors
from ser.training.device import resolve_device


class Decoder:
    """The trained network of an experiment.

    Args:
        experiment: settings.
        folder: of the experiment, with model.safetensors.

    Attributes:
        model: digest of model.safetensors.
    """

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        path = folder / MODEL
        self._train = read_train(folder, [MODEL])
        tensors, meta = load_tensors(path, verified=True)
        self.experiment, self.folder, self.model = experiment, folder, digest(path)
        self.network = build(experiment, meta["classes"])
        self.network.load_state_dict(tensors)
        self.device = resolve_device(experiment.training).device
        self.network.to(self.device)

    def decode(self, name: str, parts: Mapping[str, Part], unseen: Mapping[str, Data] | None = None) -> list[str]:
        """Write the posteriors of parts, except existing undamaged ones of this model and these data.

        Args:
            name: train, valid or test.
            parts: corpus -> its part of that name.
            unseen: corpus -> its data, for corpora that the model was not trained on: it answers by the mean of its
                heads, and features are normalised as the experiment of these data says.

        Returns:
            One line for each part.
        """
        lines, decoded = [], {}
        existing: Mapping[str, Mapping[str, Any]] = {}
        with suppress(InputError):
            existing = read_posteriors(self.folder, name).corpora
        for corpus, part in parts.items():
            entry: dict[str, Any] = {"classes": [*part.classes], "utterances": len(part), "model": self.model}
            config = self.experiment.batches
            if unseen:
                config = unseen[corpus].experiment.batches
                entry |= {"zero_shot": True, "data_hash": unseen[corpus].hashes()["data_hash"]}
                if config.normalisation != self.experiment.batches.normalisation:
                    entry["normalisation"] = config.normalisation
            label = f"{posteriors_path(self.folder, name)}: {corpus}"
            if existing.get(corpus) == entry:
                lines.append(f"{label}: done already")
                continue
            dataset = UtteranceDataset(part, config)
            if unseen:
                rows = mean_posteriors(self.network, dataset, self.device)
            else:
                rows = np.exp(log_posteriors(self.network, dataset, self.network.head_of(corpus), self.device))
            decoded[corpus] = cast(DecodedCorpus, entry), zip(part.ids, rows, strict=True)
            lines.append(f"{label}: {len(part)} utterances")
        if decoded:
            write_posteriors(self.folder, name, decoded)
        return lines

    def decode_parts(self, data: Data, name: str) -> list[str]:
        """Decode the parts of that name of all corpora of the experiment.

        With the test parts, the validation parts of these corpora are decoded for calibration.

        Args:
            data: prepared corpora of the experiment.
            name: train, valid or test.

        Returns:
            One line for each part.

        Raises:
            InputError: no corpus has such a part, or the training was of other settings or data.
        """
        data.check_trained(self._train, self.folder)
        parts = data.parts(name)
        if not parts:
            raise InputError(f"none of {', '.join(self.experiment.corpora)} has {name} speakers", self.folder)
        valid = data.parts("valid") if name == "test" else {}
        calibrating = {corpus: part for corpus, part in valid.items() if corpus in parts}
        return self.decode(name, parts) + self.decode("valid", calibrating)


@torch.inference_mode()
def mean_posteriors(network: SpeechEmotionNetwork, dataset: UtteranceDataset, device: torch.device) -> np.ndarray:
    """Mean of the posteriors of all heads, for a corpus without a head of its own.

    A head answers a class of the part by its own class of the same name, or not at all; rows add up to 1.

    Args:
        network: in any mode; it is set to evaluation.
        dataset: a part of the corpus as the network gets it.
        device: of the network.

    Returns:
        float32, (utterances, classes of the part).

    Raises:
        InputError: no head knows any class of the part.
    """
    classes = dataset.part.classes
    if not any(set(classes) & set(names) for names in network.classes.values()):
        raise InputError(f"none of its classes ({', '.join(classes)}) is one of the model's", dataset.part.corpus)
    network.eval()
    result = np.empty((len(dataset), len(classes)), np.float32)
    for crops in by_length(dataset.frames, BATCH_FRAMES):
        batch = collate(dataset, crops)
        pooled = network.embed(batch.features.to(device), batch.lengths.to(device))
        mean = network.average(pooled, list(network.head_adapter_pairs().values()), classes)
        result[batch.indices] = mean.cpu().numpy()
    return result
