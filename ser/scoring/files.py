"""The JSON files of an experiment: what each holds, and its one reader."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from ser.common import InputError, as_input_error, check_regular
from ser.common.files import refuse_folder
from ser.common.kinds import of_kind
from ser.common.metrics import ConfusionMetric, confusion_matrix
from ser.common.records import read_record
from ser.common.run_folder import EPOCHS, RESULT, TRAIN, answers_path, is_trained
from ser.config.metrics import metrics
from ser.scoring.posteriors import REDECODE

RETRAIN = "remove the folder and run stages 4 to 6 again"
RESCORE = "run stage 6 again"
# Columns of result.tsv and zero_shot.tsv after the target.
COLUMNS = ("utterance", "speaker", "truth", "hypothesis", "text_id")


class Hashes(TypedDict):
    """Digests of settings, data and split."""

    config_hash: str
    data_hash: str
    split_hash: str


class Scores(TypedDict):
    """Metrics that every result has, as fractions, and n utterances. Other metrics of the registry may be added."""

    wa: float
    ua: float
    macro_f1: float
    n: int


class TargetScores(Scores):
    """Rows of the confusion matrix are the truth, in the order of the classes."""

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
    """Calibration of the confidence on a target."""

    temperature: float
    rejected_temperature: NotRequired[float]  # fitted, and not applied, since it makes the validation ECE worse
    n: int
    ece_before: float
    ece_after: float
    reliability: dict[str, list[dict[str, Any]]]


class Identity(TypedDict):
    """The experiment that a result is of."""

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


def find_files(name: str, root: Path) -> list[Path]:
    """The files of a name at any depth, sorted. Links to folders are followed, unless to one that they are in.

    Args:
        name: of the files.
        root: folder to search.

    Raises:
        InputError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # removed meanwhile, as temporary folders are
            refuse_folder(error)

    paths = []
    for current, subfolders, names in os.walk(root, onerror=refuse, followlinks=True):
        folder = Path(current)
        if folder.is_symlink() and folder.resolve() in {parent.resolve() for parent in folder.parents}:
            subfolders.clear()
        elif name in names:
            paths.append(folder / name)
    return sorted(paths)


def folders_with(name: str, roots: Iterable[Path], missing: str) -> list[Path]:
    """The folders at any depth that hold a file, each once, in the order of their paths.

    Args:
        name: of the file.
        roots: folders to search.
        missing: error message for a root without such a file.

    Raises:
        InputError: one of the roots has none.
    """
    folders: dict[Path, Path] = {}
    for root in roots:
        below = [path.parent for path in find_files(name, root)]
        if not below:
            raise InputError(missing, root)
        folders |= {folder.resolve(): folder for folder in below}
    return list(folders.values())


def read_train(folder: Path, files: Iterable[str] = ()) -> dict[str, Any]:
    """Read train.json of an experiment.

    Args:
        folder: of the experiment.
        files: names (model.safetensors, epochs.jsonl) that are about to be read, which are checked.

    Raises:
        InputError: a file is absent, of another kind, or not as it was written; so for all readers below.
    """
    return read_record(folder / TRAIN, Train, RETRAIN, files)


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """Read the rows of epochs.jsonl of an experiment."""
    path, rows = folder / EPOCHS, []
    again = "copy the file again from where the training runs, or remove the line"
    check_regular(path, "run stage 4")
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        with as_input_error("no epoch of a training", f"{path}:{number}", again, ValueError, RecursionError):
            rows.append(of_kind(Epoch, json.loads(line), ""))
    if not rows:
        raise InputError("holds no epoch", path, "remove it and run stage 4 again")
    return rows


def read_result(path: Path, answers: bool = False) -> dict[str, Any]:
    """Read a result.json, each score of which must follow from its confusion matrix.

    Args:
        path: of the file.
        answers: whether the answers to the targets are about to be read, which are then checked too.
    """
    result = read_record(path, Result, RESCORE, None if answers else ())
    if not result["corpora"] or not result["targets"]:
        raise InputError("names no corpora or no targets", path, RESCORE)
    if not 0 <= result["chosen_epoch"] <= result["epochs"] or result["fold"] < 1:
        raise InputError("chosen_epoch, epochs or fold is not the number of one", path, RESCORE)
    return _checked(path, result)


