"""ser check."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser.common.cli import Parser
from ser.inference.commands import add_head


def arguments(parser: Parser) -> None:
    """Add the options of the command."""
    parser.add_argument("model", type=Path, help="model package, as `ser pack` makes it")
    parser.add_argument(
        "data",
        nargs="+",
        help="data dirs with wav.scp and utt2emo (gender from spk2gender beside them), as stage 1 writes them, or "
        "cut manifests with emotions; of speakers that are not in training",
    )
    parser.add_argument("--out", type=Path, help="folder for check.md, check.json and check.png")
    parser.add_switch("--card", help="put them into the model card too")
    add_head(parser)
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")


def run(options: argparse.Namespace) -> int:
    """Print the table; the exit code is 1 where an utterance could not be read."""
    import sys

    import torch

    from ser.common import InputError
    from ser.common.cores import default_threads
    from ser.common.output import line
    from ser.inference.card import write_card
    from ser.inference.check.labelled import read_labelled
    from ser.inference.check.measure import check_robustness
    from ser.inference.check.report import FILES, conditions_table, remarks, write_check
    from ser.inference.model import open_model, write_sums
    from ser.inference.predict.inputs import scratch
    from ser.inference.predict.outputs import check_out_folder
    from ser.inference.predictor import Predictor

    folders = [folder for folder in (options.out, options.model if options.card else None) if folder]
    if not folders:
        raise InputError("nowhere to write to", "--out", "give --out FOLDER, or --card true for the model package")
    if options.out:
        check_out_folder(options.out, options.model)
    torch.set_num_threads(default_threads())
    predictor = Predictor(open_model(options.model, options.device), options.head)
    with scratch() as temporary:
        utterances = read_labelled(options.data, predictor.classes, temporary)
        results = check_robustness(predictor, utterances)
    lines = remarks(results, len(utterances))
    for error in results.unread.values():
        print(f"error: {line(error)}", file=sys.stderr)
    for text in lines:
        print(f"warning: {line(text)}", file=sys.stderr)
    print(conditions_table(results.rows))
    for folder in folders:
        write_check(folder, predictor, options.data, results, lines)
    if options.card:
        write_card(options.model)
        write_sums(options.model, *FILES)
    return int(bool(results.unread))
