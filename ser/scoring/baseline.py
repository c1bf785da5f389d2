"""Fit and score the SVM baseline of an experiment, with a result.json as for networks."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ser.batches import UNIFIED, Data, Part
from ser.batches.part import data_dir_of
from ser.common import InputError, digest
from ser.common.metrics import confusion_matrix
from ser.common.provenance import provenance
from ser.common.run_folder import RESULT
from ser.common.run_folder import SVM as MODEL
from ser.config.metrics import scores
from ser.corpora.kaldi import read_table
from ser.scoring.files import read_result
from ser.scoring.result import describe_data, experiment_identity, notes_of, score_part, write_result
from ser.training import svm_baseline as svm
from ser.training.checkpoint import save_tensors
from ser.training.class_weights import class_weights

LIBRARIES = ("scikit-learn", "scipy", "opensmile")
FITTED = "SVM: fitted on the training speakers of all corpora together; C chosen by UA on validation speakers."
BY_SPEAKER = (
    "SVM by speaker: a speaker's functionals are standardised by that speaker's own mean and deviation within the "
    "part, on test from all test utterances of the speaker, unlabelled (transductive)."
)


def baseline_folder(experiment_folder: Path, features: str, normalisation: str) -> Path:
    """Folder of the baseline of an experiment.

    Args:
        experiment_folder: exp/<combination>/<cell>/fold<k>_seed<s>.
        features: logmel, statistics or opensmile.
        normalisation: global, speaker or none.
    """
    folder = experiment_folder.resolve()
    return folder.parents[1] / f"svm_{features}_{normalisation}" / folder.name


def run(data: Data, features: str, normalisation: str, folder: Path) -> tuple[dict[str, Any], bool]:
    """Fit, decode and score the baseline, unless its result exists.

    Args:
        data: opened with the task "unified".
        features: logmel, statistics or opensmile.
        normalisation: global, speaker or none.
        folder: of the baseline, where svm.safetensors and, last, result.json with its answers go.

    Returns:
        What result.json holds, and whether it existed already.

    Raises:
        InputError: the folder holds another baseline, or no corpus has validation or test speakers.
    """
    started = time.monotonic()
    identity = identity_of(data, features, normalisation)
    path = folder / RESULT
    if path.is_file():
        existing = read_result(path)
        if existing.get("fingerprint") != identity["fingerprint"]:
            raise InputError("of other settings or data", path, f"remove {folder}, or give another --exp folder")
        return existing, True
    data.check_confounded(normalisation)
    train, valid, test = (data.parts(name) for name in ("train", "valid", "test"))
    if not test:
        corpora = ", ".join(data.experiment.corpora)
        raise InputError(f"none of {corpora} has test speakers", folder, "add a corpus that has")
    classes = len(data.heads[UNIFIED])

    def sample(part: Part) -> svm.Sample:
        return _functionals(data, part, features, normalisation), part.targets

    valid_samples = {corpus: sample(part) for corpus, part in valid.items()}
    model = svm.fit([sample(part) for part in train.values()], valid_samples, classes, normalisation)
    _save(model, data, features, normalisation, folder / MODEL, identity["fingerprint"])
    targets, answered = {}, []
    for corpus, part in test.items():
        answered.append((part, model.predict(sample(part)[0])))
        targets[corpus] = score_part(*answered[-1])
    weights = [float(w) for w in class_weights(np.sum([part.class_counts for part in train.values()], axis=0))]
    result = {
        **identity,
        # what a network has in train.json; a support vector machine has no epochs and no updates
        "chosen_epoch": 0,
        "epochs": 0,
        "updates": dict.fromkeys(train, 0),
        "class_counts": {corpus: part.class_counts.tolist() for corpus, part in train.items()},
        "class_weights": dict.fromkeys(train, weights),
        "seconds_per_epoch": None,
        "C": model.penalty,
        "valid_ua_by_C": {str(c): ua for c, ua in model.valid_ua.items()},
        "functionals": int(model.mean.size),
        "seconds": round(time.monotonic() - started, 2),
        "valid": {
            corpus: scores(confusion_matrix(truth, model.predict(values), classes))
            for corpus, (values, truth) in valid_samples.items()
        },
        **provenance(LIBRARIES),
        "machine": {"device": "cpu", "precision": "float64", "threads": 1},
        "untrained_classes": data.untrained("test"),
        "notes": sorted(
            {*notes_of(data, normalisation), *([BY_SPEAKER] if normalisation == "speaker" else []), FITTED}
        ),
        **describe_data(data),
        "targets": targets,
    }
    write_result(path, result, answered)
    return result, False


def identity_of(data: Data, features: str, normalisation: str) -> dict[str, Any]:
    """Identity of the result, with the keys of a network's result, and its fingerprint.

    Args:
        data: prepared corpora of the experiment.
        features: logmel, statistics or opensmile.
        normalisation: global, speaker or none.
    """
    identity = {
        **experiment_identity(data.experiment),
        "task": UNIFIED,
        "temporal": "svm",
        "pooling": features,
        "part": "test",
        "normalisation": normalisation,
        "settings": svm.settings(features, normalisation),
    }
    # The settings of a network have no effect on the baseline.
    hashes = {**data.hashes(), "config_hash": digest(identity)}
    return {**identity, **hashes, "fingerprint": digest(hashes)}


def _save(model: svm.Baseline, data: Data, features: str, normalisation: Any, path: Path, fingerprint: str) -> None:
    """Write what `ser pack` needs: arrays, class names, and the settings that apply to the SVM."""
    raw = replace(
        data.experiment.batches, normalisation=normalisation, trim_decibels=0.0, floor_decibels=0.0, frame_step=1
    )
    classes = data.heads[UNIFIED]
    about = {
        "classes": {UNIFIED: classes},
        "trained": [classes[i] for i in model.model.classes_],
        "features": features,
        "functionals": svm.functional_settings(features),
        "C": model.penalty,
        "settings": asdict(replace(data.experiment, batches=raw)),
        "fingerprint": fingerprint,
    }
    save_tensors(path, model.tensors(), about)


def _functionals(data: Data, part: Part, features: str, normalisation: str) -> np.ndarray:
    """Functionals, (utterances, functionals), standardised by speaker where that is the normalisation."""
    if features == "logmel" and data.experiment.frontend.name != "log_stft":
        raise InputError(
            "summarises the log-STFT", "--features logmel", "give --features statistics with other front ends"
        )
    if features != "opensmile":
        values = svm.functionals(part, features, data.experiment.features)
    else:
        table = data_dir_of(data.data_root, data.protocols[part.corpus], data.experiment, part.name) / "wav.scp"
        paths = read_table(table)
        values = svm.opensmile([Path(paths[key]) for key in part.ids])
    return svm.standardise_groups(values, part.speakers) if normalisation == "speaker" else values
