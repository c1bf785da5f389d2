"""EmoDB, Berlin database of emotional speech: ten actors, ten sentences, seven emotions, German, 16 kHz: 535 clips.

Burkhardt et al. (2005), Interspeech, 1517-1520. CC0 1.0 as audEERING publishes it (https://github.com/audeering/emodb);
first from http://emodb.bilderbar.info/download/. wav/03a01Fa.wav: speaker 03, sentence a01, emotion F (of W L E A F T
N, the first letters of the German words), take a. anger 127, boredom 81, disgust 46, fear 69, happiness 71, neutral 79,
sadness 62; by speaker 03: 49, 08: 58, 09: 43, 10: 38, 11: 55, 12: 35, 13: 61, 14: 69, 15: 56, 16: 71.

EmoDB 2.0 adds the 281 clips on which fewer than 80 % of the listeners agreed, 816 in all, and for each a laryngogram of
the same name in the folder laryngo. A laryngogram is no speech, so files in a folder of such a name are skipped
without being read.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ser.corpora import Utterance, audio_files, file_utterance
from ser.corpora.fetch import FetchError, Remote, fetch_corpus
from ser.corpora.issues import RAISE_ALL, Issues

NAME = re.compile(r"(\d\d)([ab]\d\d)([A-Z])([a-z])\.(?i:wav|flac)")
EMOTIONS = {
    "W": "anger",  # Wut
    "L": "boredom",  # Langeweile
    "E": "disgust",  # Ekel
    "A": "fear",  # Angst
    "F": "happiness",  # Freude
    "T": "sadness",  # Trauer
    "N": "neutral",
}
MEN = {"03", "10", "11", "12", "15"}


def download(corpus_dir: Path) -> None:
    """Fetch the first edition, by http if the server does not offer https. No checksum is published."""
    address = "emodb.bilderbar.info/download/download.zip"
    try:
        fetch_corpus(corpus_dir, "emodb", lambda: [Remote("download.zip", f"https://{address}")])
    except FetchError as error:
        print(f"warning: {error}; now without https, so the files may have been changed on the way", file=sys.stderr)
        fetch_corpus(corpus_dir, "emodb", lambda: [Remote("download.zip", f"http://{address}")])


def utterances(corpus_dir: Path, issues: Issues = RAISE_ALL) -> Iterator[Utterance]:
    """Yield every clip; its name gives label and speaker.

    Args:
        corpus_dir: folder of the corpus.
        issues: gets files whose names do not follow the scheme.
    """
    for path, match in audio_files(corpus_dir, NAME, issues):
        if any("laryng" in part.lower() for part in path.relative_to(corpus_dir).parts):
            continue
        number, text, emotion, _ = match.groups()
        gender = "m" if number in MEN else "f"
        yield file_utterance("emodb", path, number, EMOTIONS.get(emotion, emotion), gender, text)
