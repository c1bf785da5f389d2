"""`ser <command> ...`: recipes from tables, and the use of trained models."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from ser.common import guarded
from ser.common.cli import Parser

# The module of a command is imported only if the command is given, so that --help is fast.
COMMANDS = {
    "init-corpus": "make protocol and recipe of a table of recordings (CSV, TSV, Excel)",
    "predict": "emotions of files, folders, lists, or audio on standard input",
    "timeline": "speech emotion diarization of long recordings",
    "explain": "a picture of what the network attends to in a file",
    "pack": "make a model package of a finished experiment",
    "publish": "make a model package ready for a model hub, and upload it",
    "card": "write the card of a model package again, or ask what the model was trained on",
    "check": "robustness evaluation: scores by corpus and gender, clean and with noise, codecs and lines",
    "export": "make an ONNX graph of a model package",
}


@guarded
def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser("ser", description=__doc__, verbose=False)  # each command has its own
    commands = parser.add_subparsers(metavar="command", required=True)
    for name, help_line in COMMANDS.items():
        command = commands.add_parser(name, help=help_line, description=help_line)
        command.set_defaults(error=command.error)  # shows the usage of the command
        if given[:1] == [name]:
            home = "ser.diarization" if name == "timeline" else "ser.inference.commands"
            module = import_module(f"{home}.{name.replace('-', '_')}")
            module.arguments(command)
            command.set_defaults(run=module.run)
    options, unknown = parser.parse_known_args(given)
    if unknown:
        options.error(f"unrecognized arguments: {' '.join(unknown)}")
    code: int = options.run(options)
    return code
