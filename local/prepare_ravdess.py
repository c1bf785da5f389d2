#!/usr/bin/env python3
"""RAVDESS, audio-only speech: 24 actors (odd: men, even: women) x 60 files, eight emotions, two sentences.

Livingstone & Russo (2018), PLoS ONE 13(5): e0196391. CC BY-NC-SA 4.0. https://zenodo.org/records/1188976,
Audio_Speech_Actors_01-24.zip, unpacked: Actor_01/03-01-01-01-01-01-01.wav and so on. The copy that circulates holds
all actors a second time in an inner folder; those files are recognised and counted once.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ser.corpora import Utterance, audio_files

# modality - channel - emotion - intensity - sentence - repetition - actor
NAME = re.compile(r"03-01-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)\.(?:wav|flac)", re.IGNORECASE)
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


def utterances(corpus_dir: Path) -> Iterator[Utterance]:
    """Every file, with label and speaker from its own name; the closed set refuses an unknown code, passed on."""
    for path, match in audio_files(corpus_dir, NAME):
        emotion, intensity, sentence, repetition, actor = match.groups()
        speaker = f"ravdess_{actor}"
        yield Utterance(
            id=f"{speaker}-{path.stem}",
            path=path,
            speaker=speaker,
            label=EMOTIONS.get(emotion, emotion),
            gender="m" if int(actor) % 2 else "f",
            text_id=f"ravdess_{sentence}",
            custom={"intensity": INTENSITIES.get(intensity, intensity), "repetition": repetition},
        )


if __name__ == "__main__":
    from ser.corpora.main import main

    sys.exit(main("ravdess"))
