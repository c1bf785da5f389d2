"""A table of all results below exp/, rebuilt from their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ser.common import InputError, read_json

COLUMNS = (
    "combination",
    "target",
    "task",
    "temporal",
    "pooling",
    "preset",
    "fold",
    "seed",
    "epoch",
    "s/epoch",
    "WA %",
    "UA %",
    "macro F1 %",
    "n",
)


def read_results(exp_dir: Path) -> list[dict[str, Any]]:
    """Every result.json below a folder, in the order of their paths.

    Raises:
        InputError: there is none, or one is not readable.
    """
    results = [read_json(path) for path in sorted(exp_dir.glob("*/*/*/result.json"))]
    if not results:
        raise InputError(f"{exp_dir}: holds no result.json; run stages 4 to 6")
    return results


def results_table(results: Sequence[dict[str, Any]], command: str) -> str:
    """Markdown: a row a result and target, the notes of its corpora, and the command that printed it."""
    rows = []
    for r in results:
        for target, s in r["targets"].items():
            rows.append(
                [
                    r["combination"],
                    target,
                    r["task"],
                    r["temporal"],
                    r["pooling"],
                    r["preset"],
                    r["fold"],
                    r["seed"],
                    r["chosen_epoch"],
                    r["seconds_per_epoch"],
                    f"{100 * s['wa']:.1f}",
                    f"{100 * s['ua']:.1f}",
                    f"{100 * s['macro_f1']:.1f}",
                    s["n"],
                ]
            )
    table = tabulate(rows, COLUMNS, tablefmt="github", disable_numparse=True)
    notes = sorted({note for r in results for note in r["notes"]})
    transductive = sorted({r["normalisation"] for r in results} & {"speaker", "corpus"})
    notes += [
        f"Normalisation by {kind} uses all test utterances of the {kind}, unlabelled (transductive)."
        for kind in transductive
    ]
    revisions = ", ".join(sorted({r["git_revision"] for r in results}))
    return "\n".join(
        [
            "# Results",
            "",
            table,
            "",
            *(f"- {note}" for note in notes),
            "- WA: accuracy over utterances; UA: mean of the recalls of the classes; n: test utterances.",
            f"- Code: {revisions}. Printed by `{command}`.",
            "",
        ]
    )
