"""Hypotheses and truth, joined by utterance id, to scores and result.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from ser.batches import Data, Part
from ser.common import InputError, digest, write_json, write_text
from ser.common.metrics import confusion_matrix
from ser.common.records import write_record
from ser.config import Experiment
from ser.config.metrics import scores, summary
from ser.corpora.describe import protocol_hash, read_prepared
from ser.corpora.kaldi import read_table
from ser.corpora.protocol import own_fold
from ser.features.archive import read_archive
from ser.scoring import files
from ser.scoring.calibration import choose_temperature, expected_calibration_error, reliability, tempered
from ser.scoring.curves import plot_curves
from ser.scoring.files import answers_of, read_decode
from ser.scoring.plots import plot_confusion, plot_reliability


def score_part(part: Part, folder: Path, pictures: bool = True) -> dict[str, Any]:
    """Score folder/hyp against a part and write folder/scoring/.

    Args:
        part: with targets and utterance ids.
        folder: decode_<corpus>_<part>.
        pictures: whether to draw the confusion matrix.

    Returns:
        The scores of METRICS, `n`, classes and confusion matrix.

    Raises:
        InputError: hypotheses and truth are not of the same utterances.
    """
    hypothesis = read_table(folder / "hyp")
    odd = sorted(hypothesis.keys() ^ set(part.ids))
    if odd:
        raise InputError(
            f"{odd[0]} stands in only one of hyp and the {part.name} part", folder / "hyp", "run stage 5 again"
        )
    index = {name: i for i, name in enumerate(part.classes)}
    unknown = [key for key in part.ids if hypothesis[key] not in index]
    if unknown:
        raise InputError(
            f"{unknown[0]}: {hypothesis[unknown[0]]!r} is none of {', '.join(part.classes)}",
            folder / "hyp",
            "run stage 5 again",
        )
    confusion = confusion_matrix(
        part.targets, np.array([index[hypothesis[key]] for key in part.ids]), len(part.classes)
    )
    posteriors = read_posteriors(folder, part) if (folder / "post.ark").is_file() else None  # a baseline has none
    found = {
        **scores(confusion, posteriors, part.targets),
        "classes": list(part.classes),
        "confusion": confusion.tolist(),
    }
    lines = [
        f"{key}\t{speaker}\t{part.classes[truth]}\t{hypothesis[key]}\t{text}\n"
        for key, speaker, truth, text in zip(part.ids, part.speakers, part.targets, part.texts, strict=True)
    ]
    write_text(folder / "scoring" / "utterances.tsv", "".join(lines))
    title = f"{part.corpus} {part.name}: {summary(found)}, n = {found['n']}"
    write_json(folder / "scoring" / "scores.json", found)
    rows = [[name, *row] for name, row in zip(part.classes, confusion.tolist(), strict=True)]
    table = tabulate(rows, ["truth / hypothesis", *part.classes])
    write_text(folder / "scoring" / "confusion.txt", f"{title}\n{table}\n")
    if pictures:
        plot_confusion(confusion, part.classes, title, folder / "scoring" / "confusion.png")
    return found


def describe_data(data: Data) -> dict[str, Any]:
    """protocol_hash (corpus -> hash) and counts (corpus -> part -> class -> utterances) of the experiment's fold."""
    split, fold = data.experiment.split, data.experiment.fold
    prepared = {corpus: read_prepared(data.data_root / corpus, split) for corpus in data.protocols}
    return {
        "protocol_hash": {corpus: protocol_hash(p, split) for corpus, p in prepared.items()},
        "counts": {corpus: p.counts(split, own_fold(fold, len(p.splits[split]))) for corpus, p in prepared.items()},
    }


def read_train(data: Data, folder: Path) -> dict[str, Any]:
    """What train.json holds.

    Args:
        data: prepared corpora of the experiment.
        folder: the experiment's.

    Raises:
        InputError: the training was of other settings, data or split than these.
    """
    train = files.read_train(folder)
    if what := data.differs_in(train):
        raise InputError(
            f"trained with another {what}", folder, "remove it and run stages 4 to 6, or give another --exp folder"
        )
    return train


def _score_parts(parts: Mapping[str, Part], folder: Path, pictures: bool = True) -> dict[str, Any]:
    model, targets = digest(folder / "model.safetensors"), {}
    for corpus, part in parts.items():
        decoded = folder / f"decode_{corpus}_{part.name}"
        _check_decoded(decoded, model)
        targets[corpus] = score_part(part, decoded, pictures)
    return targets


def _check_decoded(decoded: Path, model: str) -> None:
    if read_decode(decoded).get("model") != model:
        raise InputError("decoded with another model", decoded, "run stage 5 again")


def _calibrate(data: Data, folder: Path, parts: Mapping[str, Part], pictures: bool) -> dict[str, Any]:
    """Corpus -> how far its confidence holds, before and after temperature scaling; None without validation answers."""
    found: dict[str, Any] = dict.fromkeys(parts)
    model, valid = digest(folder / "model.safetensors"), data.parts("valid")
    for corpus, part in parts.items():
        tuned = folder / f"decode_{corpus}_valid"
        if corpus in valid and (tuned / "decode.json").is_file():
            _check_decoded(tuned, model)
            decoded = folder / f"decode_{corpus}_{part.name}"
            temperature, fitted = choose_temperature(read_posteriors(tuned, valid[corpus]), valid[corpus].targets)
            found[corpus] = {"temperature": temperature, "n": len(valid[corpus])}
            found[corpus] |= {"rejected_temperature": fitted} if fitted != temperature else {}
            found[corpus] |= calibration(read_posteriors(decoded, part), part.targets, temperature)
            if pictures:
                name = f"{corpus} {part.name}"
                title = f"{name}: temperature {temperature:.2f} from {len(valid[corpus])} validation utterances"
                plot_reliability(found[corpus], title, decoded / "scoring" / "reliability.png")
    return found


