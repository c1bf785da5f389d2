#!/usr/bin/env python3
"""Tune the timeline of models on joined recordings of their validation speakers, and measure it on their test speakers.

Utterances of known emotion are joined, with pauses, into recordings of one speaker each. A corpus that a model was not
trained on has no validation speaker for it: it is measured with the settings that its own corpora gave.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import InputError, guarded, write_section
from ser.common.cli import Parser
from ser.common.output import command_line


@guarded
def main() -> None:
    """Print a section of Markdown, and append it to a file of results where asked for."""
    parser = Parser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", help="model folders, such as one a fold")
    parser.add_argument("--out", type=Path, required=True, help="for recordings, references and tuned settings")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where stage 1 wrote")
    parser.add_argument("--recipe", type=Path, help="recipe folder whose conf/ comes first")
    parser.add_argument("--unseen", nargs="*", default=[], metavar="CORPUS", help="measure on all of these too")
    parser.add_argument(
        "--normalisation", nargs="+", help="model, channel (statistics of each recording itself), or both in turn"
    )
    parser.add_argument("--decoder", default="viterbi", help="k2, viterbi or auto")
    parser.add_argument("--orders", type=int, default=3, help="recordings of each speaker, in other orders")
    parser.add_argument("--utterances", type=int, help="in a recording at most, such as 4 to measure short calls")
    parser.add_argument("--statistics-minimum", type=float, help="seconds of speech, in place of conf/timeline.yaml")
    parser.add_switch("--tune", default=True, help="or measure conf/timeline.yaml as is")
    parser.add_argument("--title", default="Timeline of joined recordings", help="heading of the section")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--append", type=Path, help="Markdown file, such as one of steps/tables.py, to add to")
    options = parser.parse_args()
    from ser.diarization.decoders import find_decoder
    from ser.diarization.evaluation import TimelineEvaluation, results_section
    from ser.diarization.joined import UTTERANCES
    from ser.diarization.settings import read_settings

    if options.utterances is not None and not 1 <= options.utterances <= UTTERANCES:
        raise InputError(f"give 1 to {UTTERANCES}", f"--utterances {options.utterances}")
    changes = {"statistics_minimum": options.statistics_minimum}
    starts = [read_settings(None, {"normalisation": name, **changes}) for name in options.normalisation or [None]]
    given = options.data, options.recipe, options.out, options.seed, options.orders, options.utterances
    evaluations = [TimelineEvaluation(model, *given) for model in options.models]
    decoder = find_decoder(options.decoder)
    results = [one.run(start, decoder, options.unseen, options.tune) for start in starts for one in evaluations]
    text = results_section(f"## {options.title}", results, command_line("steps/timeline.py"))
    print(text, end="")
    if options.append:
        write_section(options.append, text)


if __name__ == "__main__":
    sys.exit(main())
