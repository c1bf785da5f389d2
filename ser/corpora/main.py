"""The command line of stages 0 and 1 of a corpus."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from ser.common import guarded, locked
from ser.common.cli import Parser
from ser.config import read_experiment
from ser.corpora.check import check
from ser.corpora.describe import read_prepared
from ser.corpora.fetch import is_there
from ser.corpora.prepare import check_there, prepare
from ser.corpora.preparers import load_preparer
from ser.corpora.protocol import read_protocol
from ser.corpora.speaker_statistics import check_confounded


@guarded
def main(arguments: list[str] | None = None) -> int:
    """Prepare a corpus, corpus folder -> data folder, or say what is wrong with it."""
    parser = argparse.ArgumentParser(description="Prepare a corpus: lhotse manifests, and a Kaldi data dir a split.")

    def flag(name: str, text: str) -> None:
        parser.add_argument(name, choices=["true", "false"], default="false", help=text)

    parser.add_argument("corpus", help="name of a protocol file, such as ravdess")
    parser.add_argument(
        "corpus_dir", type=Path, help="folder of the corpus as published, or table that lists its files"
    )
    parser.add_argument("out_dir", type=Path, nargs="?", help="folder to write, such as data/ravdess")
    parser.add_argument("--recipe", type=Path, help="recipe folder whose local/ and conf/ come first")
    flag("--allow-partial", "go on when files are missing or unreadable, and list them")
    flag("--download", "fetch or make the corpus, and prepare nothing")
    flag(
        "--check",
        "write nothing (no out_dir is needed); list all that is missing or wrong, and exit with 1 if anything is",
    )
    flag(
        "--allow-pipes",
        "run the commands in the wav.scp of a Kaldi data dir, once, and keep their audio below out_dir",
    )
    flag("--recheck", "read every audio file again, though its size and times of change are as they were")
    parser.add_argument("--nj", type=int, default=1, help="processes that read audio files (%(default)s)")
    parser.add_argument(
        "--experiment",
        type=Path,
        help="config.yaml of the experiment that the corpus is prepared for: whether it can be normalised as that asks",
    )
    options = parser.parse_args(arguments)
    protocol = read_protocol(options.corpus, options.recipe)
    preparer, allow_pipes = load_preparer(protocol.preparer, options.recipe), options.allow_pipes == "true"
    if options.download == "true":
        if preparer.download is not None:
            busy = locked(options.corpus_dir, f"{options.corpus_dir} is being made")
            with nullcontext() if is_there(options.corpus_dir) else busy:
                preparer.download(options.corpus_dir)
        else:
            check_there(protocol, options.corpus_dir)
        return 0
    if options.check:
        text, complete = check(preparer, protocol, options.corpus_dir, options.allow_pipes)
        print(text)
        return 0 if complete else 1
    if options.out_dir is None:
        parser.error("the folder to write is missing, such as data/ravdess")
    allow_partial, recheck = options.allow_partial == "true", options.recheck == "true"
    folders = options.corpus_dir, options.out_dir
    print(prepare(preparer, protocol, *folders, allow_partial, allow_pipes, recheck=recheck, jobs=options.nj))
    prepared = read_prepared(options.out_dir)
    print(*(f"  {text}" for text in (prepared.confounding, *prepared.missing())), sep="\n")
    if options.experiment is not None:
        batches = read_experiment(options.experiment).batches
        folder = options.out_dir.resolve()
        check_confounded(folder.parent, [folder.name], batches.normalisation, batches.allow_confounded)
    return 0
