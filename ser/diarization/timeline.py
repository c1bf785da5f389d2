"""ser timeline."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ser.common import InputError
from ser.common.cli import Parser
from ser.inference.commands import add_head
from ser.inference.commands.predict import SHOWN, SOME_FAILED, SOME_LEFT_OUT

KEYS = {
    "window": "seconds of a window of the network",
    "hop": "seconds from window to window",
    "minimum": "seconds of the shortest segment",
    "switching-cost": "of a change of emotion",
    "no-speech-minimum": "seconds of the shortest pause",
    "no-speech-cost": "of going into a pause or out of it",
    "statistics-minimum": "seconds of speech from which on a channel has statistics of its own",
    "no-speech-decibels": "so far below the loud parts of the channel there is as likely a pause as speech",
}


def arguments(parser: Parser) -> None:
    """Add the options of the command."""
    parser.add_argument("model", type=Path, help="model package (`ser pack`), or a graph of one (`ser export`, .onnx)")
    recordings = "recordings, or folders of them; each channel is a speaker"
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help=recordings)
    parser.add_argument("--out", type=Path, default=Path("timelines"), help="folder to write to (default: timelines)")
    parser.add_argument(
        "--format",
        help="of rttm, textgrid, csv, json and png, by commas (default: all; png where matplotlib is installed)",
    )
    parser.add_switch("--html", help="write a page a recording too, with player, for any browser, offline")
    parser.add_argument(
        "--html-audio",
        default="opus",
        metavar="CODEC",
        help="of the page's audio: opus (default), mp3 (Safari before 18.4), or none",
    )
    add_head(parser)
    parser.add_argument("--decoder", default="auto", help="k2, viterbi, or auto: k2 where it is installed (default)")
    parser.add_argument(
        "--abstain",
        type=float,
        metavar="PRECISION",
        help="give no label (-) to segments below the confidence from which on so many answers were right on "
        "validation, such as 0.9",
    )
    parser.add_argument(
        "--utt2spk",
        type=Path,
        metavar="FILE",
        help="`<file> <speaker>` lines, or `<file>:<channel> <speaker>` with channels from 1: statistics of a speaker "
        "are those of all his or her recordings given",
    )
    parser.add_switch("--posteriors", help="write those of each window too")
    parser.add_argument("--device", default="cpu", help="of torch")
    group = parser.add_argument_group("settings, over those of conf/timeline.yaml")
    group.add_argument("--settings", type=Path, metavar="FILE", help="of the keys of conf/timeline.yaml, as tuned")
    for key, text in KEYS.items():
        group.add_argument(f"--{key}", type=float, metavar="X", help=text)
    group.add_argument(
        "--normalisation", help="statistics of the channel or named speaker: channel; or of training: model"
    )


def run(options: argparse.Namespace) -> int:
    """Write the timelines of all files, and a line on each; a file that cannot be read does not stop the others."""
    from ser.common.output import line
    from ser.diarization.decoders import DECODERS, find_decoder
    from ser.diarization.html.sound import AUDIO
    from ser.diarization.recording import make_timeline, read_speakers
    from ser.diarization.settings import read_settings
    from ser.diarization.windows import speaker_statistics
    from ser.diarization.writers import write_timeline
    from ser.inference.base import ABSTAINED, Confidence, open_predictor
    from ser.inference.predict.outputs import check_out_folder

    check_out_folder(options.out, options.model)
    formats = _formats(options.format)
    _check_choices([options.decoder], DECODERS, "--decoder")
    _check_choices([options.html_audio], AUDIO, "--html-audio")
    recordings, failed, left_out = _find_recordings(options.files, options.out)
    number = len(recordings) + failed
    _check_names(recordings)
    keys = [*(key.replace("-", "_") for key in KEYS), "normalisation"]
    settings = read_settings(options.settings, {key: getattr(options, key) for key in keys})
    decoder = find_decoder(options.decoder)
    if options.html and options.model.suffix == ".onnx":
        raise InputError("a graph has no model card for the page", "--html", "give the model package it is of")
    predictor = open_predictor(options.model, options.head, options.device, options.utt2spk)
    if options.normalisation == "channel" and predictor.grouped and predictor.running_stats is None:
        raise InputError(
            "a graph takes no statistics of a channel", "--normalisation channel", "give the model package"
        )
    settings.costs(predictor.classes)  # refuses a class that the model does not know before any audio is read
    named = read_speakers(options.utt2spk, [path for path, _ in recordings]) if options.utt2spk else {}
    speakers = speaker_statistics(named, predictor, settings)
    labelled: dict[Confidence, list[bool]] = {}  # whether each segment has a label
    for path, folder in recordings:
        try:
            statistics = {channel: speakers[name] for channel, name in named.get(path, {}).items() if name in speakers}
            timeline = make_timeline(path, predictor, settings, decoder, speakers=statistics, precision=options.abstain)
            written, warnings = write_timeline(timeline, folder, formats, options.posteriors), [*timeline.warnings]
            if options.html:
                from ser.diarization.html.page import write_timeline_page
                from ser.inference.predictor import Predictor

                assert isinstance(predictor, Predictor)  # a graph was refused before
                written.append(folder / f"{timeline.recording}.html")
                if problem := write_timeline_page(timeline, path, predictor, written[-1], options.html_audio):
                    warnings.append(f"{written[-1]}: {problem}")
        except InputError as error:
            failed += 1
            print(f"error: {line(error)}", file=sys.stderr)
            continue
        for text in warnings:
            print(f"warning: {line(path)}: {line(text)}", file=sys.stderr)
        counts = []
        for channel in timeline.channels:
            statistics_of = f", {channel.statistics}" if channel.statistics.source else ""
            counts.append(f"{channel.name}: {len(channel.segments)} segments{statistics_of}")
            labels = [segment.label != ABSTAINED for segment in channel.segments]
            labelled.setdefault(channel.confidence, []).extend(labels)
        print(line(f"{path}: {timeline.duration:.2f} s; {'; '.join(counts)}; {', '.join(map(str, written))}"))
    if options.abstain is not None:
        for confidence, labels in labelled.items():
            print(
                f"labels from confidence {confidence.threshold:.3f} on: {sum(labels)} of {len(labels)} segments here; "
                f"on validation {100 * confidence.coverage:.0f} % of utterances, of which "
                f"{100 * confidence.precision:.1f} % were right",
                file=sys.stderr,
            )
    if left_out:
        print(f"{left_out} files that are not audio, or hidden, are left out", file=sys.stderr)
    if failed:
        print(f"{failed} of {number} files have no timeline", file=sys.stderr)
    return SOME_FAILED if failed else SOME_LEFT_OUT if left_out else 0


def _formats(text: str | None) -> list[str]:
    """The formats to write; all by default, without pictures where matplotlib is not installed."""
    from ser.diarization.writers import FORMATS

    formats = [name for name in (text or ",".join(FORMATS)).split(",") if name]
    if text is None:
        try:
            import matplotlib  # noqa: F401  # which draws them
        except ModuleNotFoundError:
            formats.remove("png")
            print("no pictures, since matplotlib is not installed: pip install '.[train]'", file=sys.stderr)
    _check_choices(formats, FORMATS, "--format", several=True)
    return formats


def _find_recordings(names: list[Path], out: Path) -> tuple[list[tuple[Path, Path]], int, int]:
    """Find the recordings that a command line names.

    Args:
        names: recordings, and folders of them.
        out: folder to write to.

    Returns:
        Each recording and the folder for its timeline, which lies below `out` as the recording lies below the folder
        given; how many files of folders cannot be read; and how many are left out, earlier timelines not counted.
    """
    from ser.common.output import line
    from ser.diarization.writers import timeline_files
    from ser.inference.predict.inputs import read_folder

    recordings: list[tuple[Path, Path]] = []
    problems = []
    for name in names:
        if not os.path.isdir(name):  # Path.is_dir raises in a folder that cannot be entered
            recordings.append((name, out))
            continue
        for source in read_folder(name):
            if source.path and not source.problem:
                recordings.append((source.path, out / source.path.parent.relative_to(name)))
            else:
                problems.append(source)
    own = {os.path.realpath(file) for path, folder in recordings for file in timeline_files(folder, path.stem)}
    problems = [s for s in problems if not (s.left_out and s.path and os.path.realpath(s.path) in own)]
    failed = [s for s in problems if not s.left_out]
    left_out = [s for s in problems if s.left_out]
    for source in [*failed, *left_out[:SHOWN]]:
        print(f"{'warning' if source.left_out else 'error'}: {line(source.problem)}", file=sys.stderr)
    return recordings, len(failed), len(left_out)


def _check_choices(names: list[str], known: tuple[str, ...], option: str, several: bool = False) -> None:
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        what = f"{option} {unknown[0] if unknown else ''}".rstrip()
        raise InputError(f"give {'one or more' if several else 'one'} of {', '.join(known)}", what)


def _check_names(recordings: list[tuple[Path, Path]]) -> None:
    """Refuse two recordings of one name, which would be written over each other."""
    by_name: dict[Path, Path] = {}
    for path, folder in recordings:
        if (other := by_name.setdefault(folder / path.stem, path)) is not path:
            raise InputError(
                f"would be written over what comes of {other}", path, "give them in calls with an --out each"
            )
