"""lhotse manifests and Kaldi data dirs of a prepared corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ser.common import atomic_path
from ser.common.json_lines import write_json_lines
from ser.corpora.controls import subsample
from ser.corpora.kaldi import spk2utt, validate, write_table
from ser.corpora.protocol import PARTS, Protocol
from ser.corpora.splits import Fold
from ser.corpora.validation import ValidatedUtterance, is_segmented

MANIFESTS = ("recordings.jsonl.gz", "supervisions.jsonl.gz", "cuts.jsonl.gz")


def write_manifests(
    folder: Path, protocol: Protocol, items: Sequence[ValidatedUtterance], labelled: Sequence[ValidatedUtterance]
) -> None:
    """Write recordings and supervisions of all utterances, and cuts of those with a class (`*.jsonl.gz`).

    A recording is one file, also if it has several utterances. A supervision's `custom` holds emotion (the class, or
    None), label (the corpus's own), text_id, audio_digest (of the file), samples_digest (of the utterance) and the
    further annotations of the corpus. An utterance of one channel is a MonoCut. An utterance of all channels of a file
    with several is a MultiCut, to be mixed down.

    Args:
        folder: data/<corpus>.
        protocol: of the corpus.
        items: all utterances.
        labelled: those with a class.
    """
    from lhotse import Recording, SupervisionSegment
    from lhotse.audio import AudioSource

    recordings: dict[str, dict[str, Any]] = {}
    supervisions, cuts = [], []
    with_class = {item.utterance.id for item in labelled}
    for item in items:
        u, rate = item.utterance, item.sampling_rate
        channels = list(range(item.num_channels))
        if item.recording not in recordings:
            source = AudioSource("file", channels, u.real_path)
            recording = Recording(item.recording, [source], rate, item.file_samples, item.file_samples / rate)
            recordings[item.recording] = _row(recording) | {"sources": [_row(source)]}
        custom = {
            **u.custom,
            "emotion": protocol.labels[u.label],
            "label": u.label,
            "text_id": u.text_id,
            "audio_digest": item.audio_digest,
            "samples_digest": item.samples_digest,
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
        supervisions.append(_row(supervision))
        if u.id in with_class:
            # Made from the rows above and not by lhotse's class, which would copy both. In a cut, times count from its
            # start.
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


def _row(item: Any) -> dict[str, Any]:
    """The row of a manifest that lhotse's `to_dict` makes, without its copy of every value, which takes longer."""
    return {name: value for name, value in vars(item).items() if value is not None}


def write_data_dirs(
    folder: Path,
    protocol: Protocol,
    labelled: Sequence[ValidatedUtterance],
    splits: Mapping[str, Any],
    folds: Iterable[tuple[str, int]],
) -> dict[str, dict[str, int]]:
    """Write <split>_fold<k>/{train,valid,test}/; a part without speakers has no folder.

    Args:
        folder: data/<corpus>.
        protocol: of the corpus.
        labelled: utterances with a class.
        splits: content of splits.json.
        folds: (split, fold from 1) to write.

    Returns:
        Counts by folder: utterances written ("parts"), and, unless there are none, those left out because their text
        belongs to another part ("other_text") or by the protocol's `keep` ("not_kept").
    """
    segmented = is_segmented([item.utterance for item in labelled])
    counts: dict[str, dict[str, int]] = {"parts": {}}
    for split, number in folds:
        fold, name, written = Fold(splits[split]["folds"][number - 1]), f"{split}_fold{number}", {}
        by_part: dict[str | None, list[ValidatedUtterance]] = {}
        for item in labelled:
            by_part.setdefault(fold.part_of(item.utterance), []).append(item)
        for part in PARTS:
            of_speakers = by_part.get(part, [])
            items = [item for item in of_speakers if fold.holds(part, item.utterance)]
            kept = subsample(protocol, items) if part == "train" else items
            left_out = {"other_text": len(of_speakers) - len(items), "not_kept": len(items) - len(kept)}
            for key, number_left_out in left_out.items():
                if number_left_out:
                    counts.setdefault(key, {})[f"{name}/{part}"] = number_left_out
            if kept:
                written[part] = kept
        if written:
            with atomic_path(folder / name) as temporary:
                for part, items in written.items():
                    counts["parts"][f"{name}/{part}"] = _write_data_dir(temporary / part, protocol, items, segmented)
    return counts


def _write_data_dir(folder: Path, protocol: Protocol, items: Sequence[ValidatedUtterance], segmented: bool) -> int:
    utterances = [item.utterance for item in items]
    utt2spk = {u.id: u.speaker for u in utterances}
    genders = {u.speaker: u.gender for u in utterances if u.gender}
    all_known = len(genders) == len(set(utt2spk.values()))
    tables = {
        "utt2spk": utt2spk,
        "spk2utt": spk2utt(utt2spk),
        "utt2dur": {item.utterance.id: f"{item.duration:.6f}" for item in items},
        "utt2emo": {u.id: str(protocol.labels[u.label]) for u in utterances},
        "utt2text_id": {u.id: u.text_id for u in utterances if u.text_id},
        "utt2votes": {u.id: votes for u in utterances if (votes := _votes(u.custom.get("votes", {}), protocol))},
        # In Kaldi, spk2gender has all speakers or is absent.
        "spk2gender" if all_known else "known_spk2gender": genders,
    }
    if any(u.language for u in utterances):
        tables["utt2lang"] = {u.id: u.language or protocol.language for u in utterances}
    if segmented:
        tables |= _segment_tables(items)
    else:
        tables["wav.scp"] = {u.id: u.real_path for u in utterances}
    for name, table in tables.items():
        if table:
            write_table(folder / name, table)
    return validate(folder)


def _segment_tables(items: Sequence[ValidatedUtterance]) -> dict[str, dict[str, str]]:
    """Make the tables of a data dir with segments.

    A wav.scp can select a channel only by a pipe, which this toolkit does not write. So a channel of one speaker is a
    recording of its own, <recording>-<channel>. Its line in wav.scp names the file with all channels, and
    reco2file_and_channel names the channel, A or B, in a line for each recording. If a recording is a third channel or
    is mixed down, our own table reco2channel holds the numbers instead, from 0. Kaldi's programs and lhotse's reader of
    data dirs use neither table; the manifests have the channel in each cut.
    """
    by_name, segments = {}, {}
    for item in items:
        name = item.recording if item.channel is None else f"{item.recording}-{item.channel}"
        by_name[name] = item
        end = (item.first_sample + item.num_samples) / item.sampling_rate
        segments[item.utterance.id] = f"{name} {item.start:.9f} {end:.9f}"  # exact to the sample at any sampling rate
    tables = {
        "wav.scp": {name: item.utterance.real_path for name, item in by_name.items()},
        "segments": segments,
        "reco2dur": {name: f"{item.file_samples / item.sampling_rate:.6f}" for name, item in by_name.items()},
    }
    channels = {name: 0 if item.num_channels == 1 else item.channel for name, item in by_name.items()}
    if any(item.channel is not None for item in items):
        if set(channels.values()) <= {0, 1}:
            tables["reco2file_and_channel"] = {
                n: f"{by_name[n].recording} {'AB'[c]}" for n, c in channels.items() if c is not None
            }
        else:
            tables["reco2channel"] = {n: str(i.channel) for n, i in by_name.items() if i.channel is not None}
    return tables


def _votes(votes: Any, protocol: Protocol) -> str:
    """Format the annotators' votes (raw label -> number) by class: `happy:2 sad:1`; labels in no class do not count.

    The text of a table's column of that name is "".
    """
    counts: Counter[str] = Counter()
    for label, number in votes.items() if isinstance(votes, Mapping) else ():
        if name := protocol.labels.get(label):
            counts[name] += number
    return " ".join(f"{name}:{number}" for name, number in sorted(counts.items()))
