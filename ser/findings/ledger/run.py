"""Read and check the folder of one experiment: undamaged and consistent, or refused with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ser.common import InputError, as_input_error, digest
from ser.common.errors import typed_line
from ser.common.run_folder import CONFIG, RESULT, ZERO_SHOT, combination_name, run_name
from ser.config import dotted, read_experiment, result_affecting
from ser.config.load import comparable_settings, shared_settings
from ser.findings.ledger.target import read_curve_rows, read_target
from ser.grid.state import HASHES
from ser.scoring.files import COLUMNS, read_finished, read_zero_shot
from ser.scoring.posteriors import REDECODE, Posteriors, read_posteriors

AGAIN = "remove the folder and run the experiment again"
IDENTITY = ("combination", "corpora", "task", "temporal", "pooling", "fold", "seed", "split", *HASHES)
# Keys of a result.json that are columns.
COPIED = (
    "combination", "task", "temporal", "pooling", "preset", "split", *HASHES, "normalisation", "code_hash",
    "git_revision", "fold", "seed", "chosen_epoch", "epochs", "corpora", "notes", "updates", "folds", "versions",
)  # fmt: skip
DESCRIBED = ("folds", "protocol_hash", "counts")  # by corpus; zero_shot.json has those of the corpora that it scored
BASELINE = "svm"


def read_run(folder: Path, corpora: Sequence[str]) -> tuple[dict[str, Any], dict[str, list[Any]], str]:
    """Read a run and check it.

    Args:
        folder: of the run.
        corpora: of the grid, in the order of the names of combinations.

    Returns:
        Row of the file `runs`; columns of the file `predictions`, except those that are constant in the run; error in
        its zero-shot scores, which are then left out, or "".

    Raises:
        InputError: it is damaged, edited, of another cell, or of an unknown combination.
    """
    errors = (LookupError, TypeError, AttributeError, ValueError, OSError)
    with as_input_error("its files hold what no stage writes", folder, AGAIN, *errors, reason=typed_line):
        result = _read_result(folder)
        _check_folder(folder, result, corpora)
        settings = _settings(folder, result)
        decoded = None if result["temporal"] == BASELINE else read_posteriors(folder, "test")
        described = {key: result[key] for key in DESCRIBED}
        parts, problem = [_read_targets(folder / RESULT, result, decoded, zero_shot=False)], ""
        scored: dict[str, Any] = {}
        path = folder / ZERO_SHOT
        try:
            unseen = read_zero_shot(path, answers=True) if path.is_file() else None
            if unseen is not None:
                _check_zero_shot(path, unseen, result)
                parts.append(_read_targets(path, unseen, decoded, zero_shot=True))
                scored = {**unseen["target_hashes"], **unseen["left_out"]}
                described = {key: {**unseen[key], **values} for key, values in described.items()}
        except InputError as error:
            problem = str(error)
        row = {
            "run": digest({key: result[key] for key in HASHES}),
            "folder": str(folder),
            **{key: result[key] for key in COPIED},
            **described,
            **settings,
            "zero_shot": scored,
            "code_hashes": result.get("code_hashes", [result["code_hash"]]),
            "curves": read_curve_rows(folder) if result["epochs"] else [],
            "seconds_per_epoch": result.get("seconds_per_epoch"),
            **{key: result.get("machine", {}).get(key) for key in ("device", "precision")},
            "targets": {name: target for targets, _ in parts for name, target in targets.items()},
        }
        keys = parts[0][1].keys()
        return row, {key: [v for _, columns in parts for v in columns[key]] for key in keys}, problem


def _check_folder(folder: Path, result: Mapping[str, Any], corpora: Sequence[str]) -> None:
    known = [corpus for corpus in corpora if corpus in result["corpora"]]
    if not known or known != result["corpora"] or result["combination"] != combination_name(known):
        raise InputError(
            f"unknown combination {result['combination']}: not some of {', '.join(corpora)} in this order",
            folder / RESULT,
            "give the --grid that has it, or move the folder away",
        )
    names = [result[key] for key in ("task", "temporal", "pooling")]
    if result["temporal"] == BASELINE:
        names = [BASELINE, result["pooling"], result["normalisation"]]
    path = (result["combination"], "_".join(names), run_name(result["fold"], result["seed"]))
    if path not in (folder.absolute().parts[-3:], folder.resolve().parts[-3:]):  # links may have other names
        raise InputError(f"of {'/'.join(path)}: copied from there, or edited", folder / RESULT, AGAIN)


def _settings(folder: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """settings_hash, comparable_hash, budget and configuration; config.yaml must be that of the training."""
    if result["temporal"] == BASELINE:
        settings = {"normalisation": result["normalisation"], **result.get("settings", {})}
        name = digest(settings)
        return {"settings_hash": name, "comparable_hash": name, "budget": "", "configuration": settings}
    experiment = read_experiment(folder / CONFIG)
    if digest(result_affecting(experiment)) != result["config_hash"]:
        raise InputError("not the settings of result.json: one was edited", folder / CONFIG, AGAIN)
    return {
        "settings_hash": digest(shared_settings(experiment)),
        "comparable_hash": digest(comparable_settings(experiment)),
        "budget": experiment.training.budget,
        "configuration": dotted(experiment),
    }


def _read_result(folder: Path) -> dict[str, Any]:
    result, _ = read_finished(folder, answers=True)
    tested = [c for c, counts in result["counts"].items() if any(counts["test"].values())]
    if missing := sorted(set(tested) - set(result["targets"])):
        what = f"lacks the target {missing[0]}, of which it counts test utterances"
        raise InputError(what, folder / RESULT, REDECODE)
    return result


def _check_zero_shot(path: Path, unseen: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    if odd := [key for key in IDENTITY if unseen[key] != result[key]]:
        raise InputError(f"{odd[0]} is not as in result.json: edited, or of another training", path, REDECODE)
    if trained := sorted(set(unseen["targets"]) & set(result["corpora"])):
        raise InputError(f"{trained[0]} is no unseen corpus, for the model was trained on it", path, REDECODE)


def _read_targets(
    path: Path, result: Mapping[str, Any], decoded: Posteriors | None, zero_shot: bool
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Scores by target, and the columns of all predictions."""
    columns: dict[str, list[Any]] = {key: [] for key in (*COLUMNS, "classes", "posteriors", "target", "zero_shot")}
    targets = {}
    for corpus, scored in result["targets"].items():
        predictions = read_target(path, corpus, scored, decoded)
        count = len(predictions["utterance"])
        for key, values in {**predictions, "target": [corpus] * count, "zero_shot": [zero_shot] * count}.items():
            columns[key] += values
        targets[corpus] = {**scored, "zero_shot": zero_shot}
    return targets, columns
