"""Export of a model as an ONNX graph, from a waveform or a log-spectrum to posteriors, also in eight bits."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ser.common import InputError, atomic_path
from ser.common.metrics import confusion_matrix, ua, wa
from ser.common.progress import progress
from ser.frontends.graph import ANALYSIS
from ser.inference.check.labelled import read_labelled
from ser.inference.model import WEIGHTS
from ser.inference.onnx.graph import PredictorGraph
from ser.inference.onnx.runtime import CHECKSUM, UNSEALED, open_session, seal
from ser.inference.predict.sound import read_mono
from ser.inference.predictor import Predictor, Statistics

INPUTS = ("waveform", "spectrum")
# Optional inputs of models that are normalised by speaker or corpus: mean and deviation of the group.
STATISTICS = ("group_mean", "group_deviation")
OPSET = 17
# Largest allowed difference between the posteriors of a graph and those of predict.
TOLERANCE = 1e-4
# Seconds and batch sizes of the comparison before a graph is written; each further row is shorter by a quarter. In
# shorter audio the rounding of features to two bytes makes a difference, by the few values that round the other way.
LENGTHS, BATCHES = (1.0, 2.2, 4.3), (1, 3)


def export(predictor: Predictor, kind: str, path: Path) -> float:
    """Write the graph, after a comparison of its posteriors in onnxruntime with those of predict.

    Args:
        predictor: of the model.
        kind: of INPUTS.
        path: of the graph.

    Returns:
        The largest difference between posteriors.

    Raises:
        InputError: onnx or onnxruntime is not installed, or the posteriors differ.
    """
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            fix = "pip install onnx onnxruntime, or `ser_environment onnx`"
            raise InputError(f"{package} is not installed", "ser export", fix)
    import onnx

    time = {"waveform": "samples", "spectrum": "frames"}[kind]
    example = torch.zeros(2, 8192) if kind == "waveform" else torch.zeros(2, 64, predictor.frontend.width)
    with atomic_path(path) as temporary:
        with torch.no_grad(), _suppress_output():
            torch.onnx.export(
                PredictorGraph(predictor, kind).eval(),
                (example, torch.tensor([example.shape[1], 50])),
                str(temporary),
                dynamo=False,  # the other exporter fixes lengths, and takes fifty times as long
                opset_version=OPSET,
                input_names=[kind, "lengths"],
                output_names=["posteriors"],
                dynamic_axes={kind: {0: "batch", 1: time}, "lengths": {0: "batch"}, "posteriors": {0: "batch"}},
            )
        graph = onnx.load(temporary)
        for name in {constant.name for constant in graph.graph.initializer} & set(STATISTICS):  # as optional inputs
            shape = [predictor.frontend.width]
            graph.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
        onnx.helper.set_model_props(graph, _metadata(predictor, kind))
        onnx.save(graph, temporary)
        seal(temporary)
        difference = ExportedGraph(predictor, temporary).largest_difference()
        if not difference <= TOLERANCE:
            what = f"not written, for in onnxruntime its posteriors differ by {difference:.1g} from those of predict"
            raise InputError(what, path, "install the versions that constraints.txt names")
    return difference


def quantise(path: Path, out: Path) -> None:
    """Write a graph with weights in eight bits, and the activations that they are multiplied with.

    Fourier transform and mel bands stay in 32 bits. Activations are scaled by the greatest in the batch, so posteriors
    depend on the batch.

    Args:
        path: of the graph.
        out: of the graph to write.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]

    nodes = onnx.load(path).graph.node
    analysis = [node.name for node in nodes if any(name.endswith(ANALYSIS) for name in node.input)]
    with atomic_path(out) as temporary, _suppress_output():
        # Not signed: ConvInteger is three times as slow with these as in 32 bits.
        quantize_dynamic(path, temporary, weight_type=QuantType.QUInt8, nodes_to_exclude=analysis)
        graph = onnx.load(temporary)
        onnx.helper.set_model_props(graph, {p.key: p.value for p in graph.metadata_props} | {CHECKSUM: UNSEALED})
        onnx.save(graph, temporary)
        seal(temporary)


def _metadata(predictor: Predictor, kind: str) -> dict[str, str]:
    """Metadata of the file: texts, or JSON."""
    description = predictor.model.description
    metadata: dict[str, Any] = {
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
        CHECKSUM: UNSEALED,
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}


