"""What a preparer of local/ yields."""

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
from ser.common import InputError
from ser.corpora.issues import RAISED, Issue, Issues

# Kind of finding of a file whose name does not follow the scheme of its corpus.
STRAY = "stray files"
STRAY_TEXT = "the name does not follow the corpus's scheme"
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
        custom: whatever else the corpus gives, kept in the manifests.
        start: seconds in the file.
        end: seconds in the file; None: to its end.
        channel: from 0; None: all channels, mixed down to mono.
        recording: id of the recording, where several utterances share a file; "": the utterance's own id.
        origin: "<file>:<line>" that errors name, where the corpus is a table.
        language: of this utterance, where it is not the protocol's.
        split: "train", "valid" or "test" where the corpus itself gives it.
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
    def real_path(self) -> Path:
        """The file that `path` leads to; looked up once, the folder of many files once for all of them."""
        folder, name = os.path.split(self.path)
        if name in ("", "..") or self._state[0]:
            return self.path.resolve()
        real = real_folder(folder)
        return self.path if real == folder else Path(real, name)

    @property
    def version(self) -> Version:
        """Size and times of change of the file when first looked at; zeros for a link to nothing.

        The time of modification can be set to that of an earlier file, as by cp -p and rsync; that of the inode cannot.
        """
        return self._state[1]

    @cached_property
    def _state(self) -> tuple[bool, Version]:
        """Whether `path` is a link, and the version of the file."""
        link = False
        try:
            state = os.lstat(self.path)
            if link := stat.S_ISLNK(state.st_mode):
                state = os.stat(self.path)
        except OSError:
            return link, (0, 0, 0)
        found = (state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        return link, found if stat.S_ISREG(state.st_mode) else (0, 0, 0)


def file_utterance(
    corpus: str, path: Path, speaker: str, label: str, gender: str, text: str = "", key: str = "", **more: Any
) -> Utterance:
    """The utterance that is a whole file: speaker and text have the corpus as prefix, the id is of speaker and file.

    Args:
        speaker: the corpus's own name of the speaker.
        text: its own id of the words, where it gives them.
        key: what stands behind the speaker in the id; "": the file's name without its suffix.
        more: further fields of `Utterance`.
    """
    name, text_id = f"{corpus}_{speaker}", f"{corpus}_{text}" if text else ""
    return Utterance(f"{name}-{key or path.stem}", path, name, label, gender, text_id, **more)


@lru_cache
def real_folder(folder: str) -> str:
    """The folder that a path leads to, as it was when it was asked for first; `prepare` begins with a clear cache."""
    return os.path.realpath(folder)


def audio_files(
    corpus_dir: Path, pattern: re.Pattern[str], issues: Issues = RAISED, *, strays: bool = False
) -> Iterator[tuple[Path, re.Match[str]]]:
    """Every audio file below a corpus folder in sorted order, with its name taken apart by `pattern`.

    Hidden files and folders (the `._` twins of macOS among them) and `__MACOSX` are passed over unopened.

    Args:
        corpus_dir: folder of the corpus.
        pattern: scheme of the names.
        issues: gets names that do not follow the scheme, and a folder of such names alone or without audio files.
        strays: whether such names are passed over.
    """
    names = [path.relative_to(corpus_dir) for path in _audio_named(corpus_dir)]
    found = [(corpus_dir / name, pattern.fullmatch(name.name)) for name in names if not is_hidden(name)]
    if not any(match for _, match in found):
        what = "holds no audio files"
        if found:
            named = f"has a name of the corpus ({pattern.pattern}); one is {found[0][0]}"
            what = f"none of its {len(found)} audio files {named}"
        fix = "give the folder that holds the corpus" + (", or correct the pattern in its preparer" if found else "")
        issues.add(Issue(STRAY if found else "files", what, corpus_dir, fix))
        return
    for path, match in found:
        if match:
            yield path, match
        elif not strays:
            issues.add(stray_file(path, pattern.pattern))


def stray_file(path: Path, scheme: str) -> Issue:
    """The issue of an audio file that is none of the corpus.

    Args:
        path: the file.
        scheme: the pattern that its name does not match, or the table that does not name it.
    """
    fix = "move the file out of the corpus folder, or leave such files out with --allow-partial true"
    return Issue(STRAY, f"{STRAY_TEXT} ({scheme})", path, fix)


def hidden_files(corpus_dir: Path) -> int:
    """How many audio-named files `audio_files` passes over."""
    return sum(is_hidden(path.relative_to(corpus_dir)) for path in _audio_named(corpus_dir))


def other_files(corpus_dir: Path, named: Iterable[Path]) -> list[Path]:
    """Files that are neither hidden nor among those named, such as a readme."""
    known = set(named)
    found = [p for p in files_below(corpus_dir) if p not in known and not is_hidden(p.relative_to(corpus_dir))]
    real = {path.resolve() for path in known} if found else set()
    return [path for path in found if path.resolve() not in real]


def _audio_named(corpus_dir: Path) -> list[Path]:
    return [path for path in files_below(corpus_dir) if path.suffix.lower() in READABLE_SUFFIXES]


def _refuse_folder(error: OSError) -> None:
    raise InputError(f"cannot be read ({error.strerror})", error.filename, "fix that, or move it away") from None


def files_below(folder: Path, unreadable: Callable[[OSError], None] = _refuse_folder) -> list[Path]:
    """Sorted; links to folders are followed, each folder once, and once more where a hidden link leads to it.

    Args:
        unreadable: gets the error of a folder that cannot be listed.

    Raises:
        InputError: such a folder, unless `unreadable` allows it.
    """
    found: list[Path] = []
    seen = set()
    if not folder.is_dir():
        return found  # a table
    for place, inner, names in os.walk(folder, onerror=unreadable, followlinks=True):
        state = os.stat(place)
        key = state.st_dev, state.st_ino, is_hidden(Path(place).relative_to(folder))
        if key in seen:
            inner.clear()
            continue
        seen.add(key)
        inner.sort()
        found += [Path(place, name) for name in names]
    return sorted(found)


def is_hidden(path: Path) -> bool:
    """Whether a path below the corpus folder has a hidden part, such as the `._` twins of macOS."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
