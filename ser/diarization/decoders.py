"""Which decoder finds the best path: k2, or the exact Viterbi search over the same graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from ser.common import InputError
from ser.diarization import k2_decoder, viterbi
from ser.diarization.graph import SegmentGraph

DECODERS = ("auto", "k2", "viterbi")
Path = tuple[np.ndarray, float]  # labels, (windows,), and score
Decoder = Callable[[SegmentGraph, np.ndarray], Path | None]


def find_decoder(name: str) -> Decoder:
    """The decoder of that name; auto: k2 where it can be imported, else Viterbi, with a warning if an installed k2
    fails.

    Raises:
        InputError: k2 is asked for and cannot be imported.
    """
    if name == "viterbi":
        return viterbi.best_path
    try:
        import_module("k2")
    except (ImportError, OSError) as error:
        if name == "auto" and isinstance(error, ModuleNotFoundError) and error.name == "k2":
            return viterbi.best_path
        reason = " ".join(str(error).split())
        message = f"k2 cannot be imported ({reason[:160]})"
        fix = f"install it with: {_install_command()}"
        if name == "k2":
            fix += "; or give --decoder viterbi, which finds the same path without it"
            raise InputError(message, "--decoder k2", fix) from None
        warnings.warn(f"{message}; {fix}. Decoded with Viterbi, which finds the same path", stacklevel=2)
        return viterbi.best_path
    return partial(_decode_with_k2, required=name == "k2")


def _install_command() -> str:
    """Install a k2 that is built for the installed torch: only k2's own page has such."""
    try:
        torch = f" torch=={version('torch').partition('+')[0]}"
    except PackageNotFoundError:
        torch = ""
    return f"pip install --pre k2{torch} -f https://k2-fsa.github.io/k2/cpu.html"


def _decode_with_k2(graph: SegmentGraph, scores: np.ndarray, required: bool) -> Path | None:
    """The best path by k2. A recording that is too long for k2 is refused if k2 is required, else it is Viterbi's."""
    if len(scores) <= k2_decoder.MOST_WINDOWS:
        return k2_decoder.best_path(graph, scores)
    if required:
        what = f"{len(scores)} windows, and k2 takes {k2_decoder.MOST_WINDOWS}"
        raise InputError(what, "--decoder k2", "give --decoder viterbi, which finds the same path, or a longer --hop")
    return viterbi.best_path(graph, scores)
