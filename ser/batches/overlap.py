"""Whether utterances of an experiment have equal samples, within a corpus or in two, such as a corpus and its copy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ser.common import InputError
from ser.common.errors import listed
from ser.corpora.cuts import Cut
from ser.corpora.kaldi import read_table

# Corpus -> part -> utterance -> digest of its samples.
Samples = dict[str, dict[str, dict[str, str]]]


def sample_digests(folders: Mapping[str, Path], cuts: Sequence[Cut]) -> dict[str, dict[str, str]]:
    """Part -> utterance -> digest of its samples, of one corpus.

    Args:
        folders: the data dir of each part; one that is absent has no utterances.
        cuts: those of the corpus.

    Raises:
        InputError: stage 1 was run by a version that wrote no such digests.
    """
    digests = {cut.id: cut.samples_digest for cut in cuts}
    found: dict[str, dict[str, str]] = {}
    for part, folder in folders.items():
        table = folder / "utt2spk"
        found[part] = {key: digests.get(key, "") for key in read_table(table)} if table.is_file() else {}
        if not all(found[part].values()):
            raise InputError("written by an earlier version, without digests of samples", folder, "run stage 1")
    return found


def check_equal_audio(samples: Samples) -> dict[str, int]:
    """Equal samples are in one part only.

    Returns:
        Part -> how many of its utterances have the samples of another one there.

    Raises:
        InputError: there are some in two parts, so that what is tested on has been trained on.
    """
    counts = Counter(name for parts in samples.values() for found in parts.values() for name in found.values())
    equal = {name for name, number in counts.items() if number > 1}
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for corpus, parts in samples.items():
        for part, found in parts.items():
            for key, name in found.items():
                if name in equal:
                    groups.setdefault(name, []).append((part, corpus, key))
    shared = [group for group in groups.values() if len({part for part, _, _ in group}) > 1]
    if shared:
        pairs = [" = ".join(f"{key} ({corpus}, {part})" for part, corpus, key in group) for group in shared]
        raise InputError(
            f"{len(shared)} utterances have equal audio in different parts",
            ", ".join(samples),
            f"leave one of the corpora out, or name one of each under `drop` in its protocol:\n       {listed(pairs)}",
        )
    return dict(Counter(group[0][0] for group in groups.values() for _ in group[1:]))
