"""Files of experiments as stages 4 to 6 write them, and edits of them with or without a new record."""

import json

import kaldiio
import numpy as np

from ser.common import sha256
from ser.common.records import write_record
from ser.config.metrics import scores
from ser.scoring.files import read_answers


def target_scores(confusion, classes):
    """Make the scores of a target in result.json."""
    return {**scores(np.array(confusion)), "classes": list(classes), "confusion": confusion}


def whole_train(**values):
    """Make the content of train.json."""
    return {
        **{
            "config_hash": "c",
            "data_hash": "d",
            "split_hash": "s",
            "chosen_epoch": 1,
            "epochs": 2,
            "updates": {"c": 4},
        },
        **{"class_counts": {"c": [5, 5]}, "class_weights": {"c": [1.0, 1.0]}, "seconds_per_epoch": 1.0, "valid": {}},
        **{"code_hash": "h", "git_revision": "0123456789", "versions": {"python": "3.11"}},
        **{"machine": {"device": "cpu", "precision": "float32", "threads": 1}},
        **values,
    }


def whole_result(confusion=((2, 0), (1, 0)), classes=("a", "b"), fold=1, **values):
    """Make the content of result.json with one target, c."""
    return {
        **{"combination": "c", "corpora": ["c"], "task": "multi", "temporal": "lstm", "pooling": "mu", "seed": 0},
        **{"preset": "strict", "split": "strict", "fold": fold, "folds": {"c": f"strict_fold{fold}"}, "part": "test"},
        **whole_train(),
        **{"normalisation": "global", "notes": [], "protocol_hash": {"c": "p"}},
        "counts": {"c": {part: dict.fromkeys(classes, 1) for part in ("train", "valid", "test")}},
        "targets": {"c": target_scores([list(row) for row in confusion], classes)},
        **values,
    }


def edited(path, **values):
    """Change values of a JSON file, but not its record."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def recorded_again(path, **values):
    """Change values of a JSON file, and renew its record of itself and its files."""
    found = json.loads(path.read_text())
    files = found.pop("recorded", {"files": []})["files"]
    values.pop("recorded", None)
    write_record(path, {**found, **values}, [path.parent / name for name in files])


def decoded_again(folder, corpus, part, **values):
    """Renew the record of a part's posteriors in decode.json."""
    found = json.loads((folder / "decode.json").read_text())
    found[part]["corpora"][corpus] |= values
    recorded_again(folder / "decode.json", **{part: {**found[part], "sha256": sha256(archive(folder, part))}})


def archive(folder, part="test"):
    """Path of the archive with the posteriors of a part."""
    return folder / f"decode_{part}" / "post.ark"


def decoded(folder, corpus, part="test"):
    """Read posteriors with another reader: utterance -> posteriors."""
    rows = kaldiio.load_ark(str(archive(folder, part)))
    return {key.removeprefix(f"{corpus}/"): row for key, row in rows if key.startswith(f"{corpus}/")}


def hypotheses(folder, corpus):
    """Read the hypotheses: utterance -> class."""
    return {row[0]: row[3] for row in read_answers(folder / "result.json", corpus)}
