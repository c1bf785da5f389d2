import json
from functools import partial

import numpy as np
import pytest
import tiny
import torch
from conftest import refuses

from ser.common import InputError
from ser.config import load
from ser.frontends import build_frontend
from ser.frontends.pretrained import layer_numbers, trim_samples
from ser.frontends.whisper import WhisperEncoder, log_mel, mel_filters, read_ctranslate2


def frontend_of(folder, *overrides):
    settings = ["corpora=[one]", "frontend.name=pretrained", f"frontend.model={folder}", *overrides]
    return build_frontend(load("strict", None, settings))


def speech(seconds, rate=16_000, seed=0):
    """Noise that comes and goes, with silent ends of 0.1 s."""
    rng, n = np.random.default_rng(seed), round(seconds * rate)
    samples = rng.normal(0, 0.1, n) * np.sin(np.linspace(0, 9, n)) ** 2
    samples[: rate // 10] = samples[-rate // 10 :] = 0
    return samples.astype(np.float32)


def test_a_ctranslate2_folder_gives_the_tensors_that_were_written(whisper):
    found, heads = read_ctranslate2(whisper / "model.bin")
    expected = tiny.whisper_tensors()
    assert heads == tiny.HEADS
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_whisper_is_that_of_transformers(whisper):
    transformers = pytest.importorskip("transformers")
    theirs = tiny.of_transformers(tiny.whisper_tensors(), tiny.HEADS)
    samples = np.zeros(30 * 16_000, np.float32)
    samples[:48_000] = speech(3)
    extractor = transformers.WhisperFeatureExtractor(feature_size=tiny.BANDS)
    mel = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_features
    torch.testing.assert_close(log_mel(torch.from_numpy(samples), tiny.BANDS), mel[0], rtol=0, atol=1e-5)
    with torch.no_grad():
        expected = theirs(mel, output_hidden_states=True).hidden_states
        found = WhisperEncoder(*read_ctranslate2(whisper / "model.bin")).eval()(mel)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_opening_an_encoder_draws_no_random_number(tmp_path):
    folder = tiny.write_ctranslate2(tmp_path / "model")
    before = torch.get_rng_state()
    frontend_of(folder).extract(speech(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_mel_filters_have_slaneys_shape():
    filters = mel_filters(80).numpy()
    assert filters.shape == (80, 201)
    # Unit area: the sum over bins of 40 Hz is 1 / 40, where triangles are wide enough to be sampled well.
    np.testing.assert_allclose(filters[60:].sum(1) * 40, 1, atol=0.02)
    centres = np.arange(1, 81) * (15 + 27 * np.log(8) / np.log(6.4)) / 81  # in mel, of which 1 kHz is 15
    assert np.argmax(filters[:, 25]) == np.argmin(np.abs(centres - 15))


@pytest.mark.parametrize("layers", ["all", "2", "0,3"])
def test_frames_of_layers_side_by_side(whisper, layers):
    frontend, every = frontend_of(whisper, f"frontend.layers={layers}"), frontend_of(whisper, "frontend.layers=0,1,2,3")
    numbers = {"all": [1, 2, 3], "2": [2], "0,3": [0, 3]}[layers]
    assert (frontend.dim, frontend.layers, frontend.width) == (tiny.SIZE, len(numbers), tiny.SIZE * len(numbers))
    found, expected = frontend.extract(speech(1)), every.extract(speech(1))
    assert found.dtype == np.float32
    # 1 s less 0.1 s at either end, a frame each 20 ms, and up to 25 ms of an end that belongs to a loud frame.
    assert 40 <= len(found) <= 42
    np.testing.assert_array_equal(found, expected.reshape(len(found), 4, -1)[:, numbers].reshape(len(found), -1))


def test_long_audio_is_encoded_by_windows_of_30_s(whisper):
    frontend = frontend_of(whisper, "frontend.trim_decibels=0")
    samples = speech(75)
    found = frontend.extract(samples)
    assert len(found) == frontend.num_frames(len(samples)) == 75 * 50
    np.testing.assert_array_equal(found[:1500], frontend.extract(samples[: 30 * 16_000]))
    np.testing.assert_array_equal(found[3000:], frontend.extract(samples[60 * 16_000 :]))


def test_several_utterances_at_once_have_the_values_of_each(whisper):
    frontend = frontend_of(whisper)
    several = [speech(seconds) for seconds in (1, 31, 0.02, 12, 14, 9)]
    for together, samples in zip(frontend.extract_all(several), several, strict=True):
        np.testing.assert_allclose(together, frontend.extract(samples), atol=1e-5)


@pytest.mark.parametrize("samples", [1, 160, 399, 400, 401, 30 * 16_000 + 1, 30 * 16_000 + 399])
def test_any_length_gives_frames(whisper, samples):
    frontend = frontend_of(whisper, "frontend.trim_decibels=0")
    found = frontend.extract(np.full(samples, 0.1, np.float32))
    assert len(found) == frontend.num_frames(max(samples, 400))
    assert np.isfinite(found).all()


def test_ends_are_trimmed_by_level():
    samples = np.concatenate([np.full(8000, 1e-4), np.full(16_000, 0.1), np.full(8000, 1e-4)]).astype(np.float32)
    start, end = trim_samples(samples, 16_000, 40)
    assert 8000 - 400 <= start <= 8000
    assert 24_000 <= end <= 24_000 + 400
    assert trim_samples(samples, 16_000, 0) == (0, len(samples))
    assert trim_samples(samples, 16_000, 80) == (0, len(samples))
    assert trim_samples(np.zeros(1000, np.float32), 16_000, 40) == (0, 1000)


@pytest.mark.parametrize(("layers", "expected"), [("all", (1, 2, 3, 4)), ("0", (0,)), ("3,1", (1, 3)), ("4", (4,))])
def test_layer_numbers(layers, expected):
    assert layer_numbers(layers, 4) == expected


@pytest.mark.parametrize("layers", ["9", "1,5", "-1", "1,1", "", "a", "1;2", "1.5"])
def test_layers_that_there_are_not(layers):
    with pytest.raises(InputError, match=r"frontend\.layers"):
        layer_numbers(layers, 4)


def test_the_identity_is_of_weights_and_settings_and_not_of_the_place(whisper, tmp_path):
    moved = tiny.write_ctranslate2(tmp_path / "elsewhere")
    assert frontend_of(whisper).identity() == frontend_of(moved).identity()
    others = ["frontend.layers=1", "frontend.trim_decibels=30", "features.storage=float32"]
    found = [frontend_of(whisper, *more).identity() for more in ([], *([o] for o in others))]
    assert len({json.dumps(identity, sort_keys=True) for identity in found}) == 4


def test_a_saved_encoder_gives_the_same_values(whisper, tmp_path):
    frontend = frontend_of(whisper)
    frontend.save(tmp_path / "saved")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == ["config.json", "model.safetensors"]
    again = frontend_of(tmp_path / "saved")
    np.testing.assert_array_equal(again.extract(speech(1)), frontend.extract(speech(1)))


@pytest.mark.parametrize("kind", ["Wav2Vec2", "Hubert", "WavLM", "Data2VecAudio"])
def test_encoders_of_transformers(tmp_path, kind):
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=[8] * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}Model")(config).eval()
    model.save_pretrained(tmp_path / "model", safe_serialization=True)
    frontend = frontend_of(tmp_path / "model", "frontend.trim_decibels=0")
    assert (frontend.dim, frontend.layers, frontend.sampling_rate, frontend.frame_shift) == (16, 2, 16_000, 320)
    samples = speech(2)
    found = frontend.extract(samples)
    normalised = torch.from_numpy((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7))
    with torch.no_grad():
        states = model(normalised[None], output_hidden_states=True).hidden_states
    np.testing.assert_allclose(found, torch.cat(states[1:], 2)[0].numpy(), atol=1e-4)
    assert len(frontend.extract(np.zeros(1, np.float32))) == 1
    assert abs(len(frontend.extract(speech(31))) - 31 * 50) <= 3
    frontend.save(tmp_path / "saved")
    np.testing.assert_array_equal(frontend_of(tmp_path / "saved", "frontend.trim_decibels=0").extract(samples), found)


def written(folder, config, name="model.safetensors", data=b""):
    folder.mkdir()
    (folder / "config.json").write_text(config)
    (folder / name).write_bytes(data)


def cut_short(folder, share):
    path = tiny.write_ctranslate2(folder) / "model.bin"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


WHISPER = '{"model_type": "whisper", "encoder_attention_heads": 2}'
OTHER_KINDS = ["[]", "{", "null", '{"model_type": "bert", "hidden_size": 8}', "{}"]
PICKLED = ["pytorch_model.bin", "model.pt", "weights.ckpt"]


@pytest.mark.parametrize(
    ("write", "names"),
    [
        (lambda folder: None, []),
        (lambda folder: (tiny.write_ctranslate2(folder) / "config.json").unlink(), ["config.json"]),
        *((partial(written, config=text), []) for text in OTHER_KINDS),
        *((partial(written, config='{"model_type": "wav2vec2"}', name=n), [n, "safetensors"]) for n in PICKLED),
        (partial(written, config=WHISPER, data=b"\x80\x04\x95" + bytes(100)), []),
        (partial(tiny.write_ctranslate2, kind="TransformerSpec"), ["TransformerSpec"]),
        (partial(tiny.write_ctranslate2, dtype="i1"), ["model.bin", "float16"]),
        (partial(tiny.write_ctranslate2, version=3), ["version 3"]),
        *((partial(cut_short, share=share), ["model.bin"]) for share in (0.0, 0.0001, 0.5, 0.99)),
    ],
)
def test_bad_models_are_refused_by_name(tmp_path, write, names):
    write(tmp_path / "model")
    with refuses() as error:
        frontend_of(tmp_path / "model").extract(speech(1))
    assert all(name in str(error.value) for name in (str(tmp_path / "model"), *names))


def test_a_name_of_the_hub_without_a_commit_is_refused():
    with refuses(where="frontend.revision"):
        frontend_of("facebook/wav2vec2-base")


def test_settings_that_need_log_power_are_refused_by_name(whisper):
    for override in (
        "batches.vtlp=0.1",
        "batches.speeds=[0.9,1.1]",
        "batches.trim_decibels=35",
        "batches.floor_decibels=80",
    ):
        with pytest.raises(InputError, match=rf"batches\.{override.partition('=')[0]}"):
            frontend_of(whisper, f"batches.{override}")
    with pytest.raises(InputError, match=r"batches\.vtlp"):
        load("strict", None, ["corpora=[one]", "frontend.name=logmel", "batches.vtlp=0.1"])
    load("strict", None, ["corpora=[one]", "frontend.name=logmel", "batches.trim_decibels=35"])


def test_real_whisper_hears_speech_in_any_length(real_ravdess):
    """Where the model has been fetched: its layers at 50 Hz."""
    from ser.frontends.published import published_folder

    if not (published_folder("whisper_tiny.en") / "model.bin").is_file():
        pytest.skip("whisper_tiny.en: not fetched; run stage 0 of a recipe with --preset pretrained")
    frontend = frontend_of("whisper_tiny.en")
    assert (frontend.dim, frontend.layers) == (384, 4)
    assert frontend.extract(speech(2)).shape[1] == 1536
