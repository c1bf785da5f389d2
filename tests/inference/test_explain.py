import numpy as np
import pytest
import soundfile
import torch
from conftest import refuses
from made_models import SMALL, made_model, swelling

from ser.inference.explain import draw_explanation, explain
from ser.inference.predictor import Predictor


@pytest.fixture
def explained(tmp_path):
    """A predictor and a file: 1 s of next to nothing, 1 s of noise, 1 s of next to nothing, at 8 kHz."""
    rng = np.random.default_rng(0)
    samples = np.concatenate([level * rng.standard_normal(8000) for level in (1e-4, 0.1, 1e-4)])
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    model = made_model([*swelling(4000, 9000), samples.astype(np.float32)], *SMALL, "temporal=blstm")
    return Predictor(model), tmp_path / "a.wav", samples.astype(np.float32)


def test_an_explanation_is_of_what_predict_answers(explained):
    predictor, path, samples = explained
    found = explain(predictor, path)
    spectrum = predictor.spectrum(samples)
    np.testing.assert_allclose(found.spectrum, spectrum, atol=1e-3)  # which is rounded to two bytes
    np.testing.assert_allclose(found.posteriors, predictor.posteriors([predictor.prepare(spectrum)])[0], atol=1e-6)
    # Frames of 512 samples, each 128 samples after the one before, that reach into the noise.
    assert found.used == (pytest.approx(1, abs=0.04), pytest.approx(2, abs=0.04))
    assert found.step == 2 * 128 / 8000
    assert len(found.attention) == np.ceil((found.used[1] - found.used[0]) / found.step - 1e-6)
    assert found.attention.sum() == pytest.approx(1, abs=1e-5)
    assert found.attention.std() > 1e-4
    # The pooled mean is that of the frames by these weights.
    network = predictor.model.network
    x, lengths = torch.from_numpy(predictor.prepare(spectrum))[None], torch.tensor([len(found.attention)])
    by_hand = torch.from_numpy(found.attention) @ network.frames(x, lengths)[0][0]
    torch.testing.assert_close(network.embed(x, lengths)[0, : len(by_hand)], by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_picture_shows_all_three(explained, ending, tmp_path):
    predictor, path, _ = explained
    draw_explanation(explain(predictor, path), predictor, "a.wav: sad", tmp_path / f"a.{ending}")
    found = (tmp_path / f"a.{ending}").read_bytes()
    if ending == "png":
        assert found.startswith(b"\x89PNG")
        return
    labels = ("a.wav: sad", "frequency, kHz", "attention, %", "time, s (grey: silence that is cut off)")
    for text in (*labels, *predictor.classes):
        assert f"<!-- {text} -->".encode() in found


def test_too_long_and_no_audio_are_one_line(explained, tmp_path):
    predictor, _, _ = explained
    soundfile.write(tmp_path / "long.wav", np.zeros(61 * 8000), 8000)
    with refuses("61 s", where="long.wav"):
        explain(predictor, tmp_path / "long.wav")
    (tmp_path / "text.wav").write_text("no audio, but words")
    with refuses("text, not audio"):
        explain(predictor, tmp_path / "text.wav")


def test_a_pooling_without_weights_is_named(explained):
    predictor, path, _ = explained
    predictor.model.network.pooling = torch.nn.Identity()
    with refuses("its pooling, mu_sigma2, has no weights"):
        explain(predictor, path)
