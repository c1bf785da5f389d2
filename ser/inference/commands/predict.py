"""ser predict."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser.common import InputError
from ser.common.cli import Parser
from ser.common.output import line
from ser.inference.commands import add_head

if TYPE_CHECKING:
    from ser.inference.predict.answers import Answers, Prediction
    from ser.inference.predict.inputs import Source
    from ser.inference.predict.outputs import Layout

SHOWN = 3  # files for which a warning is printed; others are counted
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".xlsx": "xlsx", ".ark": "ark"}  # of --out, where no --format is given
SOME_FAILED, SOME_LEFT_OUT = 1, 3  # exit codes


def arguments(parser: Parser) -> None:
    """Add the options of the command."""
    parser.add_argument("model", type=Path, help="model package (`ser pack`), or a graph of one (`ser export`, .onnx)")
    parser.add_argument(
        "inputs",
        nargs="+",
        help="audio files, folders of them, wav.scp (with segments and utt2spk beside it) or the folder that has it, "
        "lhotse cut manifests (.jsonl, .jsonl.gz), a table of paths (.csv, .tsv, .xlsx), or - for audio on standard "
        "input",
    )
    add_head(parser)
    parser.add_argument(
        "--channel", default="mix", help="mix (default): the mean of all, as in training; each: a row each; or a number"
    )
    parser.add_argument(
        "--format", choices=["table", "csv", "jsonl", "xlsx", "ark"], help="(default: by the suffix of --out, or table)"
    )
    parser.add_argument("--out", type=Path, help="file to write (default: standard output)")
    parser.add_switch("--excel", help="CSV that Excel opens as UTF-8 (with a byte order mark)")
    parser.add_argument(
        "--decimal", choices=["point", "comma"], default="point", help="comma: CSV with ; and decimal commas"
    )
    parser.add_argument("--path-column", help="column of a table that names the files (default: path, file, audio ...)")
    parser.add_switch("--resume", default=True, help="go on where an interrupted run with the same --out ended")
    parser.add_switch("--append", help="keep the answers in --out, and answer new files alone")
    parser.add_argument(
        "--abstain",
        type=float,
        metavar="PRECISION",
        help="give no label below the confidence from which on so many answers were right on validation, such as 0.9",
    )
    parser.add_switch("--raw", help="posteriors and confidence as decoding gives them, without calibration")
    parser.add_argument("--utt2spk", type=Path, help="`<file or id> <speaker>` lines, where speakers are normalised")
    parser.add_switch("--allow-pipes", help="run the commands of a list")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")


def run(options: argparse.Namespace) -> int:
    """Predict; the exit code is 1 if a file could not be read, 3 if files of a folder are left out."""
    from contextlib import ExitStack

    from ser.common.progress import Rate, progress
    from ser.inference.base import open_predictor
    from ser.inference.predict.answers import Answers
    from ser.inference.predict.inputs import scratch, sources_of, with_speakers
    from ser.inference.predict.outputs import check_inputs, check_out, output_files, writer
    from ser.inference.predict.resume import RESUMABLE, partial_answers
    from ser.inference.predict.sound import EACH

    append, out = options.append, options.out
    if out:
        out = Path(os.path.realpath(out)) if out.is_symlink() else out  # a link stays one
        check_out(out, options.model)
    form = _format(options)
    if append and (out is None or form not in RESUMABLE):
        raise InputError("give --out with --format csv or jsonl", "--append")
    predictor = open_predictor(options.model, options.head, options.device, options.utt2spk)
    with scratch() as folder, ExitStack() as stack:
        given = folder, options.allow_pipes, options.path_column
        sources = [source for name in options.inputs for source in sources_of(name, *given)]
        if out:
            outputs = output_files(out)
            sources = [s for s in sources if not (s.left_out and s.path and s.path.absolute() in outputs)]
            check_inputs(outputs, [*options.inputs, options.utt2spk or ""], sources)
        if options.utt2spk:
            sources = with_speakers(sources, options.utt2spk)
        answers = Answers(predictor, sources, options.channel, options.abstain, options.raw)
        if append and answers.speakers_known:
            raise InputError("answers of a model normalised by speaker depend on all files", "--append", "leave it out")
        layout = _layout(options, sources, predictor.classes)
        report = _Report(answers)
        target = out
        if out and form not in ("ark", "xlsx"):
            identity = _identity(options, answers, form, layout.columns)
            partial = stack.enter_context(partial_answers(out, form, layout, identity, options.resume, append))
            answers.pending = [s for s in sources if not report.count_earlier(s, partial.take(s))]
            target = partial.file
            report.log_resumed(partial.path, len(answers.pending))
        with writer(form, target, layout, [source.id for source in sources]) as write:
            pending = len(answers.pending)
            bar = stack.enter_context(progress(text="predict", unit="file", total=pending, show=out is not None))
            rate = Rate("predict", pending, "file", show=out is not None)
            for prediction in answers:
                write(prediction)
                report.add(prediction)
                if options.channel != EACH or not prediction.channel:  # the first row of a file
                    bar.update()
                    rate.update()
    return report.finish(options.abstain is not None)


def _format(options: argparse.Namespace) -> str:
    for_csv = options.excel or options.decimal == "comma"
    suffix = options.out.suffix.lower() if options.out else ""
    if not (options.format or for_csv) and suffix not in ("", ".txt", *SUFFIXES):
        fix = f"give a name that ends in {', '.join(SUFFIXES)} or .txt (a table), or --format"
        raise InputError(f"no format is known by {suffix}", f"--out {options.out}", fix)
    if options.format and SUFFIXES.get(suffix, options.format) != options.format:
        raise InputError(f"--out {options.out} is named otherwise", f"--format {options.format}", "give one of the two")
    form: str = options.format or SUFFIXES.get(suffix) or ("csv" if for_csv else "table")
    if for_csv and form != "csv":
        raise InputError(f"of CSV, and the format is {form}", "--excel, --decimal", "give --format csv")
    return form


def _layout(options: argparse.Namespace, sources: Sequence[Source], classes: tuple[str, ...]) -> Layout:
    from ser.inference.predict.outputs import FILE, Layout

    kinds = {(tuple(source.columns), source.path_column) for source in sources}
    if len(kinds) > 1:
        raise InputError("a table and something else, or tables of other columns", "inputs", "answer each by itself")
    columns, path_column = next(iter(kinds), ((), ""))
    return Layout(classes, columns or (FILE,), path_column or FILE, options.excel, options.decimal == "comma")


def _identity(options: argparse.Namespace, answers: Answers, form: str, columns: tuple[str, ...]) -> dict[str, object]:
    """The model and the options that all rows of a file share."""
    from ser.common.files import digest

    speakers = digest([(source.id, source.speaker) for source in answers.sources]) if answers.speakers_known else None
    keys = ("channel", "abstain", "raw", "excel", "decimal")
    return {
        "model": answers.predictor.identity(),
        "head": answers.predictor.head,
        "format": form,
        **{key: getattr(options, key) for key in keys},
        "columns": list(columns),
        "speakers": speakers,
    }


class _Report:
    """Logs errors and warnings on standard error, the first of each kind by file, and their counts."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.warned: Counter[str] = Counter()
        self.predicted = self.abstained = self.failed = self.left_out = self.earlier = 0

    def count_earlier(self, source: Source, error: bool | None) -> bool:
        """Count the prediction of an earlier run: whether it is an error; None: there is none."""
        if error is None:
            return False
        self.earlier += 1
        self.left_out += error and source.left_out
        self.failed += error and not source.left_out
        return True

    def log_resumed(self, path: Path, pending: int) -> None:
        """Log how much an earlier run has predicted."""
        if self.earlier:
            _log(f"{path}: {self.earlier} answers are there, {pending} files are left")

    def add(self, prediction: Prediction) -> None:
        """Count a prediction, and log its error and warnings."""
        if prediction.left_out:
            self.left_out += 1
            if self.left_out <= SHOWN:
                _log(f"warning: {line(prediction.error)}")
            return
        self.failed += bool(prediction.error)
        self.predicted += not prediction.error
        self.abstained += not prediction.error and prediction.label is None
        if prediction.error:
            _log(f"error: {line(prediction.error)}")
        for text in prediction.warnings:
            if text not in self.answers.common_warnings:  # which Python has printed once
                self.warned[text] += 1
                if self.warned[text] <= SHOWN:
                    _log(f"warning: {line(prediction.key)}: {line(text)}")

    def finish(self, abstain: bool) -> int:
        """Log the counts; the exit code."""
        for text, count in self.warned.items():
            if count > SHOWN:
                _log(f"warning: {count} of {self.predicted}: {line(text)}")
        if abstain and self.predicted:
            given, point = self.predicted - self.abstained, self.answers.confidence
            _log(
                f"labels from confidence {point.threshold:.3f} on: {given} of {self.predicted} "
                f"({100 * given / self.predicted:.0f} %) here; on validation {100 * point.coverage:.0f} %, of which "
                f"{100 * point.precision:.1f} % were right"
            )
        if self.left_out:
            _log(f"{self.left_out} files that are not audio, or hidden, are left out; the output lists each")
        if self.failed:
            _log(f"{self.failed} of {len(self.answers.sources) - self.left_out} could not be read")
        return SOME_FAILED if self.failed else SOME_LEFT_OUT if self.left_out else 0


def _log(text: str) -> None:
    print(text, file=sys.stderr)
