"""What the toolkit writes and somebody else may hand over: model packages, results, ledgers, prepared corpora."""

from __future__ import annotations

import io
import json
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import soundfile
from lane import Case, Material, Reader
from made import trainer_of
from mutate import binary, change, mutator_of, raw

from ser.batches import open_data
from ser.common import InputError, digest, write_json
from ser.config import read_experiment
from ser.corpora.describe import describe_corpora, read_prepared
from ser.corpora.fetch import RECORD, is_fetched
from ser.diarization.html.page import robustness
from ser.findings.html.page import write_report
from ser.findings.ledger.build import build_ledger
from ser.findings.ledger.load import load_ledger
from ser.findings.ledger.run import read_run
from ser.findings.report.results import Results
from ser.findings.report.write import write_findings
from ser.grid.state import find_problem
from ser.inference.card import training_hashes, write_card
from ser.inference.model import open_model, write_sums
from ser.inference.pack import pack
from ser.inference.predict.api import EmotionModel
from ser.scoring.curves import read_curves
from ser.scoring.pooled import pooled_table, read_pools
from ser.scoring.result import score_experiment
from ser.scoring.results_table import read_results, results_table
from ser.training.checkpoint import load_tensors
from ser.training.engine import Interrupted

CELL = "exp/one_two/multi_blstm_mu_sigma2/fold1_seed0"
RESULTS = (
    "result.json",
    "result.tsv",
    "train.json",
    "decode.json",
    "decode_test/post.ark",
    "config.yaml",
    "epochs.jsonl",
)


def _package(folder: Path, material: Material) -> None:
    shutil.copytree(material.package, folder / "model")
    samples = np.random.default_rng(0).normal(0, 0.1, 3000)
    soundfile.write(folder / "a.wav", samples, 8000)


def _check(folder: Path, _: object) -> None:
    row = {"corpus": "one", "gender": "", "condition": "white noise, SNR 10 dB", "n": 8, "ua": 0.5, "flipped": None}
    (folder / "check.json").write_text(json.dumps({"rows": [row, row | {"gender": "f"}], "head": "mean"}))


def _answers(case: Case) -> Any:
    model = EmotionModel(open_model(case.folder / "model"))
    answers = model.predict(case.folder / "a.wav")
    assert [answer.label in dict(answer.posteriors) for answer in answers] == [True], answers
    write_card(case.folder / "model")
    assert training_hashes(case.folder / "model")
    return answers


def _seal(folder: Path) -> None:
    _unsummed(folder)
    (folder / "model" / "SHA256SUMS").unlink(missing_ok=True)
    write_sums(folder / "model")


def _experiment(folder: Path, material: Material) -> None:
    shutil.copytree(material.experiment, folder / CELL, ignore=shutil.ignore_patterns("*.png", "log"))


def _data(case: Case) -> Any:
    made = case.material.made
    experiment = read_experiment(case.folder / CELL / "config.yaml")
    return open_data(experiment, made.recipe, made.data_root, made.dump)


def _score(case: Case) -> Any:
    return score_experiment(_data(case), case.folder / CELL, "test")


def _pack(case: Case) -> Any:
    made = case.material.made
    return pack(case.folder / CELL, case.folder / "packed", made.recipe, made.data_root, made.dump)


def _tables(case: Case) -> Any:
    results = read_results([case.folder / "exp"])
    text = results_table(results, "a command", "./run.sh")
    assert "nan" not in text.lower()
    return [result["targets"] for result in results]


def _pools(case: Case) -> Any:
    text = pooled_table(read_pools([case.folder / "exp"]), "a command")
    assert "nan" not in text.lower()


def _curves(case: Case) -> Any:
    curves = read_curves(case.folder / CELL)
    assert len(curves.epochs) == len(curves.monitored)


def _state(case: Case) -> Any:
    experiment = read_experiment(case.material.experiment / "config.yaml")
    if problem := find_problem(case.folder / CELL, experiment):
        raise InputError(problem)


