"""Recordings that would give an answer that is no number, or none: an error of that file, the others are answered."""

import json
import os

import numpy as np
import pytest
import soundfile
import torch
from conftest import refuses

from ser import load_model
from ser.cli import main
from ser.inference.model import open_model
from ser.inference.predictor import Predictor

pytestmark = pytest.mark.filterwarnings("ignore:.*no speakers are named")


def noise(samples=4000, rate_seed=0):
    return np.random.default_rng(rate_seed).normal(0, 0.1, samples).astype(np.float32)


@pytest.fixture
def loud(tmp_path):
    samples = noise()
    samples[1234] = 1e30
    soundfile.write(tmp_path / "loud.wav", samples, 8000, subtype="FLOAT")
    return tmp_path / "loud.wav"


def answers(text: str) -> dict[str, dict]:
    """JSON lines by file; a constant such as NaN is no JSON."""

    def refuse(name):
        raise AssertionError(name)

    return {row["file"]: row for row in (json.loads(line, parse_constant=refuse) for line in text.splitlines())}


def test_a_sample_beyond_any_power_is_an_error_of_its_file(packed, loud, capsys):
    good = loud.with_name("good.wav")
    soundfile.write(good, noise(), 8000)
    assert main(["predict", str(packed), str(loud), str(good), "--format", "jsonl"]) == 1
    printed = capsys.readouterr()
    found = answers(printed.out)
    assert found[str(good)]["label"]
    assert "sample 1234" in printed.err
    assert f"{loud}" in printed.err


@pytest.mark.parametrize("command", ["timeline", "explain"])
def test_a_sample_beyond_any_power_is_one_line_of_other_commands(packed, loud, tmp_path, capsys, command):
    assert main([command, str(packed), str(loud), "--out", str(tmp_path / "out.png")]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert any(line.startswith(f"error: {loud}: sample 1234 is") for line in lines), lines


@pytest.mark.parametrize("samples", [1, 2, 47])
def test_what_is_too_short_to_be_resampled_is_an_error_of_its_file(packed, tmp_path, capsys, samples):
    short, good = tmp_path / "short.wav", tmp_path / "good.wav"
    soundfile.write(short, noise(samples), 48000)
    soundfile.write(good, noise(), 8000)
    for channel in ("mix", "each"):
        assert main(["predict", str(packed), str(short), str(good), "--format", "jsonl", "--channel", channel]) == 1
        printed = capsys.readouterr()
        assert any(row.get("label") for row in answers(printed.out).values())
        assert f"{short}: too short: {samples} samples" in printed.err
    assert main(["timeline", str(packed), str(short), "--out", str(tmp_path / "out")]) == 1
    assert f"error: {short}: too short" in capsys.readouterr().err
    soundfile.write(short, noise(48), 48000)
    assert main(["predict", str(packed), str(short)]) == 0


def test_samples_from_python_are_checked_as_files_are(packed):
    model = load_model(packed)
    loud = noise().astype(np.float64)
    loud[1234] = -1e300
    first, second, third = model.predict([loud, noise(2), noise()], 48000)
    assert first.label is None
    assert "sample 1234" in first.error
    assert "too short: 2 samples" in second.error
    assert third.label
    for rate in (0, -8000, 1, 10**9, float("nan")):
        with refuses("a sampling rate of", where="[0]"):
            model.predict(noise(), rate)


def test_a_posterior_that_is_no_number_is_an_error(packed):
    predictor = Predictor(open_model(packed))
    with torch.no_grad():
        next(predictor.model.network.parameters()).fill_(float("nan"))
    with refuses(where=packed):
        predictor.posteriors([np.zeros((10, predictor.frontend.width), np.float32)])


def test_a_pipe_is_refused_at_once(packed, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.wav")
    assert main(["predict", str(packed), str(tmp_path / "pipe.wav")]) == 1
    assert f"{tmp_path / 'pipe.wav'}: a pipe" in capsys.readouterr().err
    os.mkfifo(tmp_path / "wav.scp")
    assert main(["predict", str(packed), str(tmp_path / "wav.scp")]) == 1
    assert f"{tmp_path / 'wav.scp'}: a pipe" in capsys.readouterr().err
