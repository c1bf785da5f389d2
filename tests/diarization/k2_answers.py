"""Best paths by k2, in an environment that has k2, torch and NumPy and nothing of the toolkit's.

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
        paths = decoder.best_paths(graph, found[f"scores_{number}"], int(found[f"count_{number}"]))
        given[f"labels_{number}"] = np.array([labels for labels, _ in paths])
        given[f"scores_{number}"] = np.array([score for _, score in paths])
    np.savez(answers, **given)


main(*sys.argv[1:])
