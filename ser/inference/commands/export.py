"""ser export."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser.common.cli import Parser
from ser.inference.commands import add_head


def arguments(parser: Parser) -> None:
    """Add the options of the command."""
    parser.add_argument("model", type=Path, help="model package")
    parser.add_argument("out", type=Path, help="the graph to write, OUT.onnx; in eight bits OUT.int8.onnx beside it")
    parser.add_argument("--input", choices=["waveform", "spectrum"], default="waveform", help="(default: waveform)")
    add_head(parser)
    parser.add_switch("--int8", help="write it in eight bits as well")
    parser.add_argument(
        "--test", type=Path, metavar="DIR", help="show UA on a data dir (wav.scp, utt2emo), also in int8"
    )


def run(options: argparse.Namespace) -> int:
    """Write the graphs and print their scores."""
    from tabulate import tabulate

    from ser.common import InputError

    if options.out.suffix != ".onnx":
        raise InputError("must end in .onnx", options.out)
    from ser.inference.model import open_model
    from ser.inference.onnx.export import compare_graphs, export, quantise
    from ser.inference.predict.outputs import check_not_in
    from ser.inference.predictor import Predictor

    check_not_in(options.out, options.model)
    predictor = Predictor(open_model(options.model), options.head)
    if "svm" in predictor.model.description:
        raise InputError("an SVM, of which there is no graph", options.model, "give the package of a network")
    graphs = [options.out]
    difference = export(predictor, options.input, options.out)
    print(f"{options.out}: {options.input} to {', '.join(predictor.classes)}; within {difference:.1g} of predict")
    if options.int8:
        graphs.append(options.out.with_suffix(".int8.onnx"))
        quantise(*graphs)
        print(f"{graphs[1]}: the same with weights in eight bits{'' if options.test else '; --test DIR shows its UA'}")
    if predictor.statistics:
        print(
            f"Normalises by the statistics of the training's mean {predictor.normalisation}, unless group_mean "
            "and group_deviation are given."
        )
    if options.test:
        rows = compare_graphs(predictor, graphs, options.test)
        table = [
            [row["name"], f"{row['MB']:.1f}", f"{100 * row['ua']:.1f}", f"{100 * row['wa']:.1f}", f"{row['worst']:.1g}"]
            for row in rows
        ]
        headers = [f"{options.test}, n = {rows[0]['n']}", "MB", "UA %", "WA %", "largest difference"]
        print(tabulate(table, headers, tablefmt="github", disable_numparse=True))
    return 0
