"""Kaldi data directories: tables sorted in the C locale, and a check like that of utils/validate_data_dir.sh."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from ser.common import InputError, check_regular, write_text

Table = dict[str, str]


def read_table(path: Path) -> Table:
    """Read `key value` lines; the value is the rest of the line.

    Raises:
        InputError: the file is absent, a line has no value, or a key appears twice.
    """
    table: Table = {}
    check_regular(path, "run the stage that writes it")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text", path, "remove it and run the stage that writes it") from None
    # splitlines() would also split at other characters, such as U+2028.
    lines = text.removesuffix("\n").split("\n") if text else []
    for number, line in enumerate(lines, 1):
        parts = line.strip().split(maxsplit=1)
        if len(parts) < 2:
            raise InputError(f"expected `key value`, found {line!r}", f"{path}:{number}", "fix or remove the line")
        key, value = parts
        if key in table:
            raise InputError(f"{key} appears twice", f"{path}:{number}", "remove one of the lines")
        table[key] = value
    return table


def table_text(table: Mapping[str, str]) -> str:
    """Format a table, sorted by bytes as LC_ALL=C sort does."""
    return "".join(f"{key} {table[key]}\n" for key in sorted(table, key=str.encode))


def write_table(path: Path, table: Mapping[str, str]) -> None:
    """Write a table, completely or not at all."""
    write_text(path, table_text(table))


def spk2utt(utt2spk: Mapping[str, str]) -> Table:
    """Make spk2utt of utt2spk."""
    speakers: dict[str, list[str]] = {}
    for utterance in sorted(utt2spk, key=str.encode):
        speakers.setdefault(utt2spk[utterance], []).append(utterance)
    return {speaker: " ".join(utterances) for speaker, utterances in speakers.items()}


def validate(folder: Path) -> int:
    """Check that the tables of a data directory are sorted, have the same keys, and agree on speakers.

    With `segments`, the keys of wav.scp are recordings, and each recording has a segment.

    Returns:
        The number of utterances.

    Raises:
        InputError: names the first file and key that is wrong.
    """
    names = ("utt2spk", "wav.scp", "utt2emo", "utt2dur", "feats.scp", "utt2num_frames", "segments")
    tables = {name: read_table(folder / name) for name in names if name == "utt2spk" or (folder / name).is_file()}
    utt2spk, recordings = tables["utt2spk"], _recordings(folder, tables.get("segments", {}))
    if "wav.scp" not in tables and "feats.scp" not in tables:
        raise InputError("neither wav.scp nor feats.scp", folder, "run the stage that writes them")
    if not utt2spk:
        raise InputError("holds no utterances", folder / "utt2spk", "run the stage that writes it")
    for name, table in tables.items():
        keys = list(table)
        if keys != sorted(keys, key=str.encode):
            raise InputError("not sorted", folder / name, "use `LC_ALL=C sort`")
        other, reference = ("segments", recordings) if name == "wav.scp" and recordings else ("utt2spk", utt2spk)
        if table.keys() != reference.keys():
            unmatched = sorted(table.keys() ^ reference.keys())[0]
            what = f"{unmatched} is in only one of {name} and {other}"
            raise InputError(what, folder / name, "run the stage that writes them")
    if read_table(folder / "spk2utt") != spk2utt(utt2spk):
        raise InputError("does not agree with utt2spk", folder / "spk2utt", "run the stage that writes it")
    speakers = list(utt2spk.values())
    if speakers != sorted(speakers, key=str.encode):
        what = "sorted by utterance it is not sorted by speaker; an utterance id must start with its speaker"
        raise InputError(what, folder / "utt2spk")
    for name, kind in (("utt2dur", float), ("utt2num_frames", int)):
        for key, value in tables.get(name, {}).items():
            if not 0 < _number(value, kind) < math.inf:
                raise InputError(f"{key} {value}: must be a number greater than 0", folder / name)
    return len(utt2spk)


def _recordings(folder: Path, segments: Mapping[str, str]) -> Table:
    """Map each recording in segments to one of its segments."""
    recordings = {}
    for key, value in segments.items():
        recording, *times = value.split()
        start, end = map(_number, times) if len(times) == 2 else (math.nan, math.nan)
        if not 0 <= start < end < math.inf:
            what = f"{key} {value}: must be a recording, a start and an end after it, in seconds"
            raise InputError(what, folder / "segments")
        recordings[recording] = key
    return recordings


def _number(text: str, kind: type[int] | type[float] = float) -> float:
    """Parse a number; NaN if the text is none of this kind."""
    try:
        return kind(text)
    except ValueError:
        return math.nan
