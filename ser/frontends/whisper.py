"""The encoder of Whisper (Radford et al. 2023), from a CTranslate2 folder or from safetensors.

The encoder of transformers takes 30 s of input. Here the position embeddings are cut to the length of the audio, so
that 3 s of speech take a tenth of the time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ser.common import InputError, read_json, write_json
from ser.common.batching import batched_by_size
from ser.frontends.log_stft import window
from ser.frontends.weights import load_safetensors

RATE = 16_000
N_FFT, HOP = 400, 160  # samples: 25 and 10 ms
POSITIONS = 1_500  # of two hops each: 30 s
FRAME = 2 * HOP
# Types of CTranslate2's model.bin, version 6, by their number.
DTYPES = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}
CTRANSLATE2_VERSION = 6
PREFIX = "model.encoder."  # of the names that transformers gives


class WhisperEncoder(nn.Module):
    """Convolutions, positions and transformer layers before the decoder.

    Args:
        tensors: by the names that transformers has below `model.encoder.`.
        heads: of the attention.
    """

    def __init__(self, tensors: Mapping[str, Tensor], heads: int) -> None:
        super().__init__()
        size, bands, _ = tensors["conv1.weight"].shape
        self.size, self.bands, self.heads = size, bands, heads
        depth = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers."))
        inner = tensors["layers.0.fc1.weight"].shape[0]
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and then replaced
            self.conv1 = nn.Conv1d(bands, size, 3, padding=1)
            self.conv2 = nn.Conv1d(size, size, 3, stride=2, padding=1)
            self.embed_positions = nn.Embedding(*tensors["embed_positions.weight"].shape)
            self.layers = nn.ModuleList(_Layer(size, inner, heads) for _ in range(depth))
            self.layer_norm = nn.LayerNorm(size)
        self.load_state_dict(_stacked(tensors, depth))

    def forward(self, mel: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """Log-mel, (batch, bands, frames), to outputs of convolutions and layers, (batch, frames / 2, size) each.

        The last layer's output is normalised, as transformers has it.

        Args:
            lengths: frames of each row, followed by zeros; None: all are equally long. A row has the same outputs as
                alone, for its (frames + 1) // 2 valid frames.
        """
        x, mask = self.lower(mel, lengths), None
        if lengths is not None:
            mask = (torch.arange(x.shape[1], device=x.device) < (lengths[:, None] + 1) // 2)[:, None, None]
        return [x, *self.upper(x, mask)]

    def lower(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The input of the first layer, (batch, frames / 2, size).

        Args:
            mel: (batch, bands, frames).
            lengths: as of `forward`.
        """
        x = functional.gelu(self.conv1(mel))
        if lengths is not None:
            x = x * (torch.arange(x.shape[2], device=x.device) < lengths[:, None])[:, None]
        x = functional.gelu(self.conv2(x)).transpose(1, 2)
        return x + self.embed_positions.weight[: x.shape[1]]

    def upper(self, x: Tensor, mask: Tensor | None = None, sizes: list[int] | None = None) -> list[Tensor]:
        """Outputs of the encoder's layers alone.

        Args:
            x: input of the first of them, (batch, frames, size).
            mask: bool, (batch, 1, 1, frames), True for valid frames; None: all are.
            sizes: frames of the utterances in each row, which follow each other; None: a row is one utterance.

        Returns:
            (batch, frames, size) of each layer.
        """
        outputs = []
        for layer in self.layers:
            x = layer(x, mask, sizes or [x.shape[1]])
            outputs.append(x)
        outputs[-1] = self.layer_norm(x)
        return outputs

    def encode(self, samples: Sequence[np.ndarray], layers: tuple[int, ...]) -> list[np.ndarray]:
        """Hidden states of utterances, 30 s of one at a time, or several that are no longer together.

        Several are one row without padding, in which each attends to itself. The values are the same as alone, and
        products of larger matrices are faster.

        Args:
            samples: float32, (samples,) each, at 16 kHz.
            layers: numbers; 0 is the output of the convolutions.

        Returns:
            float32, (frames, layers * size), a frame each 20 ms, of each utterance.
        """
        hidden: list[list[Tensor]] = [[] for _ in samples]
        with torch.inference_mode():
            pieces = ((i, self.lower(mel[None])) for i, x in enumerate(samples) for mel in windows(x, self.bands))
            for pack in batched_by_size(pieces, lambda piece: piece[1].shape[1], POSITIONS):
                x, sizes = torch.cat([piece for _, piece in pack], dim=1), [piece.shape[1] for _, piece in pack]
                outputs = [x, *self.upper(x, sizes=sizes)]
                states = torch.cat([outputs[n][0] for n in layers], dim=1)
                for (i, _), state in zip(pack, states.split(sizes), strict=True):
                    hidden[i].append(state)
        return [torch.cat(states).numpy() for states in hidden]


