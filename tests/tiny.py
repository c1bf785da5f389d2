"""Tiny encoders with random weights, in the formats of real ones."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

SIZE, HEADS, DEPTH, BANDS, INNER = 16, 2, 3, 80, 24


def whisper_tensors() -> dict[str, torch.Tensor]:
    """Make weights of Whisper's encoder with the names of transformers, exact in float16."""
    shapes = {
        "conv1.weight": (SIZE, BANDS, 3),
        "conv1.bias": (SIZE,),
        "conv2.weight": (SIZE, SIZE, 3),
        "conv2.bias": (SIZE,),
        "embed_positions.weight": (1500, SIZE),
        "layer_norm.weight": (SIZE,),
        "layer_norm.bias": (SIZE,),
    }
    for i in range(DEPTH):
        layer = f"layers.{i}."
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            shapes |= {f"{layer}{name}.weight": (SIZE,), f"{layer}{name}.bias": (SIZE,)}
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{layer}self_attn.{name}.weight"] = (SIZE, SIZE)
            if name != "k_proj":
                shapes[f"{layer}self_attn.{name}.bias"] = (SIZE,)
        shapes |= {f"{layer}fc1.weight": (INNER, SIZE), f"{layer}fc1.bias": (INNER,)}
        shapes |= {f"{layer}fc2.weight": (SIZE, INNER), f"{layer}fc2.bias": (SIZE,)}
    rng = np.random.default_rng(0)
    return {
        name: torch.from_numpy(rng.normal(0, 0.3, shape).astype(np.float16)).float() for name, shape in shapes.items()
    }


def of_transformers(tensors: dict[str, torch.Tensor], heads: int) -> Any:
    """Make Whisper's encoder of transformers."""
    from transformers import WhisperConfig, WhisperModel

    size, bands, _ = tensors["conv1.weight"].shape
    config = WhisperConfig(
        d_model=size,
        encoder_layers=1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers.")),
        encoder_attention_heads=heads,
        encoder_ffn_dim=tensors["layers.0.fc1.weight"].shape[0],
        num_mel_bins=bands,
        decoder_layers=1,
        decoder_attention_heads=heads,
        vocab_size=8,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0),
    )
    encoder = WhisperModel(config).encoder.eval()
    encoder.load_state_dict(tensors)
    return encoder


def write_ctranslate2(folder: Path, kind: str = "WhisperSpec", dtype: str = "<f2", version: int = 6) -> Path:
    """Write a folder in the format of faster-whisper, with one variable of the decoder."""
    tensors = {name: tensor.numpy() for name, tensor in whisper_tensors().items()}
    values: dict[str, np.ndarray] = {"decoder/scale": np.ones(1), "encoder/num_heads": np.array(HEADS, np.int16)}
    for name in ("conv1", "conv2"):
        values |= {f"encoder/{name}/{part}": tensors[f"{name}.{part}"] for part in ("weight", "bias")}
    values["encoder/position_encodings/encodings"] = tensors["embed_positions.weight"]

    def norm(theirs: str, own: str) -> None:
        values[f"{theirs}/gamma"], values[f"{theirs}/beta"] = tensors[f"{own}.weight"], tensors[f"{own}.bias"]

    norm("encoder/layer_norm", "layer_norm")
    for i in range(DEPTH):
        theirs, own = f"encoder/layer_{i}/", f"layers.{i}."
        norm(f"{theirs}self_attention/layer_norm", f"{own}self_attn_layer_norm")
        norm(f"{theirs}ffn/layer_norm", f"{own}final_layer_norm")
        for part in ("weight", "bias"):
            projections = [tensors.get(f"{own}self_attn.{n}_proj.{part}", np.zeros(SIZE)) for n in "qkv"]
            values[f"{theirs}self_attention/linear_0/{part}"] = np.concatenate(projections)
            values[f"{theirs}self_attention/linear_1/{part}"] = tensors[f"{own}self_attn.out_proj.{part}"]
            for n in (1, 2):
                values[f"{theirs}ffn/linear_{n - 1}/{part}"] = tensors[f"{own}fc{n}.{part}"]
    numbers = {"<f4": 0, "i1": 1, "<i2": 2, "<f2": 4}

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    data = struct.pack("<I", version) + text(kind) + struct.pack("<II", 3, len(values))
    for name, array in values.items():
        stored = array.astype(dtype if array.dtype.kind == "f" else "<i2")
        data += text(name) + struct.pack("<B", stored.ndim) + struct.pack(f"<{stored.ndim}I", *stored.shape)
        data += struct.pack("<BI", numbers[stored.dtype.str.replace("|", "")], stored.nbytes) + stored.tobytes()
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(data)
    (folder / "config.json").write_text(json.dumps({"lang_ids": []}))
    return folder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a tiny Whisper encoder."""
    return write_ctranslate2(tmp_path_factory.mktemp("tiny") / "whisper")
