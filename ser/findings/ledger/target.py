"""The predictions of one decode folder and the curves of a training, checked against the scores made from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from struct import error as StructError
from typing import Any

import numpy as np

from ser.common import InputError, read_json
from ser.common.metrics import confusion_matrix, scores

AGAIN = "run stages 5 and 6 again"
COLUMNS = ("utterance", "speaker", "truth", "hypothesis", "text_id")
# Posteriors are stored in 32 bits: the class answered may be the second by as much.
TIE = 1e-5


def read_target(folder: Path, found: Any, result: Path) -> dict[str, list[Any]]:
    """Read a decode_<corpus>_test/.

    Args:
        found: the scores that `result` states, which must follow from scoring/utterances.tsv.

    Returns:
        COLUMNS, classes (of the posteriors), posteriors (None for a baseline); a value an utterance each.

    Raises:
        InputError: a file is absent or cut short, or they do not agree.
    """
    rows = _read_utterances(folder / "scoring" / "utterances.tsv")
    columns: dict[str, list[Any]] = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    corpus = folder.name.removeprefix("decode_").removesuffix("_test")
    _check_scores(f"{result}: {corpus}", found, columns["truth"], columns["hypothesis"])
    decoded = read_json(folder / "decode.json")
    if not isinstance(decoded, dict) or not isinstance(decoded.get("classes"), list):
        raise InputError(f"{folder / 'decode.json'}: classes is missing; {AGAIN}")
    columns["classes"] = [" ".join(decoded["classes"])] * len(rows)
    columns["posteriors"] = [None] * len(rows)
    if "model" in decoded:  # a baseline has no posteriors
        columns["posteriors"] = _read_posteriors(folder / "post.ark", columns, decoded["classes"])
    return columns


def _read_utterances(path: Path) -> list[list[str | None]]:
    """Rows of COLUMNS; older files have no text ids."""
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (FileNotFoundError, UnicodeDecodeError):
        raise InputError(f"{path}: absent or not text; {AGAIN}") from None
    rows: dict[str, list[str | None]] = {}
    for number, line in enumerate(lines, 1):
        fields: list[str | None] = [*line.split("\t")]
        if len(fields) == len(COLUMNS) - 1:
            fields.append(None)
        if len(fields) != len(COLUMNS) or not all(fields[:4]):
            raise InputError(f"{path}:{number}: must hold {', '.join(COLUMNS)} with tabs between them; {AGAIN}")
        if str(fields[0]) in rows:
            raise InputError(f"{path}:{number}: {fields[0]} stands twice; {AGAIN}")
        rows[str(fields[0])] = [*fields[:4], fields[4] or None]
    return list(rows.values())


def _check_scores(where: str, found: Any, truth: Sequence[str], hypothesis: Sequence[str]) -> None:
    """Whether scores are those of these answers."""
    classes = found.get("classes") if isinstance(found, Mapping) else None
    if not isinstance(classes, list) or not {*truth, *hypothesis} <= set(classes):
        raise InputError(f"{where}: its classes are not those of scoring/utterances.tsv; {AGAIN}")
    index = {name: i for i, name in enumerate(classes)}
    confusion = confusion_matrix(
        np.array([index[name] for name in truth]), np.array([index[name] for name in hypothesis]), len(classes)
    )
    right = {**asdict(scores(confusion)), "confusion": confusion.tolist()}
    for key, value in right.items():
        stated = found.get(key)
        same = stated == value if key in ("n", "confusion") else _is_close(stated, value)
        if not same:
            raise InputError(
                f"{where}: {key} does not follow from scoring/utterances.tsv: one of them was edited or is of another "
                f"model; {AGAIN}"
            )


def _is_close(stated: Any, value: float) -> bool:
    return isinstance(stated, int | float) and abs(stated - value) < 1e-9


def _read_posteriors(path: Path, columns: Mapping[str, Sequence[str]], classes: Sequence[str]) -> list[list[float]]:
    """In the order of the utterances."""
    import kaldiio

    try:
        found = dict(kaldiio.load_ark(str(path)))
    except (OSError, ValueError, RuntimeError, AssertionError, StructError):
        raise InputError(f"{path}: absent or cut short; {AGAIN}") from None
    odd = sorted(found.keys() ^ set(columns["utterance"]))
    if odd:
        raise InputError(f"{path}: {odd[0]} stands in only one of it and scoring/utterances.tsv; {AGAIN}")
    rows = [found[key] for key in columns["utterance"]]
    if any(row.shape != (len(classes),) for row in rows):
        raise InputError(f"{path}: not a probability for each of {', '.join(classes)}; {AGAIN}")
    table = np.array(rows)
    index = {name: i for i, name in enumerate(classes)}
    answered = [index.get(name, -1) for name in columns["hypothesis"]]
    behind = table.max(1) - table[np.arange(len(rows)), answered]
    if min(answered) < 0 or not np.all(behind <= TIE):
        worst = columns["utterance"][int(np.argmax(behind))]
        raise InputError(f"{path}: {worst}: not the class in scoring/utterances.tsv; {AGAIN}")
    return table.tolist()


def read_curves(path: Path) -> list[dict[str, Any]]:
    """A row an epoch and corpus of an epochs.jsonl.

    Raises:
        InputError: absent, or a line that is not one of a training.
    """
    rows = []
    try:
        for line in path.read_bytes().splitlines():
            epoch = json.loads(line)
            for corpus in dict.fromkeys((*epoch["train_loss"], *epoch["valid"])):
                valid = epoch["valid"].get(corpus, {})
                rows.append(
                    {
                        "epoch": epoch["epoch"],
                        "corpus": corpus,
                        "train_loss": epoch["train_loss"].get(corpus),
                        "valid_loss": valid.get("loss"),
                        "valid_wa": valid.get("wa"),
                        "valid_ua": valid.get("ua"),
                        "valid_f1": valid.get("macro_f1"),
                    }
                )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise InputError(f"{path}: absent or cut short; remove the folder and run the experiment again") from None
    return rows
