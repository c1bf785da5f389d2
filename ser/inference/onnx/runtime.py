"""A graph that `ser export` wrote, as what answers in predict: onnxruntime alone, without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser.common import InputError
from ser.common.files import sha256
from ser.inference.base import BasePredictor

REEXPORT = "export it again, from waveforms (`ser export <package> <graph>.onnx`)"


def open_session(path: Path, threads: int | None = None) -> Any:
    """An onnxruntime.InferenceSession on the CPU.

    Args:
        path: of the graph.
        threads: that compute; None: as onnxruntime chooses.

    Raises:
        InputError: onnxruntime is not there, or no graph.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        raise InputError("onnxruntime is not installed", path, "pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3  # it warns of inputs that need not be given
    if not path.is_file():
        raise InputError("no such file", path, "give a graph that `ser export` wrote, or a model package")
    try:  # without fallback: to the CPU, which would print that it tries again
        return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"], enable_fallback=0)
    except _session_errors() as error:
        raise InputError(f"no graph ({_short(error)})", path, REEXPORT) from None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def _session_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises for a file that is no graph: its own kinds, which have no common base, and Python's."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # type: ignore[import-untyped]

    own = (kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))
    return (*own, ValueError, RuntimeError)


class GraphPredictor(BasePredictor):
    """Answers of a graph, in which the front end and all that follows is one step.

    Args:
        path: of the graph, from waveforms.
        head: must be the graph's, where it is given.
        threads: as of `open_session`.

    Raises:
        InputError: no graph of waveforms that `ser export` wrote, or one of another head.
    """

    def __init__(self, path: Path, head: str | None = None, threads: int | None = None) -> None:
        self.path, self.session = path, open_session(path, threads)
        found = self.session.get_modelmeta().custom_metadata_map
        try:
            self.head, self.normalisation, kind = (found[key] for key in ("head", "normalisation", "input"))
            self.classes = tuple(json.loads(found["labels"]))
            self.sampling_rate, self.shortest = int(found["sampling_rate"]), int(found["shortest"])
            self.trained, self.calibrations = json.loads(found["trained"]), json.loads(found["calibrations"])
        except (KeyError, ValueError) as error:
            raise InputError(f"metadata that predict needs is missing ({error})", path, REEXPORT) from None
        names = {one.name for one in (*self.session.get_inputs(), *self.session.get_outputs())}
        if missing := {kind, "lengths", "posteriors"} - names:
            raise InputError(f"no graph that predict can ask, without {min(missing)}", path, REEXPORT)
        if kind != "waveform":
            raise InputError(f"takes a {kind}", path, REEXPORT)
        if head not in (None, self.head):
            raise InputError(f"a graph of head {self.head}", f"--head {head}", "export a graph of that head")

    def identity(self) -> str:
        """Names the graph: its SHA-256."""
        return sha256(self.path)

    def frames(self, samples: np.ndarray) -> np.ndarray:
        """The samples themselves, filled up with zeros to one frame."""
        return np.pad(np.ascontiguousarray(samples, np.float32), (0, max(0, self.shortest - len(samples))))

    def posteriors(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """As of `BasePredictor`, each computed by itself."""
        result = np.empty((len(prepared), len(self.classes)), np.float32)
        for row, samples in zip(result, prepared, strict=True):
            given = {"waveform": samples[None], "lengths": np.array([len(samples)])}
            try:
                row[:] = self.session.run(["posteriors"], given)[0][0]
            except _session_errors() as error:
                raise InputError(f"cannot be run ({_short(error)})", self.path, REEXPORT) from None
        if not np.isfinite(result).all():
            raise InputError("gives posteriors that are not numbers", self.path, REEXPORT)
        return result
