"""Pack a finished experiment, or several as an ensemble, into a model package."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from ser.batches import UNIFIED, Data, Part, open_data
from ser.common import InputError, as_input_error, atomic_path, digest, write_json, write_text
from ser.common.files import sha256
from ser.common.kinds import of_kind
from ser.common.metrics import confusion_matrix, ua
from ser.common.provenance import provenance
from ser.common.records import read_record
from ser.common.run_folder import CONFIG, MODEL, RESULT, TRAIN
from ser.config import Experiment, read_experiment
from ser.config.load import ROOT, comparable_settings
from ser.config.schema import GROUPED
from ser.corpora.describe import incompleteness
from ser.frontends import build_frontend
from ser.frontends.pretrained import Pretrained
from ser.inference import model as folders
from ser.inference.base import CALIBRATIONS, Statistics
from ser.inference.card import utterance_hash, write_card
from ser.inference.model import Model, write_sums
from ser.inference.predict.inputs import manifest_rows
from ser.inference.predictor import MEAN, Predictor
from ser.scoring import baseline, files
from ser.scoring.calibration import choose_temperature, expected_calibration_error, tempered
from ser.scoring.files import read_result
from ser.scoring.posteriors import read_posteriors
from ser.scoring.result import read_train, score_part
from ser.training.checkpoint import load_tensors, save_tensors

CORPUS_FIELDS = ("name", "description", "licence", "citation", "source", "language", "note")
BATCH_UTTERANCES = 256  # whose features are in memory


@dataclass(frozen=True)
class _Member:
    """A finished experiment or SVM baseline.

    Attributes:
        result: what train.json and result.json hold.
        svm: description of a baseline in model.json; None: a network.
    """

    folder: Path
    data: Data
    result: dict[str, Any]
    svm: dict[str, Any] | None = None

    @property
    def weights(self) -> Path:
        return self.folder / (baseline.MODEL if self.svm else MODEL)

    @property
    def name(self) -> str:
        """Its folder below the exp folder."""
        return "/".join(self.folder.resolve().parts[-3:]) if self.svm else self.data.experiment.folder


def pack(
    experiments: Path | Sequence[Path],
    out: Path,
    recipe: Path | None = None,
    data_root: Path | None = None,
    dump_root: Path | None = None,
    reference: bool = False,
    findings: Path | None = None,
) -> dict[str, Any]:
    """Write the model package of an experiment, an SVM, or an ensemble, whose posteriors are the mean of its members'.

    Args:
        experiments: folder of a finished experiment or of steps/baseline.py, or of each member.
        recipe: the recipe folder; None: the one that holds the exp folder, as run.sh has it.
        data_root: prepared corpora; None: data in the recipe folder.
        dump_root: feature store; None: the toolkit's.
        reference: name a pretrained encoder by its hash, in place of a copy of its weights.
        findings: findings.json of a grid of the same settings; its leave-one-corpus-out scores go on the card.

    Returns:
        What model.json holds.

    Raises:
        InputError: an experiment is not finished, or its settings, data or results are not those of its weights; or
            members differ in their input, labels or speakers.
    """
    open_data_of = partial(_open_data, recipe=recipe, data_root=data_root, dump_root=dump_root)
    members = []
    for path in [experiments] if isinstance(experiments, Path) else experiments:
        is_svm = (path / baseline.MODEL).is_file() or path.parent.name.startswith("svm_")
        members.append((_read_baseline if is_svm else _read_experiment)(path, open_data_of))
    _check_members(members)
    data = members[0].data
    unseen = _unseen_corpora(findings, data.experiment) if findings else []
    if out.exists() and not (out / folders.SUMS).is_file():
        raise InputError("exists, and is no model package", out, "give another name")
    corpora: Collection[str] = ()
    with suppress(InputError):  # a damaged package is made again
        corpora = folders.read_description(out)["corpora"]
    if corpora and set(corpora) != set(data.protocols):
        raise InputError(f"a model package of {', '.join(corpora)}", out, "give another name, or remove it")
    frontend = build_frontend(data.experiment)
    encoder = frontend if isinstance(frontend, Pretrained) else None
    utterance_hashes, trained = _describe_training(data)
    description: dict[str, Any] = {
        "format": folders.FORMAT,
        "settings": _settings(members[0]),
        **({"svm": members[0].svm} if members[0].svm else {}),
        **({"members": [_settings(member) for member in members]} if len(members) > 1 else {}),
        "heads": {head: list(classes) for head, classes in data.heads.items()},
        "corpora": {corpus: _describe_corpus(data, corpus) for corpus in data.protocols},
        "trained": trained,
        **({"frontend": encoder.describe()} if encoder else {}),
        "provenance": {**_provenance(members), "packed_with": provenance()},
    }
    model = _load_model(members, description)
    description |= _group_statistics(model, data)
    description |= {"metrics": _metrics(members, model), **({"unseen_corpora": unseen} if unseen else {})}
    description |= _calibrations(model, data)
    with atomic_path(out) as folder:
        folder.mkdir()
        if len(members) == 1:
            shutil.copyfile(members[0].weights, folder / folders.WEIGHTS)
        else:
            save_tensors(folder / folders.WEIGHTS, model.network.state_dict(), {"classes": model.network.classes})
        write_json(folder / folders.DESCRIPTION, description)
        write_text(folder / folders.SEEN, "".join(f"{name}\n" for name in utterance_hashes))
        encoder_files: list[str] = []
        if encoder and not reference:
            encoder.save(folder / folders.FRONTEND)
            encoder_files = [f"{folders.FRONTEND}/{p.name}" for p in sorted((folder / folders.FRONTEND).iterdir())]
        write_card(folder)
        write_sums(folder, *encoder_files)
    return description


def _describe_corpus(data: Data, corpus: str) -> dict[str, str]:
    """What the card has of a corpus; its note also tells of an incomplete copy."""
    protocol = data.protocols[corpus]
    lacking = incompleteness(data.data_root / corpus)
    notes = [protocol.note, f"An incomplete copy of the corpus ({', '.join(lacking)})." if lacking else ""]
    return {key: getattr(protocol, key) for key in CORPUS_FIELDS} | {"note": " ".join(filter(None, notes))}


def _open_data(
    experiment: Experiment, folder: Path, recipe: Path | None, data_root: Path | None, dump_root: Path | None
) -> Data:
    parents = folder.resolve().parents  # <recipe>/exp/<combination>/<cell>/<fold and seed>
    recipe = recipe or (parents[3] if len(parents) > 3 else folder)
    data_root, dump_root = data_root or recipe / "data", dump_root or ROOT / "dump"
    for root, option, what in ((data_root, "data", "prepared corpora"), (dump_root, "dump", "feature store")):
        if not root.is_dir():
            raise InputError(f"no {what} in {root}", folder, f"give --recipe and --{option} as run.sh got them")
    return open_data(experiment, recipe, data_root, dump_root)


def _read_baseline(folder: Path, open_data_of: Callable[[Experiment, Path], Data]) -> _Member:
    """A finished SVM baseline.

    Raises:
        InputError: it has no model, is of openSMILE features, or is not of the prepared data.
    """
    path, again = folder / baseline.MODEL, "remove the folder and run steps/baseline.py again"
    if not path.is_file():
        raise InputError(f"holds no {baseline.MODEL}", folder, again)
    result, meta = read_result(folder / RESULT), load_tensors(path)[1]
    with as_input_error("not a baseline of this version", path, again, ValueError):
        saved = of_kind(_SavedSVM, meta, "")
        experiment = folders.experiment_from(saved["settings"])
    if saved["features"] == "opensmile":
        raise InputError("of openSMILE's functionals, which a package cannot compute", folder, "give another baseline")
    data = open_data_of(experiment, folder)
    identity = baseline.identity_of(data, saved["features"], experiment.batches.normalisation)
    if not saved["fingerprint"] == result.get("fingerprint") == identity["fingerprint"]:
        raise InputError("its model, its result and the prepared data are not of each other", folder, again)
    return _Member(folder, data, result, {key: saved[key] for key in ("features", "functionals", "trained", "C")})


class _SavedSVM(TypedDict):
    features: str
    functionals: dict[str, Any]
    trained: list[str]
    C: float
    settings: dict[str, Any]
    fingerprint: str


def _read_experiment(folder: Path, open_data_of: Callable[[Experiment, Path], Data]) -> _Member:
    """A finished experiment.

    Raises:
        InputError: it has no result, or its result is of other settings, data or weights.
    """
    if not (folder / CONFIG).is_file():
        raise InputError(f"no experiment, for it has no {CONFIG}", folder, "give <exp>/<corpora>/<cell>/<fold>")
    data, weights = open_data_of(read_experiment(folder / CONFIG), folder), folder / MODEL
    for needed in (weights, folder / TRAIN, folder / RESULT):
        if not needed.is_file():
            raise InputError(f"not finished, for it has no {needed.name}", folder, "run stages 4 to 6")
    train, (result, _) = read_train(data, folder), files.read_finished(folder)
    files.read_train(folder, [MODEL])
    meta = load_tensors(weights, verified=True)[1]
    if any(meta.get(key) != value or result.get(key) != value for key, value in data.hashes().items()):
        raise InputError("weights, train.json and result.json are of different trainings", folder, "run stages 4 to 6")
    decoded = read_posteriors(folder, result["part"])
    for corpus in result["targets"]:
        if decoded.entry(corpus)["model"] != digest(weights):
            raise InputError("not the weights that result.json is of", weights, "run stages 5 and 6 again")
    return _Member(folder, data, {**train, **result})


def _check_members(members: Sequence[_Member]) -> None:
    """Refuse a member of an ensemble that differs from the first one in what members share, or that is given twice.

    Raises:
        InputError: it names the difference.
    """
    first = members[0]
    for number, member in enumerate(members[1:], 1):
        for other in members[:number]:
            if digest(member.weights) == digest(other.weights):
                raise InputError(f"has the weights of {other.folder}", member.folder, "give each experiment once")
        if member.svm or first.svm:
            raise InputError("an SVM", (member if member.svm else first).folder, "pack it by itself")
        stores = [{corpus: store.key for corpus, store in each.data.stores.items()} for each in (first, member)]
        differences = [
            folders.first_difference(first.data.experiment, member.data.experiment),
            "features of other recordings" if stores[0] != stores[1] else "",
            *(f"another {k}" for k in ("split_hash", "protocol_hash", "part") if first.result[k] != member.result[k]),
            "other heads" if first.data.heads != member.data.heads else "",
        ]
        if what := next(filter(None, differences), ""):
            fix = "give experiments of the same corpora, fold, front end and preprocessing, such as the seeds of a cell"
            raise InputError(f"differs from {first.folder}: {what}", member.folder, fix)


def _unseen_corpora(path: Path, experiment: Experiment) -> list[dict[str, Any]]:
    """Leave-one-corpus-out scores of findings.json.

    Raises:
        InputError: it has none, or is of models of other settings.
    """
    findings = read_record(path, _Findings, "run steps/findings.py again")
    from ser.findings.stats.effects import LEFT_OUT

    if findings["comparable_hash"] != digest(comparable_settings(experiment)):
        raise InputError(f"of models of other settings than {experiment.folder}", path, "give findings of its grid")
    scores = [
        {
            "target": record["target"],
            "trained_on": record["source"].split(),
            "ua": record["value"],
            "low": record["low"],
            "high": record["high"],
            "coverage": findings["coverage"],
        }
        for record in findings["transfer"]["records"]
        if (record["panel"], record["metric"]) == (LEFT_OUT, "ua") and record["value"] is not None
    ]
    if not scores:
        raise InputError("no score of a corpus that was left out", path, "give the findings of a grid that has them")
    return scores


class _Findings(TypedDict):
    comparable_hash: str
    transfer: dict[str, Any]
    coverage: float


def _settings(member: _Member) -> Any:
    return json.loads(json.dumps(asdict(member.data.experiment)))


def _provenance(members: Sequence[_Member]) -> dict[str, Any]:
    """Provenance of the weights; for an ensemble the different values of its members, in their order."""
    keys = ("config_hash", "data_hash", "split_hash", "code_hash", "git_revision")
    each = [{"experiment": m.name, "weights": sha256(m.weights), **{k: m.result[k] for k in keys}} for m in members]
    joined: dict[str, Any] = {key: ", ".join(dict.fromkeys(values[key] for values in each)) for key in each[0]}
    return joined | {key: members[0].result[key] for key in ("protocol_hash", "versions")}


def _metrics(members: Sequence[_Member], model: Model) -> dict[str, Any]:
    """Scores of stage 6 and of the training; for an ensemble, scores of the mean of its members' posteriors."""
    data, result = members[0].data, members[0].result
    test, valid = result["targets"], result["valid"]
    if len(members) > 1:
        test, decoded = {}, [read_posteriors(m.folder, result["part"]) for m in members]
        for corpus, part in data.parts(result["part"]).items():
            posteriors = np.stack([d.array(corpus, part.ids, part.classes) for d in decoded]).mean(0, np.float64)
            test[corpus] = score_part(part, posteriors.argmax(1), posteriors)
        valid, pairs = {}, model.network.head_adapter_pairs()
        for corpus, part in data.parts("valid").items():
            posteriors = _posteriors(Predictor(model, corpus if corpus in pairs else UNIFIED), part, True)
            valid[corpus] = score_part(part, posteriors.argmax(1), posteriors)
    split = f"{result['split']}, fold {result['fold']}"
    return {"part": result["part"], "split": split, "test": test, "valid": valid}


