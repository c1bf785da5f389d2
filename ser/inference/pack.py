"""From a finished experiment to a model folder."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ser.batches import UNIFIED, Data, Part, View, open_data
from ser.common import InputError, atomic_path, digest, write_json, write_text
from ser.common.files import sha256
from ser.common.metrics import confusion_matrix, scores
from ser.common.provenance import provenance
from ser.config import read_experiment
from ser.config.load import ROOT
from ser.frontends import build_frontend
from ser.frontends.pretrained import Pretrained
from ser.inference import model as folders
from ser.inference.card import seen_name, write_card
from ser.inference.model import Model, write_sums
from ser.inference.predict.inputs import manifest_rows
from ser.inference.predictor import MEAN, Predictor
from ser.nets import build
from ser.scoring import files
from ser.scoring.calibration import expected_calibration_error, fit_temperature, tempered
from ser.scoring.files import read_decode, read_result
from ser.scoring.result import read_train
from ser.training.checkpoint import load_tensors

TOLD = ("name", "description", "licence", "citation", "source", "language", "note")
IN_ONE_GO = 256  # utterances whose features are held


def pack(
    experiment_folder: Path,
    out: Path,
    recipe: Path | None = None,
    data_root: Path | None = None,
    dump_root: Path | None = None,
    reference: bool = False,
) -> dict[str, Any]:
    """Write the model folder of a finished experiment, whole or not at all.

    Args:
        recipe: the recipe folder; None: the one that holds the exp folder, as run.sh has it.
        data_root: prepared corpora; None: data in the recipe folder.
        dump_root: feature store; None: the toolkit's.
        reference: name a pretrained encoder by its hash, in place of a copy of its weights.

    Returns:
        What model.json holds.

    Raises:
        InputError: the experiment is not finished, or its settings, data or results are not those of its weights.
    """
    data = _open(experiment_folder, recipe, data_root, dump_root)
    result = _finished(experiment_folder, data)
    if out.exists() and not (out / folders.SUMS).is_file():
        raise InputError(f"{out}: exists, and is no model folder; give another name")
    built = build_frontend(data.experiment)
    frontend = built if isinstance(built, Pretrained) else None
    weights = experiment_folder / folders.WEIGHTS
    seen, trained = _trained(data)
    description: dict[str, Any] = {
        "format": folders.FORMAT,
        "settings": json.loads(json.dumps(asdict(data.experiment))),
        "heads": {head: list(classes) for head, classes in data.heads.items()},
        "corpora": {c: {key: getattr(p, key) for key in TOLD} for c, p in data.protocols.items()},
        "trained": trained,
        **({"frontend": frontend.describe()} if frontend is not None else {}),
        **_group_statistics(data),
        "metrics": {
            "part": result["part"],
            "split": f"{result['split']}, fold {result['fold']}",
            "test": result["targets"],
            "valid": result["valid"],
        },
        "provenance": {
            "experiment": data.experiment.folder,
            "weights": sha256(weights),
            **{k: result[k] for k in ("config_hash", "data_hash", "split_hash", "protocol_hash", "code_hash")},
            **{k: result[k] for k in ("git_revision", "versions")},
            "packed_with": provenance(),
        },
    }
    description |= _calibrations(_model(experiment_folder, data, description), data)
    with atomic_path(out) as folder:
        folder.mkdir()
        shutil.copyfile(weights, folder / folders.WEIGHTS)
        write_json(folder / folders.DESCRIPTION, description)
        write_text(folder / folders.SEEN, "".join(f"{name}\n" for name in seen))
        encoder: list[str] = []
        if frontend is not None and not reference:
            frontend.save(folder / folders.FRONTEND)
            encoder = [f"{folders.FRONTEND}/{path.name}" for path in sorted((folder / folders.FRONTEND).iterdir())]
        write_card(folder)
        write_sums(folder, *encoder)
    return description


def _open(folder: Path, recipe: Path | None, data_root: Path | None, dump_root: Path | None) -> Data:
    if not (folder / "config.yaml").is_file():
        raise InputError(f"{folder}: no experiment, for it has no config.yaml; give <exp>/<corpora>/<cell>/<fold>")
    around = folder.resolve().parents  # <recipe>/exp/<combination>/<cell>/<fold and seed>
    recipe = recipe or (around[3] if len(around) > 3 else folder)
    data_root, dump_root = data_root or recipe / "data", dump_root or ROOT / "dump"
    for place, option, what in ((data_root, "data", "prepared corpora"), (dump_root, "dump", "feature store")):
        if not place.is_dir():
            raise InputError(f"{folder}: no {what} in {place}; give --recipe and --{option} as run.sh got them")
    return open_data(read_experiment(folder / "config.yaml"), recipe, data_root, dump_root)


def _finished(folder: Path, data: Data) -> dict[str, Any]:
    """result.json.

    Raises:
        InputError: it is not there, or not of these settings, data and weights.
    """
    weights, path = folder / folders.WEIGHTS, folder / "result.json"
    for needed in (weights, folder / "train.json", path):
        if not needed.is_file():
            raise InputError(f"{folder}: not finished, for it has no {needed.name}; run stages 4 to 6")
    train, result = read_train(data, folder), read_result(path)
    files.read_train(folder, [folders.WEIGHTS])
    meta = load_tensors(weights, vouched=True)[1]
    hashes = data.hashes()
    if any(meta.get(key) != value or result.get(key) != value for key, value in hashes.items()):
        raise InputError(f"{folder}: weights, train.json and result.json are of different trainings; run stages 4 to 6")
    for corpus in result["targets"]:
        if read_decode(folder / f"decode_{corpus}_{result['part']}").get("model") != digest(weights):
            raise InputError(f"{weights}: not the weights that result.json is of; run stages 5 and 6 again")
    return {**train, **result}


def _model(folder: Path, data: Data, description: dict[str, Any]) -> Model:
    import torch

    network = build(data.experiment, data.heads)
    network.load_state_dict(load_tensors(folder / folders.WEIGHTS, vouched=True)[0])
    device = torch.device("cpu")
    return Model(folder, data.experiment, network.eval().requires_grad_(False), device, description, data.heads)


def _trained(data: Data) -> tuple[list[str], dict[str, Any]]:
    """Hashes of the training utterances, sorted, and the range that they span: seconds, Hz, counts."""
    seen: list[str] = []
    seconds: list[float] = []
    rates: Counter[int] = Counter()
    counts: dict[str, dict[str, int]] = {}
    for corpus, part in data.parts("train").items():
        ids = {key for key, original in zip(part.ids, part.original, strict=True) if original}
        seen += [seen_name(f"{corpus}/{key}") for key in ids]
        counts[corpus] = {"utterances": len(ids), "speakers": len(set(part.speakers))}
        cuts = [cut for cut in manifest_rows(data.data_root / corpus / "cuts.jsonl.gz") if cut["id"] in ids]
        seconds += [cut["duration"] for cut in cuts]
        rates.update(cut["recording"]["sampling_rate"] for cut in cuts)
    return sorted(seen), {
        "seconds": [min(seconds), max(seconds)],
        "sampling_rates": {str(rate): n for rate, n in sorted(rates.items())},
        "corpora": counts,
    }


def _group_statistics(data: Data) -> dict[str, Any]:
    """Mean over training speakers or corpora of what normalisation takes out, for files of unknown speakers."""
    config = data.experiment.batches
    if config.normalisation not in folders.GROUPED:
        return {}
    found = [s for part in data.parts("train").values() for s in View(part, config).statistics.values()]
    means = {name: _rounded(np.stack([s[i] for s in found]).mean(0)) for i, name in enumerate(("mean", "deviation"))}
    return {"group_statistics": {"groups": len(found), **means}}


def _calibrations(model: Model, data: Data) -> dict[str, Any]:
    """Of every head and their mean on validation; where speakers are normalised, also as if none were named."""
    parts = data.parts("valid")
    heads = [*model.network.routes(), MEAN]
    serves = {head: {c: p for c, p in parts.items() if head in (c, UNIFIED, MEAN)} for head in heads}
    named = {h: _calibration(Predictor(model, h), own, named=True) for h, own in serves.items() if own}
    if "group_statistics" not in model.description:
        return {"calibration": named}
    unnamed = {h: _calibration(Predictor(model, h), own, named=False) for h, own in serves.items() if own}
    return {"calibration": named, "calibration_without_speakers": unnamed}


def _calibration(predictor: Predictor, parts: Mapping[str, Part], named: bool) -> dict[str, Any]:
    """Temperature and what it does on validation parts, confidences sorted."""
    posteriors = np.concatenate([_posteriors(predictor, part, named) for part in parts.values()])
    index = {name: i for i, name in enumerate(predictor.classes)}
    targets = np.concatenate([[index[part.classes[t]] for t in part.targets] for part in parts.values()])
    answers = posteriors.argmax(1)
    right = answers == targets
    temperature = fit_temperature(posteriors, targets)
    before, after = posteriors.max(1), tempered(posteriors, temperature).max(1)
    order = np.argsort(after, kind="stable")
    return {
        "temperature": temperature,
        "n": len(targets),
        "ua": scores(confusion_matrix(targets, answers, len(index))).ua,
        "ece_before": expected_calibration_error(before, right),
        "ece_after": expected_calibration_error(after, right),
        "confidence": _rounded(after[order]),
        "right": right[order].astype(int).tolist(),
    }


def _posteriors(predictor: Predictor, part: Part, named: bool) -> np.ndarray:
    """(utterances, classes) of a part, its speakers or corpus known or not."""
    view = View(part, predictor.batches) if named else None
    found = []
    for start in range(0, len(part), IN_ONE_GO):
        prepared = []
        for index in range(start, min(start + IN_ONE_GO, len(part))):
            known = view.statistics[view.groups[index]] if view is not None and view.groups else None
            prepared.append(predictor.prepare(part.reader.read(part.ids[index]), known))
        found.append(predictor.posteriors(prepared))
    return np.concatenate(found)


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
