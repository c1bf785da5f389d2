"""Made ledgers: scores of a grid that are drawn from a model with known effects, and folders of experiments."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
from scored import whole_train

from ser.common import digest
from ser.common.metrics import confusion_matrix
from ser.common.records import write_record
from ser.config import load, result_affecting, write_experiment
from ser.config.metrics import scores
from ser.findings.design import Design
from ser.findings.scores import make_target
from ser.scoring.posteriors import write_posteriors

PAPER = Design(
    ("iemocap", "tess", "ravdess", "customer_ptbr"),
    ("multi", "unified"),
    ("lstm", "blstm", "tdnn"),
    ("mu", "mu_sigma2"),
)
TWO = PAPER.narrowed({"corpora": ["tess", "ravdess"]})
CLASSES = ["angry", "happy", "neutral", "sad"]

# A row of the file `runs`, as far as tables read it.
RUN = {"settings_hash": "s", "comparable_hash": "c", "preset": "strict", "precision": "float32", "git_revision": "r"}
RUN |= {"normalisation": "speaker", "notes": [], **dict.fromkeys(("folds", "counts", "protocol_hash"), "{}")}


def drawn_grid(**options):
    """The targets of the paper's whole grid, two seeds each."""
    rng = np.random.default_rng(0)
    sizes = {"iemocap": (10, 5), "ravdess": (24, 6), "customer_ptbr": (8, 4)}
    return {name: drawn_target(rng, name, speakers=n, folds=f, seeds=2, **options) for name, (n, f) in sizes.items()}


def drawn_target(
    rng,
    name="ravdess",
    design=PAPER,
    speakers=24,
    folds=6,
    seeds=5,
    sources=None,
    best=None,
    speaker_sd=0.6,
    source_sd=0.2,
    cell_sd=0.1,
    run_sd=0.2,
    per_class=8,
    zero_shot=False,
):
    """A target whose every utterance is answered right by a logistic model.

    Args:
        sources: source -> planted effect on the logit; none: no corpus helps anybody but by chance.
        best: (configuration, effect on the logit).
        speaker_sd, source_sd, cell_sd: spread between speakers, of a source corpus by speaker, of a cell by speaker.
        run_sd: what a cell, fold and seed has of its own.
    """
    fold = np.arange(speakers) % folds
    source_sets, configurations = design.source_sets(name), design.configurations
    planted = sources or {}
    cells, effects = [], []
    own = rng.normal(0, source_sd, (len(design.corpora), speakers))
    for source_set in source_sets:
        for configuration in configurations:
            cells.append(design.cell(source_set | {name}, configuration))
            effect = sum((own[design.corpora.index(d)] + planted.get(d, 0) for d in source_set), np.zeros(speakers))
            effects.append(effect + (best[1] if best and best[0] == configuration else 0))
    if zero_shot:
        for source_set in source_sets[1:]:
            for configuration in configurations:
                cells.append(design.cell(source_set, configuration))
                effects.append(np.full(speakers, -1.0))
    shape = (len(cells), seeds, speakers)
    logit = 0.8 + np.array(effects)[:, None] + rng.normal(0, speaker_sd, speakers)
    logit = logit + rng.normal(0, cell_sd, (len(cells), 1, speakers))
    logit = logit + rng.normal(0, run_sd, (len(cells), seeds, folds))[:, :, fold]
    difficulty = rng.normal(0, 1, (speakers, len(CLASSES), per_class))
    chance = 1 / (1 + np.exp(-(logit[..., None, None] + difficulty)))
    hits = (rng.random((*shape, len(CLASSES), per_class)) < chance).sum(-1)
    confusion = np.zeros((*shape, len(CLASSES), len(CLASSES)))
    for c in range(len(CLASSES)):
        confusion[..., c, c] = hits[..., c]
        confusion[..., c, (c + 1) % len(CLASSES)] = per_class - hits[..., c]
    found = {(cell, seed): confusion[i, seed] for i, cell in enumerate(cells) for seed in range(seeds)}
    names = [f"{name}_{i:02d}" for i in range(speakers)]
    return make_target(name, CLASSES, names, (fold + 1).tolist(), found, "made")


def scored_target(name, design, score, seeds=1, classes=2, per_class=100):
    """A target of one speaker whose cells have the scores that a function gives, in units of 1 / per_class.

    Args:
        score: (corpora, configuration, seed) -> right answers of each class, or None for a cell that is not there.
    """
    confusions = {}
    for source_set in design.source_sets(name):
        for configuration in design.configurations:
            cell = design.cell(source_set | {name}, configuration)
            for seed in range(seeds):
                right = score(frozenset(cell.corpora), configuration, seed)
                if right is not None:
                    confusions[cell, seed] = one_speaker(right, classes, per_class)
    return make_target(name, [f"class{i}" for i in range(classes)], [f"{name}_1"], [1], confusions, "made")


