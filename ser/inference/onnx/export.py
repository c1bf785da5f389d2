"""A model as one ONNX graph, from a waveform or a log-spectrum to posteriors, and what it is worth in eight bits."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser.common import InputError, atomic_path
from ser.common.metrics import confusion_matrix, ua, wa
from ser.common.progress import progress
from ser.frontends.graph import ANALYSIS
from ser.inference.check.labelled import read_labelled
from ser.inference.model import WEIGHTS
from ser.inference.onnx.graph import PredictorGraph
from ser.inference.onnx.runtime import open_session
from ser.inference.predict.sound import read_mono
from ser.inference.predictor import Predictor, Statistics

INPUTS = ("waveform", "spectrum")
# Inputs that need not be given, where the normalisation is by speaker or corpus: mean and deviation of the group.
STATISTICS = ("group_mean", "group_deviation")
OPSET = 17
# How far the posteriors of a graph may be from those of predict.
TOLERANCE = 1e-4
# Seconds and batch sizes that are compared before a graph is written; further rows are
# shorter by a quarter each. In less audio the rounding of features to two bytes shows, by a few values a frame that
# fall to the other side.
LENGTHS, BATCHES = (1.0, 2.2, 4.3), (1, 3)


def export(predictor: Predictor, kind: str, path: Path) -> float:
    """Write the graph, after comparing its answers in onnxruntime with those of predict.

    Args:
        kind: of INPUTS.

    Returns:
        By how much posteriors differ at most.

    Raises:
        InputError: onnx or onnxruntime is not there, or the answers differ.
    """
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            fix = "pip install onnx onnxruntime, or `ser_environment onnx`"
            raise InputError(f"{package} is not installed", "ser export", fix)
    import onnx

    time = {"waveform": "samples", "spectrum": "frames"}[kind]
    example = torch.zeros(2, 8192) if kind == "waveform" else torch.zeros(2, 64, predictor.frontend.width)
    with atomic_path(path) as temporary:
        with torch.no_grad(), _quiet():
            torch.onnx.export(
                PredictorGraph(predictor, kind).eval(),
                (example, torch.tensor([example.shape[1], 50])),
                str(temporary),
                dynamo=False,  # the other one holds lengths fast, and takes fifty times as long
                opset_version=OPSET,
                input_names=[kind, "lengths"],
                output_names=["posteriors"],
                dynamic_axes={kind: {0: "batch", 1: time}, "lengths": {0: "batch"}, "posteriors": {0: "batch"}},
            )
        graph = onnx.load(temporary)
        for name in {one.name for one in graph.graph.initializer} & set(STATISTICS):  # which may be given then
            shape = [predictor.frontend.width]
            graph.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
        onnx.helper.set_model_props(graph, _metadata(predictor, kind))
        onnx.save(graph, temporary)
        difference = ExportedGraph(predictor, temporary).largest_difference()
        if not difference <= TOLERANCE:
            raise InputError(
                f"not written, for in onnxruntime its posteriors differ by {difference:.1g} from those of predict",
                path,
                "install the versions that constraints.txt names",
            )
    return difference


def quantise(path: Path, out: Path) -> None:
    """Write a graph with weights in eight bits, and activations in as many where they meet these.

    Fourier transform and mel bands stay as they are. Activations are scaled by the greatest in the batch, so answers
    depend on what else is in it.

    Args:
        path: of the graph.
        out: of the graph to write.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]

    nodes = onnx.load(path).graph.node
    analysis = [node.name for node in nodes if any(name.endswith(ANALYSIS) for name in node.input)]
    with atomic_path(out) as temporary, _quiet():
        # Not signed: ConvInteger is three times as slow with these as in 32 bits.
        quantize_dynamic(path, temporary, weight_type=QuantType.QUInt8, nodes_to_exclude=analysis)


def _metadata(predictor: Predictor, kind: str) -> dict[str, str]:
    """Metadata of the file: texts, JSON where it is more than a word."""
    description = predictor.model.description
    found: dict[str, Any] = {
        "labels": list(predictor.classes),
        "head": predictor.head,
        "input": kind,
        "sampling_rate": predictor.sampling_rate,
        "normalisation": predictor.normalisation,
        "temperature": {key: values["temperature"] for key, values in predictor.calibrations.items()},
        "calibrations": predictor.calibrations,
        "trained": predictor.trained,
        "shortest": predictor.shortest,
        "settings": description.get("settings"),
        "licences": {corpus: about.get("licence") for corpus, about in description.get("corpora", {}).items()},
        "provenance": description.get("provenance"),
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}


