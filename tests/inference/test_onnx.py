import json
from itertools import cycle, product

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import refuses
from made_models import SMALL, made_model, swelling

from ser.audio import read_audio, resample
from ser.cli import main
from ser.config.registry import POOLING, TEMPORAL
from ser.inference.onnx import export as exporting
from ser.inference.onnx import graph
from ser.inference.onnx.export import (
    INPUTS,
    STATISTICS,
    ExportedGraph,
    compare_graphs,
    export,
    predict_posteriors,
    quantise,
)
from ser.inference.onnx.runtime import GraphPredictor
from ser.inference.predictor import Predictor

# Three lengths; the second batch holds all of them.
LENGTHS = (300, 5000, 20_000)
LOUD = 7.0


def run(path, rows, padding=0.0, **more):
    """Posteriors of rows in one batch, whatever lies beyond their ends."""
    made = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    lengths = np.array([len(row) for row in rows])
    x = np.full((len(rows), lengths.max(), *rows[0].shape[1:]), padding, np.float32)
    for padded, row in zip(x, rows, strict=True):
        padded[: len(row)] = row
    return made.run(None, {made.get_inputs()[0].name: x, "lengths": lengths, **more})[0]


def worst(path, predictor, kind, samples, padding=0.0):
    """Largest difference from predict, each row alone and all in one batch; and how much the answers differ."""
    rows = samples if kind == "waveform" else [predictor.spectrum(x) for x in samples]
    right = predict_posteriors(predictor, samples)
    alone = np.concatenate([run(path, [row]) for row in rows])
    together = run(path, rows, padding)
    return max(np.abs(alone - right).max(), np.abs(together - right).max()), np.ptp(right, axis=0).max()


# Each of both; the other pairs are slow.
FIRST = set(zip(TEMPORAL, cycle(POOLING)))
PAIRS = [pytest.param(*p, marks=() if p in FIRST else pytest.mark.slow) for p in product(TEMPORAL, POOLING)]


@pytest.mark.parametrize(("temporal", "pooling"), PAIRS)
def test_graph_answers_as_predict(temporal, pooling, tmp_path):
    samples = swelling(*LENGTHS)
    predictor = Predictor(made_model(samples, *SMALL, f"temporal={temporal}", f"pooling={pooling}"))
    assert export(predictor, "waveform", tmp_path / "a.onnx") < 1e-4
    difference, spread = worst(tmp_path / "a.onnx", predictor, "waveform", samples, LOUD)
    assert spread > 0.3
    assert difference < 1e-4


@pytest.mark.parametrize("normalisation", ["none", "global", "utterance", "corpus"])
@pytest.mark.parametrize("shape", [(0, 0, 1), (20, 0, 3), (0, 30, 1)])
def test_every_way_of_preparation_is_in_the_graph(normalisation, shape, tmp_path):
    samples = swelling(*LENGTHS, seed=1)
    settings = zip(("trim_decibels", "floor_decibels", "frame_step"), shape, strict=True)
    overrides = [f"batches.normalisation={normalisation}", *(f"batches.{key}={value}" for key, value in settings)]
    predictor = Predictor(made_model(samples, *SMALL, "temporal=lstm", *overrides))
    export(predictor, "spectrum", tmp_path / "a.onnx")
    difference, spread = worst(tmp_path / "a.onnx", predictor, "spectrum", samples, LOUD)
    assert spread > 0.3
    assert difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("temporal", "pooling"), [("lstm", "mu"), ("blstm", "mu_sigma2"), ("tdnn", "mu_sigma2")])
