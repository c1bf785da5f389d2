"""Control experiments: train on a subset of the training utterances, or on permuted labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ser.common import derive_seed
from ser.corpora.protocol import Protocol
from ser.corpora.validation import ValidatedUtterance


def subsample(protocol: Protocol, items: Sequence[ValidatedUtterance]) -> list[ValidatedUtterance]:
    """Take the share, or the hours, of a training part that the protocol's `keep` sets, evenly by speaker and label.

    A larger share contains all utterances of a smaller one.
    """
    keep = protocol.keep
    if keep is None:
        return list(items)
    groups: dict[tuple[str, str], list[ValidatedUtterance]] = {}
    for item in items:
        groups.setdefault((item.utterance.speaker, item.utterance.label), []).append(item)
    ranks = {}  # utterance id -> rank in the random order of its group, from 0 to 1
    for group in groups.values():
        group.sort(key=lambda item: derive_seed("keep", item.utterance.id))
        ranks.update({item.utterance.id: (rank + 0.5) / len(group) for rank, item in enumerate(group)})
    if not isinstance(keep, Mapping):
        return [item for item in items if ranks[item.utterance.id] <= keep]
    order = sorted(items, key=lambda item: (ranks[item.utterance.id], derive_seed("keep", item.utterance.id)))
    hours = np.cumsum([item.duration for item in order]) / 3600
    selected = {item.utterance.id for item in order[: int(np.searchsorted(hours, keep["hours"], side="right"))]}
    return [item for item in items if item.utterance.id in selected]


def permute_labels(protocol: Protocol, items: Sequence[ValidatedUtterance]) -> list[ValidatedUtterance]:
    """Permute the labels among each speaker's utterances with a class, if the protocol sets `shuffle_labels`.

    Counts by speaker and label stay the same. The original label is stored as custom["own_label"], and votes are
    removed.
    """
    if not protocol.shuffle_labels:
        return list(items)
    speakers: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        if protocol.labels[item.utterance.label] is not None:
            speakers.setdefault(item.utterance.speaker, []).append(index)
    result = list(items)
    for speaker, indices in speakers.items():
        order = np.random.default_rng(derive_seed("shuffle labels", speaker)).permutation(len(indices))
        for index, other in zip(indices, order, strict=True):
            u = items[index].utterance
            custom = {**{key: value for key, value in u.custom.items() if key != "votes"}, "own_label": u.label}
            permuted = items[indices[other]].utterance.label
            result[index] = replace(items[index], utterance=replace(u, label=permuted, custom=custom))
    return result
