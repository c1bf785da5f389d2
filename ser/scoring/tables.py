"""A table of all results below exp/, rebuilt from their files."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ser.common import InputError, read_json
from ser.config import decisive, load, read_experiment
from ser.config.load import ROOT


def read_results(exp_dirs: Sequence[Path]) -> list[dict[str, Any]]:
    """Every result.json below some folders, in the order of their paths.

    Raises:
        InputError: there is none, or one is not readable.
    """
    paths = [path for exp_dir in exp_dirs for path in sorted(exp_dir.glob("*/*/*/result.json"))]
    if not paths:
        raise InputError(f"{exp_dirs[0]}: holds no result.json; run stages 4 to 6")
    return [
        {**read_json(path), "folder": path.parent, "options": _options(path.parent / "config.yaml")} for path in paths
    ]


def _options(config: Path) -> dict[str, Any]:
    """Dotted keys and values of the settings that no column of the table shows; none for a baseline."""
    shown = {"preset", "corpora", "split", "task", "temporal", "pooling", "fold", "seed"}
    shown |= {"batches.normalisation", "training.precision"}
    settings = decisive(read_experiment(config)) if config.is_file() else {}
    return {key: value for key, value in settings.items() if key not in shown}


def _arguments(result: dict[str, Any], recipe: str) -> list[str]:
    """What makes a result again: the options of its run.sh, and each setting that its preset has otherwise."""
    named = {"corpora": ",".join(result["corpora"])}
    named |= {key: str(result[key]) for key in ("preset", "task", "temporal", "pooling", "fold", "seed")}
    options = result.get("options", {})
    try:
        preset = decisive(load(result["preset"], Path(recipe).resolve().parent, [f"corpora=[{named['corpora']}]"]))
    except InputError:  # of a recipe that is not here
        preset = options
    named |= {key: str(value).replace(" ", "") for key, value in options.items() if preset.get(key) != value}
    exp_dir = result["folder"].resolve().parents[2]
    if exp_dir.name != "exp":
        named["exp"] = os.path.relpath(exp_dir, ROOT) if exp_dir.is_relative_to(ROOT) else str(exp_dir)
    return [word for key, value in named.items() for word in (f"--{key}", value)]


def _telling(results: Sequence[dict[str, Any]]) -> list[str]:
    """Settings in which rows of one preset differ: each is a column."""
    found: dict[str, None] = {}
    first: dict[str, dict[str, Any]] = {}
    for result in results:
        if options := result.get("options", {}):
            other = first.setdefault(result["preset"], options)
            keys = dict.fromkeys([*other, *options])
            found |= dict.fromkeys(key for key in keys if other.get(key) != options.get(key))
    return list(found)


def results_table(results: Sequence[dict[str, Any]], command: str, recipe: str) -> str:
    """Markdown: a row a result and target, the notes of its corpora, and the commands that made and printed it.

    Args:
        command: what printed the table.
        recipe: the run.sh that trained.
    """
    telling = _telling(results)
    rows = [_row(result, target, telling) for result in results for target in result["targets"]]
    table = tabulate([list(row.values()) for row in rows], list(rows[0]), tablefmt="github", disable_numparse=True)
    notes = sorted({note for r in results for note in r["notes"]})
    transductive = sorted({r["normalisation"] for r in results if r["epochs"]} & {"speaker", "corpus"})
    notes += [
        f"Normalisation by {k} uses all test utterances of the {k}, unlabelled (transductive)." for k in transductive
    ]
    first = next((r for r in results if r["epochs"]), results[0])
    notes += [
        "WA: accuracy over utterances; UA: mean of the recalls of the classes; n: test utterances.",
        "Valid UA: of the kept epoch.",
        *_data_lines(results),
        f"A row is made by its settings, the first by `{recipe} {shlex.join(_arguments(first, recipe))}`.",
        f"Code: {', '.join(sorted({r['git_revision'] for r in results}))}. Printed by `{command}`.",
    ]
    return "\n".join(["# Results", "", table, "", *(f"- {note}" for note in notes), ""])


def _data_lines(results: Sequence[dict[str, Any]]) -> list[str]:
    """A line a corpus, protocol and counts: what the results were trained and tested on."""
    folds: dict[tuple[str, ...], set[int]] = {}
    for result in results:
        for corpus, name in result.get("protocol_hash", {}).items():
            parts = [_counted(part, counts) for part, counts in result["counts"][corpus].items()]
            key = (corpus, result["split"], name, "; ".join(parts))
            folds.setdefault(key, set()).add(int(result["folds"][corpus].rpartition("_fold")[2]))
    lines = [
        f"Data: {corpus}, split {split}, protocol {name}, fold {', '.join(map(str, sorted(numbers)))}: {parts}."
        for (corpus, split, name, parts), numbers in folds.items()
    ]
    unknown = sum("protocol_hash" not in result for result in results)
    if unknown:
        lines.append(f"Data: {unknown} of {len(results)} results do not record it; stage 6, run again, adds it.")
    return lines


def _counted(part: str, counts: dict[str, int]) -> str:
    """ "train 3 (angry 1, sad 2)"."""
    classes = ", ".join(f"{name} {n}" for name, n in counts.items())
    return f"{part} {sum(counts.values())} ({classes})" if any(counts.values()) else f"{part} none"


def _row(result: dict[str, Any], target: str, telling: Sequence[str]) -> dict[str, Any]:
    scores, valid = result["targets"][target], result["valid"].get(target)
    return {
        "combination": result["combination"],
        "target": target,
        **{key: result[key] for key in ("task", "temporal", "pooling", "preset", "fold", "seed")},
        "normalisation": result["normalisation"],
        **{key: result.get("options", {}).get(key, "") for key in telling},
        "precision": result["machine"]["precision"],
        "s/epoch": result["seconds_per_epoch"],
        "epoch": f"{result['chosen_epoch']} of {result['epochs']}" if result["epochs"] else "",
        "valid UA %": f"{100 * valid['ua']:.1f}" if valid else "",
        **{
            f"{name} %": f"{100 * scores[key]:.1f}"
            for name, key in (("WA", "wa"), ("UA", "ua"), ("macro F1", "macro_f1"))
        },
        "n": scores["n"],
    }
