"""From a finished experiment, or several as an ensemble, to a model package."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from ser.batches import UNIFIED, Data, Part, open_data
from ser.common import InputError, atomic_path, digest, write_json, write_text
from ser.common.files import sha256
from ser.common.kinds import of_kind
from ser.common.metrics import confusion_matrix, ua
from ser.common.provenance import provenance
from ser.common.records import read_record
from ser.common.run_folder import CONFIG, MODEL, RESULT, TRAIN
from ser.config import Experiment, read_experiment
from ser.config.load import ROOT, comparable_settings
from ser.config.schema import GROUPED
from ser.frontends import build_frontend
from ser.frontends.pretrained import Pretrained
from ser.inference import model as folders
from ser.inference.base import CALIBRATIONS, Statistics
from ser.inference.card import seen_name, write_card
from ser.inference.model import Model, build_svm, write_sums
from ser.inference.predict.inputs import manifest_rows
from ser.inference.predictor import MEAN, Predictor
from ser.nets import Ensemble, build
from ser.scoring import baseline, files
from ser.scoring.calibration import choose_temperature, expected_calibration_error, tempered
from ser.scoring.files import read_result
from ser.scoring.posteriors import read_posteriors
from ser.scoring.result import read_train, score_part
from ser.training.checkpoint import load_tensors, save_tensors

TOLD = ("name", "description", "licence", "citation", "source", "language", "note")
IN_ONE_GO = 256  # utterances whose features are held


@dataclass(frozen=True)
class _Member:
    """A finished experiment.

    Attributes:
        result: what train.json and result.json hold.
        svm: description in the package, of a baseline.
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
        """Its place below the exp folder."""
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
    """Write the model package of an experiment, an SVM or an ensemble of experiments, whole or not at all.

    An ensemble answers by the mean of its members' posteriors.

    Args:
        experiments: folder of a finished experiment or of steps/baseline.py, or of each member.
        recipe: the recipe folder; None: the one that holds the exp folder, as run.sh has it.
        data_root: prepared corpora; None: data in the recipe folder.
        dump_root: feature store; None: the toolkit's.
        reference: name a pretrained encoder by its hash, in place of a copy of its weights.
        findings: findings.json of a grid of the same settings, whose leave-one-corpus-out scores the card shows.

    Returns:
        What model.json holds.

    Raises:
        InputError: an experiment is not finished, or its settings, data or results are not those of its weights; or
            members differ in what they get, in their labels or in their speakers.
    """
    opened = partial(_data, recipe=recipe, data_root=data_root, dump_root=dump_root)
    members = []
    for path in [experiments] if isinstance(experiments, Path) else experiments:
        is_svm = (path / baseline.MODEL).is_file() or path.parent.name.startswith("svm_")
        members.append((_baseline if is_svm else _trained_network)(path, opened))
    for number, member in enumerate(members):
        _check_members(members[:number], member)
    data = members[0].data
    unseen = _unseen_corpora(findings, data.experiment) if findings else []
    if out.exists() and not (out / folders.SUMS).is_file():
        raise InputError("exists, and is no model package", out, "give another name")
    other = ""
    with suppress(InputError):  # of a damaged package, which is made again
        if out.exists() and (held := folders.read_description(out)["corpora"].keys()) != data.protocols.keys():
            other = ", ".join(held)
    if other:
        raise InputError(f"a model package of {other}", out, "give another name, or remove it")
    built = build_frontend(data.experiment)
    frontend = built if isinstance(built, Pretrained) else None
    seen, trained = _trained(data)
    description: dict[str, Any] = {
        "format": folders.FORMAT,
        "settings": _settings(members[0]),
        **({"svm": members[0].svm} if members[0].svm else {}),
        **({"members": [_settings(member) for member in members]} if len(members) > 1 else {}),
        "heads": {head: list(classes) for head, classes in data.heads.items()},
        "corpora": {c: {key: getattr(p, key) for key in TOLD} for c, p in data.protocols.items()},
        "trained": trained,
        **({"frontend": frontend.describe()} if frontend is not None else {}),
        "provenance": {**_provenance(members), "packed_with": provenance()},
    }
    model = _model(members, description)
    description |= _group_statistics(model, data)
    description["metrics"] = _metrics(members, model)
    if unseen:
        description["unseen_corpora"] = unseen
    description |= _calibrations(model, data)
    with atomic_path(out) as folder:
        folder.mkdir()
        if len(members) == 1:
            shutil.copyfile(members[0].weights, folder / folders.WEIGHTS)
        else:
            save_tensors(folder / folders.WEIGHTS, model.network.state_dict(), {"classes": model.network.classes})
        write_json(folder / folders.DESCRIPTION, description)
        write_text(folder / folders.SEEN, "".join(f"{name}\n" for name in seen))
        encoder: list[str] = []
        if frontend is not None and not reference:
            frontend.save(folder / folders.FRONTEND)
            encoder = [f"{folders.FRONTEND}/{path.name}" for path in sorted((folder / folders.FRONTEND).iterdir())]
        write_card(folder)
        write_sums(folder, *encoder)
    return description


