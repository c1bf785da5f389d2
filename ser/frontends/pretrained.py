"""Frozen pretrained encoders: Whisper's, and those that transformers loads."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.common import InputError, read_json
from ser.config import Features, FrontendSettings
from ser.frontends.base import Frontend
from ser.frontends.published import PUBLISHED, fetch_published, published_folder
from ser.frontends.weights import HUB_NAME, fetch_from_hub, weight_files, weights_digest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ser.frontends.huggingface import HuggingFaceEncoder
    from ser.frontends.trainable import TrainableLayers
    from ser.frontends.whisper import WhisperEncoder

# Part of the key of stored features: raise it when the same weights and audio give other values.
VERSION = 1
TRIM_FRAME, TRIM_SHIFT = 0.025, 0.01  # s
WHISPER_SHIFT = 320
WHISPER = ("ctranslate2", "whisper")


class Pretrained(Frontend):
    """Hidden states of some layers of an encoder, side by side.

    Layer 0 is the input of the first transformer layer, the last one the output of the encoder. Ends of the audio that
    are `frontend.trim_decibels` below its loudest 25 ms are trimmed first. If layers are trained, frames are the input
    of the lowest of these; if all are, log-mel.

    Raises:
        InputError: no such model, one of an unknown type or pickled, or no such layer.
    """

    name = "pretrained"

    def __init__(self, features: Features, settings: FrontendSettings) -> None:
        self.settings, self.storage = settings, features.storage
        self.folder = find_model(settings.model, settings.revision)
        weight_files(self.folder)
        config = read_json(self.folder / "config.json")
        if not isinstance(config, dict):
            raise InputError("holds no settings", self.folder / "config.json", "fetch the model again")
        self.kind = "ctranslate2" if (self.folder / "model.bin").is_file() else str(config.get("model_type"))
        if self.kind in WHISPER:
            self.sampling_rate, self.frame_shift, self.shortest = 16_000, WHISPER_SHIFT, 400
            self.dim, depth = self._whisper.size, len(self._whisper.layers)
        else:
            from ser.frontends import huggingface

            spec = huggingface.read_encoder_spec(self.folder, config)
            self.sampling_rate, self.frame_shift, self.shortest = spec.sampling_rate, spec.frame_shift, spec.shortest
            self.dim, depth = spec.dim, spec.depth
        self.numbers = self.output_numbers = layer_numbers(settings.layers, depth)
        self.trained = trained_layers(settings.trainable, depth)
        if self.trained and self.kind not in WHISPER:
            what = f"{self.folder} is of kind {self.kind}, and only Whisper's encoder can be trained here"
            raise InputError(what, f"frontend.trainable = {settings.trainable}", "set it to none")
        if self.trained > depth:
            self.numbers, self.dim, self.frame_shift = (), self._whisper.bands, WHISPER_SHIFT // 2
        elif self.trained:
            lower = depth - self.trained
            self.numbers = tuple(sorted({lower, *(n for n in self.output_numbers if n < lower)}))
        self.layers = len(self.numbers) or 1
        self.frame_length = self.frame_shift

    def identity(self) -> dict[str, Any]:
        return {
            "frontend": "pretrained",
            "version": VERSION,
            "weights": weights_digest(self.folder),
            "layers": list(self.numbers),
            "trim_decibels": self.settings.trim_decibels,
            "storage": self.storage,
        }

    def num_frames(self, num_samples: int) -> int:
        if self.kind in WHISPER:  # of two mel frames each; the last one may be of one
            mel = num_samples // (WHISPER_SHIFT // 2)
            return (mel + 1) // 2 if self.numbers else mel
        return num_samples // self.frame_shift

    def extract(self, samples: np.ndarray) -> np.ndarray:
        return self.extract_all([samples])[0]

    def extract_all(self, samples: Sequence[np.ndarray]) -> list[np.ndarray]:
        trimmed = [np.ascontiguousarray(x[slice(*self.span(x))]) for x in samples]
        padded = [np.pad(x, (0, max(0, self.shortest - len(x)))) for x in trimmed]
        if not self.numbers:
            from ser.frontends.whisper import windows

            return [np.concatenate([mel.T.numpy() for mel in windows(x, self.dim)]) for x in padded]
        return self._encoder.encode(padded, self.numbers)

    def span(self, samples: np.ndarray) -> tuple[int, int]:
        return trim_samples(samples, self.sampling_rate, self.settings.trim_decibels)

    def graph(self) -> nn.Module:
        if self.kind not in WHISPER:
            what = f"an encoder of kind {self.kind} cannot be part of a graph"
            raise InputError(what, self.folder, "export from its features with --input spectrum")
        from ser.frontends.graph import WhisperGraph

        trim = trim_frames(self.sampling_rate)
        return WhisperGraph(self._whisper, self.numbers, trim, self.settings.trim_decibels, self.shortest)

    def trainable(self) -> TrainableLayers | None:
        from ser.frontends.trainable import TrainableLayers

        return TrainableLayers(self._whisper, self.trained, self.numbers, self.output_numbers) if self.trained else None

    def describe(self) -> dict[str, str]:
        """The record of the encoder in a model package: name, revision, SHA-256 of the weights, licence."""
        known = PUBLISHED.get(self.settings.model)
        return {
            "model": self.settings.model,
            "revision": self.settings.revision,
            "weights": weights_digest(self.folder),
            "licence": known.licence if known else "that of its publisher",
        }

    def save(self, folder: Path) -> None:
        """Write configuration and weights, in safetensors, so that frontend.model = `folder` gives the same values."""
        folder.mkdir()
        if self.kind in WHISPER:
            from ser.frontends import whisper

            tensors, heads = self._weights()
            whisper.save_encoder(tensors, heads, folder)
            return
        for name in ("config.json", "preprocessor_config.json"):
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)
        for path in weight_files(self.folder):
            shutil.copyfile(path, folder / path.name)

    def _weights(self) -> tuple[dict[str, Tensor], int]:
        from ser.frontends import whisper

        if self.kind == "ctranslate2":
            return whisper.read_ctranslate2(self.folder / "model.bin")
        return whisper.read_safetensors(self.folder)

    @cached_property
    def _whisper(self) -> WhisperEncoder:
        from ser.frontends import whisper

        return whisper.WhisperEncoder(*self._weights()).eval().requires_grad_(False)

    @cached_property
    def _encoder(self) -> WhisperEncoder | HuggingFaceEncoder:
        if self.kind in WHISPER:
            return self._whisper
        from ser.frontends import huggingface

        return huggingface.HuggingFaceEncoder(self.folder)


def find_model(name: str, revision: str) -> Path:
    """The folder of a pretrained model.

    Args:
        name: a folder, a name that the toolkit fetches itself, or `<owner>/<name>` of the hub.
        revision: commit of a name of the hub.

    Returns:
        The folder.

    Raises:
        InputError: none of these.
    """
    if Path(name).is_dir():
        return Path(name)
    if name in PUBLISHED:
        folder = published_folder(name)
        if not (folder / "model.bin").is_file():
            raise InputError(f"{name} has not been fetched", folder, "run stage 0")
        return folder
    if HUB_NAME.fullmatch(name):
        return fetch_from_hub(name, revision)
    fix = f"give a folder, a name of the hub such as facebook/wav2vec2-base, or one of {', '.join(PUBLISHED)}"
    raise InputError("no such folder", f"frontend.model = {name!r}", fix)


def fetch_model(settings: FrontendSettings) -> None:
    """Stage 0: fetch the pretrained model that the settings name, if they name one and it is not fetched yet.

    Raises:
        InputError: it cannot be fetched, or has another checksum.
    """
    if settings.name != Pretrained.name:
        return
    if settings.model in PUBLISHED:
        fetch_published(settings.model)
    else:
        print(f"{settings.model}: {find_model(settings.model, settings.revision)}")


def layer_numbers(layers: str, depth: int) -> tuple[int, ...]:
    """The layers that a setting names.

    Args:
        layers: `all` (1 to depth), a number, or several with commas.
        depth: number of layers.

    Returns:
        Numbers in ascending order; 0 is the input of the first layer.

    Raises:
        InputError: another form, a layer twice, or no such layer.
    """
    if layers == "all":
        return tuple(range(1, depth + 1))
    parts = layers.split(",")
    if not all(part.strip().isdecimal() for part in parts) or len(set(map(int, parts))) < len(parts):
        raise InputError("must be all, or numbers such as 1,2,3", f"frontend.layers = {layers}")
    if wrong := [part for part in parts if int(part) > depth]:
        fix = f"choose from 0 (before the first) to {depth}"
        raise InputError(f"layer {wrong[0]} of {depth}", f"frontend.layers = {layers}", fix)
    return tuple(sorted(map(int, parts)))


def trained_layers(trainable: str, depth: int) -> int:
    """Number of layers that are trained.

    Args:
        trainable: none, all, or last_<n>.
        depth: number of layers.

    Returns:
        0 for `none`, n for `last_n`, and depth + 1, convolutions too, for `all`.

    Raises:
        InputError: another form, or more layers than the encoder has.
    """
    if trainable in ("none", "all"):
        return 0 if trainable == "none" else depth + 1
    match = re.fullmatch(r"last_([1-9]\d{0,3})", trainable)
    if not match or int(match[1]) > depth:
        raise InputError(f"must be none, all, or last_1 to last_{depth}", f"frontend.trainable = {trainable}")
    return int(match[1])


def trim_frames(rate: int) -> tuple[int, int]:
    """Length and shift, in samples, of the frames whose level `trim_samples` compares."""
    return round(TRIM_FRAME * rate), round(TRIM_SHIFT * rate)


def trim_samples(samples: np.ndarray, rate: int, decibels: float) -> tuple[int, int]:
    """Start and end of an utterance: from the first to the last 25 ms within `decibels` of the loudest.

    Args:
        samples: float32, (samples,).
        rate: in Hz.
        decibels: below the loudest 25 ms; 0: no trimming.

    Returns:
        (start, end), end excluded. An utterance of less than 25 ms is not trimmed.
    """
    length, shift = trim_frames(rate)
    if not decibels or len(samples) < length:
        return 0, len(samples)
    total = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    starts = np.arange(0, len(samples) - length + 1, shift)
    power = total[starts + length] - total[starts]
    loud = np.flatnonzero(power >= power.max() * 10 ** (-decibels / 10))
    end = len(samples) if loud[-1] == len(starts) - 1 else int(starts[loud[-1]]) + length
    return int(starts[loud[0]]), end
