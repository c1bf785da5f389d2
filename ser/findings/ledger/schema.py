"""Columns of the ledger's files; the files and their description are made from these tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ser.config.registry import METRICS

if TYPE_CHECKING:
    import pyarrow

# Name -> type and meaning. "word" is text with few values, "json" a text that holds JSON.
RUNS = {
    "run": ("word", "names the run: digest of config_hash, data_hash and split_hash"),
    "folder": ("text", "where it lies, as it was found"),
    "combination": ("word", "its corpora, joined by _"),
    "corpora": ("words", "the corpora that it trained on"),
    "task": ("word", "multi: a head for each corpus; unified: one for all"),
    "temporal": ("word", "temporal block; svm: a baseline, no part of the grid"),
    "pooling": ("word", "pooling; of a baseline its features"),
    "seed": ("int", "seed of all random draws"),
    "fold": ("int", "fold, from 1"),
    "preset": ("word", "conf/presets/<preset>.yaml"),
    "split": ("word", "kind of split"),
    "folds": ("json", "corpus -> its own fold; one with fewer folds than another starts again at its first"),
    "normalisation": ("word", "of the features; speaker and corpus are transductive"),
    "settings_hash": ("word", "digest of what decides a result, but for corpora, task, temporal, pooling, fold, seed"),
    "comparable_hash": ("word", "the same but for training.budget"),
    "budget": ("word", "training.budget, which decides nothing with one corpus; none for a baseline"),
    "config_hash": ("word", "digest of what decides a result, all of it"),
    "data_hash": ("word", "digest of features, labels and speakers"),
    "split_hash": ("word", "digest of who is in which part"),
    "code_hash": ("word", "digest of the code that makes a result of settings and data, which ended the training"),
    "code_hashes": ("words", "of all that had a part in it"),
    "git_revision": ("word", "the toolkit's commit; + where files differed from it"),
    "protocol_hash": ("json", "corpus -> digest of its labels and split, also of those scored zero-shot"),
    "counts": ("json", "corpus -> part -> class -> utterances, also of those scored zero-shot"),
    "configuration": ("json", "dotted key -> value of all settings"),
    "zero_shot": ("json", "unseen corpus -> digests of the data that were scored, or why none were"),
    "chosen_epoch": ("int", "the epoch of the best checkpoint, whose weights are saved; 0: no network"),
    "epochs": ("int", "epochs of the training"),
    "updates": ("json", "corpus -> updates that it got"),
    "curves": (
        "json",
        f"a row an epoch and corpus: epoch, corpus, train_loss, valid_loss, {', '.join(f'valid_{m}' for m in METRICS)}",
    ),
    "seconds_per_epoch": ("float", "wall clock"),
    "device": ("word", "where it trained"),
    "precision": ("word", "number format of the training"),
    "versions": ("json", "package -> version"),
    "notes": ("words", "notes that every table with these corpora has"),
    "targets": ("json", f"target -> {', '.join(METRICS)}, n, classes, confusion (row truth), zero_shot"),
}
PREDICTIONS = {
    "run": ("word", "the run, as in the other file"),
    "combination": ("word", "its corpora, joined by _"),
    "temporal": ("word", "temporal block"),
    "pooling": ("word", "pooling"),
    "task": ("word", "multi or unified"),
    "seed": ("int", "seed"),
    "fold": ("int", "fold"),
    "target": ("word", "the corpus of the utterance"),
    "speaker": ("word", "who speaks; never one of the training"),
    "text_id": ("word", "text of the utterance, where the corpus has it; utterances of one text share it"),
    "utterance": ("word", "utterance id"),
    "truth": ("word", "class by the corpus"),
    "hypothesis": ("word", "class by the model"),
    "classes": ("word", "classes of the model's answer, with spaces between them, in the order of the posteriors"),
    "posteriors": ("floats", "probability of each class; none for a baseline"),
    "zero_shot": ("bool", "whether the model knows nothing of the target: it answers by the mean of its heads"),
}
FILES = {"runs": RUNS, "predictions": PREDICTIONS}


def arrow_schema(columns: Mapping[str, tuple[str, str]]) -> pyarrow.Schema:
    """The schema of a Parquet file."""
    import pyarrow as pa

    text = pa.string()
    types = {
        "word": pa.dictionary(pa.int32(), text),
        "words": pa.list_(text),
        "text": text,
        "json": text,
        "int": pa.int64(),
        "float": pa.float64(),
        "floats": pa.list_(pa.float32()),
        "bool": pa.bool_(),
    }
    return pa.schema([(name, types[kind]) for name, (kind, _) in columns.items()])


def description() -> str:
    """Describe every file and column of a ledger, in Markdown."""
    lines = [
        "# Ledger",
        "",
        "Rebuilt by steps/ledger.py from the folders of experiments alone: <file>.parquet, and ledger.json with the "
        "command, counts, and what was left out and why.",
    ]
    for name, columns in FILES.items():
        rows = {"runs": "a trained model", "predictions": "an utterance and a model"}[name]
        lines += ["", f"## {name}: a row is {rows}", "", "| Column | Type | Meaning |", "|---|---|---|"]
        lines += [f"| {column} | {kind} | {meaning} |" for column, (kind, meaning) in columns.items()]
    return "\n".join([*lines, ""])
