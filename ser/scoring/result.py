"""Hypotheses and truth, joined by utterance id, to scores and result.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from ser.batches import Data, Part
from ser.common import InputError, digest, write_text
from ser.common.metrics import confusion_matrix
from ser.common.records import write_record
from ser.common.run_folder import CURVES, MODEL, ZERO_SHOT, answers_path, decode_folder, posteriors_path, result_path
from ser.config import Experiment
from ser.config.metrics import scores, scores_text
from ser.corpora.describe import protocol_hash, read_prepared
from ser.corpora.protocol import corpus_fold
from ser.scoring import files
from ser.scoring.calibration import choose_temperature, expected_calibration_error, reliability, tempered
from ser.scoring.curves import plot_curves
from ser.scoring.plots import plot_confusion, plot_reliability
from ser.scoring.posteriors import read_posteriors


def score_part(part: Part, answers: np.ndarray, posteriors: np.ndarray | None = None) -> dict[str, Any]:
    """Scores of the answers to a part.

    Args:
        part: with targets.
        answers: class indices, (utterances,).
        posteriors: (utterances, classes); a baseline has none.

    Returns:
        The scores of METRICS, `n`, classes and confusion matrix.
    """
    confusion = confusion_matrix(part.targets, answers, len(part.classes))
    return {
        **scores(confusion, posteriors, part.targets),
        "classes": list(part.classes),
        "confusion": confusion.tolist(),
    }


def write_result(path: Path, result: Mapping[str, Any], answered: Sequence[tuple[Part, np.ndarray]]) -> None:
    """Write the answers to each utterance, and then a result that records them.

    Args:
        path: of result.json or zero_shot.json.
        answered: parts and class indices, (utterances,).
    """
    lines = [
        f"{part.corpus}\t{key}\t{speaker}\t{part.classes[truth]}\t{part.classes[answer]}\t{text}\n"
        for part, answers in answered
        for key, speaker, truth, answer, text in zip(
            part.ids, part.speakers, part.targets, answers, part.texts, strict=True
        )
    ]
    table = answers_path(path)
    table.unlink(missing_ok=True)
    if lines:
        write_text(table, "".join(lines))
    write_record(path, result, [table] if lines else [])


def confusion_table(scored: Mapping[str, Any]) -> str:
    """The confusion matrix of a target's scores as text: rows truth, columns hypothesis."""
    rows = [[name, *row] for name, row in zip(scored["classes"], scored["confusion"], strict=True)]
    return tabulate(rows, ["truth / hypothesis", *scored["classes"]])


def describe_data(data: Data) -> dict[str, Any]:
    """Describe the data of an experiment's fold.

    Returns:
        folds: corpus -> name of its fold; protocol_hash: corpus -> hash; counts: corpus -> part -> class -> utterances.
    """
    split, fold = data.experiment.split, data.experiment.fold
    prepared = {corpus: read_prepared(data.data_root / corpus, split) for corpus in data.protocols}
    return {
        "folds": {corpus: p.split_name(split, fold) for corpus, p in data.protocols.items()},
        "protocol_hash": {corpus: protocol_hash(p, split) for corpus, p in prepared.items()},
        "counts": {corpus: p.counts(split, corpus_fold(fold, len(p.splits[split]))) for corpus, p in prepared.items()},
    }


def read_train(data: Data, folder: Path) -> dict[str, Any]:
    """Read train.json, which must be of these data.

    Args:
        data: prepared corpora of the experiment.
        folder: of the experiment.

    Raises:
        InputError: the training was of other settings, data or split than these.
    """
    train = files.read_train(folder)
    data.check_trained(train, folder)
    return train


def _decoded(folder: Path, name: str, parts: Mapping[str, Part]) -> dict[str, np.ndarray]:
    """Posteriors by corpus, which must be of the current model."""
    if not parts:
        return {}
    model, decoded = digest(folder / MODEL), read_posteriors(folder, name)
    for corpus in parts:
        if decoded.entry(corpus)["model"] != model:
            raise InputError(f"{corpus}: decoded with another model", decoded.path, "run stage 5 again")
    return {corpus: decoded.array(corpus, part.ids, part.classes) for corpus, part in parts.items()}


