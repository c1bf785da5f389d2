"""SAVEE, Surrey audio-visual expressed emotion: four men, seven emotions, British English, 44.1 kHz: 480 clips.

Haq & Jackson (2009), AVSP, 53-58. Own terms of the University of Surrey, for research, after registration:
http://kahlan.eps.surrey.ac.uk/savee/. AudioData/DC/a01.wav (of DC, JE, JK, KL): emotion and number of the sentence; a
flat copy that circulates has ALL/DC_a01.wav. anger, disgust, fear, happiness, sadness, surprise 60 each and neutral
120, a quarter by each speaker.

In the official tree the speaker stands in the name of the file's own folder alone, so that folder is looked at where
the file's name has no speaker, and none above it. Some sentences are common to all emotions, and the names do not tell
which, so no text ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ser.corpora import Utterance, audio_files, file_utterance
from ser.corpora.fetch import by_hand
from ser.corpora.issues import RAISED, Issue, Issues

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
    """Say how to get it; one has to register."""
    by_hand(
        corpus_dir,
        "register with the University of Surrey (http://kahlan.eps.surrey.ac.uk/savee/), unpack its AudioData there, "
        "and give the folder that holds DC, JE, JK and KL (SAVEE in db.sh)",
    )


def utterances(corpus_dir: Path, issues: Issues = RAISED) -> Iterator[Utterance]:
    """Every clip, with label and speaker from its own name, or the speaker from that of its folder.

    Args:
        corpus_dir: folder of the corpus.
        issues: gets files of other names, and those whose speaker is not known.
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
    """Which of the two trees it is."""
    names = {False: "a folder for each speaker, as published", True: "flat copy, with the speaker before each name"}
    flat = {bool(match[1]) for path in corpus_dir.rglob("*") if (match := NAME.fullmatch(path.name))}
    return " and ".join(names[kind] for kind in sorted(flat)) or "no audio files"