class ExportedGraph:
    """The graph of a model in onnxruntime, on the CPU with as many threads as torch has.

    Samples are float32, (samples,) each, at the model's rate; statistics are of the speaker or corpus, None: those of
    training; posteriors are (batch, classes).
    """

    def __init__(self, predictor: Predictor, path: Path) -> None:
        self.predictor, self.session = predictor, open_session(path, torch.get_num_threads())
        self.kind: str = self.session.get_inputs()[0].name

    def posteriors(self, samples: Sequence[np.ndarray], statistics: Statistics | None = None) -> np.ndarray:
        """Posteriors of rows, padded to one batch.

        Args:
            samples: of each row.
            statistics: of all of them.
        """
        rows = list(samples) if self.kind == "waveform" else [self.predictor.spectrum(row) for row in samples]
        x = pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True).numpy()
        inputs = {self.kind: x, "lengths": np.array(list(map(len, rows)))}
        inputs |= zip(STATISTICS, statistics or (), strict=False)
        return np.asarray(self.session.run(["posteriors"], inputs)[0])

    def largest_difference(self) -> float:
        """Largest difference from the posteriors of predict, for swelling noise of several lengths and batch sizes."""
        rng, rate, differences = np.random.default_rng(0), self.predictor.sampling_rate, []
        for size, seconds in product(BATCHES, LENGTHS):
            samples = []
            for row in range(size):
                swell = np.sin(np.linspace(0.1, 9, int(seconds * rate * (1 - row / 4)))) ** 2
                samples.append((rng.normal(0, 0.2, len(swell)) * swell).astype(np.float32))
            differences.append(self.posteriors(samples) - predict_posteriors(self.predictor, samples))
        return max(float(np.abs(values).max()) for values in differences)


def predict_posteriors(
    predictor: Predictor, samples: Sequence[np.ndarray], statistics: Statistics | None = None
) -> np.ndarray:
    """Posteriors of predict.

    Args:
        predictor: of the model.
        samples: as of `ExportedGraph`.
        statistics: as of `ExportedGraph`.
    """
    return predictor.posteriors([predictor.prepare(predictor.spectrum(row), statistics) for row in samples])


def compare_graphs(predictor: Predictor, graphs: Sequence[Path], data_dir: Path) -> list[dict[str, Any]]:
    """Scores of predict and of graphs on a Kaldi data dir, utterance by utterance, with statistics of its speakers.

    Args:
        predictor: of the model.
        graphs: files of graphs.
        data_dir: a Kaldi data dir with utt2emo.

    Returns:
        For each: name, MB, ua, wa, n, and worst, the largest difference from a posterior of predict.

    Raises:
        InputError: no such data dir, an utterance that cannot be read, or a label that the model does not know.
    """
    exported = [ExportedGraph(predictor, path) for path in graphs]
    files = {"predict": predictor.model.folder / WEIGHTS} | {str(path): path for path in graphs}
    labelled = read_labelled([str(data_dir)], predictor.classes, data_dir)
    targets = np.array([predictor.classes.index(utterance.emotion) for utterance in labelled])
    by_speaker = predictor.normalisation == "speaker"
    utterances = [
        (each.source.speaker if by_speaker else each.corpus, read_mono(each.source, predictor.sampling_rate))
        for each in labelled
    ]
    known = utterances if predictor.statistics else []
    statistics = predictor.group_statistics_of((group, predictor.frames(samples)) for group, samples in known)
    by_utterance = []
    for group, samples in progress(utterances, text="test", unit="utt"):
        inputs = [samples], statistics.get(group)
        by_graph = (graph.posteriors(*inputs)[0] for graph in exported)
        by_utterance.append([predict_posteriors(predictor, *inputs)[0], *by_graph])
    rows, posteriors = [], np.array(by_utterance)  # (utterances, predict and graphs, classes)
    for number, (name, path) in enumerate(files.items()):
        scored = confusion_matrix(targets, posteriors[:, number].argmax(1), len(predictor.classes))
        worst = float(np.abs(posteriors[:, number] - posteriors[:, 0]).max())
        row = {"ua": ua(scored), "wa": wa(scored), "n": len(targets), "worst": worst}
        rows.append({"name": name, "MB": path.stat().st_size / 1e6, **row})
    return rows


@contextmanager
def _suppress_output() -> Iterator[None]:
    """Suppress what exporter and quantiser print for their developers."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
