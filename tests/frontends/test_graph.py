"""A front end's graph gives what the front end does, of every row of a batch, whatever lies behind its end."""

import numpy as np
import pytest
import torch
from test_pretrained import frontend_of, speech

from ser.common import InputError
from ser.config import load
from ser.frontends import build_frontend
from ser.frontends.base import Frontend


def assert_same(frontend, rows, tolerance):
    padded = torch.full((len(rows), max(map(len, rows))), 7.0)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = torch.from_numpy(row)
    with torch.no_grad():
        found, lengths = frontend.graph().eval()(padded, torch.tensor([len(row) for row in rows]))
    for values, length, row in zip(found, lengths.tolist(), rows, strict=True):
        expected = frontend.extract(row)
        assert length == len(expected)
        np.testing.assert_allclose(values[:length].numpy(), expected, atol=tolerance)


@pytest.mark.parametrize("settings", [["frontend.name=log_stft"], ["frontend.name=logmel", "frontend.bands=23"]])
def test_spectra(settings):
    frontend = build_frontend(load("strict", None, ["corpora=[one]", *settings]))
    assert_same(frontend, [speech(seconds, 8000) for seconds in (0.02, 0.064, 0.5, 1.01)], 1e-3)


@pytest.mark.parametrize(
    "settings", [["frontend.trim_decibels=40"], ["frontend.trim_decibels=0", "frontend.layers=0,3"]]
)
def test_whisper(whisper, settings):
    """Shorter than a frame of trimming or encoder, an odd number of frames, quiet and loud ends."""
    rows = [speech(1.01), speech(0.7)[3000:-3000], np.zeros(5000, np.float32)]
    rows += [np.full(n, 0.1, np.float32) for n in (1, 399, 400, 401, 561, 720)]
    assert_same(frontend_of(whisper, *settings), rows, 1e-3)


def test_whisper_encodes_long_audio_by_windows_too(whisper):
    """A window of less than a frame behind the last is left out, and one of less than 25 ms is not."""
    rows = [speech(30 + n / 16_000, seed=n) for n in (1, 319, 321, 399)] + [speech(0.5)]
    assert_same(frontend_of(whisper, "frontend.trim_decibels=0"), rows, 1e-3)


def test_encoders_without_a_graph_are_refused_by_name(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, conv_dim=[8] * 7
    )
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=f"{tmp_path}.*hubert.*spectrum"):
        frontend_of(tmp_path).graph()
    with pytest.raises(InputError, match="spectrum"):
        Frontend.graph(frontend_of(tmp_path))
