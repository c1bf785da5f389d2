"""Speech encoders that transformers loads (wav2vec 2.0, HuBERT, WavLM, data2vec, ...): safetensors, no remote code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ser.common import InputError, read_json
from ser.frontends.weights import first_line

WINDOW = 30  # s that are encoded at once: memory grows with the square of the length


@dataclass(frozen=True)
class EncoderShape:
    """What config.json and preprocessor_config.json hold; shapes as in `Frontend`."""

    sampling_rate: int
    frame_shift: int
    shortest: int
    dim: int
    depth: int
    normalised: bool


def encoder_shape(folder: Path, config: Mapping[str, Any]) -> EncoderShape:
    """Read what an encoder of raw samples is from its configuration.

    Args:
        folder: of the model.
        config: what its config.json holds.

    Raises:
        InputError: transformers is not installed, or a model of another kind.
    """
    kind = config.get("model_type")
    try:
        strides, kernels = [int(n) for n in config["conv_stride"]], [int(n) for n in config["conv_kernel"]]
        dim, depth = int(config["hidden_size"]), int(config["num_hidden_layers"])
    except (LookupError, TypeError, ValueError):
        raise InputError(
            f"a model of kind {kind!r}, which does not take speech as samples",
            folder,
            "give Whisper, wav2vec 2.0, HuBERT, WavLM or data2vec-audio",
        ) from None
    shortest = 1
    for stride, kernel in zip(reversed(strides), reversed(kernels), strict=True):
        shortest = (shortest - 1) * stride + kernel
    path = folder / "preprocessor_config.json"
    about = read_json(path) if path.is_file() else {}
    rate = int(about.get("sampling_rate", 16_000))
    return EncoderShape(rate, prod(strides), shortest, dim, depth, bool(about.get("do_normalize", True)))


class HuggingFaceEncoder:
    """A frozen encoder.

    Raises:
        InputError: transformers is not installed, or does not know the model.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.about = folder, encoder_shape(folder, read_json(folder / "config.json"))
        try:
            from transformers import AutoModel, logging
        except ImportError:
            raise InputError(
                "needs transformers, which is not installed",
                folder,
                "pip install -e '.[pretrained]', or call run.sh with --extras pretrained",
            ) from None
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            # The safe choices are those of the arguments: nothing of the folder is run.
            self.model = AutoModel.from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, local_files_only=True
            )
        except (OSError, ValueError, KeyError, RuntimeError, AttributeError, ImportError) as error:
            raise InputError(
                f"transformers cannot load it ({first_line(error)})", folder, "fetch the model again"
            ) from None
        self.model.float().eval().requires_grad_(False)

    def encode(self, samples: Sequence[np.ndarray], layers: tuple[int, ...]) -> list[np.ndarray]:
        """Hidden states of utterances, so many seconds at a time.

        Args:
            samples: float32, (samples,) each, at the model's rate.
            layers: numbers; 0 is what goes into the first layer.

        Returns:
            float32, (frames, layers * dim), of each utterance.
        """
        return [self._encode(x, layers) for x in samples]

    def _encode(self, samples: np.ndarray, layers: tuple[int, ...]) -> np.ndarray:
        import torch

        if self.about.normalised:  # as their feature extractor does
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        window, found = WINDOW * self.about.sampling_rate, []
        with torch.inference_mode():
            for start in range(0, len(samples), window):
                piece = torch.from_numpy(np.ascontiguousarray(samples[start : start + window]))
                if start and len(piece) < self.about.shortest:
                    break  # less than a frame behind the last window
                states = self.model(piece[None], output_hidden_states=True).hidden_states
                found.append(torch.cat([states[i][0] for i in layers], dim=1))
        return torch.cat(found).numpy()
