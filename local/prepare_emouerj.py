"""emoUERJ: four actors and four actresses, ten sentences, four emotions, Brazilian Portuguese: 377 clips.

Bastos Germano et al. (2021), doi 10.5281/zenodo.5427549. CC BY 4.0. Names such as w04a11.wav: woman or man (w, m),
number of the actress or actor (01 to 04 of each), emotion (a h n s), number of the recording. anger 94, happiness 91,
neutral 92, sadness 100; counts by speaker are not published. The number is not that of a sentence, which the actors
chose, so no text ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ser.corpora import Utterance, audio_files, file_utterance
from ser.corpora.fetch import fetch_corpus, zenodo
from ser.corpora.issues import RAISED, Issues

NAME = re.compile(r"([mw]\d\d)([a-z])(\d\d)\.(?:wav|flac)", re.IGNORECASE)
EMOTIONS = {"a": "anger", "h": "happiness", "n": "neutral", "s": "sadness"}


def download(corpus_dir: Path) -> None:
    """Fetch all that Zenodo lists."""
    fetch_corpus(corpus_dir, "emouerj", lambda: zenodo("5427549"))


def utterances(corpus_dir: Path, issues: Issues = RAISED) -> Iterator[Utterance]:
    """Every clip, with label and speaker from its own name; the closed set refuses an unknown letter, passed on.

    Other files lie among the clips, so names of another kind are passed over; the counts tell if a clip is one of them.

    Args:
        corpus_dir: folder of the corpus.
        issues: gets files of other names.
    """
    for path, match in audio_files(corpus_dir, NAME, issues, strays=True):
        actor, emotion, _ = (text.lower() for text in match.groups())
        gender = "m" if actor[0] == "m" else "f"
        yield file_utterance("emouerj", path, actor, EMOTIONS.get(emotion, emotion), gender, key=path.stem.lower())
