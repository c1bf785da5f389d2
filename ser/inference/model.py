"""The model package: all that predictions depend on, and no code.

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

from ser.common import InputError, as_input_error, read_json, write_text
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
# Settings that members of an ensemble must share, by section or by name: their input and their test speakers.
SHARED = ("corpora", "split", "fold", "task", "frontend", "features", "batches")
REPACK = "take an intact copy, or make it again with `ser pack`"


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
    """Check a model package and open it; no code in it is run.

    Args:
        folder: of a model package, or `<owner>/<name>@<revision>` of the hub.
        device: of torch, such as cpu or cuda.

    Raises:
        InputError: no model package, a file that is missing or changed, weights that are no safetensors or of another
            network or label set, or a format that this version does not know.
    """
    from ser.inference.hub import find_package

    folder = find_package(Path(folder))
    verify_checksums(folder)
    description = read_description(folder)
    experiment = _with_frontend(folder, description, experiment_from(description["settings"]))
    if "group_statistics" in description:
        width = input_width(description.get("svm"), experiment)
        if any(len(description["group_statistics"][name]) != width for name in ("mean", "deviation")):
            raise InputError(f"group_statistics: not {width} numbers", folder / DESCRIPTION, REPACK)
    heads = {head: tuple(classes) for head, classes in description["heads"].items()}
    from ser.training.checkpoint import load_tensors
    from ser.training.device import open_device

    path, torch_device = folder / WEIGHTS, open_device(device)
    try:
        tensors, meta = load_tensors(path, verified=True)
    except InputError as error:
        raise InputError(error.what, error.where, REPACK) from None
    with as_input_error("not the weights of a model", path, REPACK, ValueError):
        saved_heads = {head: tuple(names) for head, names in of_kind(_Meta, meta, "")["classes"].items()}
    if saved_heads != heads:
        what = f"the weights answer {_format_heads(saved_heads)}, and {DESCRIPTION} has {_format_heads(heads)}"
        raise InputError(what, folder, REPACK)
    network = build_network(description, experiment, heads)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split()).partition(": ")[2][:200]
        raise InputError(f"weights of another network than in {DESCRIPTION} ({reason})", path, REPACK) from None
    network.eval().requires_grad_(False)
    return Model(folder, experiment, network.to(torch_device), torch_device, description, heads)


def build_network(
    description: Mapping[str, Any], experiment: Experiment, heads: Mapping[str, tuple[str, ...]]
) -> SpeechEmotionNetwork | Ensemble | LinearSVM:
    """The network of a package, ensemble or SVM too, without its trained weights.

    Args:
        description: of the package.
        experiment: its settings.
        heads: head -> its class list.
    """
    from ser.nets import Ensemble, LinearSVM, build

    if "svm" in description:
        ((head, classes),) = heads.items()
        return LinearSVM(head, classes, description["svm"]["trained"], input_width(description["svm"], experiment))
    if "members" not in description:
        return build(experiment, heads)
    members = map(experiment_from, description["members"])
    return Ensemble([build(replace(member, frontend=experiment.frontend), heads) for member in members])


def input_width(svm: Mapping[str, Any] | None, experiment: Experiment) -> int:
    """Values of a frame of the front end, or functionals of an utterance for an SVM.

    Args:
        svm: as of `SVM`; None: a network.
        experiment: of the front end.
    """
    width = build_frontend(experiment).width
    if svm is None:
        return width
    from ser.training.svm_baseline import functionals_size

    return functionals_size(svm["features"], width)


def first_difference(one: Experiment, other: Experiment) -> str:
    """The first shared setting of ensembles in which two members differ, with both values; "" for none.

    Args:
        one: settings of a member.
        other: those of another.
    """
    changes = differences(one, other).items()
    return next((f"{key} = {a} and {b}" for key, (a, b) in changes if key.partition(".")[0] in SHARED), "")


def _with_frontend(folder: Path, description: Mapping[str, Any], experiment: Experiment) -> Experiment:
    """The experiment with the pretrained encoder in the package, or with the one that the package refers to.

    Raises:
        InputError: the encoder that it refers to is absent, or has other weights.
    """
    if "frontend" not in description:
        return experiment
    settings, encoder = experiment.frontend, folder / FRONTEND
    if encoder.is_dir():
        return replace(experiment, frontend=replace(settings, model=str(encoder)))
    expected, digest = description["frontend"]["weights"], weights_digest(find_model(settings.model, settings.revision))
    if digest != expected:
        what = f"made with {settings.model} of SHA-256 {expected}, and the one here has {digest}"
        raise InputError(what, folder, "get that one")
    return experiment


class _Meta(TypedDict):
    classes: dict[str, list[str]]


class CorpusDescription(TypedDict):
    """A training corpus, as its protocol describes it."""

    name: str
    description: str
    licence: str
    citation: str
    source: str
    language: str
    note: str


class TrainingCounts(TypedDict):
    """Counts of the training part of a corpus."""

    utterances: int
    speakers: int


class Trained(TypedDict):
    """The training part: shortest and longest utterance in seconds, and utterances by sampling rate in Hz."""

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
    """UA on an unseen corpus with its interval, of a model of the same settings trained on other corpora."""

    target: str
    trained_on: list[str]
    ua: float
    low: float | None
    high: float | None
    coverage: float


class Statistics(TypedDict):
    """CMVN statistics by bin, averaged over training speakers or corpora."""

    groups: int
    mean: list[float]
    deviation: list[float]


class RejectedTemperature(TypedDict):
    """A fitted temperature that is not applied, for it would make the calibration error on validation worse."""

    temperature: float
    ece: float


class HeadCalibration(TypedDict):
    """Calibration of a head on validation: sorted confidences, and whether each label is right, 1 or 0."""

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
    """A pretrained encoder, and the SHA-256 of its weights."""

    model: str
    revision: str
    weights: str
    licence: str


class SVM(TypedDict):
    """A linear SVM in place of a network: its features, functionals, trained classes and C."""

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
        InputError: no such file, a format that this version does not know, or values of another type.
    """
    path = folder / DESCRIPTION
    content = read_json(path)
    number = content.get("format") if isinstance(content, dict) else None
    if number != FORMAT or isinstance(number, bool):
        what = f"format {number}, and this version reads {FORMAT}"
        raise InputError(what, path, "update the toolkit, or pack it again")
    errors = (LookupError, TypeError, ValueError, AttributeError)
    with as_input_error("not a description of a model", path, REPACK, *errors):
        description = dict(of_kind(Description, content, ""))
        _check(description, experiment_from(description["settings"]))
    return description