def _data(
    experiment: Experiment, folder: Path, recipe: Path | None, data_root: Path | None, dump_root: Path | None
) -> Data:
    around = folder.resolve().parents  # <recipe>/exp/<combination>/<cell>/<fold and seed>
    recipe = recipe or (around[3] if len(around) > 3 else folder)
    data_root, dump_root = data_root or recipe / "data", dump_root or ROOT / "dump"
    for place, option, what in ((data_root, "data", "prepared corpora"), (dump_root, "dump", "feature store")):
        if not place.is_dir():
            raise InputError(f"no {what} in {place}", folder, f"give --recipe and --{option} as run.sh got them")
    return open_data(experiment, recipe, data_root, dump_root)


def _baseline(folder: Path, opened: Callable[[Experiment, Path], Data]) -> _Member:
    """A finished baseline.

    Raises:
        InputError: it has no model, summarises what a package cannot, or is not of these data.
    """
    path, again = folder / baseline.MODEL, "remove the folder and run steps/baseline.py again"
    if not path.is_file():
        raise InputError(f"holds no {baseline.MODEL}", folder, again)
    result, meta = read_result(folder / RESULT), load_tensors(path)[1]
    try:
        own = of_kind(_SavedSVM, meta, "")
        experiment = folders.experiment_from(own["settings"])
    except ValueError as error:
        raise InputError(f"not a baseline of this version ({error})", path, again) from None
    if own["features"] == "opensmile":
        raise InputError("of openSMILE's functionals, which a package cannot compute", folder, "give another baseline")
    data = opened(experiment, folder)
    identity = baseline.identity_of(data, own["features"], experiment.batches.normalisation)
    if not own["fingerprint"] == result.get("fingerprint") == identity["fingerprint"]:
        raise InputError("its model, its result and the prepared data are not of each other", folder, again)
    return _Member(folder, data, result, {key: own[key] for key in ("features", "functionals", "trained", "C")})


class _SavedSVM(TypedDict):
    features: str
    functionals: dict[str, Any]
    trained: list[str]
    C: float
    settings: dict[str, Any]
    fingerprint: str


def _trained_network(folder: Path, opened: Callable[[Experiment, Path], Data]) -> _Member:
    """A finished experiment.

    Raises:
        InputError: it has no result, or one that is not of these settings, data and weights.
    """
    if not (folder / CONFIG).is_file():
        raise InputError(f"no experiment, for it has no {CONFIG}", folder, "give <exp>/<corpora>/<cell>/<fold>")
    data, weights = opened(read_experiment(folder / CONFIG), folder), folder / MODEL
    for needed in (weights, folder / TRAIN, folder / RESULT):
        if not needed.is_file():
            raise InputError(f"not finished, for it has no {needed.name}", folder, "run stages 4 to 6")
    train, (result, _) = read_train(data, folder), files.read_finished(folder)
    files.read_train(folder, [MODEL])
    meta = load_tensors(weights, verified=True)[1]
    hashes = data.hashes()
    if any(meta.get(key) != value or result.get(key) != value for key, value in hashes.items()):
        raise InputError("weights, train.json and result.json are of different trainings", folder, "run stages 4 to 6")
    decoded = read_posteriors(folder, result["part"])
    for corpus in result["targets"]:
        if decoded.entry(corpus)["model"] != digest(weights):
            raise InputError("not the weights that result.json is of", weights, "run stages 5 and 6 again")
    return _Member(folder, data, {**train, **result})


def _check_members(others: Sequence[_Member], member: _Member) -> None:
    """Refuse a member of an ensemble that is of something else than those before it, or one of them.

    Raises:
        InputError: naming the difference.
    """
    for other in others:
        if digest(member.weights) == digest(other.weights):
            raise InputError(f"has the weights of {other.folder}", member.folder, "give each experiment once")
    if others and (member.svm or others[0].svm):
        raise InputError("an SVM", (member if member.svm else others[0]).folder, "pack it by itself")
    for first in others[:1]:
        what = folders.first_difference(first.data.experiment, member.data.experiment)
        stores = [{corpus: store.key for corpus, store in one.data.stores.items()} for one in (first, member)]
        if not what and stores[0] != stores[1]:
            what = "features of other recordings"
        if not what:
            keys = ("split_hash", "protocol_hash", "part")
            what = next((f"another {key}" for key in keys if first.result[key] != member.result[key]), "")
        if not what and first.data.heads != member.data.heads:
            what = "other heads"
        if what:
            raise InputError(
                f"differs from {first.folder}: {what}",
                member.folder,
                "give experiments of the same corpora, fold, front end and preprocessing, such as the seeds of a cell",
            )


