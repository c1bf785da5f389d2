"""The command line of stage 1."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from ser.common import InputError, guarded, locked
from ser.common.cli import Parser
from ser.config import read_experiment
from ser.corpora.check import check_corpus
from ser.corpora.confounding import check_confounded
from ser.corpora.fetch import is_fetched
from ser.corpora.prepare import check_corpus_exists, prepare_corpus
from ser.corpora.preparers import load_preparer
from ser.corpora.protocol import read_protocol


@guarded
def main(arguments: list[str] | None = None) -> int:
    """Prepare a corpus, corpus folder -> data folder, or report what is wrong with it."""
    parser = _parser()
    options = parser.parse_args(arguments)
    protocol = read_protocol(options.corpus, options.recipe)
    preparer = load_preparer(protocol.preparer, options.recipe)
    if options.download:
        if preparer.download is None:
            check_corpus_exists(protocol, options.corpus_dir)
        else:
            _download(preparer.download, options.corpus_dir)
        return 0
    if options.check:
        text, complete = check_corpus(preparer, protocol, options.corpus_dir, options.allow_pipes)
        print(text)
        return 0 if complete else 1
    if options.out_dir is None:
        parser.error("the folder to write is missing, such as data/ravdess")
    experiment = None if options.experiment is None else read_experiment(options.experiment)
    fold = None if experiment is None else (experiment.split, experiment.fold)
    how = options.allow_partial, options.allow_pipes, options.recheck, options.nj
    print(prepare_corpus(preparer, protocol, options.corpus_dir, options.out_dir, *how, fold))
    if experiment is not None:
        batches = experiment.batches
        folder = Path(os.path.abspath(options.out_dir))  # by its own name where it is a link
        check_confounded(folder.parent, [folder.name], batches.normalisation, batches.allow_confounded)
    return 0


def _parser() -> Parser:
    parser = Parser(description="Prepare a corpus: lhotse manifests, and a Kaldi data dir a split.")
    parser.add_argument("corpus", help="name of a protocol file, such as ravdess")
    parser.add_argument("corpus_dir", type=Path, help="folder of the corpus as published, or table of its files")
    parser.add_argument("out_dir", type=Path, nargs="?", help="folder to write, such as data/ravdess")
    parser.add_argument("--recipe", type=Path, help="recipe folder whose local/ and conf/ come first")
    parser.add_switch(
        "--allow-partial",
        help="go on when files are missing or unreadable, or lines of a table wrong, and list them",
    )
    parser.add_switch("--download", help="fetch or make the corpus, and prepare nothing")
    parser.add_switch(
        "--check",
        help="write nothing (no out_dir is needed); list everything that is missing or wrong, and exit with 1 if "
        "anything is",
    )
    parser.add_switch(
        "--allow-pipes",
        help="run the commands in the wav.scp of a Kaldi data dir, once, and keep their audio in <out_dir>.audio",
    )
    parser.add_switch(
        "--recheck",
        help="read every audio file again, also those whose size and times of change are as before",
    )
    parser.add_argument("--nj", type=int, default=1, help="processes that read audio files (%(default)s)")
    parser.add_argument(
        "--experiment",
        type=Path,
        help="config.yaml of the experiment that the corpus is prepared for: its normalisation is checked against the "
        "corpus, and of a split of many folds, only the fold of the experiment is written",
    )
    return parser


def _download(download: Callable[[Path], object], corpus_dir: Path) -> None:
    """Fetch or make a corpus; an error in a folder that was not there says that its path may be wrong."""
    existed = corpus_dir.exists()
    busy = locked(corpus_dir, f"{corpus_dir} is being made")
    try:
        with nullcontext() if is_fetched(corpus_dir) else busy:
            download(corpus_dir)
    except InputError as error:
        if existed:
            raise
        fixes = [error.fix, f"{corpus_dir} was not there: if that is a wrong path, correct it in db.sh"]
        raise InputError(error.what, error.where, "; ".join(fix for fix in fixes if fix)) from None
