"""Mini PT: two synthetic speakers of Brazilian Portuguese, four classes, ten sentences: 80 utterances, by eSpeak NG.

One speaker trains and one validates, as in TESS, so there is no test. Synthetic speech: it shows that everything works
and measures nothing about people. eSpeak NG is GPL-3 and installed for this recipe alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from synthesis import made_utterances, make_corpus

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
    """Make the corpus."""
    make_corpus(corpus_dir, VOICES, SENTENCES)


def utterances(corpus_dir: Path, issues: Issues) -> Iterator[Utterance]:
    """Every file, with label and speaker from its own name."""
    return made_utterances(corpus_dir, issues)
