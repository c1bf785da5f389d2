"""The best path by k2, in an environment that has k2, torch and NumPy and nothing of the toolkit's.

Usage: k2_answers.py <k2_decoder.py> <graphs.npz> <answers.npz>; test_k2.py writes the first npz and reads the second.
"""

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np


def main(decoder_path: str, graphs: str, answers: str) -> None:
    spec = importlib.util.spec_from_file_location("k2_decoder", decoder_path)
    decoder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(decoder)
    found = np.load(graphs)
    given = {}
    for number in range(int(found["graphs"])):
        names = ("source", "target", "label", "score")
        graph = SimpleNamespace(**{name: found[f"{name}_{number}"] for name in names})
        path = decoder.best_path(graph, found[f"scores_{number}"])
        if path is not None:
            given[f"labels_{number}"], given[f"score_{number}"] = path
    np.savez(answers, **given)


main(*sys.argv[1:])
