"""Tables, manifests and settings that somebody writes: Kaldi data dirs, CSV, cuts, YAML, sites' files."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import shutil
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import soundfile
import yaml
from conftest import ROOT
from corpora_made import write_tree
from lane import Case, Material, Reader
from made import CLASSES
from mutate import yaml_value

from ser.config import load, read_experiment
from ser.corpora import read_protocol
from ser.corpora.kaldi import read_table, validate
from ser.diarization.settings import read_settings
from ser.features import ArkWriter
from ser.features.archive import ArkReader, read_archive
from ser.features.index import read_index
from ser.findings.design import read_design
from ser.grid import Places, open_grid
from ser.inference.check.labelled import read_labelled
from ser.inference.predict.inputs import scratch, sources_of, with_speakers

KEYS = ("ana-1", "ana-2", "bia-1")


def _module(name: str) -> ModuleType:
    """A preparer as it is, without what turns its mistakes into InputErrors."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "local" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def _audio(folder: Path) -> None:
    for name, channels in (("a", 1), ("b", 2)):
        noise = np.random.default_rng(channels).normal(0, 0.1, (4000, channels))
        soundfile.write(folder / f"{name}.wav", noise, 8000)


# Utterances of two recordings: tables that a data dir of a user and one of stage 1 share.
COMMON = {
    "utt2spk": "ana-1 ana\nana-2 ana\nbia-1 bia\n",
    "utt2dur": "ana-1 0.25\nana-2 0.25\nbia-1 0.3\n",
}


def _write(folder: Path, **tables: str) -> None:
    for name, text in (COMMON | tables).items():
        (folder / name.replace("wav_scp", "wav.scp")).write_text(text)


def _data_dir(folder: Path, _: object) -> None:
    _audio(folder)
    _write(
        folder,
        wav_scp="rec-a a.wav\nrec-b b.wav\n",
        segments="ana-1 rec-a 0.0 0.25\nana-2 rec-a 0.25 -1\nbia-1 rec-b 0.1 0.4\n",
        utt2emo="ana-1 happy\nana-2 sad\nbia-1 angry\n",
        reco2file_and_channel="rec-a rec-a A\nrec-b rec-b B\n",
        spk2gender="ana f\nbia m\n",
        reco2dur="rec-a 0.5\nrec-b 0.5\n",
        utt2text_id="ana-1 t1\nana-2 t2\nbia-1 t1\n",
        utt2lang="ana-1 pt\nana-2 pt\nbia-1 en\n",
    )


TABLES = ("wav.scp", "segments", "utt2*", "reco2*", "spk2gender")


def _sources(case: Case) -> Any:
    with scratch() as temporary:
        found = with_speakers(sources_of(str(case.folder), temporary), case.folder / "utt2spk")
    for source in found:
        assert source.id
        assert (source.path is None) == bool(source.problem), source
        assert source.end is None or source.end > source.start >= 0
    return found


def _utterances(preparer: str) -> Any:
    def read(case: Case) -> Any:
        protocol = read_protocol("customer_ptbr", None)
        found = list(_module(preparer).utterances(case.folder, protocol=protocol, **case.extra))
        for u in found:
            assert u.id.startswith(u.speaker), u
            assert len(u.id.split()) == 1, u
            assert u.label in protocol.labels
            assert u.path.is_file()
        return found

    return read


def _csv(folder: Path, _: object) -> None:
    _audio(folder)
    rows = [
        "path,speaker,emotion,start,end,channel,split,gender,text_id,language,note",
        "a.wav,ana,raiva,0.1,0.4,,train,f,t1,pt,x",
    ]
    rows += ['b.wav,bia,"neutro",,,1,test,m,t2,pt,"two, words"', "b.wav,bia,tristeza,0.2,-1,0,valid,m,t1,,"]
    labels = list(read_protocol("customer_ptbr", None).labels)
    text = "\n".join(rows) + "\n"
    for word, label in zip(("raiva", "neutro", "tristeza"), labels, strict=False):
        text = text.replace(word, label)
    (folder / "table.csv").write_text(text)


def _kaldi_data_dir(folder: Path, material: Material) -> None:
    _data_dir(folder, material)
    labels = list(read_protocol("customer_ptbr", None).labels)
    (folder / "utt2emo").write_text("".join(f"{key} {label}\n" for key, label in zip(KEYS, labels, strict=False)))


def _written_dir(folder: Path, _: object) -> None:
    _write(
        folder,
        wav_scp="rec-a /a.wav\nrec-b /b.wav\n",
        segments="ana-1 rec-a 0.0 0.25\nana-2 rec-a 0.25 0.5\nbia-1 rec-b 0.1 0.4\n",
        spk2utt="ana ana-1 ana-2\nbia bia-1\n",
        utt2num_frames="ana-1 20\nana-2 20\nbia-1 30\n",
    )


