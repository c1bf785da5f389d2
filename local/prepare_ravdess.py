"""RAVDESS, audio only: 24 actors (odd: men, even: women), two sentences, spoken and sung: 1440 files and 1012, 48 kHz.

Livingstone & Russo (2018), PLoS ONE 13(5): e0196391. CC BY-NC-SA 4.0. https://zenodo.org/records/1188976, unpacked:
Audio_Speech_Actors_01-24.zip, Actor_01/03-01-01-01-01-01-01.wav and so on, 60 by each actor: neutral 96, calm, happy,
sad, angry, fearful, disgust, surprised 192 each; optionally the songs, Audio_Song_Actors_01-24.zip,
Actor_01/03-02-..., 44 by each actor but actor 18: neutral 92, calm, happy, sad, angry, fearful 184 each, with raw
labels such as song_happy. The copy that circulates holds all actors a second time in an inner folder; those files are
recognised and counted once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ser.corpora import Utterance, audio_files, file_utterance
from ser.corpora.fetch import fetch_corpus, zenodo
from ser.corpora.issues import RAISE_ALL, Issues

# modality - channel - emotion - intensity - sentence - repetition - actor
NAME = re.compile(r"03-(01|02)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)\.(?:wav|flac)", re.IGNORECASE)
EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
INTENSITIES = {"01": "normal", "02": "strong"}


def download(corpus_dir: Path) -> None:
    """Fetch the speech; for the songs, unpack Audio_Song_Actors_01-24.zip into the same folder."""
    speech = "Audio_Speech_Actors_01-24.zip"
    fetch_corpus(corpus_dir, "ravdess", lambda: [file for file in zenodo("1188976") if file.name == speech])


def utterances(corpus_dir: Path, issues: Issues = RAISE_ALL) -> Iterator[Utterance]:
    """Yield every file; its name gives label and speaker.

    Args:
        corpus_dir: folder of the corpus.
        issues: gets files whose names do not follow the scheme.
    """
    for path, match in audio_files(corpus_dir, NAME, issues):
        channel, emotion, intensity, sentence, repetition, actor = match.groups()
        label = ("song_" if channel == "02" else "") + EMOTIONS.get(emotion, emotion)
        custom = {"intensity": INTENSITIES.get(intensity, intensity), "repetition": repetition}
        gender = "m" if int(actor) % 2 else "f"
        yield file_utterance("ravdess", path, actor, label, gender, sentence, custom=custom)
