"""A table of all results below exp/, built from their files."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ser.common import InputError
from ser.common.metrics import is_collapsed
from ser.common.output import markdown, markdown_code, markdown_table
from ser.common.run_folder import CONFIG, RESULT, files_of_runs
from ser.config import Experiment, differences, dotted, load, read_experiment, result_affecting_keys
from ser.config.load import ROOT
from ser.config.metrics import columns
from ser.scoring.files import find_files, read_finished

# Settings with a column of their own, or that appear in one.
SHOWN = {"preset", "corpora", "split", "task", "temporal", "pooling", "fold", "seed"}
SHOWN |= {"batches.normalisation", "training.precision"}
# Meaning of a budget in a row of several corpora.
BUDGETS = {
    "total": "the corpora of a row share as many updates as one has alone, so a second one takes some of the target's",
    "per_corpus": "each corpus of a row has as many updates as it has alone",
}


def read_results(exp_dirs: Sequence[Path]) -> list[dict[str, Any]]:
    """Read every result.json below some folders, in the order of their paths.

    Raises:
        InputError: a folder holds none, or one is not readable.
    """
    return [
        {**read_finished(path.parent)[0], "folder": path.parent, "experiment": settings_of(path.parent)}
        for exp_dir in exp_dirs
        for path in result_paths(exp_dir)
    ]


def result_paths(exp_dir: Path) -> list[Path]:
    """Paths of the result.json of the experiments below a folder, sorted.

    Raises:
        InputError: there is none.
    """
    paths = [path for path in find_files(RESULT, exp_dir) if len(path.relative_to(exp_dir).parts) == 4]
    paths = files_of_runs(paths, exp_dir)
    if not paths:
        raise InputError("holds no result.json", exp_dir, "run stages 4 to 6")
    return paths


def settings_of(folder: Path) -> Experiment | None:
    """Read the settings of a result; None for a baseline."""
    config = folder / CONFIG
    return read_experiment(config) if config.is_file() else None


def _different(one: Experiment, other: Experiment) -> dict[str, Any]:
    """Settings of `other` that differ from those of `one`, except those that have a column."""
    return {key: values[1] for key, values in differences(one, other).items() if key not in SHOWN}


def _arguments(result: dict[str, Any], recipe: str) -> list[str]:
    """The options of run.sh that reproduce a result, with each setting that differs from its preset."""
    named = {"corpora": ",".join(result["corpora"])}
    named |= {key: str(result[key]) for key in ("preset", "task", "temporal", "pooling", "fold", "seed")}
    experiment = result.get("experiment")
    if experiment is not None:
        with suppress(InputError):  # the preset of a recipe that is absent
            preset = load(result["preset"], _script(recipe).parent, [f"corpora=[{named['corpora']}]"])
            named |= {key: _argument(value) for key, value in _different(preset, experiment).items()}
    exp_dir = result["folder"].resolve().parents[2]
    if exp_dir.name != "exp":
        named["exp"] = os.path.relpath(exp_dir, ROOT) if exp_dir.is_relative_to(ROOT) else str(exp_dir)
    return [word for key, value in named.items() for word in (f"--{key}", value)]


def _script(recipe: str) -> Path:
    """A run.sh that is named from the current folder or, as run.sh names itself, from the toolkit's."""
    path = Path(recipe).resolve()
    return path if path.is_file() else ROOT / recipe


def _argument(value: Any) -> str:
    """A value in the form of the command line."""
    return str(value).replace(" ", "") if isinstance(value, list) else str(value)


def varied_settings(rows: Sequence[tuple[str, Experiment | None]]) -> list[str]:
    """Settings in which rows of one preset differ: each becomes a column.

    Args:
        rows: preset and settings of each.
    """
    varied: dict[str, None] = {}
    first: dict[str, Experiment] = {}
    for preset, experiment in rows:
        if experiment is not None:
            varied |= dict.fromkeys(_different(first.setdefault(preset, experiment), experiment))
    return list(varied)


def setting_columns(experiment: Experiment | None, varied: Sequence[str]) -> dict[str, str]:
    """The varied settings of a row; empty where a setting does not affect the result.

    Args:
        experiment: settings; None for a baseline.
        varied: dotted keys of settings.
    """
    if experiment is None:
        return dict.fromkeys(varied, "")
    values, affecting = dotted(experiment), result_affecting_keys(experiment)
    texts = {key: ", ".join(map(str, v)) if isinstance(v, list) else str(v) for key, v in values.items()}
    return {key: texts[key] if key in affecting else "" for key in varied}


def budget_notes(experiments: Iterable[Experiment | None]) -> list[str]:
    """How rows of several corpora divide the updates among these."""
    budgets = {e.training.budget for e in experiments if e is not None and len(e.corpora) > 1}
    return [f"training.budget {name}: {text}." for name, text in BUDGETS.items() if name in budgets]