def _archive(folder: Path, _: object) -> None:
    rng = np.random.default_rng(0)
    for storage in ("int16", "float32"):
        with ArkWriter(folder / f"feats.{storage}.ark", storage) as writer:
            for key in KEYS:
                writer.write(key, rng.normal(0, 1, (int(rng.integers(2, 9)), 5)).astype(np.float32))
        scp = folder / f"feats.{storage}.scp"
        scp.write_text(scp.read_text().replace(f"{folder.resolve()}/", ""))
    index = {
        "features": {"bins": 5},
        "size": writer.size,
        "checksum": zlib.crc32((folder / "feats.float32.ark").read_bytes()),
        "entries": {key: {"offset": offset, "frames": 3} for key, offset in writer.offsets.items()},
    }
    (folder / "feats.float32.json").write_text(json.dumps(index))


def _matrices(case: Case) -> Any:
    before = os.getcwd()
    os.chdir(case.folder)  # places in the scp are relative, since a sample moves
    try:
        found = [matrix for ark in sorted(case.folder.glob("*.ark")) for matrix in read_archive(ark).values()]
        for scp in sorted(case.folder.glob("*.scp")):
            reader = ArkReader(scp)
            for key in reader.positions:
                matrix = reader.read(key)
                assert matrix.shape == reader.shape(key)
                found.append(matrix)
        return found
    finally:
        os.chdir(before)


def _index(case: Case) -> Any:
    index = read_index(case.folder / "feats.float32.json")
    assert isinstance(index.is_complete, bool)
    for entry in index.entries.values():
        assert type(entry.frames) is int
        assert entry.frames > 0
    return index


def _cuts(folder: Path, material: Material) -> None:
    rows = gzip.decompress((material.made.data_root / "one" / "cuts.jsonl.gz").read_bytes()).splitlines()[:3]
    (folder / "cuts.jsonl").write_bytes(b"\n".join(rows) + b"\n")
    (folder / "cuts.jsonl.gz").write_bytes(gzip.compress(b"\n".join(rows) + b"\n"))


def _cut_sources(case: Case) -> Any:
    with scratch() as temporary:
        found = [source for name in case.chosen for source in sources_of(str(case.folder / name), temporary)]
    for source in found:
        assert isinstance(source.id, str), source
        assert source.problem or isinstance(source.path, Path), source
        for number in (source.start, source.end or 0.0):
            assert isinstance(number, int | float), source
    return found


def _paths(folder: Path, _: object) -> None:
    _audio(folder)
    (folder / "comma.csv").write_text('path,label,note\na.wav,sad,"x, y"\nb.wav,happy,\n')
    (folder / "tab.tsv").write_text("file\tlabel\na.wav\tsad\nnone.wav\thappy\n")


def _path_sources(case: Case) -> Any:
    with scratch() as temporary:
        found = [source for name in case.chosen for source in sources_of(str(case.folder / name), temporary)]
    for source in found:
        assert (source.path is None) == bool(source.problem), source
        assert source.columns[source.path_column] == source.id
    return found


def _recipe(folder: Path, _: object) -> None:
    """A recipe folder with everything of conf/ that a person may write."""
    for name in ("conf/corpora", "conf/presets", "conf/grids"):
        (folder / name).mkdir(parents=True)
    for name in ("ravdess", "customer_ptbr", "ravdess_calm"):
        shutil.copy(ROOT / "conf" / "corpora" / f"{name}.yaml", folder / "conf" / "corpora")
    own = yaml.safe_load((ROOT / "conf" / "corpora" / "ravdess.yaml").read_text())
    own["splits"]["shares"] = {"shares": [0.6, 0.2, 0.2], "seed": 3, "texts": "disjoint"}
    own["splits"]["given"] = {"given": True, "texts": {"train": ["a"], "test": ["b"]}}
    own |= {"keep": {"hours": 0.5}, "preparer": "csv"}
    (folder / "conf" / "corpora" / "own.yaml").write_text(yaml.safe_dump(own, sort_keys=False))
    for path in (ROOT / "conf").glob("*.yaml"):
        shutil.copy(path, folder / "conf")
    shutil.copy(ROOT / "conf" / "presets" / "strong.yaml", folder / "conf" / "presets")
    shutil.copy(ROOT / "conf" / "grids" / "paper.yaml", folder / "conf" / "grids")


def _protocols(case: Case) -> Any:
    found = []
    for name in case.chosen:
        protocol = read_protocol(Path(name).stem, case.folder)
        found.append(protocol)
        for split in protocol.splits:
            assert protocol.num_folds(split) is None or protocol.has_test(split, 1) in (True, False)
        assert protocol.editions is not None
        json.dumps([protocol.classes, dict(protocol.labels), dict(protocol.drop)], allow_nan=False)
    return found


def _settings(case: Case) -> Any:
    return load("strong", case.folder, ["corpora=[ravdess]"])


def _own_settings(case: Case) -> Any:
    read_settings(case.folder / "conf" / "timeline.yaml").costs(["angry", "happy"])
    return read_settings(case.folder / "conf" / "timeline.yaml")


