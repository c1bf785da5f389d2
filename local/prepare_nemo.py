"""nEMO: nine actors (five men, four women) say 90 sentences in six emotional states, Polish, 24 kHz: 4481 clips.

Christop (2024), LREC-COLING, 12111-12116. CC BY-NC-SA 4.0. https://github.com/amu-cai/nEMO: samples/EB0_anger_1.wav
(speaker, state, sentence), and data.tsv with a line a clip: file_id, emotion, raw_text, normalized_text, speaker_id
(with spaces before it), gender, age. anger 749, fear 736, happiness 749, neutral 809, sadness 769, surprised 669; by
speaker EB0 539, IC0 540, KD0 540, KS0 540, MK0 450 (none surprised), MP0 256 (no state but neutral complete), SM0 538,
TP0 539, WR0 539. The copy on the Hugging Face Hub keeps the audio in Parquet files, which are not read here.

data.tsv defines the corpus: a clip that it lists but that does not exist is missing, and a clip that it does not list
does not belong to the corpus. A clip may have been converted to FLAC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ser.common import InputError
from ser.corpora import Utterance, audio_files, file_utterance
from ser.corpora.fetch import fetch_corpus, github_archive
from ser.corpora.issues import RAISE_ALL, Issue, Issues
from ser.corpora.table import parse_gender, read_lines
from ser.corpora.utterance import files_below, is_hidden, unmatched_file

NAME = re.compile(r"([A-Z]{2}\d)_([a-z]+)_(\d{1,2})\.(?i:wav|flac)")
TABLE = "data.tsv"
COLUMNS = ("file_id", "emotion", "raw_text", "speaker_id", "gender", "age")


def download(corpus_dir: Path) -> None:
    """Fetch the repository, which holds clips, table and licence."""
    fetch_corpus(corpus_dir, "nemo", lambda: [github_archive("amu-cai/nEMO", "main")])


def utterances(corpus_dir: Path, issues: Issues = RAISE_ALL) -> Iterator[Utterance]:
    """Yield every clip of the table, also if its file is missing.

    Args:
        corpus_dir: folder that holds the table.
        issues: gets lines that cannot be parsed, and files that the table does not list.

    Raises:
        InputError: there is no table, or two that differ.
    """
    table = _table(corpus_dir)
    rows = _read(table, issues)
    present = set()
    for path, _ in audio_files(corpus_dir, NAME, issues):
        if path.stem not in rows:
            issues.add(unmatched_file(path, f"{table} does not name it"))
            continue
        present.add(path.stem)
        yield _utterance(path, rows[path.stem])
    for stem in sorted(rows.keys() - present):
        yield _utterance(table.parent / "samples" / rows[stem]["file_id"], rows[stem])


def _table(corpus_dir: Path) -> Path:
    """Find the table; all copies of it in the folder must be equal."""
    tables = [p for p in files_below(corpus_dir) if p.name == TABLE and not is_hidden(p.relative_to(corpus_dir))]
    if not tables:
        fix = f"give the folder that holds {TABLE} and samples, as published"
        raise InputError(f"holds no {TABLE}", corpus_dir, fix)
    first = min(tables, key=lambda path: len(path.parts))
    for other in tables:
        if other.read_bytes() != first.read_bytes():
            raise InputError(f"differs from {first}", other, "remove the wrong one")
    return first


def _read(table: Path, issues: Issues) -> dict[str, dict[str, str]]:
    """Read the table: name of the clip without suffix -> row by column, with "<file>:<line>" as origin."""
    lines = read_lines(table)
    head, origin = next(lines, ("", f"{table}:1"))
    columns = [name.strip() for name in head.split("\t")]
    if absent := [name for name in COLUMNS if name not in columns]:
        raise InputError(f"no column {absent[0]}", origin, f"give the {TABLE} of the corpus as published")
    rows: dict[str, dict[str, str]] = {}
    for line, origin in lines:
        try:
            row = _row(columns, [field.strip() for field in line.split("\t")], origin)
        except Issue as issue:
            issues.add(issue)
            continue
        stem = row["file_id"].rpartition(".")[0]
        if stem in rows:
            what = f"{row['file_id']} is also in {rows[stem]['origin']}"
            issues.add(Issue("table", what, origin, "remove the wrong line"))
            continue
        rows[stem] = row
    return rows


def _row(columns: list[str], fields: list[str], origin: str) -> dict[str, str]:
    """Parse a line of the table to a row by column.

    Raises:
        Issue: the line cannot be parsed, or contradicts the name of its clip.
    """
    if len(fields) != len(columns):
        raise Issue("table", f"{len(fields)} fields, and there are {len(columns)} columns", origin, "correct the line")
    row = dict(zip(columns, fields, strict=True)) | {"origin": origin}
    match = NAME.fullmatch(row["file_id"])
    if match is None or match.group(1, 2) != (row["speaker_id"], row["emotion"]):
        form = "<speaker_id>_<emotion>_<sentence>.wav"
        row_of = f"speaker_id {row['speaker_id']!r} and emotion {row['emotion']!r}"
        raise Issue("table", f"file_id {row['file_id']!r} is not {form} of {row_of}", origin, "correct the line")
    return row | {"gender": parse_gender(row["gender"], origin), "sentence": match[3]}


def _utterance(path: Path, row: dict[str, str]) -> Utterance:
    speaker, label, text = row["speaker_id"], row["emotion"], f"{int(row['sentence']):02d}"
    custom = {"raw_text": row["raw_text"], "age": row["age"]}
    return file_utterance("nemo", path, speaker, label, row["gender"], text, custom=custom, origin=row["origin"])