def _check(description: Mapping[str, Any], experiment: Experiment) -> None:
    """Check the values of a description whose types are right.

    Raises:
        ValueError: it names the first impossible value.
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
        for head, calibration in description[kind].items():
            confidence, right = calibration["confidence"], calibration["right"]
            if not calibration["temperature"] > 0 or len(confidence) != len(right) or not {*right} <= {0, 1}:
                raise ValueError(f"{kind}.{head}: temperature, confidence or right")
            if any(not 0 <= value <= 1 for value in confidence):
                raise ValueError(f"{kind}.{head}.confidence: expected numbers of 0 to 1")


def _check_svm(svm: Mapping[str, Any], heads: Mapping[str, list[str]]) -> None:
    from ser.training.svm_baseline import functional_settings

    if svm["functionals"] != functional_settings(svm["features"]):
        raise ValueError(f"svm.functionals = {svm['functionals']}, which this version does not compute")
    if len(heads) != 1:
        raise ValueError("svm: of several heads")
    (classes,) = heads.values()
    if len(svm["trained"]) < 2 or svm["trained"] != [name for name in classes if name in svm["trained"]]:
        raise ValueError("svm.trained: expected at least two of the classes, in their order")


def experiment_from(settings: Mapping[str, Any]) -> Experiment:
    """Settings of a package as `Experiment`, with defaults for keys that were added later.

    Raises:
        ValueError: a key that is missing, unknown or of another type; a block that this version does not know.
    """
    settings, defaults = with_new_names(settings), dict[str, Any]()
    for key, value in ADDED_DEFAULTS.items():
        section, _, name = key.partition(".")
        defaults.setdefault(section, {})[name] = value
    filled = {k: {**defaults.get(k, {}), **v} if isinstance(v, Mapping) else v for k, v in settings.items()}
    experiment: Experiment = of_kind(Experiment, filled, "settings")
    for name, known in ((experiment.temporal, TEMPORAL), (experiment.pooling, POOLING)):
        if name not in known:
            raise ValueError(f"{name} is none of {', '.join(known)}")
    return experiment


def verify_checksums(folder: Path) -> None:
    """Compare every file with SHA256SUMS.

    Raises:
        InputError: one is missing or changed, or a name leads out of the folder.
    """
    if not folder.is_dir():
        what = "a graph, which this command does not take" if folder.suffix == ".onnx" else "no such folder"
        raise InputError(what, folder, "give one that `ser pack` made")
    path = folder / SUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"no model package, for it has no {SUMS}", folder, "give one that `ser pack` made") from None
    except UnicodeDecodeError:
        raise InputError("not text", path, REPACK) from None
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = re.fullmatch(r"([0-9a-f]{64}) [ *]((?:frontend/)?[A-Za-z0-9][\w.-]*)", line)
        if match is None:
            raise InputError("not `<SHA-256>  <name of a file in this folder>`", f"{path}:{number}", REPACK)
        sums[match[2]] = match[1]
    for name in FILES:
        if name not in sums:
            raise InputError(f"does not name {name}", path, REPACK)
    for name, expected in sums.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise InputError("missing, or a link", path, REPACK)
        _refuse_pickle(path)
        if sha256(path) != expected:
            raise InputError(f"not the file that was packed (SHA-256 differs from {SUMS})", path, REPACK)


def write_sums(folder: Path, *others: str) -> None:
    """Write SHA256SUMS of a model package, of `others`, and of further files that it names already.

    Args:
        folder: the model package.
        others: names of more files.
    """
    path = folder / SUMS
    named = [line[66:] for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    names = list(dict.fromkeys([*FILES, *others, *(name for name in named if (folder / name).is_file())]))
    write_text(path, "".join(f"{sha256(folder / n)}  {n}\n" for n in names))


def _refuse_pickle(path: Path) -> None:
    """Refuse a pickle, which may run code when it is read, by its first bytes."""
    if path.suffix != ".safetensors":
        return
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] != b"{" and (head[:1] == b"\x80" or head[:4] == b"PK\x03\x04"):  # safetensors: a length, then JSON
        raise InputError("a pickle, which may hold code and is not opened, not safetensors", path, REPACK)


def _format_heads(heads: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{head} ({' '.join(classes)})" for head, classes in heads.items()) or "nothing"
