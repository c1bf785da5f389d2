"""Utterances as the preparers of local/ yield them, and the files of a corpus folder."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from ser.audio import READABLE_SUFFIXES
from ser.common.files import refuse_folder
from ser.corpora.issues import RAISE_ALL, Issue, Issues

# Kind of the issue of a file whose name does not follow the naming scheme of its corpus.
UNMATCHED = "stray files"
Version = tuple[int, int, int]


@dataclass(frozen=True)
class Utterance:
    """One utterance as the corpus itself names it.

    Attributes:
        id: unique over all corpora, with the speaker as prefix: "<speaker>-<rest>".
        path: the audio file.
        speaker: unique over all corpora.
        label: the corpus's own label, before the protocol's map.
        gender: "f", "m", or "" where it is not known.
        text_id: the words, where the corpus gives them; utterances of one text share it.
        custom: further annotations of the corpus, copied to the manifests.
        start: in the file, in seconds.
        end: in the file, in seconds; None: the end of the file.
        channel: from 0; None: all channels, mixed down to mono.
        recording: id of the recording, where several utterances share a file; "": the utterance's own id.
        origin: "<file>:<line>" for error messages, where the corpus is a table.
        language: of this utterance, where it differs from the protocol's.
        split: "train", "valid" or "test" where the corpus has a split of its own.
    """

    id: str
    path: Path
    speaker: str
    label: str
    gender: str = ""
    text_id: str = ""
    custom: dict[str, Any] = field(default_factory=dict)
    start: float = 0.0
    end: float | None = None
    channel: int | None = None
    recording: str = ""
    origin: str = ""
    language: str = ""
    split: str = ""

    @cached_property
    def real_path(self) -> str:
        """The path without symbolic links. It is looked up once, and that of a folder once for all of its files."""
        if os.path.islink(self.path):
            return os.path.realpath(self.path)  # Path.resolve raises at a link to itself
        folder, name = os.path.split(self.path)
        return os.path.join(real_folder(folder), name)

    @cached_property
    def version(self) -> Version:
        """Size, modification time and inode change time of the file at the first look; zeros for a dangling link.

        cp -p and rsync can set the modification time to that of an earlier file, but not the inode change time.
        """
        try:
            state = os.stat(self.path)
        except OSError:
            return 0, 0, 0
        return version_of(state) if stat.S_ISREG(state.st_mode) else (0, 0, 0)


def version_of(state: os.stat_result) -> Version:
    """Size, modification time and inode change time of a file, the times in ns."""
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


def file_utterance(
    corpus: str, path: Path, speaker: str, label: str, gender: str, text: str = "", key: str = "", **more: Any
) -> Utterance:
    """Make the utterance of a whole file; speaker and text get the corpus as prefix, the id gets the speaker.

    Args:
        speaker: name of the speaker in the corpus.
        text: id of the words in the corpus, where it gives them.
        key: the part of the id behind the speaker; "": the file's name without its suffix.
        more: further fields of `Utterance`.
    """
    name, text_id = f"{corpus}_{speaker}", f"{corpus}_{text}" if text else ""
    return Utterance(f"{name}-{key or path.stem}", path, name, label, gender, text_id, **more)


@lru_cache
def real_folder(folder: str) -> str:
    """Resolve the symbolic links of a folder's path; cached, and `prepare_corpus` clears the cache first."""
    return os.path.realpath(folder)


def audio_files(
    corpus_dir: Path, pattern: re.Pattern[str], issues: Issues = RAISE_ALL, *, skip_unmatched: bool = False
) -> Iterator[tuple[Path, re.Match[str]]]:
    """Yield the audio files below a corpus folder in sorted order, each with the match of its name.

    Hidden files and folders (also the `._` files of macOS) and `__MACOSX` are skipped.

    Args:
        corpus_dir: folder of the corpus.
        pattern: naming scheme of the corpus, which matches the whole name.
        issues: gets files whose name does not match, and a folder in which no audio file's name matches.
        skip_unmatched: skip such files without an issue.
    """
    names = [path.relative_to(corpus_dir) for path in _list_audio(corpus_dir)]
    matches = [(corpus_dir / name, pattern.fullmatch(name.name)) for name in names if not is_hidden(name)]
    if not any(match for _, match in matches):
        what = "holds no audio files"
        if matches:
            named = f"has a name of the corpus ({pattern.pattern}); one is {matches[0][0]}"
            what = f"none of its {len(matches)} audio files {named}"
        fix = "give the folder that holds the corpus" + (", or correct the pattern in its preparer" if matches else "")
        issues.add(Issue(UNMATCHED if matches else "files", what, corpus_dir, fix))
        return
    for path, match in matches:
        if match:
            yield path, match
        elif not skip_unmatched:
            issues.add(unmatched_file(path, pattern.pattern))


def unmatched_file(path: Path, scheme: str) -> Issue:
    """Make the issue of an audio file that does not belong to the corpus.

    Args:
        path: the file.
        scheme: the pattern that its name does not match, or the table that does not list it.
    """
    fix = "move the file out of the corpus folder, or leave such files out with --allow-partial true"
    return Issue(UNMATCHED, f"the name does not follow the corpus's scheme ({scheme})", path, fix)


def count_hidden_files(corpus_dir: Path) -> int:
    """Count the audio files that `audio_files` skips as hidden."""
    return sum(is_hidden(path.relative_to(corpus_dir)) for path in _list_audio(corpus_dir))


def other_files(corpus_dir: Path, named: Iterable[Path]) -> list[Path]:
    """List the files that are neither hidden nor in `named`, such as a readme."""
    known = set(named)
    others = [p for p in files_below(corpus_dir) if p not in known and not is_hidden(p.relative_to(corpus_dir))]
    known_targets = set(map(os.path.realpath, known)) if others else set()
    return [path for path in others if os.path.realpath(path) not in known_targets]


def _list_audio(corpus_dir: Path) -> list[Path]:
    return [path for path in files_below(corpus_dir) if path.suffix.lower() in READABLE_SUFFIXES]


def files_below(folder: Path, unreadable: Callable[[OSError], None] = refuse_folder) -> list[Path]:
    """List all files below a folder, sorted.

    Links to folders are followed. Each folder is listed once, and once more where a hidden link leads to it.

    Args:
        unreadable: is called with the error of a folder that cannot be listed; by default it raises.

    Raises:
        InputError: a folder cannot be listed.
    """
    files: list[Path] = []
    seen = set()
    if not folder.is_dir():
        return files  # a table
    for parent, subfolders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        state = os.stat(parent)
        key = state.st_dev, state.st_ino, is_hidden(Path(parent).relative_to(folder))
        if key in seen:
            subfolders.clear()
            continue
        seen.add(key)
        subfolders.sort()
        files += [Path(parent, name) for name in names]
    return sorted(files)


def is_hidden(path: Path) -> bool:
    """Whether a part of a path below the corpus folder is hidden, as are the `._` files of macOS."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