def _load_model(members: Sequence[_Member], description: dict[str, Any]) -> Model:
    import torch

    folder, data = members[0].folder, members[0].data
    network = folders.build_network(description, data.experiment, data.heads)
    for part, member in zip(getattr(network, "members", [network]), members, strict=True):
        part.load_state_dict(load_tensors(member.weights, verified=True)[0])
    network.eval().requires_grad_(False)
    return Model(folder, data.experiment, network, torch.device("cpu"), description, data.heads)


def _describe_training(data: Data) -> tuple[list[str], dict[str, Any]]:
    """Sorted hashes of the training utterances; their durations, sampling rates and counts."""
    hashes: list[str] = []
    seconds: list[float] = []
    rates: Counter[int] = Counter()
    counts: dict[str, dict[str, int]] = {}
    for corpus, part in data.parts("train").items():
        ids = {key for key, original in zip(part.ids, part.original, strict=True) if original}
        hashes += [utterance_hash(f"{corpus}/{key}") for key in ids]
        counts[corpus] = {"utterances": len(ids), "speakers": len(set(part.speakers))}
        cuts = [cut for cut in manifest_rows(data.data_root / corpus / "cuts.jsonl.gz") if cut["id"] in ids]
        seconds += [cut["duration"] for cut in cuts]
        rates.update(cut["recording"]["sampling_rate"] for cut in cuts)
    return sorted(hashes), {
        "seconds": [min(seconds), max(seconds)],
        "sampling_rates": {str(rate): n for rate, n in sorted(rates.items())},
        "corpora": counts,
    }