def test_graph_answers_as_predict_on_real_speech(temporal, pooling, real_ravdess, tmp_path):
    """Networks as they are trained, in their full size: three lengths, batches of one and of six."""
    audio = [read_audio(path) for path in sorted(real_ravdess.rglob("03-01-*-0[12].*"))[::25]]
    found = sorted((resample(a.mono, a.sampling_rate, 8000) for a in audio), key=len)
    samples = [found[0], found[len(found) // 2], found[-1], *found[1:4]]
    assert len({len(x) for x in samples}) >= 3
    for preset in ("strict", "strong"):
        predictor = Predictor(made_model(samples, f"temporal={temporal}", f"pooling={pooling}", preset=preset))
        for kind in INPUTS:
            export(predictor, kind, tmp_path / "a.onnx")
            difference, spread = worst(tmp_path / "a.onnx", predictor, kind, samples)
            assert spread > 0.3
            assert difference < 1e-4, (preset, kind)


def test_heads_are_chosen_or_averaged(tmp_path):
    samples = swelling(*LENGTHS)
    model = made_model(samples, *SMALL, "temporal=lstm")
    found = {}
    for head in ("one", "two", "mean"):
        export(Predictor(model, head), "waveform", tmp_path / "a.onnx")
        found[head] = run(tmp_path / "a.onnx", samples)
        meta = {p.key: p.value for p in onnx.load(tmp_path / "a.onnx").metadata_props}
        assert json.loads(meta["labels"]) == list(Predictor(model, head).classes)
        assert (meta["head"], meta["input"], meta["sampling_rate"]) == (head, "waveform", "8000")
    # one: angry, happy, neutral, sad; two: sad, calm, angry
    one, two = found["one"], found["two"]
    zero = np.zeros(len(samples))
    expected = np.stack([one.T[0] + two.T[2], one.T[1], one.T[2], one.T[3] + two.T[0], zero + two.T[1]], axis=1) / 2
    np.testing.assert_allclose(found["mean"], expected, atol=1e-6)


def test_statistics_of_a_speaker_may_be_given(tmp_path):
    samples = swelling(*LENGTHS)
    predictor = Predictor(made_model(samples, *SMALL, "temporal=lstm"))
    export(predictor, "waveform", tmp_path / "a.onnx")
    own = np.full(257, -12, np.float32), np.full(257, 4, np.float32)
    right = predict_posteriors(predictor, samples, own)
    assert np.abs(right - predict_posteriors(predictor, samples)).max() > 0.1
    found = run(tmp_path / "a.onnx", samples, **dict(zip(STATISTICS, own, strict=True)))
    np.testing.assert_allclose(found, right, atol=1e-4)
    np.testing.assert_array_equal(ExportedGraph(predictor, tmp_path / "a.onnx").posteriors(samples, own), found)


def test_a_graph_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    samples = swelling(*LENGTHS)
    predictor = Predictor(made_model(samples, *SMALL, "temporal=lstm"))
    monkeypatch.setattr(graph, "rounded", lambda x, lengths: 0.1 * x)
    with refuses("not written, for in onnxruntime its posteriors differ by", where="a.onnx"):
        export(predictor, "waveform", tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_the_fix_is_in_the_error(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with refuses("onnxruntime is not installed"):
        export(Predictor(made_model(swelling(*LENGTHS), *SMALL)), "waveform", tmp_path / "a.onnx")


@pytest.mark.parametrize(("temporal", "integer"), [("blstm", "DynamicQuantizeLSTM"), ("tdnn", "ConvInteger")])
def test_eight_bits_but_for_the_fourier_transform(temporal, integer, tmp_path):
    samples = swelling(*LENGTHS)
    predictor = Predictor(made_model(samples, f"temporal={temporal}"))
    export(predictor, "waveform", tmp_path / "a.onnx")
    quantise(tmp_path / "a.onnx", tmp_path / "b.onnx")
    nodes = list(onnx.load(tmp_path / "b.onnx").graph.node)
    assert integer in {node.op_type for node in nodes}
    assert [node.op_type for node in nodes if any(n.endswith("basis") for n in node.input)] == ["Conv"]
    assert (tmp_path / "b.onnx").stat().st_size < 0.5 * (tmp_path / "a.onnx").stat().st_size
    difference = np.abs(run(tmp_path / "b.onnx", samples[-1:]) - run(tmp_path / "a.onnx", samples[-1:])).max()
    assert 0 < difference < 0.1
    assert GraphPredictor(tmp_path / "b.onnx").classes == predictor.classes  # whose checksum is its own


@pytest.fixture
def packed(packed_with):
    """A model package, and what result.json has of it."""
    folder, model = packed_with("batches.normalisation=speaker", corpora="one")
    return model, json.loads((folder / "result.json").read_text())["targets"]["one"]


def test_command_shows_what_each_graph_is_worth(packed, made, tmp_path, capsys):
    model, scored = packed
    test = made.data_root / "one" / "strict_fold1" / "test"
    out = tmp_path / "a.onnx"
    assert main(["export", str(model), str(out), "--int8", "true", "--test", str(test)]) == 0
    printed = capsys.readouterr().out
    rows = {
        cells[1]: cells[2:-1] for cells in ([c.strip() for c in line.split("|")] for line in printed.splitlines()[-5:])
    }
    assert {str(out), str(tmp_path / "a.int8.onnx"), "predict"} < rows.keys()
    # With the statistics of the speakers, as decoding has them.
    assert rows["predict"][1] == rows[str(out)][1] == f"{100 * scored['ua']:.1f}"
    assert float(rows[str(out)][3]) < 1e-4 < float(rows[str(tmp_path / "a.int8.onnx")][3])
    assert float(rows[str(tmp_path / "a.int8.onnx")][0]) <= float(rows[str(out)][0])
    assert "unless group_mean and group_deviation are given" in printed


def test_labels_of_another_set_are_named(tmp_path):
    samples = swelling(*LENGTHS)
    predictor = Predictor(made_model(samples, *SMALL))
    (tmp_path / "utt2emo").write_text("a bored\n")
    (tmp_path / "wav.scp").write_text("a a.wav\n")
    with refuses("(bored; a is one); it answers angry, happy, neutral, sad", where="utt2emo"):
        compare_graphs(predictor, [], tmp_path)
