"""SAVEE, Surrey audio-visual expressed emotion: four men, seven emotions, British English, 44.1 kHz: 480 clips.

Haq & Jackson (2009), AVSP, 53-58. Own terms of the University of Surrey, for research, after registration:
http://kahlan.eps.surrey.ac.uk/savee/. AudioData/DC/a01.wav (of DC, JE, JK, KL): emotion and number of the sentence; a
flat copy that circulates has ALL/DC_a01.wav. anger, disgust, fear, happiness, sadness, surprise 60 each and neutral
120, a quarter by each speaker.

In the official tree, only the name of the file's own folder gives the speaker, so it is used if the file's name has no
speaker; folders above it are not. Some sentences are common to all emotions, but the names do not tell which, so there
are no text ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ser.corpora import Utterance, audio_files, file_utterance
from ser.corpora.fetch import check_fetched_by_hand
from ser.corpora.issues import RAISE_ALL, Issue, Issues

NAME = re.compile(r"(?:(DC|JE|JK|KL)_)?([a-z]{1,2})(\d\d)\.(?:wav|flac)", re.IGNORECASE)
SPEAKERS = ("DC", "JE", "JK", "KL")
EMOTIONS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}


def download(corpus_dir: Path) -> None:
    """Explain how to get the corpus, which requires registration, unless it is there."""
    check_fetched_by_hand(
        corpus_dir,
        "register with the University of Surrey (http://kahlan.eps.surrey.ac.uk/savee/), unpack its AudioData there, "
        "and give the folder that holds DC, JE, JK and KL (SAVEE in db.sh)",
    )


def utterances(corpus_dir: Path, issues: Issues = RAISE_ALL) -> Iterator[Utterance]:
    """Yield every clip; its name gives label and speaker, or its folder's name gives the speaker.

    Args:
        corpus_dir: folder of the corpus.
        issues: gets files whose names do not follow the scheme, and files without a known speaker.
    """
    for path, match in audio_files(corpus_dir, NAME, issues):
        folder = path.relative_to(corpus_dir).parent.name
        name = (match[1] or folder).upper()
        if name not in SPEAKERS:
            what = f"neither the name nor the folder says who speaks ({', '.join(SPEAKERS)})"
            issues.add(Issue("speakers", what, path, "give the folder AudioData as published"))
            continue
        emotion = match[2].lower()
        label, key = EMOTIONS.get(emotion, emotion), f"{emotion}{match[3]}"
        yield file_utterance("savee", path, name.lower(), label, "m", key=key)


def tree(corpus_dir: Path) -> str:
    """Describe which of the two folder layouts the corpus folder has."""
    layouts = {False: "a folder for each speaker, as published", True: "flat copy, with the speaker before each name"}
    flat = {bool(match[1]) for path in corpus_dir.rglob("*") if (match := NAME.fullmatch(path.name))}
    return " and ".join(layouts[kind] for kind in sorted(flat)) or "no audio files"