def one_speaker(right, classes, per_class):
    confusion = np.zeros((1, classes, classes))
    for c in range(classes):
        confusion[0, c, c] = right
        confusion[0, c, (c + 1) % classes] = per_class - right
    return confusion


def write_run(exp, corpora, configuration, fold, seed, answers, zero_shot=None, **changes):
    """An experiment's folder as stages 4 to 6 leave it.

    Args:
        answers: target -> rows of utterance, speaker, truth, hypothesis and, where known, text id.
        zero_shot: the same of corpora that it was not trained on; none: no zero_shot.json.
        changes: preset="strong", or some settings as in training={"patience": 3}.
    """
    experiment = preset(changes.get("preset", "strict"))
    training = replace(experiment.training, **changes.get("training", {}))
    task, temporal, pooling = configuration
    factors = {"task": task, "temporal": temporal, "pooling": pooling}
    experiment = replace(experiment, corpora=corpora, **factors, fold=fold, seed=seed, training=training)
    folder = exp / experiment.folder
    write_experiment(experiment, folder / "config.yaml")
    hashes = {"config_hash": digest(result_affecting(experiment)), "data_hash": "data", "split_hash": f"split{fold}"}
    valid = {c: {"loss": 1.0, "wa": 0.5, "ua": 0.5, "macro_f1": 0.5, "n": 4} for c in corpora}
    losses = {"valid_loss": 1.0, "valid": valid, "best_epoch": 1}
    epochs = [{"epoch": e, "train_loss": dict.fromkeys(corpora, 1.5 - e / 10), **losses} for e in (1, 2)]
    (folder / "epochs.jsonl").write_text("".join(json.dumps(e) + "\n" for e in epochs))
    train = whole_train(**hashes, chosen_epoch=2, updates=dict.fromkeys(corpora, 10), code_hash="code", valid=valid)
    train |= {"git_revision": "abc", "versions": {}}
    write_record(folder / "train.json", train, [folder / "epochs.jsonl"])
    identity = {
        **{key: getattr(experiment, key) for key in ("combination", "corpora", "task", "temporal", "pooling")},
        **{key: getattr(experiment, key) for key in ("fold", "seed", "preset", "split")},
    }

    def described(targets):
        counts = {"train": dict.fromkeys(CLASSES, 5), "valid": dict.fromkeys(CLASSES, 1)}
        tested = {c: {n: sum(r[2] == n for r in targets.get(c, [])) for n in CLASSES} for c in (*corpora, *targets)}
        return {
            "folds": dict.fromkeys(tested, f"strict_fold{fold}"),
            "protocol_hash": dict.fromkeys(tested, "protocol"),
            "counts": {c: {**counts, "test": test} for c, test in tested.items()},
            "targets": {c: write_decoded(folder, c, rows) for c, rows in targets.items()},
        }

    result = {**identity, "part": "test", **train, "normalisation": "global", "notes": [], **described(answers)}
    write_scored(folder / "result.json", result, answers)
    if zero_shot is not None:
        target_hashes = {corpus: {"data_hash": "data"} for corpus in zero_shot}
        unseen = {**identity, **hashes, "left_out": {}, "target_hashes": target_hashes, **described(zero_shot)}
        write_scored(folder / "zero_shot.json", unseen, zero_shot)
    return folder


@cache
def preset(name):
    return load(name, None, ["corpora=[ravdess]"])


def write_scored(path, result, answers):
    """A result and the answers beside it."""
    table = path.with_suffix(".tsv")
    table.write_text("".join("\t".join((c, *row)) + "\n" for c, rows in answers.items() for row in rows))
    write_record(path, result, [table])


def write_decoded(folder, corpus, rows):
    """Posteriors of a target; returns the scores."""
    posteriors = [(row[0], np.float32(0.1) + np.float32(0.6) * (np.array(CLASSES) == row[3])) for row in rows]
    entry = {"classes": CLASSES, "model": "m", "utterances": len(rows)}
    write_posteriors(folder, "test", {corpus: (entry, posteriors)})
    index = {name: i for i, name in enumerate(CLASSES)}
    truth, hypothesis = (np.array([index[row[i]] for row in rows]) for i in (2, 3))
    confusion = confusion_matrix(truth, hypothesis, len(CLASSES))
    return {**scores(confusion), "classes": CLASSES, "confusion": confusion.tolist()}


def answered(corpus, speakers, wrong=(), per_class=1):
    """Rows of an utterance of each class by each speaker; those in `wrong` are taken for the next class."""
    rows = []
    for speaker in speakers:
        for i, name in enumerate(CLASSES):
            for n in range(per_class):
                key = f"{corpus}_{speaker}-{name}-{n}"
                hypothesis = CLASSES[(i + 1) % 4] if key in wrong or speaker in wrong else name
                rows.append([key, f"{corpus}_{speaker}", name, hypothesis, f"text_{n}"])
    return rows
