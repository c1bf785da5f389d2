"""CREMA-D: 91 actors (48 men, 43 women) say twelve sentences in six emotions, English, 16 kHz: 7442 clips.

Cao et al. (2014), IEEE Transactions on Affective Computing 5(4), 377-390. Open Database License 1.0, contents under the
Database Contents License 1.0. https://github.com/CheyneyComputerScience/CREMA-D, a repository with git-lfs:
AudioWAV/1001_DFA_ANG_XX.wav: actor, sentence, emotion, level (LO, MD, HI, XX for none). ANG, DIS, FEA, HAP and SAD 1271
each, NEU 1087; 82 by actor, but 81 of 1002 and 1076, and 76 of 1008, 1009 and 1019.

1076_MTI_SAD_XX holds no sound, and three pairs of files are equal under two emotions: the protocol drops these seven,
which leaves 4895 in the four classes. Copies from before 2022 name one file 1040_ITH_SAD_X.wav. The MP3 files of
AudioMP3 are the same clips, made for the raters, and are skipped. Genders are from VideoDemographics.csv, which some
copies lack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ser.corpora import Utterance, audio_files, file_utterance
from ser.corpora.fetch import fetch_corpus, github
from ser.corpora.issues import RAISE_ALL, Issue, Issues

NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_(XX?|LO|MD|HI)\.((?i:wav|flac|mp3))")
# from VideoDemographics.csv; the other actors are men
WOMEN = {
    *(1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025, 1028, 1029, 1030, 1037),
    *(1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060, 1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078),
    *(1079, 1082, 1084, 1089, 1091),
}
POINTER_SIZE = 200  # bytes; a pointer has about 130, the shortest clip 40,000


def download(corpus_dir: Path) -> None:
    """Fetch the clips, the demographics and the licence; git-lfs is not needed."""
    pattern = r"AudioWAV/\w+\.wav|VideoDemographics\.csv|LICENSE\.txt"
    fetch_corpus(corpus_dir, "crema_d", lambda: github("CheyneyComputerScience/CREMA-D", "master", pattern))


def utterances(corpus_dir: Path, issues: Issues = RAISE_ALL) -> Iterator[Utterance]:
    """Yield every clip; its name gives label and speaker.

    Args:
        corpus_dir: folder of the corpus.
        issues: gets files whose names do not follow the scheme, and files that git-lfs has not fetched.
    """
    files = [(path, match) for path, match in audio_files(corpus_dir, NAME, issues) if match[5].lower() != "mp3"]
    pointers = [path for path, _ in files if _is_pointer(path)]
    if pointers:
        which = f"{len(pointers)} of {len(files)} files are git-lfs pointers, not audio"
        what = f"{which} (such as {pointers[0].relative_to(corpus_dir)})"
        issues.add(Issue("git-lfs", what, corpus_dir, "run `git lfs pull` in it"))
    for path, match in files:
        actor, sentence, emotion, level, _ = match.groups()
        gender, level = "f" if int(actor) in WOMEN else "m", level.ljust(2, "X")
        key, custom = f"{actor}_{sentence}_{emotion}_{level}", {"level": level}
        yield file_utterance("crema_d", path, actor, emotion, gender, sentence, key, custom=custom)


def _is_pointer(path: Path) -> bool:
    small = path.is_file() and path.stat().st_size <= POINTER_SIZE
    return small and path.read_bytes().startswith(b"version https://git-lfs")
