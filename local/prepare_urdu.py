"""URDU: speech of Urdu talk shows in four emotions, spontaneous, 44.1 kHz: 400 clips, 100 an emotion.

Latif et al. (2018), International Conference on Frontiers of Information Technology, 88-93. Taken from YouTube, for
research purposes only. https://github.com/siddiquelatif/URDU-Dataset: Angry/SM1_F10_A010.wav: speaker (M or F, and a
number, the same in all emotions), the speaker's file, emotion (A, H, N or S) and number.

The paper counts 38 speakers (27 men, 11 women); the names give 29, since no man has one of the numbers 8 to 16. 26 of
them speak in one emotion only; SM3 does in three, SM5 and SM6 in two. Which words were said is not published.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ser.corpora import Utterance, audio_files, file_utterance
from ser.corpora.fetch import fetch_corpus, github_archive
from ser.corpora.issues import RAISE_ALL, Issues

NAME = re.compile(r"(S([MF])\d+)_F\d+_([A-Z])\d+\.(?i:wav|flac)")
EMOTIONS = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}


def download(corpus_dir: Path) -> None:
    """Fetch the repository; its readme states the permitted use."""
    fetch_corpus(corpus_dir, "urdu", lambda: [github_archive("siddiquelatif/URDU-Dataset", "master")])


def utterances(corpus_dir: Path, issues: Issues = RAISE_ALL) -> Iterator[Utterance]:
    """Yield every clip; its name gives label and speaker.

    Args:
        corpus_dir: folder of the corpus.
        issues: gets files whose names do not follow the scheme.
    """
    for path, match in audio_files(corpus_dir, NAME, issues):
        name, letter, emotion = match.groups()
        yield file_utterance("urdu", path, name, EMOTIONS.get(emotion, emotion), letter.lower())