class _Layer(nn.Module):
    def __init__(self, size: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.self_attn_layer_norm = nn.LayerNorm(size)
        self.qkv = nn.Linear(size, 3 * size)
        self.out_proj = nn.Linear(size, size)
        self.final_layer_norm = nn.LayerNorm(size)
        self.fc1 = nn.Linear(size, inner)
        self.fc2 = nn.Linear(inner, size)

    def forward(self, x: Tensor, mask: Tensor | None, sizes: list[int]) -> Tensor:
        batch, frames, size = x.shape
        qkv = self.qkv(self.self_attn_layer_norm(x)).view(batch, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        parts = [
            functional.scaled_dot_product_attention(q, k, v, attn_mask=mask) for q, k, v in qkv.split(sizes, dim=3)
        ]
        attended = torch.cat(parts, dim=2)
        x = x + self.out_proj(attended.transpose(1, 2).reshape(batch, frames, size))
        return x + self.fc2(functional.gelu(self.fc1(self.final_layer_norm(x))))


def _stacked(tensors: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Tensors of transformers as those of `WhisperEncoder`: one projection to queries, keys and values."""
    stacked = {name: tensor.float() for name, tensor in tensors.items() if ".self_attn." not in name}
    for i in range(depth):
        prefix = f"layers.{i}.self_attn."
        query, key, value = (tensors[f"{prefix}{n}_proj.weight"].float() for n in "qkv")
        query_bias, value_bias = (tensors[f"{prefix}{n}_proj.bias"].float() for n in "qv")
        stacked[f"layers.{i}.qkv.weight"] = torch.cat([query, key, value])
        stacked[f"layers.{i}.qkv.bias"] = torch.cat([query_bias, torch.zeros(len(key)), value_bias])
        for part in ("weight", "bias"):
            stacked[f"layers.{i}.out_proj.{part}"] = tensors[f"{prefix}out_proj.{part}"].float()
    return stacked


def log_mel(samples: Tensor, bands: int) -> Tensor:
    """Whisper's input: log10 of mel power, no less than 8 below the maximum, (x + 4) / 4.

    Args:
        samples: float32, (samples,) at 16 kHz, more than N_FFT / 2 of them.

    Returns:
        (bands, frames), a frame each 10 ms: samples // 160.
    """
    spectrum = torch.stft(samples, N_FFT, HOP, window=window("hann", N_FFT), center=True, return_complex=True)
    power = torch.view_as_real(spectrum[:, :-1]).square().sum(-1)
    mel = (mel_filters(bands) @ power).clamp(min=1e-10).log10()
    return (torch.maximum(mel, mel.max() - 8) + 4) / 4


def windows(samples: np.ndarray, bands: int) -> Iterator[Tensor]:
    """`log_mel` of samples, 30 s at a time.

    Args:
        samples: float32, (samples,), at 16 kHz.
        bands: of the mel scale.

    Returns:
        (bands, frames) of each window.
    """
    size = POSITIONS * FRAME
    for start in range(0, len(samples), size):
        piece = samples[start : start + size]
        if start and len(piece) < FRAME:
            break  # less than a frame after the last window
        yield log_mel(torch.from_numpy(piece), bands)


@lru_cache(maxsize=2)
def mel_filters(bands: int) -> Tensor:
    """Triangles of unit area on Slaney's mel scale (Auditory Toolbox, 1998), 0 to 8 kHz, float32, (bands, 201)."""

    def mel(hertz: float) -> float:
        return hertz / (200 / 3) if hertz < 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4)

    points = np.linspace(0, mel(RATE / 2), bands + 2)
    edges = np.where(points < 15, points * 200 / 3, 1000 * np.exp((points - 15) * np.log(6.4) / 27))
    bins = np.linspace(0, RATE / 2, N_FFT // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])[:, None]
    return torch.from_numpy(triangles.astype(np.float32))


def read_ctranslate2(path: Path) -> tuple[dict[str, Tensor], int]:
    """The encoder's tensors, by their names in transformers, and the number of heads, of a Whisper model.bin.

    Raises:
        InputError: of another format or model, quantised, or cut short.
    """
    values = _variables(path)
    try:
        heads = int(values["encoder/num_heads"].reshape(-1)[0])
        tensors = {"embed_positions.weight": values["encoder/position_encodings/encodings"]}
        for name in ("conv1", "conv2"):
            tensors |= {f"{name}.{part}": values[f"encoder/{name}/{part}"] for part in ("weight", "bias")}
        tensors |= _norm(values, "encoder/layer_norm", "layer_norm")
        depth = sum(name.endswith("/ffn/linear_0/weight") for name in values if name.startswith("encoder/layer_"))
        for i in range(depth):
            source, target = f"encoder/layer_{i}/", f"layers.{i}."
            tensors |= _norm(values, f"{source}self_attention/layer_norm", f"{target}self_attn_layer_norm")
            tensors |= _norm(values, f"{source}ffn/layer_norm", f"{target}final_layer_norm")
            for part in ("weight", "bias"):
                stacked = np.split(values[f"{source}self_attention/linear_0/{part}"], 3)
                names = {"q": 0, "v": 2} if part == "bias" else {"q": 0, "k": 1, "v": 2}  # keys have no bias
                tensors |= {f"{target}self_attn.{n}_proj.{part}": stacked[which] for n, which in names.items()}
                tensors[f"{target}self_attn.out_proj.{part}"] = values[f"{source}self_attention/linear_1/{part}"]
                for number in (1, 2):
                    tensors[f"{target}fc{number}.{part}"] = values[f"{source}ffn/linear_{number - 1}/{part}"]
    except (LookupError, ValueError):
        fix = "convert the model again with ct2-transformers-converter --quantization float16"
        raise InputError("not Whisper's encoder in float32 or float16", path, fix) from None
    if any(x.dtype.kind != "f" for x in tensors.values()) or not depth:
        fix = "use the float16 or float32 version of the model"
        raise InputError("its weights are quantised to integers", path, fix)
    return {name: torch.from_numpy(x.astype(np.float32)) for name, x in tensors.items()}, heads


def save_encoder(tensors: Mapping[str, Tensor], heads: int, folder: Path) -> None:
    """Write an encoder as `read_safetensors` reads it; tensors that float16 holds exactly are in float16.

    Args:
        tensors: name -> weights, without the prefix of transformers.
        heads: of attention, a layer.
        folder: to write config.json and model.safetensors to.
    """
    from safetensors.torch import save_file

    saved = {}
    for name, tensor in tensors.items():
        half = tensor.half()
        saved[PREFIX + name] = (half if torch.equal(half.float(), tensor) else tensor).contiguous()
    save_file(saved, folder / "model.safetensors")
    write_json(folder / "config.json", {"model_type": "whisper", "encoder_attention_heads": heads})


def _norm(values: Mapping[str, np.ndarray], source: str, target: str) -> dict[str, np.ndarray]:
    return {f"{target}.weight": values[f"{source}/gamma"], f"{target}.bias": values[f"{source}/beta"]}


def _variables(path: Path) -> dict[str, np.ndarray]:
    """All variables of a CTranslate2 model.bin (its format: github.com/OpenNMT/CTranslate2, model_spec.py)."""
    data, at = path.read_bytes(), 0

    def number(kind: str) -> int:
        nonlocal at
        value: int = struct.unpack_from(f"<{kind}", data, at)[0]
        at += struct.calcsize(kind)
        return value

    def text() -> str:
        nonlocal at
        size = number("H")
        at += size
        return data[at - size : at].rstrip(b"\0").decode()

    try:
        if (version := number("I")) != CTRANSLATE2_VERSION:
            raise InputError(f"of version {version} of CTranslate2's format; {CTRANSLATE2_VERSION} is read", path)
        kind, _ = text(), number("I")
        if kind != "WhisperSpec":
            raise InputError(f"a CTranslate2 model of kind {kind[:40]!r}, not Whisper", path, "give a Whisper folder")
        variables = {}
        for _ in range(number("I")):
            name = text()
            shape = [number("I") for _ in range(number("B"))]
            dtype = np.dtype(DTYPES[number("B")])
            size = number("I")
            if at + size > len(data) or size != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
                raise ValueError
            variables[name] = np.frombuffer(data, dtype, size // dtype.itemsize, at).reshape(shape)
            at += size
        return variables
    except (struct.error, ValueError, LookupError):
        raise InputError("not a whole CTranslate2 model", path, "fetch it again") from None


def read_safetensors(folder: Path) -> tuple[dict[str, Tensor], int]:
    """The same tensors and number of heads of a folder of transformers: config.json and model.safetensors."""
    config = read_json(folder / "config.json")
    saved = load_safetensors(folder)
    tensors = {name.removeprefix(PREFIX): x.float() for name, x in saved.items() if name.startswith(PREFIX)}
    if not tensors or not isinstance(heads := config.get("encoder_attention_heads"), int):
        raise InputError("not Whisper's encoder, though config.json names it", folder, "fetch the model again")
    return tensors, heads
