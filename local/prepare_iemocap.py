"""IEMOCAP: ten actors in five sessions of a man and a woman, improvised and scripted dialogues: 10,039 turns, 12 hours.

Busso et al. (2008), Language Resources and Evaluation 42(4), 335-359. Own licence of USC's SAIL, with a release form to
sign (https://sail.usc.edu/iemocap/); it may not be passed on. IEMOCAP_full_release/Session1 to Session5, of which are
read:

    sentences/wav/Ses01F_impro01/Ses01F_impro01_M003.wav   a turn: session 1, spoken by the man (the letter before its
                                                           number; the F of Ses01F says who wore the markers)
    dialog/EmoEvaluation/Ses01F_impro01.txt                its labels, not those of the folders further down

A turn's label is the majority of the annotators as the release gives it, xxx where there is none: neu 1708, ang 1103,
sad 1084, hap 595, exc 1041, fru 1849, sur 107, fea 40, oth 3, dis 2, xxx 2507. In the four classes, excited counted as
happy: 1085, 1023, 1151, 1031 and 1241 by session, 5531 in all; 4490 without excited.

`custom` keeps style (improvised or scripted), valence, activation and dominance (means of the annotators, 1 to 5),
votes (raw label -> annotators; one who chose two labels counts for both) and self_votes (the actors' own judgement,
which the release leaves out of its label and its means). What was said is known for no turn alone, and the scripts are
the same in all sessions: the text id of a scripted turn is its script, that of an improvised one its dialogue. A file
without a line in EmoEvaluation has the raw label `unlabelled`; a line without a file is found out when the files are
read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ser.common import InputError
from ser.corpora import Utterance, audio_files, file_utterance
from ser.corpora.fetch import by_hand
from ser.corpora.issues import RAISED, Issue, Issues

TURN = re.compile(r"(Ses(0[1-5])[FM]_(impro|script)(\w*))_([FM])\w+")
FILE = re.compile(TURN.pattern + r"\.(?i:wav|flac)")
NUMBER = r"\s*(\d+(?:\.\d*)?)\s*"
LINE = re.compile(rf"\[{NUMBER}-{NUMBER}\]\s+(\S+)\s+(\S+)\s+\[{NUMBER},{NUMBER},{NUMBER}\]")
VOTE = re.compile(r"C-([EFM])\d*:([^(]*)")
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
    """What EmoEvaluation says of a turn.

    Attributes:
        means: valence, activation, dominance.
        votes: raw label -> annotators; a word that is none of the ten stands as it is, and counts for no class.
        self_votes: the same of the actors.
        origin: "<file>:<line>".
    """

    label: str
    means: dict[str, float]
    votes: Counter[str]
    self_votes: Counter[str]
    origin: str


def download(corpus_dir: Path) -> None:
    """Say how to get it; the release form has to be signed."""
    by_hand(
        corpus_dir,
        "ask USC's SAIL for it with the release form, signed (https://sail.usc.edu/iemocap/iemocap_release.htm), "
        "unpack it there, and give the folder that holds Session1 to Session5 (IEMOCAP in db.sh)",
    )


def utterances(corpus_dir: Path, issues: Issues = RAISED) -> Iterator[Utterance]:
    """Every turn of the sessions that are there, with the speaker from the file's own name.

    Args:
        corpus_dir: folder that holds Session1 to Session5.
        issues: gets files and lines of EmoEvaluation that are left out.

    Raises:
        InputError: no session at all.
    """
    sessions = _sessions(corpus_dir)
    if not sessions:
        raise InputError("holds no Session1 to Session5", corpus_dir, "give the folder IEMOCAP_full_release")
    for session in sessions:
        evaluations = read_evaluations(session / "dialog" / "EmoEvaluation", issues)
        folder = session / "sentences" / "wav"
        there = set()
        for path, match in audio_files(folder, FILE, issues) if folder.is_dir() else ():
            there.add(path.stem)
            yield _utterance(path, match, evaluations.get(path.stem))
        for turn in sorted(evaluations.keys() - there):
            name = TURN.fullmatch(turn)
            if name is None:
                what = f"{turn} is no turn's name"
                issues.add(Issue("evaluations", what, evaluations[turn].origin, FIX))
                continue
            yield _utterance(folder / name[1] / f"{turn}.wav", name, evaluations[turn])


def tree(corpus_dir: Path) -> str:
    """Which sessions are there."""
    names = ", ".join(session.name for session in _sessions(corpus_dir))
    return names or "no session"


def read_evaluations(folder: Path, issues: Issues = RAISED) -> dict[str, Evaluation]:
    """Turn -> evaluation, from the files of the dialogues.

    Args:
        folder: dialog/EmoEvaluation of a session.
        issues: gets a line that begins like a turn's and does not go on like one, or a turn that stands twice.
    """
    found: dict[str, Evaluation] = {}
    for path in sorted(folder.glob("Ses*.txt")):
        current = None
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            origin = f"{path}:{number}"
            if line.startswith("["):
                current = _evaluation(line, origin, found, issues)
            elif current is not None and (match := VOTE.match(line)):
                words = [word.strip().lower() for word in match[2].split(";") if word.strip()]
                votes = current.votes if match[1] == "E" else current.self_votes
                votes.update(LABELS.get(word, word) for word in words)
    return found


def _evaluation(line: str, origin: str, found: dict[str, Evaluation], issues: Issues) -> Evaluation | None:
    """What a turn's first line says, put into `found`."""
    match = LINE.match(line)
    if match is None:
        form = "[start - end] turn emotion [valence, activation, dominance]"
        issues.add(Issue("evaluations", f"expected `{form}`, found {line!r}", origin, FIX))
        return None
    _, _, turn, label, *means = match.groups()
    if turn in found:
        what = f"{turn} stands also in {found[turn].origin}"
        issues.add(Issue("evaluations", what, origin, "remove the wrong one"))
        return None
    values = dict(zip(("valence", "activation", "dominance"), map(float, means), strict=True))
    found[turn] = Evaluation(label, values, Counter(), Counter(), origin)
    return found[turn]


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
    # script01_1b goes on where script01_1 ends
    text = dialogue if style == "impro" else f"script{part.rstrip('ab')}"
    label, origin = ("unlabelled", "") if evaluation is None else (evaluation.label, evaluation.origin)
    speaker, gender = f"{session}{letter}", letter.lower()
    return file_utterance("iemocap", path, speaker, label, gender, text, custom=custom, origin=origin)
