"""Any corpus that is already a Kaldi data dir: wav.scp, utt2spk and utt2emo, and optionally segments,
reco2file_and_channel, reco2channel, spk2gender, utt2text_id, utt2lang, reco2dur and utt2dur.

utt2emo has lines `<utterance> <label>`. A protocol with `preparer: kaldi` maps labels to classes and defines the
splits. Its variable names the data dir. Paths in wav.scp may be relative to the data dir, to one of the two folders
above it, or to the working directory. Commands in wav.scp are refused without --allow-pipes true. With it, bash runs
each command once in the data dir, and its audio is kept in data/<corpus>.audio until that folder is removed.

Tables may be unsorted, and may have blank lines and Windows line ends. Speakers become <corpus>_<speaker>, and
utterances <corpus>_<speaker>-<rest of the id>.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ser.audio import AudioInfo, audio_info, read_audio
from ser.common import InputError, atomic_path, digest
from ser.common.progress import progress
from ser.corpora import Protocol, Utterance
from ser.corpora.data_dir import (
    KaldiSegment,
    KeyedLines,
    Line,
    channel_of,
    command_of,
    read_segment,
    read_speaker,
    read_tables,
    recording_file,
    recording_line,
    run_command,
)
from ser.corpora.issues import RAISE_ALL, Issue, Issues
from ser.corpora.table import Genders, Names, find_label, parse_seconds

NEEDED = ("wav.scp", "utt2spk", "utt2emo")
OPTIONAL = ("spk2gender", "utt2text_id", "utt2lang", "reco2dur", "utt2dur")
# Tolerance of given durations, which were often counted in frames: seconds, and share of the duration.
SLACK, SHARE = 0.05, 0.02


@dataclass
class _Recordings:
    """The audio files of a wav.scp, each looked up once."""

    corpus_dir: Path
    allow_pipes: bool
    audio_dir: Path | None
    known: dict[str, tuple[Path, AudioInfo | None] | None] = field(default_factory=dict)

    def audio(self, name: str, line: Line) -> tuple[Path, AudioInfo | None] | None:
        """Return the file of a recording and, if readable, its header; None if the recording was refused before."""
        if name not in self.known:
            self.known[name] = None
            command = command_of(line)
            path = self._run(name, line, command) if command else recording_file(line, self.corpus_dir)
            try:
                info = audio_info(path)
            except InputError:
                info = None  # the fault is reported when the file is read
            self.known[name] = path, info
        return self.known[name]

    def _run(self, name: str, line: Line, command: str) -> Path:
        """Run a command once and store its audio, in 16 bits if that is exact."""
        import soundfile

        if not self.allow_pipes or self.audio_dir is None:
            what = f"a command ({command}); if you trust every command in this file, have them run with "
            raise Issue("pipes", f"{what}--allow-pipes true", line.origin)
        stem = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.{digest(command)}"
        for suffix in (".flac", ".wav"):
            if (path := self.audio_dir / (stem + suffix)).is_file():
                return path
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "audio")
            if failure := run_command(command, output, self.corpus_dir):
                raise Issue("failed pipes", f"{failure}, so its audio is not taken", line.origin, f"fix it: {command}")
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the header of audio in a pipe has no valid size
                    audio = read_audio(output)
            except InputError as error:
                what = f"the command gives no audio ({error.what.partition(';')[0]})"
                raise Issue("failed pipes", what, line.origin, f"fix it: {command}") from None
        samples = audio.samples.T
        integers = np.clip(np.rint(samples * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
        exact = np.array_equal(integers, samples * 2**15) and samples.shape[1] <= 8
        suffix, subtype, data = (".flac", "PCM_16", integers) if exact else (".wav", "FLOAT", samples)
        path = self.audio_dir / (stem + suffix)
        with atomic_path(path) as temporary:
            soundfile.write(temporary, data, audio.sampling_rate, subtype=subtype, format=suffix[1:].upper())
        return path


def utterances(
    corpus_dir: Path,
    protocol: Protocol,
    issues: Issues = RAISE_ALL,
    allow_pipes: bool = False,
    audio_dir: Path | None = None,
) -> Iterator[Utterance]:
    """Yield an utterance for every line of utt2spk.

    Args:
        corpus_dir: the data dir.
        protocol: gives the corpus's name and labels.
        issues: gets lines that are left out.
        allow_pipes: run the commands in wav.scp.
        audio_dir: folder for their audio.

    Raises:
        InputError: a table is not valid; file and line are named.
    """
    for name in NEEDED:
        if not (corpus_dir / name).is_file():
            raise InputError(f"has no {name}", corpus_dir, f"give a data dir with {', '.join(NEEDED)}")
    tables = read_tables(corpus_dir / "wav.scp", (*NEEDED[1:], *OPTIONAL), issues)
    segments = _segments(tables, issues)
    _check_keys(corpus_dir, tables, segments, issues)
    names = Names(protocol.corpus)
    genders = Genders(line.value for line in tables["spk2gender"].values())
    recordings = _Recordings(corpus_dir, allow_pipes, audio_dir)
    listed: dict[str, Utterance] = {}
    for key, line in progress(tables["utt2spk"].items(), text=f"{protocol.corpus}: listing", unit="utt"):
        try:
            utterance = _utterance(key, line, tables, segments, recordings, names, genders, protocol)
            if utterance is None:  # its recording or its line of segments is an issue already
                continue
            other = listed.setdefault(utterance.id, utterance)
            if other is not utterance:
                what = f"becomes the same utterance as {other.origin} ({utterance.id})"
                raise Issue("one id, two lines", what, line.origin, "rename one")
        except Issue as issue:
            issues.add(issue)
    names.warn(corpus_dir)
    genders.warn(corpus_dir)
    yield from listed.values()


def _segments(tables: dict[str, KeyedLines], issues: Issues) -> dict[str, KaldiSegment]:
    """What each utterance is of its recording; those whose line was refused are left out."""
    segments = {}
    for key in tables["segments"] or tables["wav.scp"]:
        try:
            segments[key] = read_segment(key, tables)
        except Issue as issue:
            issues.add(issue)
    return segments


def _check_keys(
    corpus_dir: Path, tables: dict[str, KeyedLines], segments: dict[str, KaldiSegment], issues: Issues
) -> None:
    """Report keys of one table that are missing in the table that they refer to."""
    keys = set(tables["utt2spk"])
    recordings = {s.recording for s in segments.values()}
    known = {
        "utt2emo": (keys, "utt2spk"),
        "segments": (keys, "utt2spk"),
        "wav.scp": (recordings, "segments") if tables["segments"] else (keys, "utt2spk"),
        **dict.fromkeys(("reco2file_and_channel", "reco2channel", "reco2dur"), (set(tables["wav.scp"]), "wav.scp")),
        "spk2gender": ({line.value for line in tables["utt2spk"].values()}, "utt2spk"),
        **dict.fromkeys(("utt2text_id", "utt2lang", "utt2dur"), (keys, "utt2spk")),
    }
    for name, (others, where) in known.items():
        for key in sorted(tables[name].keys() - others):
            what = f"{key} is not in {corpus_dir / where}"
            fix = "remove the line (utils/fix_data_dir.sh does), or complete the other file"
            issues.add(Issue("table", what, tables[name][key].origin, fix))


def _utterance(
    key: str,
    line: Line,
    tables: dict[str, KeyedLines],
    segments: dict[str, KaldiSegment],
    recordings: _Recordings,
    names: Names,
    genders: Genders,
    protocol: Protocol,
) -> Utterance | None:
    speaker, origin = read_speaker(key, line), line.origin
    for name in ("utt2emo", "segments" if tables["segments"] else "wav.scp"):
        if key not in tables[name]:
            raise Issue("table", f"{key} is not in {name}", origin, "remove the line, or complete the other file")
    if key not in segments:
        return None
    segment = segments[key]
    audio = recordings.audio(segment.recording, recording_line(segment, tables))
    if audio is None:
        return None
    path, info = audio
    if info is not None:
        _check_duration(tables["reco2dur"].get(segment.recording), 0.0, None, path, info)
        _check_duration(tables["utt2dur"].get(key), segment.start, segment.end, path, info)
    speaker_id = names.speaker(speaker, origin)
    rest = names.clean_id(key.removeprefix(f"{speaker}-")).removeprefix(f"{speaker_id}-")
    return Utterance(
        id=f"{speaker_id}-{rest}",
        path=path,
        speaker=speaker_id,
        label=find_label(protocol, *tables["utt2emo"][key]),
        gender=genders.parse(tables["spk2gender"].get(speaker, Line("", "")).value),
        text_id=names.prefixed(tables["utt2text_id"].get(key, Line("", "")).value),
        start=segment.start,
        end=segment.end,
        channel=channel_of(segment.side, info.num_channels) if segment.side and info else segment.channel,
        recording=names.prefixed(names.clean_id(segment.recording)) if tables["segments"] else "",
        origin=segment.origin if tables["segments"] else origin,
        language=tables["utt2lang"].get(key, Line("", "")).value,
    )


def _check_duration(line: Line | None, start: float, end: float | None, path: Path, info: AudioInfo) -> None:
    """Check a given duration against the file's header, which reveals wrong sampling rates."""
    if line is None:
        return
    given = parse_seconds(line.value, "duration", line.origin)
    file_duration = info.num_samples / info.sampling_rate
    actual = (file_duration if end is None else end) - start
    if abs(given - actual) > SLACK + SHARE * actual:
        header = f"{info.num_samples} samples at {info.sampling_rate} Hz"
        what = f"{given:g} s, and by its header {path} has {actual:g} s ({header})"
        if not start and end is None and given > 0:
            what += f", which would be right at {info.num_samples / given:.0f} Hz"
        raise Issue("durations", what, line.origin, "fix the table, or the header")
