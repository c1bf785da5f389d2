"""lhotse manifests and Kaldi data dirs of a prepared corpus."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ser.common import atomic_path
from ser.common.json_lines import write_json_lines
from ser.corpora.controls import kept_share
from ser.corpora.items import ValidatedUtterance, is_segmented
from ser.corpora.kaldi import spk2utt, validate, write_table
from ser.corpora.protocol import PARTS, Protocol
from ser.corpora.splits import Fold

MANIFESTS = ("recordings.jsonl.gz", "supervisions.jsonl.gz", "cuts.jsonl.gz")


def write_manifests(
    folder: Path, protocol: Protocol, items: Sequence[ValidatedUtterance], labelled: Sequence[ValidatedUtterance]
) -> None:
    """recordings and supervisions of all utterances, cuts of those that are in a class (`*.jsonl.gz`).

    A recording is a file, whatever the number of its utterances. A supervision's `custom` holds emotion (the class, or
    None), label (the corpus's own), text_id, audio_digest (of the file), samples_digest (of the utterance) and what
    else the corpus gives. An utterance of one channel is a MonoCut; one of all channels of a file that has several is a
    MultiCut over them, to be mixed down.
    """
    from lhotse import Recording, SupervisionSegment
    from lhotse.audio import AudioSource

    recordings: dict[str, dict[str, Any]] = {}
    supervisions, cuts = [], []
    wanted = {item.utterance.id for item in labelled}
    for item in items:
        u, rate = item.utterance, item.sampling_rate
        channels = list(range(item.num_channels))
        if item.recording not in recordings:
            source = AudioSource("file", channels, str(u.real_path))
            recording = Recording(item.recording, [source], rate, item.file_samples, item.file_samples / rate)
            recordings[item.recording] = recording.to_dict()
        custom = {
            **u.custom,
            "emotion": protocol.labels[u.label],
            "label": u.label,
            "text_id": u.text_id,
            "audio_digest": item.digest,
            "samples_digest": item.sound,
        }
        channel: Any = 0 if item.num_channels == 1 else channels if item.channel is None else item.channel
        supervision = SupervisionSegment(
            u.id,
            item.recording,
            item.start,
            item.duration,
            channel=channel,
            language=u.language or protocol.language,
            speaker=u.speaker,
            gender=u.gender or None,
            custom=custom,
        )
        supervisions.append(supervision.to_dict())
        if u.id in wanted:
            # A cut is made of the other two rows, not by its class, which would convert both once more. In a cut, times
            # count from its start.
            cuts.append(
                {
                    **{"id": u.id, "start": item.start, "duration": item.duration, "channel": channel},
                    "supervisions": [supervisions[-1] | {"start": 0.0}],
                    "recording": recordings[item.recording],
                    "type": "MultiCut" if isinstance(channel, list) else "MonoCut",
                }
            )
    for name, rows in zip(MANIFESTS, (recordings.values(), supervisions, cuts), strict=True):
        write_json_lines(folder / name, rows)


def write_data_dirs(
    folder: Path,
    protocol: Protocol,
    labelled: Sequence[ValidatedUtterance],
    splits: Mapping[str, Any],
    wanted: Collection[tuple[str, int]],
) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """<split>_fold<k>/{train,valid,test}/; a part without speakers has no folder.

    Args:
        splits: what splits.json holds.
        wanted: split and fold, from 1, of those to write.

    Returns:
        Utterances of each folder, how many are left out of it since their text is for another part, and how many since
        the protocol's `keep` does not ask for them.
    """
    segmented = is_segmented([item.utterance for item in labelled])
    written, other_text, not_kept = {}, {}, {}
    for split, found in splits.items():
        for number, values in enumerate(found["folds"], 1):
            if (split, number) not in wanted:
                continue
            fold = Fold(values)
            own: dict[str, list[ValidatedUtterance]] = {part: [] for part in PARTS}
            for item in labelled:
                if part := fold.part_of(item.utterance):
                    own[part].append(item)
            name, chosen = f"{split}_fold{number}", {}
            for part, all_items in own.items():
                items = [item for item in all_items if fold.holds(part, item.utterance)]
                if len(items) < len(all_items):
                    other_text[f"{name}/{part}"] = len(all_items) - len(items)
                whole = len(items)
                if part == "train":
                    items = kept_share(protocol, items)
                if len(items) < whole:
                    not_kept[f"{name}/{part}"] = whole - len(items)
                if items:
                    chosen[part] = items
            if not chosen:
                continue
            with atomic_path(folder / name) as temporary:
                for part, items in chosen.items():
                    written[f"{name}/{part}"] = _write_data_dir(temporary / part, protocol, items, segmented)
    return written, other_text, not_kept


def _write_data_dir(folder: Path, protocol: Protocol, items: Sequence[ValidatedUtterance], segmented: bool) -> int:
    utterances = [item.utterance for item in items]
    utt2spk = {u.id: u.speaker for u in utterances}
    genders = {u.speaker: u.gender for u in utterances if u.gender}
    known_of_all = len(genders) == len(set(utt2spk.values()))
    tables = {
        "utt2spk": utt2spk,
        "spk2utt": spk2utt(utt2spk),
        "utt2dur": {item.utterance.id: f"{item.duration:.6f}" for item in items},
        "utt2emo": {u.id: str(protocol.labels[u.label]) for u in utterances},
        "utt2text_id": {u.id: u.text_id for u in utterances if u.text_id},
        "utt2votes": {u.id: votes for u in utterances if (votes := _votes(u.custom.get("votes", {}), protocol))},
        # Kaldi wants all speakers in spk2gender or no such file.
        "spk2gender" if known_of_all else "known_spk2gender": genders,
    }
    if any(u.language for u in utterances):
        tables["utt2lang"] = {u.id: u.language or protocol.language for u in utterances}
    if segmented:
        tables |= _recordings(items)
    else:
        tables["wav.scp"] = {u.id: str(u.real_path) for u in utterances}
    for name, table in tables.items():
        if table:
            write_table(folder / name, table)
    return validate(folder)


def _recordings(items: Sequence[ValidatedUtterance]) -> dict[str, dict[str, str]]:
    """The tables of a data dir with segments.

    A wav.scp can pick a channel only by a pipe, which this toolkit does not write. So a channel that is a speaker is a
    recording of its own, <recording>-<channel>, whose line in wav.scp names the file with all channels, and
    reco2file_and_channel has which of them it is. Kaldi's has a line for each recording, A or B: where one is of a
    third channel, or mixed down, our own reco2channel has the numbers instead, from 0. Kaldi's own programs and
    lhotse's reader of data dirs go by neither: the manifests have the channel in each cut.
    """
    names = {
        item.utterance.id: item.recording if item.channel is None else f"{item.recording}-{item.channel}"
        for item in items
    }
    of = {names[item.utterance.id]: item for item in items}
    tables = {
        "wav.scp": {name: str(item.utterance.real_path) for name, item in of.items()},
        "segments": {
            item.utterance.id: f"{names[item.utterance.id]} {_seconds(item, 0)} {_seconds(item, item.num_samples)}"
            for item in items
        },
        "reco2dur": {name: f"{item.file_samples / item.sampling_rate:.6f}" for name, item in of.items()},
    }
    channels = {name: 0 if item.num_channels == 1 else item.channel for name, item in of.items()}
    if any(item.channel is not None for item in items):
        if set(channels.values()) <= {0, 1}:
            tables["reco2file_and_channel"] = {
                n: f"{of[n].recording} {'AB'[c]}" for n, c in channels.items() if c is not None
            }
        else:
            tables["reco2channel"] = {n: str(i.channel) for n, i in of.items() if i.channel is not None}
    return tables


def _seconds(item: ValidatedUtterance, offset: int) -> str:
    """A place in the file, with so many digits that the sample is exact at any rate."""
    return f"{(item.first_sample + offset) / item.sampling_rate:.9f}"


def _votes(votes: Mapping[str, int], protocol: Protocol) -> str:
    """Annotators' votes (raw label -> number) by class, as `happy:2 sad:1`; votes for labels left out do not count."""
    counts: dict[str, int] = {}
    for label, number in votes.items():
        name = protocol.labels.get(label)
        if name is not None:
            counts[name] = counts.get(name, 0) + number
    return " ".join(f"{name}:{counts[name]}" for name in sorted(counts))
