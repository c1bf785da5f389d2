"""Mini EN: eight synthetic speakers of English, four classes, six sentences: 192 utterances, made by eSpeak NG.

Synthetic speech shows that everything works, and measures nothing about people. eSpeak NG is under GPL-3 and installed
for this recipe alone; the repository has no audio.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from synthesis import list_utterances, make_corpus

from ser.corpora import Utterance
from ser.corpora.issues import Issues

VOICES = {
    "en_f1": "en+f1",
    "en_f2": "en-us+f2",
    "en_f3": "en-gb-scotland+f3",
    "en_f4": "en-gb-x-rp+f4",
    "en_m1": "en+m1",
    "en_m2": "en-us+m3",
    "en_m3": "en-gb-scotland+m5",
    "en_m4": "en-029+m7",
}
SENTENCES = (
    "The box is under the kitchen table.",
    "They moved the meeting to Thursday.",
    "I put your letter by the window.",
    "We can take the next train home.",
    "The shop on the corner is open.",
    "She will call again after lunch.",
)


def download(corpus_dir: Path) -> None:
    """Make the corpus, unless it is there."""
    make_corpus(corpus_dir, VOICES, SENTENCES)


def utterances(corpus_dir: Path, issues: Issues) -> Iterator[Utterance]:
    """Yield every file; its name gives label and speaker."""
    return list_utterances(corpus_dir, issues)
