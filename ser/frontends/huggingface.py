"""Speech encoders that transformers loads (wav2vec 2.0, HuBERT, WavLM, data2vec, ...): safetensors, no remote code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ser.common import InputError, as_input_error, read_json
from ser.frontends.weights import first_line

WINDOW = 30  # s of an encoder's input at most: memory grows with the square of the length


@dataclass(frozen=True)
class EncoderSpec:
    """What config.json and preprocessor_config.json hold, in the units of `Frontend`."""

    sampling_rate: int
    frame_shift: int
    shortest: int
    dim: int
    depth: int
    normalised: bool


def read_encoder_spec(folder: Path, config: Mapping[str, Any]) -> EncoderSpec:
    """Read the configuration of an encoder of raw samples.

    Args:
        folder: of the model.
        config: what its config.json holds.

    Raises:
        InputError: a model of another type.
    """
    try:
        strides, kernels = [int(n) for n in config["conv_stride"]], [int(n) for n in config["conv_kernel"]]
        dim, depth = int(config["hidden_size"]), int(config["num_hidden_layers"])
    except (LookupError, TypeError, ValueError):
        what = f"a model of kind {config.get('model_type')!r}, which does not take speech as samples"
        raise InputError(what, folder, "give Whisper, wav2vec 2.0, HuBERT, WavLM or data2vec-audio") from None
    shortest = 1
    for stride, kernel in zip(reversed(strides), reversed(kernels), strict=True):
        shortest = (shortest - 1) * stride + kernel
    path = folder / "preprocessor_config.json"
    preprocessor = read_json(path) if path.is_file() else {}
    rate, normalised = int(preprocessor.get("sampling_rate", 16_000)), bool(preprocessor.get("do_normalize", True))
    return EncoderSpec(rate, prod(strides), shortest, dim, depth, normalised)


class HuggingFaceEncoder:
    """A frozen encoder.

    Raises:
        InputError: transformers is not installed, or does not know the model.
    """

    def __init__(self, folder: Path) -> None:
        self.spec = read_encoder_spec(folder, read_json(folder / "config.json"))
        try:
            from transformers import AutoModel, logging
        except ImportError:
            fix = "pip install -e '.[pretrained]', or call run.sh with --extras pretrained"
            raise InputError("needs transformers, which is not installed", folder, fix) from None
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        errors = (OSError, ValueError, KeyError, RuntimeError, AttributeError, ImportError)
        with as_input_error("transformers cannot load it", folder, "fetch the model again", *errors, reason=first_line):
            # These arguments are the safe ones: no code in the folder is run.
            self.model = AutoModel.from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, local_files_only=True
            )
        self.model.float().eval().requires_grad_(False)

    def encode(self, samples: Sequence[np.ndarray], layers: tuple[int, ...]) -> list[np.ndarray]:
        """Hidden states of utterances, WINDOW seconds at a time.

        Args:
            samples: float32, (samples,) each, at the model's rate.
            layers: numbers; 0 is the input of the first layer.

        Returns:
            float32, (frames, layers * dim), of each utterance.
        """
        return [self._encode(x, layers) for x in samples]

    def _encode(self, samples: np.ndarray, layers: tuple[int, ...]) -> np.ndarray:
        import torch

        if self.spec.normalised:  # as by the feature extractor of the model
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        window, hidden = WINDOW * self.spec.sampling_rate, []
        with torch.inference_mode():
            for start in range(0, len(samples), window):
                piece = torch.from_numpy(np.ascontiguousarray(samples[start : start + window]))
                if start and len(piece) < self.spec.shortest:
                    break  # less than a frame after the last window
                states = self.model(piece[None], output_hidden_states=True).hidden_states
                hidden.append(torch.cat([states[i][0] for i in layers], dim=1))
        return torch.cat(hidden).numpy()
