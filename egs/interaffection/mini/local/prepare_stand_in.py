"""Stand-ins for the paper's four corpora: synthetic speakers, each of one corpus alone, by eSpeak NG as in egs/mini.

Synthetic speech shows that everything works, and measures nothing about people.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "mini" / "local"))

import prepare_mini_en as en
import prepare_mini_pt as pt
from synthesis import list_utterances, make_corpus

from ser.corpora import Utterance
from ser.corpora.issues import Issues

# Corpus -> its sentences, and speaker -> voice.
CORPORA = {
    "iemocap": (
        en.SENTENCES[:3],
        {
            "iem_f1": "en+f1",
            "iem_m1": "en-us+m1",
            "iem_f2": "en-us+f2",
            "iem_m2": "en+m2",
            "iem_f3": "en-gb-scotland+f3",
            "iem_m3": "en-gb-scotland+m3",
            "iem_f4": "en-gb-x-rp+f4",
            "iem_m4": "en-gb-x-rp+m4",
            "iem_f5": "en-029+f5",
            "iem_m5": "en-029+m5",
        },
    ),
    "tess": (en.SENTENCES, {"tes_f1": "en-us+f4", "tes_f2": "en+f5"}),
    "ravdess": (
        en.SENTENCES[3:],
        {
            "rav_f1": "en+f2",
            "rav_m1": "en+m6",
            "rav_f2": "en-us+f1",
            "rav_m2": "en-us+m7",
            "rav_f3": "en-gb-x-rp+f5",
            "rav_m3": "en-gb-scotland+m8",
            "rav_f4": "en-029+f3",
            "rav_m4": "en-029+m1",
        },
    ),
    "customer_ptbr": (pt.SENTENCES[:3], {f"cus_{g}{k}": f"pt-br+{g}{k}" for k in (1, 2, 3, 4) for g in "fm"}),
}


def download(corpus_dir: Path) -> None:
    """Make the corpus whose name is that of the folder."""
    sentences, voices = CORPORA[corpus_dir.name]
    make_corpus(corpus_dir, voices, sentences)


def utterances(corpus_dir: Path, issues: Issues) -> Iterator[Utterance]:
    """Yield every file; its name gives label and speaker."""
    return list_utterances(corpus_dir, issues)