def read_zero_shot(path: Path, answers: bool = False) -> dict[str, Any]:
    """Read a zero_shot.json as `read_result` does; it may have no targets.

    Args:
        path: of the file.
        answers: as for `read_result`.
    """
    return _checked(path, read_record(path, ZeroShot, REDECODE, None if answers else ()))


def read_finished(folder: Path, answers: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read result.json and train.json of an experiment, which must agree; a baseline has no train.json: {}.

    Args:
        folder: of the experiment.
        answers: as for `read_result`.

    Raises:
        InputError: one is damaged, or they are of different trainings.
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
    """Read the rows of COLUMNS of a target; the text id is None where the corpus has none.

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
            raise InputError(f"{fields[0]} appears twice", f"{path}:{number}", REDECODE)
        rows[fields[0]] = [*fields[:4], fields[4] or None]
    if not rows:
        raise InputError(f"has no answers of {corpus}", path, REDECODE)
    return list(rows.values())


def read_scored_answers(result: Path, corpus: str, scored: Mapping[str, Any]) -> list[list[str | None]]:
    """Read the answers as `read_answers` does, and check that they have the confusion matrix of the scores.

    Args:
        result: path of result.json or zero_shot.json.
        corpus: the target.
        scored: its scores.

    Raises:
        InputError: as `read_answers`, or the confusion matrix is another one.
    """
    rows, where, name = read_answers(result, corpus), f"{result}: {corpus}", answers_path(result).name
    index = {name: i for i, name in enumerate(scored["classes"])}
    if not {label for row in rows for label in row[2:4]} <= index.keys():
        raise InputError(f"its classes are not those of {name}", where, REDECODE)
    truth, hypothesis = (np.array([index[str(row[column])] for row in rows]) for column in (2, 3))
    if confusion_matrix(truth, hypothesis, len(index)).tolist() != scored["confusion"]:
        what = f"confusion does not follow from {name}: one of them was edited or is of another model"
        raise InputError(what, where, REDECODE)
    return rows


def _checked(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    try:
        check_described(result)
        for corpus, target in result["targets"].items():
            _check_scores(corpus, target)
    except ValueError as error:
        raise InputError(str(error), path, RESCORE) from None
    return result


def check_described(described: Mapping[str, Any]) -> None:
    """Check that folds, counts and protocols are of the same corpora.

    Raises:
        ValueError: naming the first that is not, or a fold that is not named as one.
    """
    folds, counts = described["folds"], described["counts"]
    for corpus, name in folds.items():
        if not re.search(r"_fold\d{1,9}$", name):
            raise ValueError(f"folds.{corpus} = {name!r}, expected <split>_fold<number>")
    for key, others in (("counts", folds), ("protocol_hash", counts)):
        if missing := sorted(described[key].keys() - others.keys()):
            raise ValueError(f"{missing[0]} is in {key} alone, expected folds, counts and protocol_hash of a corpus")
    for corpus, parts in counts.items():
        if not parts["train"].keys() == parts["valid"].keys() == parts["test"].keys():
            raise ValueError(f"counts.{corpus}: the parts have different classes")


def _check_scores(corpus: str, scores: Mapping[str, Any]) -> None:
    """Check that scores are numbers and agree with the confusion matrix.

    Raises:
        ValueError: naming the first that is not.
    """
    classes, confusion = scores["classes"], scores["confusion"]
    if len({*classes}) < len(classes) or any(len(row) != len(classes) for row in [confusion, *confusion]):
        raise ValueError(f"targets.{corpus}: confusion has not a row and a column for each of different classes")
    counts = np.array(confusion, dtype=object)
    if not counts.size or counts.min() < 0 or not 0 < counts.sum() < 2**53:
        raise ValueError(f"targets.{corpus}: confusion holds no utterances")
    counts = counts.astype(np.int64)
    computed = {name: m.of_confusion(counts) for name, m in metrics().items() if isinstance(m, ConfusionMetric)}
    computed["n"] = int(counts.sum())
    for name in (name for name in ("n", *metrics()) if name in scores):
        value = of_kind(float, scores[name], f"targets.{corpus}.{name}")
        if not math.isclose(value, computed.get(name, value), abs_tol=1e-9):
            raise ValueError(f"targets.{corpus}: {name} does not follow from confusion")
