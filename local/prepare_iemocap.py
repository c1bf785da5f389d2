"""IEMOCAP: ten actors in five sessions of a man and a woman, improvised and scripted dialogues: 10,039 turns, 12 hours.

Busso et al. (2008), Language Resources and Evaluation 42(4), 335-359. Own licence of USC's SAIL, with a release form to
sign (https://sail.usc.edu/iemocap/); it may not be passed on. Of IEMOCAP_full_release/Session1 to Session5, these files
are read:

    sentences/wav/Ses01F_impro01/Ses01F_impro01_M003.wav   a turn: session 1, spoken by the man (the letter before its
                                                           number; the F of Ses01F says who wore the markers)
    dialog/EmoEvaluation/Ses01F_impro01.txt                its labels; files in subfolders are not read

A turn's label is the majority of the annotators as the release gives it, xxx if there is none: neu 1708, ang 1103,
sad 1084, hap 595, exc 1041, fru 1849, sur 107, fea 40, oth 3, dis 2, xxx 2507. In the four classes, excited counted as
happy: 1085, 1023, 1151, 1031 and 1241 by session, 5531 in all; 4490 without excited.

`custom` has style (improvised or scripted), valence, activation and dominance (means of the annotators, 1 to 5), votes
(raw label -> annotators; one who chose two labels counts for both) and self_votes (the actors' own judgement, which the
release leaves out of its label and its means). No words are known of single turns, and the scripts are the same in all
sessions. So the text id of a scripted turn is its script, and that of an improvised turn its dialogue. A file without a
line in EmoEvaluation has the raw label `unlabelled`; a line without a file is an error when the files are read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ser.common import InputError
from ser.corpora import Utterance, audio_files, file_utterance
from ser.corpora.fetch import check_fetched_by_hand
from ser.corpora.issues import RAISE_ALL, Issue, Issues

TURN = re.compile(r"(Ses(0[1-5])[FM]_(impro|script)(\w*))_([FM])\w+")
FILE = re.compile(TURN.pattern + r"\.(?i:wav|flac)")
NUMBER = r"\s*(\d+(?:\.\d*)?)\s*"
LINE = re.compile(rf"\[{NUMBER}-{NUMBER}\]\s+(\S+)\s+(\S+)\s+\[{NUMBER},{NUMBER},{NUMBER}\]")
VOTE = re.compile(r"C-([EFM])\d*:([^(]*)")
MEANS = ("valence", "activation", "dominance")
FIX = "replace the file by an intact copy"
LABELS = {
    "neutral": "neu",
    "neutral state": "neu",
    "anger": "ang",
    "happiness": "hap",
    "sadness": "sad",
    "excited": "exc",
    "frustration": "fru",
    "surprise": "sur",
    "fear": "fea",
    "disgust": "dis",
    "other": "oth",
}


class Evaluation(NamedTuple):
    """The annotation of a turn in EmoEvaluation.

    Attributes:
        label: raw label of the majority.
        means: of valence, activation and dominance.
        votes: raw label -> number of annotators; an unknown word is kept as it is, and belongs to no class.
        self_votes: the same for the actors themselves.
        origin: "<file>:<line>".
    """

    label: str
    means: dict[str, float]
    votes: Counter[str]
    self_votes: Counter[str]
    origin: str


def download(corpus_dir: Path) -> None:
    """Explain how to get the corpus, which requires a signed release form, unless it is there."""
    check_fetched_by_hand(
        corpus_dir,
        "ask USC's SAIL for it with the release form, signed (https://sail.usc.edu/iemocap/iemocap_release.htm), "
        "unpack it there, and give the folder that holds Session1 to Session5 (IEMOCAP in db.sh)",
    )


def utterances(corpus_dir: Path, issues: Issues = RAISE_ALL) -> Iterator[Utterance]:
    """Yield every turn of the existing sessions; the file's name gives the speaker.

    Args:
        corpus_dir: folder that holds Session1 to Session5.
        issues: gets files and lines of EmoEvaluation that are left out.

    Raises:
        InputError: there is no session.
    """
    sessions = _sessions(corpus_dir)
    if not sessions:
        raise InputError("holds no Session1 to Session5", corpus_dir, "give the folder IEMOCAP_full_release")
    for session in sessions:
        evaluations = read_evaluations(session / "dialog" / "EmoEvaluation", issues)
        folder = session / "sentences" / "wav"
        present = set()
        for path, match in audio_files(folder, FILE, issues) if folder.is_dir() else ():
            present.add(path.stem)
            yield _utterance(path, match, evaluations.get(path.stem))
        for turn in sorted(evaluations.keys() - present):
            name = TURN.fullmatch(turn)
            if name is None:
                what = f"{turn} is no turn's name"
                issues.add(Issue("evaluations", what, evaluations[turn].origin, FIX))
                continue
            yield _utterance(folder / name[1] / f"{turn}.wav", name, evaluations[turn])


def tree(corpus_dir: Path) -> str:
    """List the sessions of the corpus folder."""
    return ", ".join(session.name for session in _sessions(corpus_dir)) or "no session"


def read_evaluations(folder: Path, issues: Issues = RAISE_ALL) -> dict[str, Evaluation]:
    """Read the evaluations of a session from the files of its dialogues: turn -> evaluation.

    Args:
        folder: dialog/EmoEvaluation of a session.
        issues: gets first lines of turns that cannot be parsed, and turns that appear twice.
    """
    evaluations: dict[str, Evaluation] = {}
    for path in sorted(folder.glob("Ses*.txt")):
        current = None
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            origin = f"{path}:{number}"
            if line.startswith("["):
                current, match = None, LINE.match(line)
                if match is None:
                    form = "[start - end] turn emotion [valence, activation, dominance]"
                    issues.add(Issue("evaluations", f"expected `{form}`, found {line!r}", origin, FIX))
                elif (turn := match[3]) in evaluations:
                    what = f"{turn} is also in {evaluations[turn].origin}"
                    issues.add(Issue("evaluations", what, origin, "remove the wrong one"))
                else:
                    means = dict(zip(MEANS, map(float, match.groups()[4:]), strict=True))
                    current = evaluations[turn] = Evaluation(match[4], means, Counter(), Counter(), origin)
            elif current is not None and (match := VOTE.match(line)):
                words = [word.strip().lower() for word in match[2].split(";") if word.strip()]
                votes = current.votes if match[1] == "E" else current.self_votes
                votes.update(LABELS.get(word, word) for word in words)
    return evaluations


def _sessions(corpus_dir: Path) -> list[Path]:
    inner = corpus_dir / "IEMOCAP_full_release"
    return sorted((inner if inner.is_dir() else corpus_dir).glob("Session[1-5]"))


def _utterance(path: Path, match: re.Match[str], evaluation: Evaluation | None) -> Utterance:
    dialogue, session, style, part, letter = match.groups()
    custom: dict[str, Any] = {"style": "improvised" if style == "impro" else "scripted"}
    if evaluation is not None:
        custom |= {**evaluation.means, "votes": dict(evaluation.votes)}
        if evaluation.self_votes:
            custom["self_votes"] = dict(evaluation.self_votes)
    # script01_1b continues script01_1
    text = dialogue if style == "impro" else f"script{part.rstrip('ab')}"
    label, origin = ("unlabelled", "") if evaluation is None else (evaluation.label, evaluation.origin)
    speaker, gender = f"{session}{letter}", letter.lower()
    return file_utterance("iemocap", path, speaker, label, gender, text, custom=custom, origin=origin)
