"""Registries of front ends, temporal blocks, poolings, losses, metrics and augmentation transforms.

Adding a part takes one file and one line here. The values are strings, so that a name can be checked without importing
torch. A front end is built from the settings of features and front end, a temporal block from the input size and the
settings of the network, a pooling from the frame size, a loss from the settings of the training. A metric is a
`Metric`. An augmentation transform is a dataclass, whose fields without default are keys of its section in
conf/augment.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ser.common import InputError, did_you_mean
from ser.config.yaml_file import shown

FRONTENDS = {
    "log_stft": "ser.frontends.log_stft:LogStft",
    "logmel": "ser.frontends.logmel:LogMel",
    "pretrained": "ser.frontends.pretrained:Pretrained",
}
TEMPORAL = {
    "none": "ser.nets.temporal:none",
    "lstm": "ser.nets.temporal:lstm",
    "blstm": "ser.nets.temporal:blstm",
    "tdnn": "ser.nets.temporal:tdnn",
    "attention": "ser.nets.temporal:attention",
    "nin": "ser.nets.temporal:nin",
}
POOLING = {
    "mu": "ser.nets.pooling:mean",
    "mu_sigma2": "ser.nets.pooling:mean_and_variance",
    "mean": "ser.nets.statistics:mean",
    "statistics": "ser.nets.statistics:statistics",
    "attentive_statistics": "ser.nets.statistics:attentive_statistics",
}
LOSS = {
    "cross_entropy": "ser.training.losses:CrossEntropy",
    "focal": "ser.training.losses:Focal",
}
# In the order of columns. For results that were made before a metric was added, its cell is empty.
METRICS = {
    "wa": "ser.common.metrics:WA",
    "ua": "ser.common.metrics:UA",
    "macro_f1": "ser.common.metrics:MACRO_F1",
}
# In the order of application to a copy: speaker, room, noise at the microphone, transmission line.
KINDS = {
    "speed": "ser.augment.transforms:Speed",
    "vtlp": "ser.augment.transforms:Vtlp",
    "room": "ser.augment.room:Room",
    "noise": "ser.augment.noise:Noise",
    "band_pass": "ser.augment.transforms:BandPass",
    "mp3": "ser.augment.transforms:Mp3",
    "volume": "ser.augment.transforms:Volume",
}
REGISTRIES = {"frontend.name": FRONTENDS, "temporal": TEMPORAL, "pooling": POOLING, "training.loss": LOSS}


def check_names(values: Mapping[str, Any], origin: Mapping[str, str]) -> None:
    """Check that the registries have all names of a configuration.

    Args:
        values: dotted keys and values of a configuration.
        origin: key -> file or command line that set it.

    Raises:
        InputError: a name is unknown; the message has the closest known name and all others.
    """
    for key, known in REGISTRIES.items():
        _check_name(key, str(values[key]), known, origin)
    kinds = values["augment.kinds"]
    if not isinstance(kinds, list) or not kinds or len(set(map(str, kinds))) < len(kinds):
        raise InputError(
            f"key augment.kinds = {shown(kinds)}: must list kinds, each once, and one at least; "
            f"there is: {', '.join(KINDS)} (no copies at all: augment.copies=0)",
            origin["augment.kinds"],
        )
    for kind in kinds:
        _check_name("augment.kinds", str(kind), KINDS, origin)


def _check_name(key: str, name: str, known: Mapping[str, str], origin: Mapping[str, str]) -> None:
    if name not in known:
        hint = did_you_mean(name, known, "", "? ", cutoff=0.3)
        raise InputError(f"key {key} = {shown(name)}: {hint}there is: {', '.join(known)}", origin[key])


def from_registry(registry: Mapping[str, str], name: str) -> Any:
    """Import what a registry has under a name: a class, a function or a metric."""
    module, _, attribute = registry[name].partition(":")
    return getattr(import_module(module), attribute)