def _run(case: Case) -> Any:
    return read_run(case.folder / CELL, ("one", "two"))[0]["targets"]


def _ledger(folder: Path, material: Material) -> None:
    _experiment(folder, material)
    build_ledger([folder / "exp"], folder / "ledger", ["one", "two"], "a command")
    shutil.rmtree(folder / "exp")
    _grid(folder)


def _grid(folder: Path) -> None:
    (folder / "conf" / "grids").mkdir(parents=True)
    (folder / "conf" / "grids" / "paper.yaml").write_text(
        "corpora: [one, two]\ncombinations: all\ntask: [multi]\ntemporal: [blstm]\npooling: [mu_sigma2]\n"
    )


def _parquet(data: bytes, rng: Random) -> bytes:
    """Values of a Parquet file, its columns, or its bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if rng.random() < 0.3:
        return binary(data, rng) if rng.random() < 0.5 else raw(data, rng)
    table = pq.read_table(io.BytesIO(data))
    name = rng.choice(table.column_names)
    place = table.column_names.index(name)
    what = rng.randrange(4)
    if what == 0:
        table = table.drop_columns([name])
    elif what == 1:
        table = table.rename_columns([f"{n}x" if n == name else n for n in table.column_names])
    elif what == 2:
        table = table.slice(0, rng.randrange(len(table)))
    else:
        rows = change(table.column(name).to_pylist(), rng)
        try:
            column = pa.array(rows, None if rng.random() < 0.3 else table.schema.field(name).type)
            table = table.set_column(place, name, column)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            table = table.set_column(place, name, pa.nulls(len(table)))
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def _ledger_file(data: bytes, rng: Random) -> bytes:
    return _parquet(data, rng) if data[:4] == b"PAR1" else mutator_of("ledger.json")(data, rng)


def _findings(case: Case) -> Any:
    from ser.findings.design import read_design

    ledger, design = load_ledger(case.folder / "ledger", read_design("paper", case.folder), {})
    tables = write_findings(Results(ledger, design, "a command", 100), case.folder / "findings")
    return [table.name for table in tables]


def _written_findings(folder: Path, material: Material) -> None:
    _ledger(folder, material)
    _findings(Case(folder, [], material, {}))


def _page(case: Case) -> Any:
    write_report(case.folder / "findings", case.folder / "report", case.folder / "ledger")


def _prepared(folder: Path, material: Material) -> None:
    for corpus in ("one", "two"):
        shutil.copytree(material.made.data_root / corpus, folder / "data" / corpus)


def _parts(case: Case) -> Any:
    made = case.material.made
    data = open_data(made.experiment(), made.recipe, case.folder / "data", made.dump)
    found = []
    for part in ("train", "valid", "test"):
        for corpus, own in data.parts(part).items():
            assert len(own.ids) == len(own.targets) == len(own.speakers), corpus
            found.append(own.reader.read(own.ids[0]))
    return found, data.hashes()


def _described(case: Case) -> Any:
    return describe_corpora([read_prepared(case.folder / "data" / "one")])


def _checkpoint(folder: Path, material: Material) -> None:
    shutil.copy(material.experiment / "model.safetensors", folder)


def _interrupted(folder: Path, material: Material) -> None:
    trainer = trainer_of(material.made, folder / "training", "training.max_epochs=1")
    trainer.signal = signal.SIGTERM
    with pytest.raises(Interrupted):
        trainer.run()


def _continued(case: Case) -> Any:
    trainer_of(case.material.made, case.folder / "training", "training.max_epochs=1").run()
    return [t.numpy() for t in load_tensors(case.folder / "training" / "model.safetensors")[0].values()]


def _record(folder: Path, _: object) -> None:
    (folder / "a.wav").write_bytes(b"RIFF")
    row = {"url": "https://nowhere/a.wav", "sha256": "0" * 64, "files": {"a.wav": 4}}
    write_json(folder / RECORD, {"name": "x", "complete": True, "fetched": {"a.wav": row}})


def _resealed(folder: Path) -> None:
    """Decoded with the weights as they are now."""
    model = folder / CELL / "model.safetensors"
    path = folder / CELL / "decode.json"
    with suppress(ValueError, AttributeError, TypeError):
        found = json.loads(path.read_text())
        path.write_text(json.dumps({name: entry | {"model": digest(model)} for name, entry in found.items()}))


def _unrecorded(folder: Path) -> None:
    """Without the records of what was written, which would refuse what was changed before its values are looked at."""
    for path in folder.rglob("*.json"):
        try:
            found = json.loads(path.read_text())
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and "recorded" in found:
            del found["recorded"]
            path.write_text(json.dumps(found))


def _unsummed(folder: Path) -> None:
    """Tensors without the checksum that is written with them."""
    for path in folder.rglob("*.safetensors"):
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        try:
            header = json.loads(data[8 : 8 + size])
            meta = json.loads(header["__metadata__"]["meta"])
            del meta["checksum"]
        except (ValueError, LookupError, TypeError, RecursionError):
            continue
        header["__metadata__"]["meta"] = json.dumps(meta)
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])


def _packable(folder: Path) -> None:
    _unsummed(folder)
    _resealed(folder)
    _unrecorded(folder)


STRICT = "data/one/strict_fold1"
READERS = {
    "model package": Reader(_package, ("model/*",), _answers, seal=_seal),
    "model description": Reader(_package, ("model/model.json",), _answers, seal=_seal),
    "check of a model": Reader(_check, ("check.json",), lambda case: robustness(case.folder)),
    "tensors": Reader(
        _checkpoint,
        ("*.safetensors",),
        lambda case: sorted(load_tensors(case.folder / "model.safetensors")[0]),
        seal=_unsummed,
    ),
    "checkpoint": Reader(_interrupted, ("training/checkpoint.safetensors",), _continued, seal=_unsummed, weight=0.1),
    "record of a download": Reader(_record, (RECORD,), lambda case: is_fetched(case.folder)),
    "experiment to score": Reader(
        _experiment, tuple(f"{CELL}/{name}" for name in RESULTS), _score, seal=_unrecorded, weight=0.05
    ),
    "experiment to pack": Reader(
        _experiment, tuple(f"{CELL}/{n}" for n in (*RESULTS, "model.safetensors")), _pack, seal=_packable, weight=0.1
    ),
    "results": Reader(
        _experiment, (f"{CELL}/result.json", f"{CELL}/config.yaml"), _tables, seal=_unrecorded, weight=0.15
    ),
    "results of folds": Reader(
        _experiment, (f"{CELL}/result.json", f"{CELL}/result.tsv"), _pools, seal=_unrecorded, weight=0.15
    ),
    "epochs": Reader(_experiment, (f"{CELL}/epochs.jsonl", f"{CELL}/train.json"), _curves, seal=_unrecorded),
    "state of a cell": Reader(
        _experiment, tuple(f"{CELL}/{name}" for name in RESULTS), _state, seal=_unrecorded, weight=0.5
    ),
    "run of a ledger": Reader(
        _experiment, tuple(f"{CELL}/{name}" for name in RESULTS), _run, seal=_unrecorded, weight=0.15
    ),
    "ledger": Reader(
        _ledger, ("ledger/*.parquet", "ledger/ledger.json"), _findings, _ledger_file, seal=_unrecorded, weight=0.05
    ),
    "findings": Reader(
        _written_findings,
        ("findings/*.json", "ledger/runs.parquet"),
        _page,
        _ledger_file,
        seal=_unrecorded,
        weight=0.25,
    ),
    "prepared corpus": Reader(_prepared, (f"{STRICT}/*/*", "data/one/*.json*"), _parts, weight=0.1),
    "prepared corpus, described": Reader(_prepared, (f"{STRICT}/*/utt2*", "data/one/*.json*"), _described, weight=0.3),
}
