"""The command line of stage 1, shared by steps/prepare.py and every local/prepare_<corpus>.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser.common import InputError, guarded, locked
from ser.corpora.prepare import prepare
from ser.corpora.preparers import load_preparer
from ser.corpora.protocol import read_protocol


@guarded
def main(corpus: str | None = None, arguments: list[str] | None = None) -> int:
    """Prepare a corpus: corpus folder -> data folder."""
    parser = argparse.ArgumentParser(description="Prepare a corpus: lhotse manifests, and a Kaldi data dir a split.")
    if corpus is None:
        parser.add_argument("corpus", help="name of a protocol file, such as ravdess")
    parser.add_argument("corpus_dir", type=Path, help="folder of the corpus as published")
    parser.add_argument("out_dir", type=Path, help="folder to write, such as data/ravdess")
    parser.add_argument("--recipe", type=Path, help="recipe folder whose local/ and conf/ come first")
    parser.add_argument(
        "--allow-partial",
        choices=["true", "false"],
        default="false",
        help="go on when files are missing or unreadable, and list them",
    )
    parser.add_argument(
        "--download", choices=["true", "false"], default="false", help="fetch or make the corpus, and prepare nothing"
    )
    options = parser.parse_args(arguments)
    name = corpus or options.corpus
    protocol, preparer = read_protocol(name, options.recipe), load_preparer(name, options.recipe)
    if options.download == "true":
        if preparer.download is not None:
            with locked(options.corpus_dir, f"{options.corpus_dir} is being made"):
                preparer.download(options.corpus_dir)
        elif not options.corpus_dir.is_dir():
            raise InputError(f"{options.corpus_dir}: no such folder; {protocol.name} can be had from {protocol.source}")
        return 0
    print(prepare(preparer, protocol, options.corpus_dir, options.out_dir, options.allow_partial == "true"))
    return 0
