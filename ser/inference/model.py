"""The model package: everything that answers follow from, and nothing that runs.

model.safetensors   weights and normalisation, as training wrote them; of an ensemble those of all members
model.json          settings, class lists, trained range, statistics, calibration, metrics, licences, provenance
seen.txt            SHA-256 of "<corpus>/<utterance id>" of each training utterance, sorted
README.md           the model card
SHA256SUMS          of all of these (`sha256sum -c SHA256SUMS`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from ser.common import InputError, read_json
from ser.common.files import sha256
from ser.common.kinds import of_kind
from ser.common.run_folder import MODEL
from ser.config import Experiment, differences
from ser.config.load import ADDED_DEFAULTS, with_new_names
from ser.config.registry import POOLING, TEMPORAL
from ser.config.schema import GROUPED
from ser.frontends import build_frontend
from ser.frontends.pretrained import find_model
from ser.frontends.weights import weights_digest
from ser.scoring.files import Scores

if TYPE_CHECKING:
    import torch

    from ser.nets import Ensemble, LinearSVM, SpeechEmotionNetwork

# Raise it when the folder cannot be read by the code before.
FORMAT = 1
FRONTEND = "frontend"  # folder of a pretrained encoder
WEIGHTS, DESCRIPTION, SEEN, CARD, SUMS = MODEL, "model.json", "seen.txt", "README.md", "SHA256SUMS"
FILES = (WEIGHTS, DESCRIPTION, SEEN, CARD)
# Settings that the members of an ensemble share, by section or by name: what they get, and whom they are tested on.
SHARED = ("corpora", "split", "fold", "task", "frontend", "features", "batches")
AGAIN = "take an intact copy, or make it again with `ser pack`"


@dataclass(frozen=True)
class Model:
    """An opened model package.

    Attributes:
        experiment: its settings; of an ensemble those of the first member.
        network: float32, in evaluation mode, on `device`.
        description: what model.json holds.
        heads: head -> its class list, in the order of its outputs.
    """

    folder: Path
    experiment: Experiment
    network: SpeechEmotionNetwork | Ensemble | LinearSVM
    device: torch.device
    description: dict[str, Any]
    heads: dict[str, tuple[str, ...]]


def open_model(folder: Path, device: str = "cpu") -> Model:
    """Check a model package and open it; nothing in it is run.

    Args:
        folder: of a model package, or `<owner>/<name>@<revision>` of the hub.
        device: of torch, such as cpu or cuda.

    Raises:
        InputError: no model package, a file that is missing or not as it was packed, weights that are no safetensors
            or of another network or label set, or a format that this version does not know.
    """
    from ser.inference.hub import find_package

    folder = find_package(Path(folder))
    verify_checksums(folder)
    description = read_description(folder)
    experiment = _with_frontend(folder, description, experiment_from(description["settings"]))
    if "group_statistics" in description:
        width = build_frontend(experiment).width
        if "svm" in description:
            from ser.training import svm_baseline as svm

            width = svm.functionals_size(description["svm"]["features"], width)
        if any(len(description["group_statistics"][name]) != width for name in ("mean", "deviation")):
            raise InputError(f"group_statistics: not {width} numbers", folder / DESCRIPTION, AGAIN)
    heads = {head: tuple(classes) for head, classes in description["heads"].items()}
    from ser.training.checkpoint import load_tensors
    from ser.training.device import open_device

    path = folder / WEIGHTS
    place = open_device(device)
    try:
        tensors, meta = load_tensors(path, verified=True)
    except InputError as error:
        raise InputError(error.what, error.where, AGAIN) from None
    try:
        weighed = {head: tuple(names) for head, names in of_kind(_Meta, meta, "")["classes"].items()}
    except ValueError as error:
        raise InputError(f"not the weights of a model ({error})", path, AGAIN) from None
    if weighed != heads:
        raise InputError(
            f"the weights answer {_listed(weighed)}, and {DESCRIPTION} has {_listed(heads)}", folder, AGAIN
        )
    network = _network(description, experiment, heads)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split()).partition(": ")[2][:200]
        raise InputError(f"weights of another network than in {DESCRIPTION} ({reason})", path, AGAIN) from None
    network.eval().requires_grad_(False)
    return Model(folder, experiment, network.to(place), place, description, heads)


def _network(
    description: Mapping[str, Any], experiment: Experiment, heads: Mapping[str, tuple[str, ...]]
) -> SpeechEmotionNetwork | Ensemble | LinearSVM:
    from ser.nets import Ensemble, build

    if "svm" in description:
        return build_svm(description["svm"], experiment, heads)
    if "members" not in description:
        return build(experiment, heads)
    members = map(experiment_from, description["members"])
    return Ensemble([build(replace(one, frontend=experiment.frontend), heads) for one in members])


def build_svm(found: Mapping[str, Any], experiment: Experiment, heads: Mapping[str, tuple[str, ...]]) -> LinearSVM:
    """A linear SVM without its arrays.

    Args:
        found: as of `SVM`.
    """
    from ser.nets import LinearSVM
    from ser.training import svm_baseline as svm

    ((head, classes),) = heads.items()
    return LinearSVM(
        head, classes, found["trained"], svm.functionals_size(found["features"], build_frontend(experiment).width)
    )


def first_difference(one: Experiment, other: Experiment) -> str:
    """The first setting that differs of those that members of an ensemble share, with both values; "" for none.

    Args:
        one: settings of a member.
        other: those of another.
    """
    found = differences(one, other)
    keys = (key for key in found if key.partition(".")[0] in SHARED)
    return next((f"{key} = {found[key][0]} and {found[key][1]}" for key in keys), "")


def _with_frontend(folder: Path, description: Mapping[str, Any], experiment: Experiment) -> Experiment:
    """The experiment with the pretrained encoder that the package holds, or the one that it refers to.

    Raises:
        InputError: that one is absent, or has other weights.
    """
    if "frontend" not in description:
        return experiment
    place = folder / FRONTEND
    if place.is_dir():
        return replace(experiment, frontend=replace(experiment.frontend, model=str(place)))
    settings, wanted = experiment.frontend, description["frontend"]["weights"]
    if (found := weights_digest(find_model(settings.model, settings.revision))) != wanted:
        raise InputError(
            f"made with {settings.model} of SHA-256 {wanted}, and the one here has {found}", folder, "get that one"
        )
    return experiment


class _Meta(TypedDict):
    classes: dict[str, list[str]]


class CorpusDescription(TypedDict):
    """A corpus of the training, as its protocol has it."""

    name: str
    description: str
    licence: str
    citation: str
    source: str
    language: str
    note: str


class TrainingCounts(TypedDict):
    """Of the training part of a corpus."""

    utterances: int
    speakers: int


class Trained(TypedDict):
    """What the training part spans: seconds, and how often each rate, in Hz, is in it."""

    seconds: list[float]
    sampling_rates: dict[str, int]
    corpora: dict[str, TrainingCounts]


class Metrics(TypedDict):
    """Scores of a part and of validation, by corpus."""

    part: str
    split: str
    test: dict[str, Scores]
    valid: dict[str, Scores]


class Unseen(TypedDict):
    """UA with its interval on a corpus, of a model of the same settings that was trained on other corpora alone."""

    target: str
    trained_on: list[str]
    ua: float
    low: float | None
    high: float | None
    coverage: float


class Statistics(TypedDict):
    """Mean over groups of what normalisation takes out, by bin."""

    groups: int
    mean: list[float]
    deviation: list[float]


class RejectedTemperature(TypedDict):
    """A fitted temperature that is not applied (1 is), since it makes the calibration error on validation worse."""

    temperature: float
    ece: float


class HeadCalibration(TypedDict):
    """Of a head on validation: confidences, sorted, and whether the answer of each is right, 1 or 0."""

    temperature: float
    rejected: NotRequired[RejectedTemperature]
    n: int
    ua: float
    ece_before: float
    ece_after: float
    confidence: list[float]
    right: list[int]


class Provenance(TypedDict):
    """Where the weights come from."""

    experiment: str
    weights: str
    config_hash: str
    data_hash: str
    split_hash: str
    code_hash: str
    git_revision: str


class EncoderRecord(TypedDict):
    """A pretrained encoder in front of the network, and the SHA-256 of its weights."""

    model: str
    revision: str
    weights: str
    licence: str


class SVM(TypedDict):
    """A linear SVM in place of a network: what it summarises and how, its trained classes, and its C."""

    features: Literal["logmel", "statistics"]
    functionals: dict[str, Any]
    trained: list[str]
    C: float


class Description(TypedDict):
    """model.json."""

    settings: dict[str, Any]
    members: NotRequired[list[dict[str, Any]]]  # settings of each member of an ensemble
    svm: NotRequired[SVM]
    heads: dict[str, list[str]]
    corpora: dict[str, CorpusDescription]
    trained: Trained
    group_statistics: NotRequired[Statistics]
    frontend: NotRequired[EncoderRecord]
    metrics: Metrics
    unseen_corpora: NotRequired[list[Unseen]]
    provenance: Provenance
    calibration: dict[str, HeadCalibration]
    calibration_without_speakers: NotRequired[dict[str, HeadCalibration]]


def read_description(folder: Path) -> dict[str, Any]:
    """What model.json holds.

    Raises:
        InputError: it is no such file, of a format that this version does not know, or of values of another kind.
    """
    path = folder / DESCRIPTION
    found = read_json(path)
    number = found.get("format") if isinstance(found, dict) else None
    if number != FORMAT or isinstance(number, bool):
        raise InputError(
            f"format {number}, and this version reads {FORMAT}", path, "update the toolkit, or pack it again"
        )
    try:
        found = dict(of_kind(Description, found, ""))
        _check(found, experiment_from(found["settings"]))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"not a description of a model ({error})", path, AGAIN) from None
    return found


def _check(description: Mapping[str, Any], experiment: Experiment) -> None:
    """Whether values of the right kind are possible.

    Raises:
        ValueError: naming the first that is not.
    """
    heads, seconds = description["heads"], description["trained"]["seconds"]
    if not heads or not all(heads.values()) or any(len({*names}) < len(names) for names in heads.values()):
        raise ValueError("heads: no heads, no classes, or a class twice")
    if "svm" in description:
        _check_svm(description["svm"], heads)
    if not description["corpora"]:
        raise ValueError("corpora: none")
    for number, settings in enumerate(description.get("members", ())):
        if what := first_difference(experiment, experiment_from(settings)):
            raise ValueError(f"members[{number}]: {what}")
    if description.get("members") == []:
        raise ValueError("members: none")
    rates = description["trained"]["sampling_rates"]
    if len(seconds) != 2 or not 0 < seconds[0] <= seconds[1]:
        raise ValueError(f"trained.seconds = {seconds}, expected the shortest and the longest")
    if not rates or not all(re.fullmatch(r"[1-9]\d{0,8}", rate) for rate in rates):
        raise ValueError("trained.sampling_rates: expected numbers of Hz")
    kinds = ["calibration"]
    if experiment.batches.normalisation in GROUPED:
        kinds.append("calibration_without_speakers")
        if missing := {"group_statistics", *kinds} - description.keys():
            raise ValueError(f"{min(missing)} is missing")
        if min(description["group_statistics"]["deviation"], default=0) < 0:
            raise ValueError("group_statistics.deviation: below 0")
    for kind in kinds:
        for head, found in description[kind].items():
            confidence, right = found["confidence"], found["right"]
            if not found["temperature"] > 0 or len(confidence) != len(right) or not {*right} <= {0, 1}:
                raise ValueError(f"{kind}.{head}: temperature, confidence or right")
            if any(not 0 <= value <= 1 for value in confidence):
                raise ValueError(f"{kind}.{head}.confidence: expected numbers of 0 to 1")


def _check_svm(found: Mapping[str, Any], heads: Mapping[str, list[str]]) -> None:
    from ser.training import svm_baseline as svm

    if found["functionals"] != svm.functional_settings(found["features"]):
        raise ValueError(f"svm.functionals = {found['functionals']}, which this version does not compute")
    if len(heads) != 1:
        raise ValueError("svm: of several heads")
    (classes,) = heads.values()
    if len(found["trained"]) < 2 or found["trained"] != [name for name in classes if name in found["trained"]]:
        raise ValueError("svm.trained: expected at least two of the classes, in their order")


def experiment_from(settings: Mapping[str, Any]) -> Experiment:
    """Settings as `Experiment`, checked by its own types.

    Raises:
        ValueError: a key that is missing, unknown or of another kind; a block that this version does not know.
    """
    settings, later = with_new_names(settings), dict[str, Any]()
    for key, value in ADDED_DEFAULTS.items():
        section, _, name = key.partition(".")
        later.setdefault(section, {})[name] = value
    filled = {k: {**later.get(k, {}), **v} if isinstance(v, Mapping) else v for k, v in settings.items()}
    made: Experiment = of_kind(Experiment, filled, "settings")
    for name, known in ((made.temporal, TEMPORAL), (made.pooling, POOLING)):
        if name not in known:
            raise ValueError(f"{name} is none of {', '.join(known)}")
    return made


def verify_checksums(folder: Path) -> None:
    """Compare every file with SHA256SUMS.

    Raises:
        InputError: one is missing or changed, or a name leads out of the folder.
    """
    if not folder.is_dir():
        what = "a graph, which this command does not take" if folder.suffix == ".onnx" else "no such folder"
        raise InputError(what, folder, "give one that `ser pack` made")
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"no model package, for it has no {SUMS}", folder, "give one that `ser pack` made") from None
    except UnicodeDecodeError:
        raise InputError("not text", folder / SUMS, AGAIN) from None
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = re.fullmatch(r"([0-9a-f]{64}) [ *]((?:frontend/)?[A-Za-z0-9][\w.-]*)", line)
        if match is None:
            raise InputError("not `<SHA-256>  <name of a file in this folder>`", f"{folder / SUMS}:{number}", AGAIN)
        sums[match[2]] = match[1]
    for name in FILES:
        if name not in sums:
            raise InputError(f"does not name {name}", folder / SUMS, AGAIN)
    for name, wanted in sums.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise InputError("missing, or a link", path, AGAIN)
        _refuse_pickle(path)
        if sha256(path) != wanted:
            raise InputError(f"not the file that was packed (SHA-256 differs from {SUMS})", path, AGAIN)


def write_sums(folder: Path, *others: str) -> None:
    """Write SHA256SUMS of the files of a model package, of `others`, and of what else it names already."""
    from ser.common import write_text

    path = folder / SUMS
    named = [line[66:] for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    names = list(dict.fromkeys([*FILES, *others, *(name for name in named if (folder / name).is_file())]))
    write_text(path, "".join(f"{sha256(folder / n)}  {n}\n" for n in names))


def _refuse_pickle(path: Path) -> None:
    """A pickle can run anything, so it is refused by its first bytes, whatever its name."""
    if path.suffix != ".safetensors":
        return
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] != b"{" and (head[:1] == b"\x80" or head[:4] == b"PK\x03\x04"):  # safetensors: a length, then JSON
        raise InputError("a pickle, which may hold code and is not opened, not safetensors", path, AGAIN)


def _listed(heads: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{head} ({' '.join(classes)})" for head, classes in heads.items()) or "nothing"