def _calibrate(
    data: Data, folder: Path, test: Mapping[str, Part], posteriors: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Corpus -> calibration before and after temperature scaling; None without decoded validation utterances."""
    calibrations: dict[str, Any] = dict.fromkeys(test)
    if not posteriors_path(folder, "valid").is_file():
        return calibrations
    valid = {corpus: part for corpus, part in data.parts("valid").items() if corpus in test}
    for corpus, tuned in _decoded(folder, "valid", valid).items():
        temperature, fitted = choose_temperature(tuned, valid[corpus].targets)
        calibrations[corpus] = {
            "temperature": temperature,
            "n": len(valid[corpus]),
            **({"rejected_temperature": fitted} if fitted != temperature else {}),
            **calibration(posteriors[corpus], test[corpus].targets, temperature),
        }
    return calibrations


def calibration(posteriors: np.ndarray, targets: np.ndarray, temperature: float) -> dict[str, Any]:
    """Measure the calibration of the confidence before and after temperature scaling.

    Args:
        posteriors: (utterances, classes).
        targets: class indices, (utterances,).
        temperature: fitted on validation.

    Returns:
        `ece_before`, `ece_after`: expected calibration errors, 0 to 1; `reliability`: before, after -> a row a bin.
    """
    result: dict[str, Any] = {"reliability": {}}
    correct = posteriors.argmax(1) == targets
    for when, rows in {"before": posteriors, "after": tempered(posteriors, temperature)}.items():
        result[f"ece_{when}"] = expected_calibration_error(rows.max(1), correct)
        result["reliability"][when] = reliability(rows.max(1), correct)
    return result


def _scored(
    parts: Mapping[str, Part], posteriors: Mapping[str, np.ndarray]
) -> tuple[dict[str, dict[str, Any]], list[tuple[Part, np.ndarray]]]:
    """Scores by corpus, and the answers to each part."""
    answered = [(part, posteriors[corpus].argmax(1)) for corpus, part in parts.items()]
    return {part.corpus: score_part(part, answers, posteriors[part.corpus]) for part, answers in answered}, answered


def experiment_identity(experiment: Experiment) -> dict[str, Any]:
    """The keys of a result that name its experiment."""
    keys = ("combination", "corpora", "task", "temporal", "pooling", "fold", "seed", "preset", "split")
    return {key: getattr(experiment, key) for key in keys}


def score_experiment(data: Data, folder: Path, part_name: str, pictures: bool = False) -> dict[str, Any]:
    """Score every decoded corpus of an experiment and write result.json.

    Args:
        data: prepared corpora of the experiment.
        folder: of the experiment.
        part_name: "test" gives result.json, with calibration, another part result_<part>.json.
        pictures: draw curves, confusion matrices and reliability, which takes 3 s.
    """
    experiment, train = data.experiment, read_train(data, folder)
    parts = data.parts(part_name)
    if not parts:
        raise InputError(
            f"none of {', '.join(experiment.corpora)} has {part_name} speakers", folder, "add a corpus that has"
        )
    posteriors = _decoded(folder, part_name, parts)
    targets, answered = _scored(parts, posteriors)
    result = {
        **experiment_identity(experiment),
        "part": part_name,
        **train,
        **describe_data(data),
        "normalisation": experiment.batches.normalisation,
        "untrained_classes": data.untrained(part_name),
        "notes": notes_of(data),
        "targets": targets,
        **({"calibration": _calibrate(data, folder, parts, posteriors)} if part_name == "test" else {}),
    }
    write_result(result_path(folder, part_name), result, answered)
    if pictures:
        _draw(folder, result)
    return result


def notes_of(data: Data, *normalisation: str) -> list[str]:
    """Notes for every table with a result: those of the protocols, and warnings about the data.

    Args:
        data: prepared corpora of the experiment.
        normalisation: of a baseline, which may differ from that of the experiment.
    """
    return sorted({*(p.note for p in data.protocols.values() if p.note), *data.warnings(*normalisation)})


def _draw(folder: Path, result: Mapping[str, Any]) -> None:
    """Draw the curves of the training, and of each target its confusion matrix and, if calibrated, reliability."""
    plot_curves([folder], folder / CURVES)
    pictures = decode_folder(folder, result["part"])
    for corpus, scored in result["targets"].items():
        name = f"{corpus} {result['part']}"
        title = f"{name}, n = {scored['n']}\n{scores_text(scored)}"
        plot_confusion(np.array(scored["confusion"]), scored["classes"], title, pictures / f"confusion_{corpus}.png")
        if calibrated := result.get("calibration", {}).get(corpus):
            title = f"{name}: temperature {calibrated['temperature']:.2f} from {calibrated['n']} validation utterances"
            plot_reliability(calibrated, title, pictures / f"reliability_{corpus}.png")


def target_hashes(data: Data) -> dict[str, str]:
    """Hashes of data and split, which say of what data a zero-shot score is."""
    return {key: value for key, value in data.hashes().items() if key != "config_hash"}


def score_zero_shot(
    data: Data, folder: Path, others: Mapping[str, Data], left_out: Mapping[str, str]
) -> dict[str, Any]:
    """Score the model of an experiment on the test parts of other corpora, and write zero_shot.json.

    It holds identity and hashes of the experiment as result.json does; target_hashes, folds, protocol_hash, counts and
    targets are those of the other corpora.

    Args:
        data: prepared corpora of the experiment.
        folder: of the experiment.
        others: corpus -> its own data, which are decoded already.
        left_out: corpus -> why it is not scored.
    """
    train = read_train(data, folder)
    parts = {corpus: other.parts("test")[corpus] for corpus, other in others.items()}
    targets, answered = _scored(parts, _decoded(folder, "test", parts))
    described = [describe_data(other) for other in others.values()]
    notes, normalisation = set(), data.experiment.batches.normalisation
    for corpus, other in others.items():
        notes |= {*other.caveats(), *(protocol.note for protocol in other.protocols.values() if protocol.note)}
        if (kind := other.experiment.batches.normalisation) != normalisation:
            reason = f"because statistics of a {normalisation} would remove the differences between classes"
            notes.add(f"{corpus}: normalised by {kind}, {reason}")
    result = {
        **experiment_identity(data.experiment),
        "part": "test",
        "zero_shot": True,
        **{key: train[key] for key in data.hashes()},
        "target_hashes": {c: target_hashes(other) for c, other in others.items()},
        **{
            key: {c: value for description in described for c, value in description[key].items()}
            for key in ("folds", "protocol_hash", "counts")
        },
        "normalisation": normalisation,
        "notes": sorted(notes),
        "left_out": dict(left_out),
        "targets": targets,
    }
    write_result(folder / ZERO_SHOT, result, answered)
    return result