class ExportedGraph:
    """A graph of a model, in onnxruntime on the CPU with as many threads as torch has, beside predict.

    Samples are float32, (samples,) each, at the model's rate; statistics are of the speaker or corpus, None: the
    training's; posteriors are (batch, classes).
    """

    def __init__(self, predictor: Predictor, path: Path) -> None:
        self.predictor, self.session = predictor, open_session(path, torch.get_num_threads())
        self.kind: str = self.session.get_inputs()[0].name

    def posteriors(self, samples: Sequence[np.ndarray], statistics: Statistics | None = None) -> np.ndarray:
        """By the graph, rows padded to one batch.

        Args:
            samples: of each row.
            statistics: of all of them.
        """
        rows = list(samples) if self.kind == "waveform" else [self.predictor.spectrum(row) for row in samples]
        lengths = np.array([len(row) for row in rows])
        x = np.zeros((len(rows), lengths.max(), *rows[0].shape[1:]), np.float32)
        for padded, row in zip(x, rows, strict=True):
            padded[: len(row)] = row
        given = dict(zip(STATISTICS, statistics or (), strict=False))
        return np.asarray(self.session.run(["posteriors"], {self.kind: x, "lengths": lengths, **given})[0])

    def largest_difference(self) -> float:
        """Between the posteriors and those of predict, of noise that swells, in several lengths and batches."""
        rng, rate, found = np.random.default_rng(0), self.predictor.sampling_rate, []
        for size in BATCHES:
            for seconds in LENGTHS:
                samples = []
                for row in range(size):
                    swell = np.sin(np.linspace(0.1, 9, int(seconds * rate * (1 - row / 4)))) ** 2
                    samples.append((rng.normal(0, 0.2, len(swell)) * swell).astype(np.float32))
                found.append(self.posteriors(samples) - predict_posteriors(self.predictor, samples))
        return max(float(np.abs(values).max()) for values in found)


def predict_posteriors(
    predictor: Predictor, samples: Sequence[np.ndarray], statistics: Statistics | None = None
) -> np.ndarray:
    """Posteriors by predict.

    Args:
        predictor: of the model.
        samples: as of `ExportedGraph`.
        statistics: as of `ExportedGraph`.
    """
    return predictor.posteriors([predictor.prepare(predictor.spectrum(row), statistics) for row in samples])


def compare_graphs(predictor: Predictor, graphs: Sequence[Path], data_dir: Path) -> list[dict[str, Any]]:
    """Scores of predict and of graphs on a Kaldi data dir, its utterances one by one, and its speakers known to all.

    Args:
        predictor: of the model.
        graphs: files of graphs.
        data_dir: a Kaldi data dir with utt2emo.

    Returns:
        A row each: name, MB, ua, wa, n, and the largest difference of a posterior from that of predict.

    Raises:
        InputError: no such data dir, an utterance that cannot be read, or a label that is none of the model's.
    """
    exported = [ExportedGraph(predictor, path) for path in graphs]
    names = ["predict", *map(str, graphs)]
    labelled = read_labelled([str(data_dir)], predictor.classes, data_dir)
    targets = np.array([predictor.classes.index(one.emotion) for one in labelled])
    by_speaker = predictor.normalisation == "speaker"
    utterances = [
        (one.source.speaker if by_speaker else one.corpus, read_mono(one.source, predictor.sampling_rate))
        for one in labelled
    ]
    known = utterances if predictor.statistics else []
    statistics = predictor.group_statistics_of((group, predictor.frames(samples)) for group, samples in known)
    found = []
    for group, samples in progress(utterances, text="test", unit="utt"):
        own = statistics.get(group)
        found.append(
            [predict_posteriors(predictor, [samples], own)[0], *(g.posteriors([samples], own)[0] for g in exported)]
        )
    rows, right = [], np.array([each[0] for each in found])
    for number, name in enumerate(names):
        posteriors = np.array([each[number] for each in found])
        scored = confusion_matrix(targets, posteriors.argmax(1), len(predictor.classes))
        size = (Path(name) if number else predictor.model.folder / WEIGHTS).stat().st_size
        worst = float(np.abs(posteriors - right).max())
        row = {"ua": ua(scored), "wa": wa(scored), "n": len(targets), "worst": worst}
        rows.append({"name": name, "MB": size / 1e6, **row})
    return rows


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporter and quantiser print for their developers."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
