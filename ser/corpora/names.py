"""Ids that a protocol names and that the corpus has to know: utterances to drop, speakers and texts of splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ser.common import did_you_mean
from ser.corpora.issues import Issue
from ser.corpora.protocol import PARTS, Protocol, is_rule
from ser.corpora.utterance import Utterance


def unknown_names(protocol: Protocol, utterances: Sequence[Utterance]) -> list[Issue]:
    """An issue for each id in `drop` and each speaker or text in `splits` that no utterance has.

    Args:
        utterances: all that the preparer lists.
    """
    ids, speakers = {u.id for u in utterances}, {u.speaker for u in utterances}
    texts = {u.text_id for u in utterances if u.text_id}
    problems = _unknown(f"{protocol.path}: drop", "utterance", protocol.drop, ids)
    for split, spec in protocol.splits.items():
        where = f"{protocol.path}: splits: {split}"
        if not is_rule(spec):
            named = dict.fromkeys(s for fold in protocol.folds(split) for part in PARTS for s in fold[part])
            problems += _unknown(where, "speaker", named, speakers)
        if isinstance(spec.get("texts"), Mapping):
            listed = dict.fromkeys(text for names in spec["texts"].values() for text in names)
            problems += _unknown(f"{where}: texts", "text", listed, texts)
    return problems


def _unknown(where: str, what: str, named: Iterable[str], there: set[str]) -> list[Issue]:
    found = []
    for name in named:
        if name not in there:
            fix = did_you_mean(name, sorted(there), before="") or "remove it"
            found.append(Issue("names", f"the corpus has no such {what}", f"{where}: {name}", fix))
    return found
