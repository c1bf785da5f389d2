"""lhotse manifests and Kaldi data dirs of a prepared corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser.corpora.kaldi import spk2utt, validate, write_table
from ser.corpora.protocol import PARTS, Protocol

if TYPE_CHECKING:
    from ser.corpora.prepare import Item

MANIFESTS = ("recordings.jsonl.gz", "supervisions.jsonl.gz", "cuts.jsonl.gz")


def write_manifests(folder: Path, protocol: Protocol, items: Sequence[Item], kept: Sequence[Item]) -> None:
    """recordings and supervisions of all utterances, cuts of those that are in a class (`*.jsonl.gz`).

    A supervision's `custom` holds emotion (the class, or None), label (the corpus's own), text_id, audio_digest
    and what else the corpus tells. A file of several channels becomes a cut over all of them, to be mixed down.
    """
    from lhotse import CutSet, MonoCut, MultiCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet
    from lhotse.audio import AudioSource

    recordings, supervisions, cuts = [], [], []
    wanted = {item.utterance.id for item in kept}
    for item in items:
        u = item.utterance
        channels = list(range(item.num_channels))
        source = AudioSource("file", channels, str(u.path.resolve()))
        recordings.append(Recording(u.id, [source], item.sampling_rate, item.num_samples, item.duration))
        custom = {
            "emotion": protocol.labels[u.label],
            "label": u.label,
            "text_id": u.text_id,
            "audio_digest": item.digest,
            **u.custom,
        }
        channel: Any = 0 if item.num_channels == 1 else channels
        supervisions.append(
            SupervisionSegment(
                u.id,
                u.id,
                0.0,
                item.duration,
                channel=channel,
                language=protocol.language,
                speaker=u.speaker,
                gender=u.gender or None,
                custom=custom,
            )
        )
        if u.id in wanted:
            kind = MonoCut if item.num_channels == 1 else MultiCut
            cuts.append(
                kind(u.id, 0.0, item.duration, channel, supervisions=[supervisions[-1]], recording=recordings[-1])
            )
    RecordingSet.from_recordings(recordings).to_file(folder / "recordings.jsonl.gz")
    SupervisionSet.from_segments(supervisions).to_file(folder / "supervisions.jsonl.gz")
    CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl.gz")


def write_data_dirs(folder: Path, protocol: Protocol, kept: Sequence[Item]) -> dict[str, int]:
    """<split>_fold<k>/{train,valid,test}/ for every fold of every split; a part without speakers has no folder.

    Returns:
        Utterances of each folder.
    """
    written = {}
    for split in protocol.splits:
        for number, fold in enumerate(protocol.folds(split), 1):
            for part in PARTS:
                items = [item for item in kept if item.utterance.speaker in fold[part]]
                if items:
                    name = f"{split}_fold{number}/{part}"
                    written[name] = _write_data_dir(folder / name, protocol, items)
    return written


def _write_data_dir(folder: Path, protocol: Protocol, items: Sequence[Item]) -> int:
    utterances = [item.utterance for item in items]
    utt2spk = {u.id: u.speaker for u in utterances}
    tables = {
        "wav.scp": {u.id: str(u.path.resolve()) for u in utterances},
        "utt2spk": utt2spk,
        "spk2utt": spk2utt(utt2spk),
        "utt2dur": {item.utterance.id: f"{item.duration:.6f}" for item in items},
        "utt2emo": {u.id: str(protocol.labels[u.label]) for u in utterances},
        "utt2text_id": {u.id: u.text_id for u in utterances if u.text_id},
        "utt2votes": {u.id: votes for u in utterances if (votes := _votes(u.custom.get("votes", {}), protocol))},
        "spk2gender": {u.speaker: u.gender for u in utterances if u.gender},
    }
    for name, table in tables.items():
        if table:
            write_table(folder / name, table)
    return validate(folder)


def _votes(votes: Mapping[str, int], protocol: Protocol) -> str:
    """Annotators' votes (raw label -> number) by class, as `happy:2 sad:1`; votes for labels left out do not count."""
    counts: dict[str, int] = {}
    for label, number in votes.items():
        name = protocol.labels.get(label)
        if name is not None:
            counts[name] = counts.get(name, 0) + number
    return " ".join(f"{name}:{counts[name]}" for name in sorted(counts))