def _overrides(case: Case) -> Any:
    lines = (case.folder / "overrides.txt").read_bytes().decode("utf-8", "replace").splitlines()
    return load("strict", None, ["corpora=[ravdess]", *lines])


def _grid(case: Case) -> Any:
    places = Places(case.folder, case.folder / "data", case.folder / "dump", case.folder / "exp")
    read_design("paper", case.folder)
    grid = open_grid(places, "strong", only=("ravdess", "tess"), folds=(1,))
    return [experiment.folder for experiment in grid.experiments]


def _site(case: Case) -> Any:
    sys.path.insert(0, str(ROOT / "utils"))
    from launch.site_file import WrongCall, read_site

    from ser.common import InputError

    found = []
    for name in case.chosen:
        try:
            found.append(read_site(case.folder / name).translate({"mem": "4G", "gpu": "1"}))
        except WrongCall as error:
            raise InputError(str(error)) from None
    return found


def _labelled(case: Case) -> Any:
    classes = list(read_protocol("customer_ptbr", None).labels) + list(CLASSES)
    with scratch() as temporary:
        found = [
            u for name in ("", "cuts.jsonl.gz") for u in read_labelled([str(case.folder / name)], classes, temporary)
        ]
    assert {u.emotion for u in found} <= set(classes)
    assert {u.gender for u in found} <= {"", "f", "m"}
    return found


def _labelled_dir(folder: Path, material: Material) -> None:
    _kaldi_data_dir(folder, material)
    _cuts(folder, material)


def _evaluations(folder: Path, _: object) -> None:
    write_tree("iemocap", folder / "tree")
    shutil.copy(next((folder / "tree").rglob("Ses01F_impro01.txt")), folder)
    shutil.rmtree(folder / "tree")


def _read_evaluations(case: Case) -> Any:
    found = _module("prepare_iemocap").read_evaluations(case.folder)
    for evaluation in found.values():
        assert evaluation.label
    return [evaluation.means for evaluation in found.values()]


def _nemo(folder: Path, _: object) -> None:
    write_tree("nemo", folder)
    for path in sorted((folder / "samples").iterdir())[5:]:
        path.unlink()


def _nemo_utterances(case: Case) -> Any:
    found = list(_module("prepare_nemo").utterances(case.folder))
    for u in found:
        assert u.id.startswith(f"{u.speaker}-"), u
        assert len(u.id.split()) == 1, u
        assert u.gender in ("", "f", "m"), u
    return found


def _config(folder: Path, material: Material) -> None:
    shutil.copy(material.experiment / "config.yaml", folder)


READERS = {
    "data dir of predict": Reader(_data_dir, TABLES, _sources),
    "data dir of stage 1": Reader(
        _kaldi_data_dir, TABLES, _utterances("prepare_kaldi"), extra={"allow_pipes": False, "audio_dir": None}
    ),
    "data dir, validated": Reader(_written_dir, ("*",), lambda case: validate(case.folder)),
    "table": Reader(_written_dir, ("*",), lambda case: [read_table(case.folder / name) for name in case.chosen]),
    "csv": Reader(_csv, ("table.csv",), _utterances("prepare_csv")),
    "archive": Reader(_archive, ("*.ark", "*.scp"), _matrices),
    "archive index": Reader(_archive, ("*.json",), _index),
    "data of check": Reader(_labelled_dir, (*TABLES, "cuts.*.gz"), _labelled),
    "evaluations of IEMOCAP": Reader(_evaluations, ("*.txt",), _read_evaluations),
    "table of nEMO": Reader(_nemo, ("data.tsv",), _nemo_utterances),
    "table of paths": Reader(_paths, ("*.csv", "*.tsv"), _path_sources),
    "cut manifest": Reader(_cuts, ("cuts.*",), _cut_sources),
    "protocol": Reader(_recipe, ("conf/corpora/*.yaml",), _protocols, yaml_value),
    "settings": Reader(_recipe, ("conf/[abefnt]*.yaml", "conf/presets/*.yaml"), _settings, yaml_value, weight=0.3),
    "settings of timelines": Reader(_recipe, ("conf/timeline.yaml",), _own_settings, yaml_value),
    "settings of a command": Reader(
        lambda folder, _: (folder / "overrides.txt").write_text(
            "seed=3\ntraining.learning_rate=1e-3\nfold=1\nnetwork.lstm.hidden_size=8\naugment.kinds=[noise]\naugment.copies=1\n"
        ),
        ("overrides.txt",),
        _overrides,
        weight=0.3,
    ),
    "grid": Reader(_recipe, ("conf/grids/*.yaml",), _grid, yaml_value, weight=0.5),
    "config of an experiment": Reader(
        _config, ("config.yaml",), lambda case: read_experiment(case.folder / "config.yaml"), weight=0.3
    ),
    "site": Reader(
        lambda folder, _: [shutil.copy(p, folder) for p in (ROOT / "conf").glob("*.conf")], ("*.conf",), _site
    ),
}