def transductive_notes(normalisations: Iterable[str]) -> list[str]:
    """A note on each kind of normalisation that uses test utterances."""
    return [
        f"Normalisation by {kind} uses all test utterances of the {kind}, unlabelled (transductive)."
        for kind in sorted({"speaker", "corpus"} & set(normalisations))
    ]


def results_table(results: Sequence[dict[str, Any]], command: str, recipe: str) -> str:
    """Markdown: a row for each result and target, notes, and the commands that trained and printed.

    Args:
        results: of `read_results`.
        command: that prints the table.
        recipe: the run.sh that trained.
    """
    varied = varied_settings([(result["preset"], result.get("experiment")) for result in results])
    rows = [_row(result, target, varied) for result in results for target in result["targets"]]
    table = markdown_table(list(rows[0]), [list(row.values()) for row in rows])
    notes = [markdown(note) for note in sorted({note for r in results for note in r["notes"]})]
    notes += transductive_notes(r["normalisation"] for r in results if r["epochs"])
    first = next((r for r in results if r["epochs"]), results[0])
    made = f"{recipe} {shlex.join(_arguments(first, recipe))}"
    code = ", ".join(sorted({r["git_revision"] for r in results}))
    notes += [
        "WA: accuracy over utterances; UA: mean of the recalls of the classes; n: test utterances.",
        "Valid UA: of the kept epoch.",
        *collapsed_notes(results),
        *map(markdown, budget_notes(result.get("experiment") for result in results)),
        *map(markdown, _data_lines(results)),
        f"A row is made by its settings, the first by {markdown_code(made)}.",
        f"Code: {markdown(code)}. Printed by {markdown_code(command)}.",
    ]
    return "\n".join(["# Results", "", table, "", *(f"- {note}" for note in notes), ""])


def short_table(results: Sequence[dict[str, Any]]) -> str:
    """A shorter table for a terminal: what is scored, and its scores."""
    rows = [
        {
            "combination": result["combination"],
            "cell": "_".join(result[key] for key in ("task", "temporal", "pooling")),
            **{key: result[key] for key in ("fold", "seed")},
            "target": target,
            **columns(result["targets"][target]),
            "n": result["targets"][target]["n"],
        }
        for result in results
        for target in result["targets"]
    ]
    table = markdown_table(list(rows[0]), [list(row.values()) for row in rows])
    notes = sorted({note for result in results for note in result["notes"]})
    return "\n".join([table, "", *(f"- {note}" for note in [*collapsed_notes(results), *notes]), ""])


def collapsed_notes(results: Sequence[dict[str, Any]]) -> list[str]:
    """Which rows have one answer for all test utterances, as of a network that has learnt nothing."""
    pairs = [(result, target) for result in results for target in result["targets"]]
    rows = [
        str(number)
        for number, (result, target) in enumerate(pairs, 1)
        if is_collapsed(np.array(result["targets"][target]["confusion"]))
    ]
    return [f"One answer for all utterances, a collapsed training: rows {', '.join(rows)}."] if rows else []


def _data_lines(results: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each corpus, protocol and counts that the results were trained and tested on."""
    folds: dict[tuple[str, ...], set[int]] = {}
    for result in results:
        for corpus, name in result["protocol_hash"].items():
            parts = [_counted(part, counts) for part, counts in result["counts"][corpus].items()]
            key = (corpus, result["split"], name, "; ".join(parts))
            folds.setdefault(key, set()).add(int(result["folds"][corpus].rpartition("_fold")[2]))
    return [
        f"Data: {corpus}, split {split}, protocol {name}, fold {', '.join(map(str, sorted(numbers)))}: {parts}."
        for (corpus, split, name, parts), numbers in folds.items()
    ]


def _counted(part: str, counts: dict[str, int]) -> str:
    """ "train 3 (angry 1, sad 2)"."""
    classes = ", ".join(f"{name} {n}" for name, n in counts.items())
    return f"{part} {sum(counts.values())} ({classes})" if any(counts.values()) else f"{part} none"


def _row(result: dict[str, Any], target: str, varied: Sequence[str]) -> dict[str, Any]:
    scores, valid = result["targets"][target], result["valid"].get(target)
    return {
        "combination": result["combination"],
        "target": target,
        **{key: result[key] for key in ("task", "temporal", "pooling", "preset", "fold", "seed")},
        "normalisation": result["normalisation"],
        **setting_columns(result.get("experiment"), varied),
        "precision": result["machine"]["precision"],
        "s/epoch": result["seconds_per_epoch"],
        "epoch": f"{result['chosen_epoch']} of {result['epochs']}" if result["epochs"] else "",
        "valid UA %": f"{100 * valid['ua']:.1f}" if valid else "",
        **columns(scores),
        "n": scores["n"],
    }
