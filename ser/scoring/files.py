"""The JSON files of an experiment: what each holds, and its one reader."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from ser.common import InputError
from ser.common.kinds import of_kind
from ser.common.metrics import ConfusionMetric
from ser.common.records import read_record
from ser.config.metrics import metrics

RETRAIN = "remove the folder and run stages 4 to 6 again"
REDECODE = "run stages 5 and 6 again"
RESCORE = "run stage 6 again"
# Of scoring/utterances.tsv.
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


class DeviceConfig(TypedDict):
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
    machine: DeviceConfig


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


class Decode(TypedDict):
    """decode.json; a baseline has a fingerprint in place of the digest of the model."""

    classes: list[str]
    utterances: int
    model: NotRequired[str]
    fingerprint: NotRequired[str]
    zero_shot: NotRequired[bool]
    data_hash: NotRequired[str]


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
    protocol_hash: NotRequired[dict[str, str]]
    counts: NotRequired[dict[str, Counts]]
    normalisation: str
    notes: list[str]
    targets: dict[str, TargetScores]
    calibration: NotRequired[dict[str, Calibration | None]]


class ZeroShot(Hashes):
    """zero_shot.json; folds, counts and protocols are of the corpora that it scored."""

    combination: NotRequired[str]
    target_hashes: NotRequired[dict[str, dict[str, str]]]
    folds: NotRequired[dict[str, str]]
    protocol_hash: NotRequired[dict[str, str]]
    counts: NotRequired[dict[str, Counts]]
    left_out: NotRequired[dict[str, str]]
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
    return read_record(folder / "train.json", Train, RETRAIN, files)


def read_epochs(path: Path) -> list[dict[str, Any]]:
    """The rows of an epochs.jsonl."""
    rows: list[dict[str, Any]] = []
    again = "copy the file again from where the training runs, or remove the line"
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            rows.append(of_kind(Epoch, json.loads(line), ""))
        except (ValueError, RecursionError) as error:
            raise InputError(f"no epoch of a training ({error})", f"{path}:{number}", again) from None
    if not rows:
        raise InputError("holds no epoch", path, "remove it and run stage 4 again")
    return rows


def read_decode(folder: Path) -> dict[str, Any]:
    """What decode.json of a decode_<corpus>_<part>/ holds; hyp and, of a network, post.ark are as it records them."""
    found = read_record(folder / "decode.json", Decode, REDECODE, None)
    if not found["classes"] or len(set(found["classes"])) < len(found["classes"]):
        raise InputError(f"classes = {found['classes']}, expected different names", folder / "decode.json", REDECODE)
    return found


def read_result(path: Path, answers: bool = False) -> dict[str, Any]:
    """What a result.json holds: each score follows from its confusion matrix.

    Args:
        answers: whether scoring/utterances.tsv of the targets are about to be read, which must be as recorded.
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


def answers_of(folder: Path, corpus: str, part: str) -> Path:
    """Where truth and hypothesis of each utterance of a target are.

    Args:
        folder: the experiment's.
        corpus: the target.
        part: valid or test.
    """
    return folder / f"decode_{corpus}_{part}" / "scoring" / "utterances.tsv"


def read_answers(path: Path) -> list[list[str | None]]:
    """Rows of COLUMNS of a scoring/utterances.tsv, which older files have without text ids.

    Raises:
        InputError: absent, not text, a row of another form, or an utterance twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError):
        raise InputError("absent or not text", path, REDECODE) from None
    rows: dict[str, list[str | None]] = {}
    for number, line in enumerate(lines, 1):
        fields: list[str | None] = [*line.split("\t")]
        if len(fields) == len(COLUMNS) - 1:
            fields.append(None)
        if len(fields) != len(COLUMNS) or not all(fields[:4]):
            raise InputError(f"must hold {', '.join(COLUMNS)} with tabs between them", f"{path}:{number}", REDECODE)
        if str(fields[0]) in rows:
            raise InputError(f"{fields[0]} stands twice", f"{path}:{number}", REDECODE)
        rows[str(fields[0])] = [*fields[:4], fields[4] or None]
    return list(rows.values())


def _check(path: Path, found: Mapping[str, Any]) -> None:
    try:
        check_described(found)
        for corpus, target in found["targets"].items():
            _check_scores(corpus, target)
    except ValueError as error:
        raise InputError(str(error), path, RESCORE) from None


def check_described(found: Mapping[str, Any]) -> None:
    """Whether folds, counts and protocols, where they are recorded, are of the same corpora.

    Raises:
        ValueError: naming the first that is not, or a fold that is not named as one.
    """
    folds, counts = found.get("folds", {}), found.get("counts", {})
    for corpus, name in folds.items():
        if not re.search(r"_fold\d{1,9}$", name):
            raise ValueError(f"folds.{corpus} = {name!r}, expected <split>_fold<number>")
    for key, others in (("counts", folds), ("protocol_hash", counts)):
        if missing := sorted(found.get(key, {}).keys() - others.keys()):
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
