"""The settings of an experiment. Values live in conf/, so no field has a default here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from ser.common.errors import InputError
from ser.common.kinds import Limit, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Share, SpeedFactor
from ser.common.run_folder import combination_name, run_name


@dataclass(frozen=True)
class Features:
    """conf/features.yaml: the log-STFT."""

    sampling_rate: PositiveInt
    frame_length: PositiveInt
    frame_shift: PositiveInt
    window: Literal["hann", "hamming"]
    floor: PositiveFloat
    storage: Literal["int16", "float32"]

    @property
    def bins(self) -> int:
        return self.frame_length // 2 + 1


@dataclass(frozen=True)
class FrontendSettings:
    """conf/frontend.yaml: the front end, and the settings of front ends other than log_stft."""

    name: str
    bands: PositiveInt
    model: str
    revision: str
    layers: str
    trim_decibels: NonNegativeFloat
    trainable: str
    learning_rate: PositiveFloat


DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]+)?")
Device = Annotated[str, Limit("auto, cpu, cuda, cuda:<number> or mps", lambda value: bool(DEVICE.fullmatch(value)))]
GROUPED = ("speaker", "corpus")  # normalisations that use statistics of other utterances


@dataclass(frozen=True)
class Batches:
    """conf/batches.yaml: mini-batches, normalisation and augmentation on the fly."""

    batch_size: PositiveInt
    crop_seconds: PositiveFloat
    normalisation: Literal["global", "none", "utterance", "speaker", "corpus"]
    allow_confounded: bool
    temperature: NonNegativeFloat
    frame_step: PositiveInt
    trim_decibels: NonNegativeFloat
    floor_decibels: NonNegativeFloat
    speeds: list[SpeedFactor]
    vtlp: Share
    time_masks: NonNegativeInt
    time_mask_width: PositiveInt
    frequency_masks: NonNegativeInt
    frequency_mask_width: PositiveInt


@dataclass(frozen=True)
class Lstm:
    """network.lstm: one direction of lstm and blstm."""

    hidden_size: PositiveInt


@dataclass(frozen=True)
class Tdnn:
    """network.tdnn."""

    layers: PositiveInt
    size: PositiveInt
    norm: Literal["none", "layer"]


@dataclass(frozen=True)
class Attention:
    """network.attention: restricted self-attention."""

    layers: PositiveInt
    size: PositiveInt
    heads: PositiveInt
    context: NonNegativeInt

    def __post_init__(self) -> None:
        _check_multiple("network.attention.size", self.size, "heads", self.heads)


@dataclass(frozen=True)
class Nin:
    """network.nin: network in network."""

    layers: PositiveInt
    size: PositiveInt
    hidden: PositiveInt
    blocks: PositiveInt

    def __post_init__(self) -> None:
        _check_multiple("network.nin.size", self.size, "blocks", self.blocks)
        _check_multiple("network.nin.hidden", self.hidden, "blocks", self.blocks)


def _check_multiple(key: str, size: int, parts: str, number: int) -> None:
    if size % number:
        raise InputError(f"{size} cannot be divided among {number} {parts}", key, f"give a multiple of {number}")


@dataclass(frozen=True)
class Network:
    """conf/network.yaml: settings of each temporal block, and those that all networks share."""

    prep_layers: NonNegativeInt
    prep_size: PositiveInt
    prep_dropout: Share
    lstm: Lstm
    tdnn: Tdnn
    attention: Attention
    nin: Nin
    dropout: Share
    adapter_size: NonNegativeInt
    layers: Literal["weighted", "concatenated"]
    pooled_norm: Literal["none", "batch"]
    head_dropout: Share


@dataclass(frozen=True)
class Training:
    """conf/training.yaml: optimisation and early stopping."""

    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    gradient_clip: PositiveFloat
    steps_per_epoch: PositiveInt | Literal["auto"]
    max_steps_per_epoch: PositiveInt
    valid_utterances: NonNegativeInt | Literal["auto"]
    budget: Literal["total", "per_corpus"]
    patience: PositiveInt
    min_delta: Share
    max_epochs: PositiveInt
    device: Device
    ngpu: PositiveInt
    precision: Literal["auto", "float32", "bfloat16"]
    threads: NonNegativeInt
    checkpoint_seconds: PositiveFloat
    local_dump: str
    schedule: Literal["constant", "half_linear"]
    keep: Literal["best", "last"]
    average: PositiveInt
    label_smoothing: Share
    mixup: NonNegativeFloat
    class_weights: Literal["balanced", "none"]
    adversarial_weight: NonNegativeFloat
    gender_weight: NonNegativeFloat
    soft_labels: bool
    loss: str
    focal_gamma: NonNegativeFloat
    tensorboard: bool
    wandb: Literal["none", "offline", "online"]

    @property
    def can_continue(self) -> bool:
        """Whether a finished training can continue: no update depends on the planned number of updates."""
        return self.schedule == "constant" and self.adversarial_weight == 0


@dataclass(frozen=True)
class Experiment:
    """The settings of an experiment, which with data and code determine the result.

    Attributes:
        augment: conf/augment.yaml, nested; the keys of a transform are the fields of its class (KINDS in the registry).
    """

    preset: str
    corpora: list[str]
    split: str
    fold: PositiveInt
    seed: NonNegativeInt
    task: Literal["multi", "unified"]
    temporal: str
    pooling: str
    frontend: FrontendSettings
    features: Features
    batches: Batches
    network: Network
    training: Training
    augment: dict[str, Any]

    @property
    def combination(self) -> str:
        return combination_name(self.corpora)

    @property
    def folder(self) -> str:
        """Path of the run below exp/."""
        cell = f"{self.task}_{self.temporal}_{self.pooling}"
        return f"{self.combination}/{cell}/{run_name(self.fold, self.seed)}"
