"""The predictions of one target and the curves of a training, checked against the scores made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser.common import InputError
from ser.common.metrics import confusion_matrix
from ser.common.run_folder import answers_path
from ser.config.registry import METRICS
from ser.scoring.files import COLUMNS, read_answers, read_epochs
from ser.scoring.posteriors import Posteriors

AGAIN = "run stages 5 and 6 again"
# Posteriors are stored in 32 bits: the class answered may be the second by as much.
TIE = 1e-5


def read_target(result: Path, corpus: str, found: Any, decoded: Posteriors | None) -> dict[str, list[Any]]:
    """Read the answers to a test part.

    Args:
        result: path of result.json or zero_shot.json, which has the scores.
        corpus: the target.
        found: its scores, which must follow from the answers.
        decoded: of its part; None: a baseline, which has none.

    Returns:
        COLUMNS, classes (of the posteriors), posteriors (None for a baseline); a value an utterance each.

    Raises:
        InputError: a file is absent or cut short, or they do not agree.
    """
    rows = read_answers(result, corpus)
    columns: dict[str, list[Any]] = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    answers = answers_path(result).name
    _check_scores(f"{result}: {corpus}", answers, found, columns["truth"], columns["hypothesis"])
    classes = found["classes"]
    columns["posteriors"] = [None] * len(rows)
    if decoded:
        classes = decoded.entry(corpus)["classes"]
        columns["posteriors"] = _posteriors(decoded, corpus, columns, classes)
    columns["classes"] = [" ".join(classes)] * len(rows)
    return columns


def _check_scores(
    where: str, answers: str, found: Mapping[str, Any], truth: Sequence[str], hypothesis: Sequence[str]
) -> None:
    """Whether scores, which follow from their confusion matrix, are those of these answers."""
    index = {name: i for i, name in enumerate(found["classes"])}
    if not {*truth, *hypothesis} <= index.keys():
        raise InputError(f"its classes are not those of {answers}", where, AGAIN)
    rows, columns = (np.array([index[name] for name in names]) for names in (truth, hypothesis))
    if confusion_matrix(rows, columns, len(index)).tolist() != found["confusion"]:
        raise InputError(
            f"confusion does not follow from {answers}: one of them was edited or is of another model", where, AGAIN
        )


def _posteriors(
    decoded: Posteriors, corpus: str, columns: Mapping[str, Sequence[str]], classes: Sequence[str]
) -> list[list[float]]:
    """In the order of the utterances."""
    table = decoded.of(corpus, columns["utterance"], classes)
    index = {name: i for i, name in enumerate(classes)}
    answered = [index.get(name, -1) for name in columns["hypothesis"]]
    behind = table.max(1) - table[np.arange(len(table)), answered]
    if min(answered) < 0 or not np.all(behind <= TIE):
        worst = columns["utterance"][int(np.argmax(behind))]
        raise InputError(f"{worst}: not the class that was answered", decoded.path, AGAIN)
    return table.tolist()


def read_curve_rows(folder: Path) -> list[dict[str, Any]]:
    """A row an epoch and corpus of a training.

    Raises:
        InputError: absent, or a line that is not one of a training.
    """
    rows = []
    for epoch in read_epochs(folder):
        for corpus in dict.fromkeys((*epoch["train_loss"], *epoch["valid"])):
            valid = epoch["valid"].get(corpus, {})
            rows.append(
                {
                    "epoch": epoch["epoch"],
                    "corpus": corpus,
                    "train_loss": epoch["train_loss"].get(corpus),
                    "valid_loss": valid.get("loss"),
                    **{f"valid_{name}": valid.get(name) for name in METRICS},
                }
            )
    return rows
