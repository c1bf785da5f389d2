"""The folder of an experiment, exp/<combination>/<cell>/fold<k>_seed<s>/: names of its files, and its state.

config.yaml             the settings
train.log               the log of its trainings; in a grid also of decoding and scoring
epochs.jsonl            losses and scores, one line per epoch
checkpoint.safetensors  the state of a training, while it runs or where more epochs can follow
train.json              summary of the training: hashes, epochs, updates, versions
model.safetensors       the saved model, written last: the training is done
decode.json             model, data and code of the posteriors of each part and corpus
decode_<part>/post.ark  posteriors of all corpora of a part; key <corpus>/<utterance>
result.json, result.tsv                 scores of the test parts, and the recognised class of each utterance
result_<part>.json, result_<part>.tsv   the same for another part
zero_shot.json, zero_shot.tsv           the same for corpora that were not trained on, written last in a grid
failed.json             why an experiment of a grid failed
svm.safetensors         the model of a baseline

In the folder of a grid, exp/<preset>_<digest>/, done.tsv lists the experiments that jobs have found finished.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from ser.common.files import digest, lock_of

CONFIG = "config.yaml"
LOG = "train.log"
EPOCHS = "epochs.jsonl"
CHECKPOINT = "checkpoint.safetensors"
TRAIN = "train.json"
MODEL = "model.safetensors"
SVM = "svm.safetensors"
DECODE = "decode.json"
RESULT = "result.json"
ZERO_SHOT = "zero_shot.json"
FAILED = "failed.json"
DONE = "done.tsv"
CURVES = "curves.png"
# Name that `locked` locks during a training; lock files of a training and of an experiment of a grid.
TRAINING = "training"
EXPERIMENT_LOCK, TRAINING_LOCK = (lock_of(Path(name)).name for name in ("experiment", TRAINING))
RUN = re.compile(r"fold[0-9]+_seed[0-9]+")  # pattern of `run_name`
MOST_BYTES = 100  # limit on the name of a combination


def combination_name(corpora: Sequence[str]) -> str:
    """Folder name of a combination of corpora: all names, or the first, the number of others and a digest.

    File systems limit a name to 255 bytes; config.yaml and result.json have the whole list.
    """
    name = "_".join(corpora)
    if len(name.encode()) <= MOST_BYTES:
        return name
    return f"{corpora[0][:60]}_and_{len(corpora) - 1}_{digest(list(corpora))[:8]}"


def run_name(fold: int, seed: int) -> str:
    """Folder name of an experiment within its cell.

    Args:
        fold: from 1.
        seed: of the random numbers.
    """
    return f"fold{fold}_seed{seed}"


def files_of_runs(paths: Iterable[Path], root: Path) -> list[Path]:
    """Sort files of experiments; those of other folders, such as the copy fold1_seed0.bak, are left out and counted.

    Args:
        paths: files, each in the folder of an experiment.
        root: folder that they are below.
    """
    ours: list[Path] = []
    others: list[Path] = []
    for path in sorted(paths):
        hidden = any(name.startswith(".") for name in path.relative_to(root).parts)
        (ours if RUN.fullmatch(path.parent.name) and not hidden else others).append(path)
    if others:
        what = f"left out: {len(others)} results in folders that are not named fold<k>_seed<s>, or hidden"
        warnings.warn(f"{root}: {what}, such as {others[0].parent}", stacklevel=3)
    return ours


def result_path(folder: Path, part: str) -> Path:
    """The file of the scores of a part.

    Args:
        folder: of the experiment.
        part: train, valid or test.
    """
    return folder / (RESULT if part == "test" else f"result_{part}.json")


def answers_path(result: Path) -> Path:
    """The file of truth and hypothesis of every utterance that belongs to a result.json or zero_shot.json."""
    return result.with_suffix(".tsv")


def decode_folder(folder: Path, part: str) -> Path:
    """The folder of a decoded part.

    Args:
        folder: of the experiment.
        part: train, valid or test.
    """
    return folder / f"decode_{part}"


def posteriors_path(folder: Path, part: str) -> Path:
    """The archive of the posteriors of a part.

    Args:
        folder: of the experiment.
        part: train, valid or test.
    """
    return decode_folder(folder, part) / "post.ark"


def is_trained(folder: Path) -> bool:
    """Whether a training is done; the settings of its model are not checked."""
    return (folder / MODEL).is_file()


def is_scored(folder: Path) -> bool:
    """Whether there is a result, which `ser.scoring.files.read_finished` reads and checks."""
    return (folder / RESULT).is_file()
