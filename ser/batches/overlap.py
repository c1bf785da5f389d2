"""Find utterances of an experiment with equal samples, within a corpus or across corpora that share recordings."""

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
    """Look up the digests of the samples of one corpus.

    Args:
        folders: part -> data dir; a part whose data dir is absent has no utterances.
        cuts: the cuts of the corpus.

    Returns:
        Part -> utterance -> digest of its samples.

    Raises:
        InputError: stage 1 was run by a version that wrote no digests of samples.
    """
    digests = {cut.id: cut.samples_digest for cut in cuts}
    by_part: dict[str, dict[str, str]] = {}
    for part, folder in folders.items():
        table = folder / "utt2spk"
        by_part[part] = {key: digests.get(key, "") for key in read_table(table)} if table.is_file() else {}
        if not all(by_part[part].values()):
            raise InputError("written by an earlier version, without digests of samples", folder, "run stage 1")
    return by_part


def check_equal_audio(samples: Samples) -> dict[str, int]:
    """Check that utterances with equal samples are in the same part.

    Returns:
        Part -> number of its utterances that duplicate another one of the part.

    Raises:
        InputError: utterances of different parts have equal samples, so that test data would be trained on.
    """
    counts = Counter(value for parts in samples.values() for digests in parts.values() for value in digests.values())
    duplicated = {value for value, count in counts.items() if count > 1}
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for corpus, parts in samples.items():
        for part, digests in parts.items():
            for utterance, value in digests.items():
                if value in duplicated:
                    groups.setdefault(value, []).append((part, corpus, utterance))
    shared = [group for group in groups.values() if len({part for part, _, _ in group}) > 1]
    if shared:
        pairs = [" = ".join(f"{name} ({corpus}, {part})" for part, corpus, name in group) for group in shared]
        raise InputError(
            f"{len(shared)} utterances have equal audio in different parts",
            ", ".join(samples),
            f"leave one of the corpora out, or name one of each under `drop` in its protocol:\n       {listed(pairs)}",
        )
    return dict(Counter(group[0][0] for group in groups.values() for _ in group[1:]))
