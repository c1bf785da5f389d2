"""Posteriors of a part as Kaldi archives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ser.batches import Data, Part, UtteranceDataset, by_length, collate
from ser.common import InputError, digest
from ser.common.run_folder import MODEL, decode_folder, posteriors_path
from ser.config import Experiment
from ser.features import ArkWriter
from ser.nets import SpeechEmotionNetwork, build
from ser.nets.evaluate import BATCH_FRAMES, log_posteriors
from ser.scoring.files import read_decode, read_train, write_decode
from ser.training.checkpoint import load_tensors
from ser.training.device import resolve_device


class Decoder:
    """The trained network of an experiment.

    Args:
        folder: the experiment's, with model.safetensors.

    Attributes:
        model: digest of the model's file.
    """

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        path = folder / MODEL
        read_train(folder, [MODEL])
        tensors, meta = load_tensors(path, vouched=True)
        self.experiment, self.folder, self.model = experiment, folder, digest(path)
        self.network = build(experiment, meta["classes"])
        self.network.load_state_dict(tensors)
        self.device = resolve_device(experiment.training).device
        self.network.to(self.device)

    def decode_part(self, part: Part, unseen: Data | None = None) -> str:
        """Write decode_<corpus>_<part>/, unless that is there; returns a line for the log.

        Args:
            unseen: the data that the part is of, where the model knows nothing of them: it answers by the mean of its
                heads. Where most speakers of the part have one class only, the statistics of the whole part stand in
                for those of each speaker, which would take the class away.
        """
        mark: dict[str, object] = {"model": self.model}
        if unseen:
            mark |= {"zero_shot": True, "data_hash": unseen.hashes()["data_hash"]}
        config = self.experiment.batches
        if unseen and part.confounded and config.normalisation == "speaker":
            config = replace(config, normalisation="corpus")
            mark["normalisation"] = config.normalisation
        place = decode_folder(self.folder, part.corpus, part.name)
        if decoded_as(self.folder, part, mark):
            return f"{place}: done already"
        dataset = UtteranceDataset(part, config)
        if unseen:
            posteriors = mean_posteriors(self.network, dataset, self.device)
        else:
            posteriors = np.exp(log_posteriors(self.network, dataset, self.network.head_of(part.corpus), self.device))
        write_decoded(self.folder, part, posteriors, mark)
        return f"{place}: {len(part)} utterances"

    def decode_parts(self, data: Data, name: str) -> list[str]:
        """Decode the parts of that name of all corpora of the experiment.

        With the test parts go the validation parts of these corpora, on which their confidence is calibrated.

        Args:
            data: prepared corpora of the experiment.
            name: train, valid or test.

        Returns:
            A line on each part.

        Raises:
            InputError: no corpus has such a part.
        """
        parts = data.parts(name)
        if not parts:
            raise InputError(f"none of {', '.join(self.experiment.corpora)} has {name} speakers", self.folder)
        valid = data.parts("valid") if name == "test" else {}
        calibrating = [part for corpus, part in valid.items() if corpus in parts]
        return [self.decode_part(part) for part in (*parts.values(), *calibrating)]


def decoded_as(folder: Path, part: Part, mark: Mapping[str, object]) -> bool:
    """Whether posteriors of a part are there, whole, and of that model and those data.

    Args:
        folder: the experiment's.
        mark: keys of its entry of decode.json and the values that they must have.
    """
    try:
        found = read_decode(folder, part.corpus, part.name)
    except InputError:
        return False
    return all(found.get(key) == value for key, value in mark.items())


def write_decoded(folder: Path, part: Part, posteriors: np.ndarray, description: Mapping[str, object]) -> None:
    """Write post.{ark,scp}, a vector of probabilities an utterance, and, last, its entry of decode.json.

    Args:
        folder: the experiment's.
        posteriors: float32, (utterances, classes), in the order of the part.
    """
    with ArkWriter(posteriors_path(folder, part.corpus, part.name), "float32") as writer:
        for key, row in zip(part.ids, posteriors, strict=True):
            writer.write(key, row)
    entry = {"classes": part.classes, "utterances": len(part), **description}
    write_decode(folder, [part.corpus], part.name, entry)


@torch.inference_mode()
def mean_posteriors(network: SpeechEmotionNetwork, dataset: UtteranceDataset, device: torch.device) -> np.ndarray:
    """Mean of the posteriors of all heads, for a corpus that has no head of its own.

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
        result[batch.indices] = network.average(pooled, list(network.routes().values()), classes).cpu().numpy()
    return result
