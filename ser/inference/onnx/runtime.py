"""The predictor of a graph that `ser export` wrote: onnxruntime, without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser.common import InputError, as_input_error
from ser.common.errors import one_line
from ser.common.files import sha256
from ser.inference.base import BasePredictor

REEXPORT = "export it again, from waveforms (`ser export <package> <graph>.onnx`)"


# Metadata of a graph: the SHA-256 of its file with UNSEALED in place of this value.
CHECKSUM, UNSEALED = "checksum", "0" * 64


def seal(path: Path) -> None:
    """Write the checksum of a graph in place of UNSEALED in its metadata, which are the end of the file."""
    data = path.read_bytes()
    head, _, tail = data.rpartition(UNSEALED.encode())
    path.write_bytes(head + hashlib.sha256(data).hexdigest().encode() + tail)


def check_seal(path: Path, checksum: str) -> None:
    """Compare a graph with its checksum.

    Args:
        path: of the graph.
        checksum: of its metadata.

    Raises:
        InputError: it has been damaged or changed.
    """
    head, _, tail = path.read_bytes().rpartition(checksum.encode() or UNSEALED.encode())
    if hashlib.sha256(head + UNSEALED.encode() + tail).hexdigest() != checksum:
        fix = f"{REEXPORT}; if another program has changed it on purpose, remove `{CHECKSUM}` from its metadata"
        raise InputError("not the graph that `ser export` wrote", path, fix)


def open_session(path: Path, threads: int | None = None) -> Any:
    """An onnxruntime.InferenceSession on the CPU.

    Args:
        path: of the graph.
        threads: of the computation; None: onnxruntime chooses.

    Raises:
        InputError: onnxruntime is not installed, or the file is not an ONNX graph.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        raise InputError("onnxruntime is not installed", path, "pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3  # it warns of optional inputs
    if not path.is_file():
        raise InputError("no such file", path, "give a graph that `ser export` wrote, or a model package")
    # no fallback to the CPU, which would print that it tries again
    with as_input_error("not an ONNX graph", path, REEXPORT, *_session_errors(), reason=_short):
        return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"], enable_fallback=0)


def _short(error: Exception) -> str:
    return one_line(error)[:160]


def _session_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises for a file that is not a graph; its own exceptions have no common base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # type: ignore[import-untyped]

    classes = (kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))
    return (*classes, ValueError, RuntimeError)


class GraphPredictor(BasePredictor):
    """The predictor of a graph, which computes front end and network in one step.

    Args:
        path: of the graph, from waveforms.
        head: None, or the graph's.
        threads: as of `open_session`.

    Raises:
        InputError: no graph of waveforms that `ser export` wrote, or one of another head.
    """

    def __init__(self, path: Path, head: str | None = None, threads: int | None = None) -> None:
        self.path, self.session = path, open_session(path, threads)
        metadata = self.session.get_modelmeta().custom_metadata_map
        with as_input_error("metadata that predict needs is missing", path, REEXPORT, KeyError, ValueError):
            self.head, self.normalisation, kind = (metadata[key] for key in ("head", "normalisation", "input"))
            self.classes = tuple(json.loads(metadata["labels"]))
            self.sampling_rate, self.shortest = int(metadata["sampling_rate"]), int(metadata["shortest"])
            self.trained, self.calibrations = json.loads(metadata["trained"]), json.loads(metadata["calibrations"])
        names = {tensor.name for tensor in (*self.session.get_inputs(), *self.session.get_outputs())}
        if missing := {kind, "lengths", "posteriors"} - names:
            raise InputError(f"not an ONNX graph that predict can use: it lacks {min(missing)}", path, REEXPORT)
        if CHECKSUM in metadata:  # not of earlier versions
            check_seal(path, metadata[CHECKSUM])
        if kind != "waveform":
            raise InputError(f"takes a {kind}", path, REEXPORT)
        if head not in (None, self.head):
            raise InputError(f"a graph of head {self.head}", f"--head {head}", "export a graph of that head")

    def identity(self) -> str:
        """The SHA-256 of the graph."""
        return sha256(self.path)

    def frames(self, samples: np.ndarray) -> np.ndarray:
        """The samples, padded with zeros to at least one frame."""
        return np.pad(np.ascontiguousarray(samples, np.float32), (0, max(0, self.shortest - len(samples))))

    def posteriors(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """As of `BasePredictor`; each utterance is computed by itself."""
        result = np.empty((len(prepared), len(self.classes)), np.float32)
        with as_input_error("cannot be run", self.path, REEXPORT, *_session_errors(), reason=_short):
            for row, samples in zip(result, prepared, strict=True):
                inputs = {"waveform": samples[None], "lengths": np.array([len(samples)])}
                row[:] = self.session.run(["posteriors"], inputs)[0][0]
        if not np.isfinite(result).all():
            raise InputError("gives posteriors that are not numbers", self.path, REEXPORT)
        return result