def _group_statistics(model: Model, data: Data) -> dict[str, Any]:
    """CMVN statistics averaged over training speakers or corpora, for files of unknown speakers."""
    if data.experiment.batches.normalisation not in GROUPED:
        return {}
    predictor = Predictor(model)
    groups = [s for part in data.parts("train").values() for s in _statistics(predictor, part).values()]
    means = {name: _rounded(np.stack([s[i] for s in groups]).mean(0)) for i, name in enumerate(("mean", "deviation"))}
    return {"group_statistics": {"groups": len(groups), **means}}


def _calibrations(model: Model, data: Data) -> dict[str, Any]:
    """Calibration of every head and of their mean; with normalisation by speaker also without known speakers."""
    parts = data.parts("valid")
    heads = [*model.network.head_adapter_pairs(), MEAN]
    parts_of = {head: {c: p for c, p in parts.items() if head in (c, UNIFIED, MEAN)} for head in heads}
    return {
        key: {head: _calibration(Predictor(model, head), chosen, known) for head, chosen in parts_of.items() if chosen}
        for key, known in zip(CALIBRATIONS, (True, False), strict=True)
        if known or "group_statistics" in model.description
    }


def _calibration(predictor: Predictor, parts: Mapping[str, Part], speakers_known: bool) -> dict[str, Any]:
    """Temperature, calibration error before and after, and sorted confidences on validation parts."""
    posteriors = np.concatenate([_posteriors(predictor, part, speakers_known) for part in parts.values()])
    index = {name: i for i, name in enumerate(predictor.classes)}
    targets = np.concatenate([[index[part.classes[t]] for t in part.targets] for part in parts.values()])
    answers = posteriors.argmax(1)
    right = answers == targets
    temperature, fitted = choose_temperature(posteriors, targets)
    rejected: dict[str, Any] = {}
    if fitted != temperature:
        ece = expected_calibration_error(tempered(posteriors, fitted).max(1), right)
        rejected = {"rejected": {"temperature": fitted, "ece": ece}}
    before, after = posteriors.max(1), tempered(posteriors, temperature).max(1)
    order = np.argsort(after, kind="stable")
    return {
        "temperature": temperature,
        **rejected,
        "n": len(targets),
        "ua": ua(confusion_matrix(targets, answers, len(index))),
        "ece_before": expected_calibration_error(before, right),
        "ece_after": expected_calibration_error(after, right),
        "confidence": _rounded(after[order]),
        "right": right[order].astype(int).tolist(),
    }


def _posteriors(predictor: Predictor, part: Part, speakers_known: bool) -> np.ndarray:
    """Posteriors of a part, (utterances, classes), with statistics of its speakers or corpus, or those of training."""
    statistics = _statistics(predictor, part) if speakers_known else {}
    groups, posteriors = _groups(predictor, part), []
    for start in range(0, len(part), BATCH_UTTERANCES):
        batch = range(start, min(start + BATCH_UTTERANCES, len(part)))
        features = [predictor.prepare(part.reader.read(part.ids[i]), statistics.get(groups[i])) for i in batch]
        posteriors.append(predictor.posteriors(features))
    return np.concatenate(posteriors)


def _statistics(predictor: Predictor, part: Part) -> dict[str, Statistics]:
    """CMVN statistics of each speaker, or of the corpus, over original utterances; none for other normalisations."""
    utterances = zip(part.ids, _groups(predictor, part), part.original, strict=True) if predictor.grouped else ()
    return predictor.group_statistics_of(
        (group, predictor.preprocessed(part.reader.read(key))) for key, group, original in utterances if original
    )


def _groups(predictor: Predictor, part: Part) -> list[str]:
    return part.speakers if predictor.normalisation == "speaker" else [part.corpus] * len(part)


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
