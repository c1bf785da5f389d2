#!/usr/bin/env python3
"""Any corpus that is a Kaldi data dir already, with no code: wav.scp, utt2spk and utt2emo, and what else there is of
segments, reco2file_and_channel, spk2gender, utt2text_id, utt2lang, reco2dur and utt2dur.

utt2emo holds `<utterance> <label>`; which label counts as which class, and who is in which part, says a protocol with
`preparer: kaldi`. Its variable names the data dir. Paths in wav.scp may be relative to the data dir or to one of the
two folders above it. Commands in wav.scp are refused unless --allow-pipes true: then each is run once, by bash in the
data dir, and what it gives is kept below data/<corpus>/audio until that folder is removed.

Tables may be unsorted, and have blank lines or lines as Windows ends them. Speakers become <corpus>_<speaker> and
utterances <corpus>_<speaker>-<the rest of the id>.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ser.audio import AudioInfo, audio_info, read_audio
from ser.common import InputError, atomic_path, digest
from ser.common.progress import progress
from ser.corpora import Protocol, Utterance
from ser.corpora.findings import complain
from ser.corpora.table import Labels, Names, Refused, gender, read_lines, refuse, seconds

NEEDED = ("wav.scp", "utt2spk", "utt2emo")
OPTIONAL = ("segments", "reco2file_and_channel", "spk2gender", "utt2text_id", "utt2lang", "reco2dur", "utt2dur")
# Durations that others wrote were often counted in frames: they may differ by so many seconds and such a share.
SLACK, SHARE = 0.05, 0.02


class Line(NamedTuple):
    """The value of a line, and its "<file>:<line>"."""

    value: str
    origin: str


Table = dict[str, Line]


class Segment(NamedTuple):
    """A line of segments, or what stands for one where the utterance is all of its recording."""

    recording: str
    start: float
    end: float | None
    channel: int | None


@dataclass
class _Recordings:
    """The audio of wav.scp, looked up once each."""

    corpus_dir: Path
    wav_scp: Table
    allow_pipes: bool
    audio_dir: Path | None
    found: dict[str, tuple[Path, AudioInfo | None] | None] = field(default_factory=dict)

    def audio(self, name: str) -> tuple[Path, AudioInfo | None] | None:
        """The file of a recording, and what its header tells if it can be read; None where it was refused before."""
        if name not in self.found:
            self.found[name] = None
            line = self.wav_scp[name]
            path = self._run(name, line) if line.value.endswith("|") else self._file(line)
            try:
                info = audio_info(path)
            except InputError:
                info = None  # whoever reads it says what is wrong
            self.found[name] = path, info
        return self.found[name]

    def _file(self, line: Line) -> Path:
        if line.value.startswith("|"):
            raise refuse("table", f"{line.origin}: {line.value}: a command that takes audio, none that gives it")
        for folder in (self.corpus_dir, *self.corpus_dir.resolve().parents[:2]):
            if os.path.isfile(path := folder / line.value):  # Path.is_file raises where a name is too long
                return path
        if re.search(r":\d+(\[.*\])?$", line.value):
            raise refuse(
                "table",
                f"{line.origin}: {line.value}: a place in an archive of Kaldi, not a file; write the audio to files "
                "with wav-copy, and name these",
            )
        raise refuse(
            "missing files", f"{line.origin}: {line.value}: no such file; mend the path, or put the file there"
        )

    def _run(self, name: str, line: Line) -> Path:
        """Run a command once, and keep its audio, in 16 bits where these hold it."""
        import soundfile

        command = line.value.removesuffix("|").strip()
        if not self.allow_pipes or self.audio_dir is None:
            raise refuse(
                "pipes",
                f"{line.origin}: a command ({command}); if you trust every command in this file, have them run "
                "with --allow-pipes true",
            )
        stem = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.{digest(command)}"
        for suffix in (".flac", ".wav"):
            if (path := self.audio_dir / (stem + suffix)).is_file():
                return path
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "audio")
            with output.open("wb") as file:
                run = subprocess.run(
                    ["bash", "-o", "pipefail", "-c", command],
                    cwd=self.corpus_dir,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.PIPE,
                )
            if run.returncode:
                said = run.stderr.decode(errors="replace").strip().splitlines()
                raise refuse(
                    "pipes",
                    f"{line.origin}: the command ended with status {run.returncode} "
                    f"({said[-1].strip() if said else 'and said nothing'}), so its audio is not "
                    f"taken; mend it: {command}",
                )
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a header cannot tell the size of what goes into a pipe
                    audio = read_audio(output)
            except InputError as error:
                reason = str(error).removeprefix(f"{output}: ").partition(";")[0]
                raise refuse(
                    "pipes", f"{line.origin}: the command gives no audio ({reason}); mend it: {command}"
                ) from None
        samples = audio.samples.T
        exact = np.rint(samples * 2**15)
        plain = bool((exact == samples * 2**15).all()) and exact.min() >= -(2**15) and exact.max() < 2**15
        suffix, subtype = (".flac", "PCM_16") if plain and samples.shape[1] <= 8 else (".wav", "FLOAT")
        path = self.audio_dir / (stem + suffix)
        with atomic_path(path) as temporary:
            data = exact.astype(np.int16) if subtype == "PCM_16" else samples
            soundfile.write(temporary, data, audio.sampling_rate, subtype=subtype, format=suffix[1:].upper())
        return path


def utterances(
    corpus_dir: Path, protocol: Protocol, allow_pipes: bool = False, audio_dir: Path | None = None
) -> Iterator[Utterance]:
    """Every line of utt2spk.

    Args:
        allow_pipes: run the commands in wav.scp.
        audio_dir: where their audio is kept.

    Raises:
        InputError: naming file and line.
    """
    for name in NEEDED:
        if not (corpus_dir / name).is_file():
            raise InputError(f"{corpus_dir}: has no {name}; give a data dir with {', '.join(NEEDED)}")
    tables = {name: _table(corpus_dir / name) for name in (*NEEDED, *OPTIONAL)}
    segments = _segments(tables)
    _check_keys(corpus_dir, tables, segments)
    names, labels = Names(protocol.corpus), Labels(protocol.labels, protocol.path)
    recordings = _Recordings(corpus_dir, tables["wav.scp"], allow_pipes, audio_dir)
    found: dict[str, Utterance] = {}
    for key, (speaker, origin) in progress(tables["utt2spk"].items(), text=f"{protocol.corpus}: listing", unit="utt"):
        try:
            utterance = _utterance(key, speaker, origin, tables, segments, recordings, names, labels)
            other = found.setdefault(utterance.id, utterance)
            if other is not utterance:
                raise refuse(
                    "one id, two lines",
                    f"{origin}: becomes the same utterance as {other.origin} ({utterance.id}); rename one",
                )
        except Refused:
            continue
    names.tell(corpus_dir)
    yield from found.values()


def _table(path: Path) -> Table:
    table: Table = {}
    for line, origin in read_lines(path) if path.is_file() else ():
        key, *rest = line.split(maxsplit=1)
        if not rest:
            complain("table", f"{origin}: expected `key value`, found {line!r}; mend or remove the line")
        elif key in table:
            complain("table", f"{origin}: {key} stands in {table[key].origin} too; remove one of the lines")
        else:
            table[key] = Line(rest[0], origin)
    return table


def _segments(tables: dict[str, Table]) -> dict[str, Segment]:
    """What each utterance is of its recording."""
    if not tables["segments"]:
        return {key: Segment(key, 0.0, None, None) for key in tables["wav.scp"]}
    found = {}
    for key, (value, origin) in tables["segments"].items():
        fields = value.split()
        try:
            if len(fields) not in (3, 4) or not re.fullmatch("[0-9]+", "".join(fields[3:]) or "0"):
                raise refuse(
                    "table",
                    f"{origin}: expected `utterance recording start end` (and a channel from 0), found {value!r}",
                )
            start, end = (seconds(text, "time", origin) for text in fields[1:3])
            if start < 0 or (end != -1 and end <= start):
                raise refuse(
                    "segments",
                    f"{origin}: {key} starts at {start:g} s and ends at {end:g} s; give an end after the start, "
                    "or -1 for the end of the recording",
                )
        except Refused:
            continue
        channel = int(fields[3]) if len(fields) == 4 else None
        found[key] = Segment(fields[0], start, None if end == -1 else end, channel)
    return found


def _check_keys(corpus_dir: Path, tables: dict[str, Table], segments: dict[str, Segment]) -> None:
    """What stands in one table and misses its fellow in another: nothing is passed over in silence."""
    keys = set(tables["utt2spk"])
    recordings = {s.recording for s in segments.values()}
    known = {
        "utt2emo": (keys, "utt2spk"),
        "segments": (keys, "utt2spk"),
        "wav.scp": (recordings, "segments") if tables["segments"] else (keys, "utt2spk"),
        "reco2file_and_channel": (set(tables["wav.scp"]), "wav.scp"),
        "reco2dur": (set(tables["wav.scp"]), "wav.scp"),
        "spk2gender": ({line.value for line in tables["utt2spk"].values()}, "utt2spk"),
        **dict.fromkeys(("utt2text_id", "utt2lang", "utt2dur"), (keys, "utt2spk")),
    }
    for name, (others, where) in known.items():
        for key in sorted(tables[name].keys() - others):
            complain(
                "table",
                f"{tables[name][key].origin}: {key} is not in {corpus_dir / where}; remove the line "
                "(utils/fix_data_dir.sh does), or complete the other file",
            )


def _utterance(
    key: str,
    speaker: str,
    origin: str,
    tables: dict[str, Table],
    segments: dict[str, Segment],
    recordings: _Recordings,
    names: Names,
    labels: Labels,
) -> Utterance:
    if len(speaker.split()) != 1:
        raise refuse("table", f"{origin}: expected `utterance speaker`, found {key} {speaker!r}")
    for name in ("utt2emo", "segments" if tables["segments"] else "wav.scp"):
        if key not in tables[name]:
            raise refuse("table", f"{origin}: {key} is not in {name}; remove the line, or complete the other file")
    if key not in segments:
        raise Refused  # its line was refused
    segment = segments[key]
    if segment.recording not in tables["wav.scp"]:
        raise refuse(
            "table", f"{tables['segments'][key].origin}: recording {segment.recording} is not in wav.scp; add it"
        )
    audio = recordings.audio(segment.recording)
    if audio is None:
        raise Refused  # its line was refused
    path, info = audio
    if info is not None:
        _check_duration(tables["reco2dur"].get(segment.recording), 0.0, None, path, info)
        _check_duration(tables["utt2dur"].get(key), segment.start, segment.end, path, info)
    clean = names.speaker(speaker, origin)
    rest = names.rest(key.removeprefix(f"{speaker}-")).removeprefix(f"{clean}-")
    sex = tables["spk2gender"].get(speaker, Line("", origin))
    return Utterance(
        id=f"{clean}-{rest}",
        path=path,
        speaker=clean,
        label=labels.find(*tables["utt2emo"][key]),
        gender=gender(*sex),
        text_id=names.prefixed(tables["utt2text_id"].get(key, Line("", "")).value),
        start=segment.start,
        end=segment.end,
        channel=_channel(segment, tables["reco2file_and_channel"].get(segment.recording), info),
        recording=names.prefixed(names.rest(segment.recording)) if tables["segments"] else "",
        origin=tables["segments"][key].origin if tables["segments"] else origin,
        language=tables["utt2lang"].get(key, Line("", "")).value,
    )


def _channel(segment: Segment, line: Line | None, info: AudioInfo | None) -> int | None:
    """From segments or reco2file_and_channel; a recording of one channel has been taken out of its file already."""
    if segment.channel is not None or line is None:
        return segment.channel
    letter = line.value.split()[-1]
    if not re.fullmatch("[A-H]", letter):
        raise refuse("table", f"{line.origin}: channel {letter!r}: A for the first, B for the second")
    return None if info is not None and info.num_channels == 1 else ord(letter) - ord("A")


def _check_duration(line: Line | None, start: float, end: float | None, path: Path, info: AudioInfo) -> None:
    """A duration that somebody wrote down agrees with the header: a wrong rate shows so."""
    if line is None:
        return
    given = seconds(line.value, "duration", line.origin)
    whole = info.num_samples / info.sampling_rate
    there = (whole if end is None else end) - start
    if abs(given - there) > SLACK + SHARE * there:
        rate = (
            ""
            if start or end is not None or given <= 0
            else f", which would be right at {info.num_samples / given:.0f} Hz"
        )
        raise refuse(
            "durations",
            f"{line.origin}: {given:g} s, and by its header {path} has {there:g} s ({info.num_samples} samples at "
            f"{info.sampling_rate} Hz){rate}; mend the table, or the header",
        )


if __name__ == "__main__":
    from ser.corpora.main import main

    sys.exit(main())
