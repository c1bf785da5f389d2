"""ser predict."""

from __future__ import annotations

import argparse
from pathlib import Path

SHOWN = 3  # files that a warning is shown for; the rest is counted


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("model", type=Path, help="model folder, as `ser pack` makes it")
    parser.add_argument(
        "inputs",
        nargs="+",
        help="audio files, folders of them, wav.scp (with segments and utt2spk beside it) or the folder that has it, "
        "lhotse cut manifests (.jsonl, .jsonl.gz), or - for audio on standard input",
    )
    parser.add_argument(
        "--head", help="corpus whose head answers (default: the mean of all heads, if they have one set of labels)"
    )
    parser.add_argument(
        "--channel", default="mix", help="mix (default): the mean of all, as in training; each: a row each; or a number"
    )
    parser.add_argument("--format", choices=["table", "csv", "jsonl", "ark"], default="table", help="(default: table)")
    parser.add_argument("--out", type=Path, help="file to write (default: standard output)")
    parser.add_argument(
        "--abstain",
        type=float,
        metavar="PRECISION",
        help="give no label below the confidence from which on so many answers were right on validation, such as 0.9",
    )
    parser.add_argument(
        "--raw", action="store_true", help="posteriors and confidence as decoding gives them, without calibration"
    )
    parser.add_argument("--utt2spk", type=Path, help="`<file or id> <speaker>` lines, where speakers are normalised")
    parser.add_argument("--allow-pipes", choices=["true", "false"], default="false", help="run the commands of a list")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")


def run(options: argparse.Namespace) -> int:
    """Answer; the exit code is 1 where a file could not be read."""
    import os
    import sys
    from collections import Counter

    import torch

    from ser.common.output import line
    from ser.common.progress import progress
    from ser.inference.model import open_model
    from ser.inference.predict.answers import Answers
    from ser.inference.predict.inputs import scratch, sources_of, with_speakers
    from ser.inference.predict.outputs import writer
    from ser.inference.predict.sound import EACH
    from ser.inference.predictor import Predictor, head_of
    from ser.training.machine import available_cores

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(available_cores())
    model = open_model(options.model, options.device)
    predictor = Predictor(model, head_of(model, options.head))
    warned: Counter[str] = Counter()
    answered = withheld = failed = 0
    with scratch() as folder:
        sources = [s for name in options.inputs for s in sources_of(name, folder, options.allow_pipes == "true")]
        if options.utt2spk:
            sources = with_speakers(sources, options.utt2spk)
        answers = Answers(predictor, sources, options.channel, options.abstain, options.raw)
        ids = [source.id for source in sources]
        with writer(options.format, options.out, predictor.classes, ids) as write:
            total = None if options.channel == EACH else len(sources)
            shown = progress(answers, text="predict", unit="answer", total=total, show=options.out is not None)
            for prediction in shown:
                write(prediction)
                failed += bool(prediction.error)
                answered += not prediction.error
                withheld += not prediction.error and prediction.label is None
                if prediction.error:
                    print(f"error: {line(prediction.error)}", file=sys.stderr)
                for text in (text for text in prediction.warnings if text not in answers.common):
                    warned[text] += 1
                    if warned[text] <= SHOWN:
                        print(f"warning: {line(prediction.key)}: {line(text)}", file=sys.stderr)
    for text, count in warned.items():
        if count > SHOWN:
            print(f"warning: {count} of {answered}: {line(text)}", file=sys.stderr)
    if options.abstain is not None and answered:
        coverage, precision = answers.promised
        print(
            f"labels from confidence {answers.threshold:.3f} on: {answered - withheld} of {answered} "
            f"({100 * (answered - withheld) / answered:.0f} %) here; on validation {100 * coverage:.0f} %, of which "
            f"{100 * precision:.1f} % were right",
            file=sys.stderr,
        )
    if failed:
        print(f"{failed} of {failed + answered} could not be read", file=sys.stderr)
    return int(failed > 0)
