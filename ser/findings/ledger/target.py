"""Read the predictions on one target and the curves of a training, and check them against the scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ser.common import InputError
from ser.config.registry import METRICS
from ser.scoring.files import COLUMNS, read_epochs, read_scored_answers
from ser.scoring.posteriors import REDECODE, Posteriors

# Posteriors are stored in 32 bits: the class answered may be the second by as much.
TIE = 1e-5


def read_target(result: Path, corpus: str, scored: Any, decoded: Posteriors | None) -> dict[str, list[Any]]:
    """Read the answers to a test part.

    Args:
        result: path of result.json or zero_shot.json, which has the scores.
        corpus: the target.
        scored: its scores, which must follow from the answers.
        decoded: posteriors of the part; None for a baseline.

    Returns:
        COLUMNS, classes (of the posteriors) and posteriors (None for a baseline), with one value for each utterance.

    Raises:
        InputError: a file is absent or cut short, or they do not agree.
    """
    rows = read_scored_answers(result, corpus, scored)
    columns: dict[str, list[Any]] = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    classes = scored["classes"]
    columns["posteriors"] = [None] * len(rows)
    if decoded:
        classes = decoded.entry(corpus)["classes"]
        posteriors = decoded.array(corpus, columns["utterance"], classes)
        index = {name: i for i, name in enumerate(classes)}
        answered = [index.get(name, -1) for name in columns["hypothesis"]]
        behind = posteriors.max(1) - posteriors[np.arange(len(rows)), answered]
        if min(answered) < 0 or not np.all(behind <= TIE):
            worst = columns["utterance"][int(np.argmax(behind))]
            raise InputError(f"{worst}: not the class that was answered", decoded.path, REDECODE)
        columns["posteriors"] = posteriors.tolist()
    columns["classes"] = [" ".join(classes)] * len(rows)
    return columns


def read_curve_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the curves of a training, one row for each epoch and corpus.

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
