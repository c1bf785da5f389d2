"""The folder of an experiment, exp/<combination>/<cell>/fold<k>_seed<s>/: the name of each file, and how far it is.

config.yaml             the settings
train.log               the log of its trainings; in a grid also of decoding and scoring
epochs.jsonl            losses and scores, a line an epoch
checkpoint.safetensors  the state of a training, while it runs or where more epochs can follow
train.json              what the training was: hashes, epochs, updates, versions
model.safetensors       the best model, written last: the training is done
decode.json             what the posteriors of each part and corpus were decoded with
decode_<part>/post.ark  posteriors of a part, of all its corpora; key <corpus>/<utterance>
result.json, result.tsv                 scores of the test parts, and the answers to their utterances
result_<part>.json, result_<part>.tsv   the same of another part
zero_shot.json, zero_shot.tsv           the same of corpora that the model has not seen, written last in a grid
failed.json             why an experiment of a grid failed
svm.safetensors         of a baseline, in place of the model

In the folder of a grid, exp/<preset>_<digest>/, done.tsv lists the experiments that jobs have found done.
"""

from __future__ import annotations

from collections.abc import Sequence
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
# What `locked` is given while a training runs, and the lock files of that and of the runner of a grid.
TRAINING = "training"
EXPERIMENT_LOCK, TRAINING_LOCK = (lock_of(Path(name)).name for name in ("experiment", TRAINING))
RUNS = "fold*_seed*"  # pattern of `run_name`
MOST_BYTES = 100  # of the name of a combination


def combination_name(corpora: Sequence[str]) -> str:
    """The folder of a combination of corpora: their names, or the first, how many more, and a digest of all.

    A file system takes 255 bytes; config.yaml and result.json have the whole list.
    """
    name = "_".join(corpora)
    if len(name.encode()) <= MOST_BYTES:
        return name
    return f"{corpora[0][:60]}_and_{len(corpora) - 1}_{digest(list(corpora))[:8]}"


def run_name(fold: int, seed: int) -> str:
    """Name of the folder of an experiment in that of its cell.

    Args:
        fold: from 1.
        seed: of all random draws.
    """
    return f"fold{fold}_seed{seed}"


def result_path(folder: Path, part: str) -> Path:
    """Where the scores of a part are.

    Args:
        folder: the experiment's.
        part: train, valid or test.
    """
    return folder / (RESULT if part == "test" else f"result_{part}.json")


def answers_path(result: Path) -> Path:
    """Truth and hypothesis of every utterance that a result.json or zero_shot.json is of."""
    return result.with_suffix(".tsv")


def decode_folder(folder: Path, part: str) -> Path:
    """What belongs to a decoded part alone.

    Args:
        folder: the experiment's.
        part: train, valid or test.
    """
    return folder / f"decode_{part}"


def posteriors_path(folder: Path, part: str) -> Path:
    """Archive of the posteriors of a part.

    Args:
        folder: the experiment's.
        part: train, valid or test.
    """
    return decode_folder(folder, part) / "post.ark"


def is_trained(folder: Path) -> bool:
    """Whether the training is done; its model may be of other settings than are wanted."""
    return (folder / MODEL).is_file()


def is_scored(folder: Path) -> bool:
    """Whether there is a result; `ser.scoring.files.read_finished` reads and checks it."""
    return (folder / RESULT).is_file()
