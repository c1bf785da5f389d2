"""The JSON files of an experiment: what each holds, and its one reader."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from ser.common import InputError, check_regular
from ser.common.kinds import of_kind
from ser.common.metrics import ConfusionMetric
from ser.common.records import read_record
from ser.common.run_folder import EPOCHS, RESULT, TRAIN, answers_path, is_trained
from ser.config.metrics import metrics
from ser.scoring.posteriors import REDECODE

RETRAIN = "remove the folder and run stages 4 to 6 again"
RESCORE = "run stage 6 again"
# Of the answers to a target.
COLUMNS = ("utterance", "speaker", "truth", "hypothesis", "text_id")


class Hashes(TypedDict):
    """Digests of settings, data and split."""

    config_hash: str
    data_hash: str
    split_hash: str


class Scores(TypedDict):
    """Fractions, of n utterances: those that every result has. Other metrics of the registry may be beside them."""

    wa: float
    ua: float
    macro_f1: float
    n: int


class TargetScores(Scores):
    """Confusion: row the truth, in the order of the classes."""

    classes: list[str]
    confusion: list[list[int]]


class DeviceRecord(TypedDict):
    """Where it was trained."""

    device: str
    precision: str
    threads: NotRequired[int]


class Train(Hashes):
    """train.json; result.json repeats it."""

    chosen_epoch: int
    epochs: int
    updates: dict[str, int]
    class_counts: dict[str, list[int]]
    class_weights: dict[str, list[float]]
    seconds_per_epoch: float | None
    valid: dict[str, Scores]
    code_hash: str
    code_hashes: NotRequired[list[str]]
    git_revision: str
    versions: dict[str, str]
    machine: DeviceRecord


class EpochLoss(TypedDict):
    """Of a corpus in an epoch."""

    loss: float
    ua: float
    wa: NotRequired[float]
    macro_f1: NotRequired[float]


class Epoch(TypedDict):
    """A line of epochs.jsonl."""

    epoch: int
    train_loss: dict[str, float]
    valid_loss: float
    valid: dict[str, EpochLoss]
    best_epoch: int


class Counts(TypedDict):
    """Utterances of a corpus by part and class."""

    train: dict[str, int]
    valid: dict[str, int]
    test: dict[str, int]


class Calibration(TypedDict):
    """How far the confidence on a target holds."""

    temperature: float
    rejected_temperature: NotRequired[float]  # fitted, and not applied, since it makes the validation ECE worse
    n: int
    ece_before: float
    ece_after: float
    reliability: dict[str, list[dict[str, Any]]]


class Identity(TypedDict):
    """Which experiment it is."""

    combination: str
    corpora: list[str]
    task: str
    temporal: str
    pooling: str
    fold: int
    seed: int
    preset: str
    split: str


class Result(Identity, Train):
    """result.json."""

    part: str
    folds: dict[str, str]
    protocol_hash: dict[str, str]
    counts: dict[str, Counts]
    normalisation: str
    notes: list[str]
    targets: dict[str, TargetScores]
    calibration: NotRequired[dict[str, Calibration | None]]


class ZeroShot(Identity, Hashes):
    """zero_shot.json; folds, counts and protocols are of the corpora that it scored."""

    target_hashes: dict[str, dict[str, str]]
    folds: dict[str, str]
    protocol_hash: dict[str, str]
    counts: dict[str, Counts]
    left_out: dict[str, str]
    targets: dict[str, TargetScores]


def folders_with(name: str, roots: Iterable[Path], missing: str) -> list[Path]:
    """The folders at any depth that hold a file, each once, in the order of their paths.

    Args:
        name: of the file, a pattern.
        missing: the error about a root that has none.

    Raises:
        InputError: one of the roots has none.
    """
    found: list[Path] = []
    for root in roots:
        below = sorted(path.parent for path in root.rglob(name))
        if not below:
            raise InputError(missing, root)
        found += below
    return list({path.resolve(): path for path in found}.values())


def read_train(folder: Path, files: Iterable[str] = ()) -> dict[str, Any]:
    """What train.json of an experiment holds.

    Args:
        files: of model.safetensors and epochs.jsonl, those that are about to be read.

    Raises:
        InputError: here and below: absent, of another kind, or not as it was written.
    """
    return read_record(folder / TRAIN, Train, RETRAIN, files)


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """The rows of epochs.jsonl of an experiment."""
    path, rows = folder / EPOCHS, []
    again = "copy the file again from where the training runs, or remove the line"
    check_regular(path, "run stage 4")
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            rows.append(of_kind(Epoch, json.loads(line), ""))
        except (ValueError, RecursionError) as error:
            raise InputError(f"no epoch of a training ({error})", f"{path}:{number}", again) from None
    if not rows:
        raise InputError("holds no epoch", path, "remove it and run stage 4 again")
    return rows


def read_result(path: Path, answers: bool = False) -> dict[str, Any]:
    """What a result.json holds: each score follows from its confusion matrix.

    Args:
        answers: whether the answers to the targets are about to be read, which must be as recorded.
    """
    found = read_record(path, Result, RESCORE, None if answers else ())
    if not found["corpora"] or not found["targets"]:
        raise InputError("names no corpora or no targets", path, RESCORE)
    if not 0 <= found["chosen_epoch"] <= found["epochs"] or found["fold"] < 1:
        raise InputError("chosen_epoch, epochs or fold is not the number of one", path, RESCORE)
    _check(path, found)
    return found


def read_zero_shot(path: Path, answers: bool = False) -> dict[str, Any]:
    """What a zero_shot.json holds, as of `read_result`; its targets may be none.

    Args:
        path: of a zero_shot.json.
        answers: whether the files of answers that it is of are compared too.
    """
    found = read_record(path, ZeroShot, REDECODE, None if answers else ())
    _check(path, found)
    return found


def read_finished(folder: Path, answers: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """What result.json and train.json of an experiment hold, which agree; of a baseline, the second is empty.

    Args:
        answers: as of `read_result`.

    Raises:
        InputError: one is not whole, or they are of different trainings.
    """
    path = folder / RESULT
    result = read_result(path, answers)
    if not (folder / TRAIN).is_file() and not is_trained(folder):
        return result, {}
    train = read_train(folder, [EPOCHS] if result["epochs"] and answers else ())
    if odd := [key for key, value in train.items() if result.get(key) != value]:
        raise InputError(f"{odd[0]} is not as in {TRAIN}: edited, or of another training", path, REDECODE)
    return result, train


def read_answers(result: Path, corpus: str) -> list[list[str | None]]:
    """Rows of COLUMNS of a target; the text id is None where the corpus has none.

    Args:
        result: path of result.json or zero_shot.json.
        corpus: the target.

    Raises:
        InputError: absent, not text, a row of another form, or an utterance twice.
    """
    path, start = answers_path(result), f"{corpus}\t"
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError):
        raise InputError("absent or not text", path, REDECODE) from None
    rows: dict[str, list[str | None]] = {}
    for number, line in enumerate(lines, 1):
        if not line.startswith(start):
            continue
        fields = line.removeprefix(start).split("\t")
        if len(fields) != len(COLUMNS) or not all(fields[:4]):
            raise InputError(f"must hold {', '.join(COLUMNS)} with tabs between them", f"{path}:{number}", REDECODE)
        if fields[0] in rows:
            raise InputError(f"{fields[0]} stands twice", f"{path}:{number}", REDECODE)
        rows[fields[0]] = [*fields[:4], fields[4] or None]
    if not rows:
        raise InputError(f"has no answers of {corpus}", path, REDECODE)
    return list(rows.values())


def _check(path: Path, found: Mapping[str, Any]) -> None:
    try:
        check_described(found)
        for corpus, target in found["targets"].items():
            _check_scores(corpus, target)
    except ValueError as error:
        raise InputError(str(error), path, RESCORE) from None


def check_described(found: Mapping[str, Any]) -> None:
    """Whether folds, counts and protocols are of the same corpora.

    Raises:
        ValueError: naming the first that is not, or a fold that is not named as one.
    """
    folds, counts = found["folds"], found["counts"]
    for corpus, name in folds.items():
        if not re.search(r"_fold\d{1,9}$", name):
            raise ValueError(f"folds.{corpus} = {name!r}, expected <split>_fold<number>")
    for key, others in (("counts", folds), ("protocol_hash", counts)):
        if missing := sorted(found[key].keys() - others.keys()):
            raise ValueError(f"{missing[0]} is in {key} alone, expected folds, counts and protocol_hash of a corpus")
    for corpus, parts in counts.items():
        if not parts["train"].keys() == parts["valid"].keys() == parts["test"].keys():
            raise ValueError(f"counts.{corpus}: the parts have different classes")


def _check_scores(corpus: str, found: Mapping[str, Any]) -> None:
    """Whether scores are numbers, and those that follow from the confusion matrix are its own.

    Raises:
        ValueError: naming the first that is not.
    """
    classes, confusion = found["classes"], found["confusion"]
    if len({*classes}) < len(classes) or any(len(row) != len(classes) for row in [confusion, *confusion]):
        raise ValueError(f"targets.{corpus}: confusion has not a row and a column for each of different classes")
    counts = np.array(confusion, dtype=object)
    if not counts.size or counts.min() < 0 or not 0 < counts.sum() < 2**53:
        raise ValueError(f"targets.{corpus}: confusion holds no utterances")
    counts = counts.astype(np.int64)
    expected: dict[str, float] = {"n": int(counts.sum())}
    for name, metric in metrics().items():
        if name in found and isinstance(metric, ConfusionMetric):
            expected[name] = metric.of_confusion(counts)
        elif name in found:
            of_kind(float, found[name], f"targets.{corpus}.{name}")
    for name, value in expected.items():
        if not math.isclose(of_kind(float, found[name], f"targets.{corpus}.{name}"), value, abs_tol=1e-9):
            raise ValueError(f"targets.{corpus}: {name} does not follow from confusion")