def calibration(posteriors: np.ndarray, targets: np.ndarray, temperature: float) -> dict[str, Any]:
    """How well confidence is calibrated before and after temperature scaling.

    Args:
        posteriors: (utterances, classes).
        targets: class indices, (utterances,).
        temperature: fitted on validation.

    Returns:
        `ece_before`, `ece_after`: expected calibration errors, 0 to 1; `reliability`: before, after -> a row a bin.
    """
    found: dict[str, Any] = {"reliability": {}}
    right = posteriors.argmax(1) == targets
    for when, rows in {"before": posteriors, "after": tempered(posteriors, temperature)}.items():
        found[f"ece_{when}"] = expected_calibration_error(rows.max(1), right)
        found["reliability"][when] = [asdict(b) for b in reliability(rows.max(1), right)]
    return found


def read_posteriors(decoded: Path, part: Part) -> np.ndarray:
    """Posteriors of a decoded part, in the order of its utterances.

    Args:
        decoded: decode_<corpus>_<part>, which has post.ark.
        part: whose utterances they are.

    Returns:
        float32, (utterances, classes).

    Raises:
        InputError: absent, cut short, or of other utterances.
    """
    path = decoded / "post.ark"
    found = read_archive(path)
    odd = next((key for key in part.ids if key not in found or found[key].shape != (len(part.classes),)), None)
    if odd is not None or len(found) != len(part):
        what = "holds other utterances" if odd is None else f"{odd}: no posterior for each of its classes"
        raise InputError(f"{what}: not the posteriors of the {part.name} part", path, "run stage 5 again")
    return np.stack([found[key] for key in part.ids])


def _identity(experiment: Experiment) -> dict[str, Any]:
    keys = ("combination", "corpora", "task", "temporal", "pooling", "fold", "seed", "preset", "split")
    return {key: getattr(experiment, key) for key in keys}


def score(data: Data, folder: Path, part_name: str, pictures: bool = True) -> dict[str, Any]:
    """Score every decoded corpus of an experiment and write result.json and curves.png.

    Args:
        folder: the experiment's.
        part_name: "test" gives result.json, with calibration, another part result_<part>.json.
        pictures: draw curves, confusion matrices and reliability, which takes 3 s.
    """
    experiment, train = data.experiment, read_train(data, folder)
    parts = data.parts(part_name)
    targets = _score_parts(parts, folder, pictures)
    if not targets:
        raise InputError(
            f"none of {', '.join(experiment.corpora)} has {part_name} speakers", folder, "add a corpus that has"
        )
    result = {
        **_identity(experiment),
        "part": part_name,
        **train,
        "folds": {c: p.split_name(experiment.split, experiment.fold) for c, p in data.protocols.items()},
        **describe_data(data),
        "normalisation": experiment.batches.normalisation,
        "untrained_classes": data.untrained(part_name),
        "notes": sorted({*(p.note for p in data.protocols.values() if p.note), *data.warnings()}),
        "targets": targets,
        **({"calibration": _calibrate(data, folder, parts, pictures)} if part_name == "test" else {}),
    }
    path = folder / ("result.json" if part_name == "test" else f"result_{part_name}.json")
    write_record(path, result, [answers_of(folder, corpus, part_name) for corpus in targets])
    if pictures:
        plot_curves([folder], folder / "curves.png")
    return result


def target_hashes(data: Data) -> dict[str, str]:
    """Of data and split, by which a zero-shot score is known to be of these data."""
    return {key: value for key, value in data.hashes().items() if key != "config_hash"}


def score_zero_shot(
    data: Data, folder: Path, others: Mapping[str, Data], left_out: Mapping[str, str]
) -> dict[str, Any]:
    """Score the model of an experiment on the test parts of other corpora, and write zero_shot.json.

    It holds identity and hashes of the experiment as result.json does; target_hashes, folds, protocol_hash, counts and
    targets are those of the other corpora.

    Args:
        others: corpus -> its data, opened by itself, decoded already.
        left_out: corpus -> why it is not scored.
    """
    train = read_train(data, folder)
    parts = {corpus: other.parts("test")[corpus] for corpus, other in others.items()}
    described = [describe_data(other) for other in others.values()]
    result = {
        **_identity(data.experiment),
        "part": "test",
        "zero_shot": True,
        **{key: train[key] for key in data.hashes()},
        "target_hashes": {c: target_hashes(other) for c, other in others.items()},
        "folds": {
            c: other.protocols[c].split_name(other.experiment.split, other.experiment.fold)
            for c, other in others.items()
        },
        **{
            key: {c: value for found in described for c, value in found[key].items()}
            for key in ("protocol_hash", "counts")
        },
        "normalisation": data.experiment.batches.normalisation,
        "notes": sorted(
            {p.note for other in others.values() for p in other.protocols.values() if p.note}.union(
                *(other.confounded() for other in others.values())
            )
        ),
        "left_out": dict(left_out),
        "targets": _score_parts(parts, folder, pictures=False),
    }
    write_record(folder / "zero_shot.json", result, [answers_of(folder, corpus, "test") for corpus in parts])
    return result
