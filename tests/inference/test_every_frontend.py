"""Training, decoding, packing and everything that a model package is used for, with front ends beside the log-STFT."""

import json
import shutil
import tracemalloc

import numpy as np
import onnx
import pytest
import soundfile
from conftest import refuses
from made import filled, make
from packed import finish
from test_onnx import worst
from test_predict_is_decode import assert_decoded, files_of, list_of

from ser import load_model
from ser.cli import main
from ser.frontends.weights import weights_digest
from ser.inference.model import open_model
from ser.inference.pack import pack
from ser.inference.predictor import Predictor

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*no speakers are named")]

STATISTICS = ("temporal=none", "pooling=statistics", "network.prep_layers=0")
CASES = {
    "concatenated": (*STATISTICS, "network.layers=concatenated", "batches.normalisation=speaker"),
    "weighted": (*STATISTICS, "network.layers=weighted", "batches.normalisation=global"),
    "attentive": (
        *("temporal=blstm", "pooling=attentive_statistics", "network.layers=weighted", "network.pooled_norm=batch"),
        *("frontend.layers=0,2", "batches.normalisation=global", "batches.frame_step=2"),
    ),
    "last layer trained": (*STATISTICS, "frontend.trainable=last_1", "batches.normalisation=none"),
    "all trained": (
        *("temporal=tdnn", "pooling=mu", "frontend.trainable=all", "frontend.layers=3", "batches.normalisation=none"),
        "network.pooled_norm=batch",
    ),
    "logmel": (*STATISTICS, "frontend.name=logmel", "batches.normalisation=speaker", "batches.trim_decibels=35"),
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Two corpora of its own, since features are linked into their data dirs; audio at 8 kHz."""
    return make(tmp_path_factory.mktemp("frontends"))


@pytest.fixture(scope="module")
def packed_case(recipe, whisper, tmp_path_factory):
    """A factory: the name of a case to (folder of the experiment, model package)."""
    found, root = {}, tmp_path_factory.mktemp("packed")

    def of(case):
        if case not in found:
            settings = ["frontend.name=pretrained", f"frontend.model={whisper}", "training.max_epochs=1", *CASES[case]]
            experiment = recipe.experiment(*settings)
            for corpus in experiment.corpora:
                filled(recipe.store(*settings, corpus=corpus)).link()
            folder = finish(recipe, root / case, experiment)
            pack(folder, root / case / "model", recipe.recipe, recipe.data_root, recipe.dump)
            found[case] = folder, root / case / "model"
        return found[case]

    return of


@pytest.mark.parametrize("case", CASES)
def test_predict_gives_the_decoded_posteriors(recipe, packed_case, case):
    folder, model = packed_case(case)
    assert (model / "frontend" / "model.safetensors").is_file() == (case != "logmel")
    assert_decoded(load_model(model).predict(list_of(recipe), head="one", raw=True), folder)
    if "batches.normalisation=speaker" not in CASES[case]:
        names = {path: key for key, path in files_of(recipe).items()}
        assert_decoded(
            load_model(model).predict(list(names), head="one", raw=True), folder, lambda answer: names[answer.id]
        )


@pytest.mark.parametrize("case", CASES)
def test_graphs_give_what_predict_does(recipe, packed_case, case, tmp_path):
    """By the command, and then in several lengths, each row alone and all in one batch, the loud padding unseen."""
    predictor = Predictor(open_model(packed_case(case)[1]))
    audio = [soundfile.read(path, dtype="float32")[0] for path in sorted(files_of(recipe).values())[:3]]
    rng = np.random.default_rng(0)
    samples = [np.repeat(x, 2)[: len(x) + 100 * i] for i, x in enumerate(audio)]
    samples += [rng.normal(0, 0.1, n).astype(np.float32) for n in (160, 399, 401, 561, 20_000)]
    for kind in ("waveform", "spectrum"):
        out = tmp_path / f"{kind}.onnx"
        assert main(["export", str(packed_case(case)[1]), str(out), "--input", kind]) == 0
        difference, spread = worst(out, predictor, kind, samples, 7.0)
        assert spread > 1e-3
        assert difference < 1e-4, kind


def test_in_eight_bits_the_analysis_stays_as_it_is(packed_case, tmp_path):
    out = tmp_path / "a.onnx"
    assert main(["export", str(packed_case("concatenated")[1]), str(out), "--int8", "true"]) == 0
    nodes = onnx.load(tmp_path / "a.int8.onnx").graph.node
    kept = {name.rpartition(".")[2]: node.op_type for node in nodes for name in node.input}
    assert (kept["basis"], kept["filters"]) == ("Conv", "MatMul")
    assert {"ConvInteger", "MatMulInteger"} <= {node.op_type for node in nodes}


def test_commands_run_on_a_pretrained_front_end(recipe, packed_case, tmp_path, capsys):
    model, audio = str(packed_case("attentive")[1]), next(iter(files_of(recipe).values()))
    assert main(["check", model, str(list_of(recipe)), "--out", str(tmp_path / "checked")]) == 0
    rows = json.loads((tmp_path / "checked" / "check.json").read_text())["rows"]
    assert {row["n"] for row in rows if not row["gender"]} == {12}
    assert main(["explain", model, audio, "--out", str(tmp_path / "why.png")]) == 0
    assert (tmp_path / "why.png").read_bytes()[:4] == b"\x89PNG"
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "call.wav", rng.normal(0, 0.1, 8 * 16_000), 16_000)
    for case in ("attentive", "concatenated"):
        options = ["--decoder", "viterbi", "--format", "json", "--out", str(tmp_path / case)]
        assert main(["timeline", str(packed_case(case)[1]), str(tmp_path / "call.wav"), *options]) == 0
        (channel,) = json.loads((tmp_path / case / "call.json").read_text())["channels"]
        assert channel["segments"]
        assert all(0 <= one["start"] < one["end"] <= 8 for one in channel["segments"])


def test_a_package_may_name_its_encoder_and_refuses_another(recipe, whisper, packed_case, tmp_path):
    folder, whole = packed_case("concatenated")
    pack(folder, tmp_path / "model", recipe.recipe, recipe.data_root, recipe.dump, reference=True)
    assert not (tmp_path / "model" / "frontend").exists()
    assert_decoded(load_model(tmp_path / "model").predict(list_of(recipe), head="one", raw=True), folder)
    kept = shutil.copytree(whisper, tmp_path / "kept")
    try:
        data = bytearray((whisper / "model.bin").read_bytes())
        data[-1] ^= 1
        (whisper / "model.bin").write_bytes(data)
        weights_digest.cache_clear()  # as in a process of its own
        with refuses("SHA-256"):
            open_model(tmp_path / "model")
        shutil.rmtree(whisper)
        with refuses(where="whisper"):
            open_model(tmp_path / "model")
        # A package that holds the encoder needs no other.
        assert_decoded(load_model(whole).predict(list_of(recipe), head="one", raw=True), folder)
    finally:
        shutil.copytree(kept, whisper, dirs_exist_ok=True)
        weights_digest.cache_clear()


def test_a_changed_encoder_within_a_package_is_refused(packed_case, tmp_path):
    shutil.copytree(packed_case("concatenated")[1], tmp_path / "model")
    path = tmp_path / "model" / "frontend" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with refuses(where="frontend/model.safetensors"):
        open_model(tmp_path / "model")


@pytest.mark.parametrize("case", ["concatenated", "weighted"])
def test_audio_of_any_length_is_answered(packed_case, case, tmp_path):
    """0.01 s, silence, and minutes of noise, for which no more is held than for one."""
    model, peaks = load_model(packed_case(case)[1]), {}
    soundfile.write(tmp_path / "short.wav", np.full(160, 0.1), 16_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    rng = np.random.default_rng(0)
    for minutes in (1, 6):
        soundfile.write(tmp_path / f"{minutes}.wav", rng.normal(0, 0.1, minutes * 60 * 8000), 8000)
    for name in ("short", "silent", "1", "6"):
        tracemalloc.start()
        (answer,) = model.predict(tmp_path / f"{name}.wav")
        peaks[name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert not answer.error
        assert sum(answer.posteriors.values()) == pytest.approx(1, abs=1e-5)
    assert peaks["6"] < 1.5 * peaks["1"]


def test_audio_below_the_rate_of_the_front_end_is_counted(recipe, whisper):
    estimates = {}
    for name in ("pretrained", "log_stft"):
        store = recipe.store(f"frontend.name={name}", f"frontend.model={whisper}", corpus="one")
        estimates[name] = store.estimate()
    assert "48 of 48 utterances are sampled below 16000 Hz, from 8000 Hz on" in estimates["pretrained"]
    assert "sampled below" not in estimates["log_stft"]
