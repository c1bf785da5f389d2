"""emoUERJ: four actors and four actresses, ten sentences, four emotions, Brazilian Portuguese: 377 clips.

Bastos Germano et al. (2021), doi 10.5281/zenodo.5427549. CC BY 4.0. Names such as w04a11.wav: woman or man (w, m),
number of the actress or actor (01 to 04 of each), emotion (a h n s), number of the recording. anger 94, happiness 91,
neutral 92, sadness 100; counts by speaker are not published. The number of the recording does not identify the
sentence, which the actors chose, so there are no text ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ser.corpora import Utterance, audio_files, file_utterance
from ser.corpora.fetch import fetch_corpus, zenodo
from ser.corpora.issues import RAISE_ALL, Issues

NAME = re.compile(r"([mw]\d\d)([a-z])(\d\d)\.(?:wav|flac)", re.IGNORECASE)
EMOTIONS = {"a": "anger", "h": "happiness", "n": "neutral", "s": "sadness"}


def download(corpus_dir: Path) -> None:
    """Fetch all files of the Zenodo record."""
    fetch_corpus(corpus_dir, "emouerj", lambda: zenodo("5427549"))


def utterances(corpus_dir: Path, issues: Issues = RAISE_ALL) -> Iterator[Utterance]:
    """Yield every clip; its name gives label and speaker.

    The folder holds other files too, so files of other names are skipped; the counts reveal a clip among them.

    Args:
        corpus_dir: folder of the corpus.
        issues: gets files whose names do not follow the scheme.
    """
    for path, match in audio_files(corpus_dir, NAME, issues, skip_unmatched=True):
        actor, emotion, _ = (text.lower() for text in match.groups())
        gender = "m" if actor[0] == "m" else "f"
        yield file_utterance("emouerj", path, actor, EMOTIONS.get(emotion, emotion), gender, key=path.stem.lower())
