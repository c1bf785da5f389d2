"""Mini PT: two synthetic speakers of Brazilian Portuguese, four classes, ten sentences: 80 utterances, by eSpeak NG.

One speaker is for training and one for validation, as in TESS, so there is no test part. Synthetic speech shows that
everything works, and measures nothing about people. eSpeak NG is under GPL-3 and installed for this recipe alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from synthesis import list_utterances, make_corpus

from ser.corpora import Utterance
from ser.corpora.issues import Issues

VOICES = {"pt_f1": "pt-br+f2", "pt_m1": "pt-br+m3"}
SENTENCES = (
    "A caixa está debaixo da mesa.",
    "A reunião ficou para quinta-feira.",
    "Deixei a sua carta na janela.",
    "Podemos pegar o próximo trem.",
    "A loja da esquina está aberta.",
    "Ela liga de novo depois do almoço.",
    "O pedido chega amanhã de manhã.",
    "O número está na primeira página.",
    "Vou falar com o gerente agora.",
    "A conta vence na semana que vem.",
)


def download(corpus_dir: Path) -> None:
    """Make the corpus, unless it is there."""
    make_corpus(corpus_dir, VOICES, SENTENCES)


def utterances(corpus_dir: Path, issues: Issues) -> Iterator[Utterance]:
    """Yield every file; its name gives label and speaker."""
    return list_utterances(corpus_dir, issues)