def _unseen_corpora(path: Path, experiment: Experiment) -> list[dict[str, Any]]:
    """Leave-one-corpus-out scores of findings.json.

    Raises:
        InputError: it has none, or is of models of other settings.
    """
    found = read_record(path, _Findings, "run steps/findings.py again")
    from ser.findings.stats.effects import LEFT_OUT

    if found["comparable_hash"] != digest(comparable_settings(experiment)):
        raise InputError(f"of models of other settings than {experiment.folder}", path, "give findings of its grid")
    scores = [
        {
            "target": one["target"],
            "trained_on": one["source"].split(),
            "ua": one["value"],
            "low": one["low"],
            "high": one["high"],
            "coverage": found["coverage"],
        }
        for one in found["transfer"]["records"]
        if (one["panel"], one["metric"]) == (LEFT_OUT, "ua") and one["value"] is not None
    ]
    if not scores:
        raise InputError("no score of a corpus that was left out", path, "give the findings of a grid that has them")
    return scores


class _Findings(TypedDict):
    comparable_hash: str
    transfer: dict[str, Any]
    coverage: float


def _settings(member: _Member) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(asdict(member.data.experiment)))
    return found


def _provenance(members: Sequence[_Member]) -> dict[str, Any]:
    """Where the weights come from; of an ensemble, the different values of its members, in their order."""
    keys = ("config_hash", "data_hash", "split_hash", "code_hash", "git_revision")
    each = [{"experiment": m.name, "weights": sha256(m.weights), **{k: m.result[k] for k in keys}} for m in members]
    found: dict[str, Any] = {key: ", ".join(dict.fromkeys(one[key] for one in each)) for key in each[0]}
    return found | {key: members[0].result[key] for key in ("protocol_hash", "versions")}


def _metrics(members: Sequence[_Member], model: Model) -> dict[str, Any]:
    """Scores as stage 6 and the training have them; of an ensemble, of the mean of its members' posteriors."""
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


def _model(members: Sequence[_Member], description: dict[str, Any]) -> Model:
    import torch

    networks: list[Any] = []
    for member in members:
        settings = member.data.experiment, member.data.heads
        networks.append(build_svm(member.svm, *settings) if member.svm else build(*settings))
        networks[-1].load_state_dict(load_tensors(member.weights, verified=True)[0])
    network = networks[0] if len(networks) == 1 else Ensemble(networks)
    network.eval().requires_grad_(False)
    first = members[0]
    device = torch.device("cpu")
    return Model(first.folder, first.data.experiment, network, device, description, first.data.heads)


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


def _group_statistics(model: Model, data: Data) -> dict[str, Any]:
    """Mean over training speakers or corpora of what normalisation takes out, for files of unknown speakers."""
    if data.experiment.batches.normalisation not in GROUPED:
        return {}
    predictor = Predictor(model)
    found = [s for part in data.parts("train").values() for s in _statistics(predictor, part).values()]
    means = {name: _rounded(np.stack([s[i] for s in found]).mean(0)) for i, name in enumerate(("mean", "deviation"))}
    return {"group_statistics": {"groups": len(found), **means}}


def _calibrations(model: Model, data: Data) -> dict[str, Any]:
    """Of every head and their mean on validation; where speakers are normalised, also as if none were named."""
    parts = data.parts("valid")
    heads = [*model.network.head_adapter_pairs(), MEAN]
    serves = {head: {c: p for c, p in parts.items() if head in (c, UNIFIED, MEAN)} for head in heads}
    return {
        key: {h: _calibration(Predictor(model, h), own, named) for h, own in serves.items() if own}
        for key, named in zip(CALIBRATIONS, (True, False), strict=True)
        if named or "group_statistics" in model.description
    }


def _calibration(predictor: Predictor, parts: Mapping[str, Part], named: bool) -> dict[str, Any]:
    """Temperature and what it does on validation parts, confidences sorted."""
    posteriors = np.concatenate([_posteriors(predictor, part, named) for part in parts.values()])
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


def _posteriors(predictor: Predictor, part: Part, named: bool) -> np.ndarray:
    """(utterances, classes) of a part, its speakers or corpus known or not."""
    statistics = _statistics(predictor, part) if named else {}
    groups = _groups(predictor, part)
    found = []
    for start in range(0, len(part), IN_ONE_GO):
        prepared = []
        for index in range(start, min(start + IN_ONE_GO, len(part))):
            known = statistics.get(groups[index])
            prepared.append(predictor.prepare(part.reader.read(part.ids[index]), known))
        found.append(predictor.posteriors(prepared))
    return np.concatenate(found)


def _statistics(predictor: Predictor, part: Part) -> dict[str, Statistics]:
    """Of each speaker, or of the corpus, over its originals; none where the normalisation takes out none."""
    named = zip(part.ids, _groups(predictor, part), part.original, strict=True) if predictor.grouped else ()
    return predictor.statistics_of(
        (group, predictor.preprocessed(part.reader.read(key))) for key, group, original in named if original
    )


def _groups(predictor: Predictor, part: Part) -> list[str]:
    return part.speakers if predictor.normalisation == "speaker" else [part.corpus] * len(part)


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
