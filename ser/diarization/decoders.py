"""Which decoder finds the path: k2, or the exact Viterbi over the same graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from ser.common import InputError
from ser.diarization import k2_decoder, viterbi
from ser.diarization.graph import SegmentGraph

NAMES = ("auto", "k2", "viterbi")
Path = tuple[np.ndarray, float]  # labels, (windows,), and score
Decoder = Callable[[SegmentGraph, np.ndarray], Path | None]


def find_decoder(name: str) -> Decoder:
    """The decoder of that name; auto: k2 where it can be imported, else Viterbi, with a warning where k2 is there.

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
        fix = f"install it with: {install_line()}"
        if name == "k2":
            fix += "; or give --decoder viterbi, which finds the same path without it"
            raise InputError(message, "--decoder k2", fix) from None
        warnings.warn(f"{message}; {fix}. Decoded with Viterbi, which finds the same path", stacklevel=2)
        return viterbi.best_path
    return _within if name == "auto" else _k2


def install_line() -> str:
    """What installs a k2 that was built for the torch that is here: only k2's own page has such."""
    try:
        torch = version("torch").partition("+")[0]
    except PackageNotFoundError:
        return "pip install --pre k2 -f https://k2-fsa.github.io/k2/cpu.html"
    return f"pip install --pre k2 torch=={torch} -f https://k2-fsa.github.io/k2/cpu.html"


def _k2(graph: SegmentGraph, scores: np.ndarray) -> Path | None:
    if len(scores) > k2_decoder.MOST_WINDOWS:
        raise InputError(
            f"{len(scores)} windows, and k2 takes {k2_decoder.MOST_WINDOWS}",
            "--decoder k2",
            "give --decoder viterbi, which finds the same path, or a longer --hop",
        )
    return k2_decoder.best_path(graph, scores)


def _within(graph: SegmentGraph, scores: np.ndarray) -> Path | None:
    """k2 as far as it goes: a longer recording is Viterbi's."""
    decode = k2_decoder.best_path if len(scores) <= k2_decoder.MOST_WINDOWS else viterbi.best_path
    return decode(graph, scores)
