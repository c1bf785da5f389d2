"""TESS, Toronto emotional speech set: two actresses (64 and 26 years old), 200 words, seven emotions: 2800 files.

Pichora-Fuller & Dupuis (2020), doi 10.5683/SP2/E8H2MF. CC BY-NC-ND 4.0. https://doi.org/10.5683/SP2/E8H2MF, folders
such as OAF_angry with files such as OAF_back_angry.wav; angry, disgust, fear, happy, neutral, ps (pleasant surprise)
and sad 400 each, half of them by either speaker. One file is published as OA_bite_neutral.wav, one is at 96 kHz among
others at 24,414 Hz. The folders of pleasant surprise are named in several ways, and copies circulate with the whole
tree a second time inside. Label and speaker are read from the file's own name, and second copies are recognised.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ser.corpora import Utterance, audio_files, file_utterance
from ser.corpora.fetch import dataverse, fetch_corpus
from ser.corpora.issues import RAISE_ALL, Issues

NAME = re.compile(r"(OAF?|YAF)_([a-z]+)_([a-z]+)\.(?:wav|flac)", re.IGNORECASE)
SPEAKERS = {"oa": "oaf", "oaf": "oaf", "yaf": "yaf"}


def download(corpus_dir: Path) -> None:
    """Fetch the files one by one, as Borealis lists them."""
    fetch_corpus(corpus_dir, "tess", lambda: dataverse("https://borealisdata.ca", "doi:10.5683/SP2/E8H2MF"))


def utterances(corpus_dir: Path, issues: Issues = RAISE_ALL) -> Iterator[Utterance]:
    """Yield every file; its name gives label and speaker.

    Args:
        corpus_dir: folder of the corpus.
        issues: gets files whose names do not follow the scheme.
    """
    for path, match in audio_files(corpus_dir, NAME, issues):
        speaker, word, emotion = (text.lower() for text in match.groups())
        yield file_utterance("tess", path, SPEAKERS[speaker], emotion, "f", word, key=f"{word}-{emotion}")
