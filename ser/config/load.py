"""Read conf/, a preset and the command line into an `Experiment`."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from ser.common import InputError, did_you_mean, write_text
from ser.common.kinds import of_kind, of_setting
from ser.common.output import ROOT
from ser.config.augment import resolve_augment, types
from ser.config.registry import FRONTENDS, check_names, from_registry
from ser.config.schema import Experiment
from ser.config.yaml_file import QUOTE, parse_option, read_yaml, shown

AUGMENT = ROOT / "conf" / "augment.yaml"
# Lines of config.yaml in which the runs of a cell differ.
NUMBERS = re.compile(r"^(fold|seed): (\d+)$", re.MULTILINE)
SECTIONS = {name: kind for name, kind in get_type_hints(Experiment).items() if is_dataclass(kind)}


@lru_cache
def keys() -> tuple[str, ...]:
    """All dotted keys: the fields of the schema, and what the toolkit's conf/augment.yaml has."""
    return (*_types(), *_augment())


@lru_cache
def _types() -> dict[str, Any]:
    """Dotted keys of the schema and the types of their values."""
    found = dict(_fields(Experiment))
    del found["augment"]
    return found


def _fields(kind: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, own in get_type_hints(kind, include_extras=True).items():
        if is_dataclass(own):
            yield from _fields(own, f"{prefix}{name}.")
        else:
            yield prefix + name, own


@lru_cache
def _augment() -> dict[str, Any]:
    """Dotted keys and values of the toolkit's own conf/augment.yaml."""
    return dict(_flatten({"augment": read_yaml(AUGMENT)}))


def find(name: str, recipe: Path | None) -> Path:
    """A file of the recipe's own folder, else the toolkit's.

    Raises:
        InputError: neither has it; the message lists what stands beside it.
    """
    places = [place / name for place in (recipe, ROOT) if place is not None]
    for path in places:
        if os.path.isfile(path):  # Path.is_file raises where a name is too long
            return path
    beside = sorted({path.stem for place in places for path in place.parent.glob(f"*{Path(name).suffix}")})
    below = " or ".join(str(place.parent) for place in places)
    raise InputError(f"no such file below {below}; there is: {', '.join(beside) or 'nothing'}", name)


def load(preset: str, recipe: Path | None = None, overrides: Sequence[str] = ()) -> Experiment:
    """conf/*.yaml, those of the recipe, then conf/presets/<preset>.yaml, then `overrides` ("fold=2").

    Raises:
        InputError: a key that does not exist (the nearest known one is named) or a value of the wrong kind.
    """
    values: dict[str, Any] = {"preset": preset}
    origin: dict[str, str] = {}
    for section in ("experiment", *SECTIONS, "augment"):
        for place in dict.fromkeys((ROOT, recipe or ROOT)):
            path = place / "conf" / f"{section}.yaml"
            if place == ROOT or path.is_file():
                own = read_yaml(path)
                _collect(own if section == "experiment" else {section: own}, str(path), values, origin)
    path = find(f"conf/presets/{preset}.yaml", recipe)
    _collect(read_yaml(path), str(path), values, origin)
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign:
            raise InputError(f"{override}: expected key=value, such as training.learning_rate=1e-3", "command line")
        if key == "preset":
            raise InputError(f"{override}: sets a name and no values", "command line", f"use --preset {text}")
        value = parse_option(text, f"command line: key {key} = {shown(text)}")
        _collect({key: value}, "command line", values, origin)
    return _build(values, origin, "command line")


def write_experiment(experiment: Experiment, path: Path) -> None:
    """Write the effective configuration; `read_experiment` gives it back."""
    write_text(path, yaml.safe_dump(asdict(experiment), sort_keys=False))


def read_experiment(path: Path) -> Experiment:
    """Read what `save` wrote."""
    if not path.is_file():
        raise InputError("no such file; ./run.sh writes it", path)
    values: dict[str, Any] = {**_augment(), **ADDED_DEFAULTS}
    origin = dict.fromkeys(values, str(AUGMENT))
    _collect(with_new_names(read_yaml(path)), str(path), values, origin)
    return _build(values, origin, str(path))


class ExperimentReader:
    """Reads many config.yaml: those that differ in fold and seed alone are parsed once, for parsing takes long."""

    def __init__(self) -> None:
        self._parsed: dict[str, Experiment] = {}

    def read(self, path: Path) -> Experiment:
        """As `read_experiment` does."""
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        numbers: dict[str, Any] = {key: int(value) for key, value in NUMBERS.findall(text)}
        if numbers.keys() != {"fold", "seed"} or numbers["fold"] < 1:
            return read_experiment(path)  # which reports what is wrong
        rest = NUMBERS.sub("", text)
        if rest not in self._parsed:
            self._parsed[rest] = read_experiment(path)
        return replace(self._parsed[rest], **numbers)


# How a run is carried out, which decides neither what is learnt nor from what.
RUNTIME_KEYS = {
    *("training.device", "training.ngpu", "training.threads", "training.checkpoint_seconds", "training.local_dump"),
    *("training.tensorboard", "training.wandb", "batches.allow_confounded"),
}
# How updates are divided among corpora, which decides nothing where there is one.
BUDGET = "training.budget"
# Options that came later, with the value that leaves them off: results made before stay valid.
ADDED_DEFAULTS = {
    "training.adversarial_weight": 0.0,
    "training.gender_weight": 0.0,
    "training.soft_labels": False,
    "training.loss": "cross_entropy",
    "training.focal_gamma": 2.0,
    "training.max_steps_per_epoch": 1000,
    "training.valid_utterances": "auto",
    "training.local_dump": "",
    "training.ngpu": 1,
    "training.tensorboard": False,
    "training.wandb": "none",
    BUDGET: "total",
    "batches.allow_confounded": False,
    "augment.copies": 0,
    "frontend.name": "log_stft",
    "frontend.bands": 40,
    "frontend.model": "whisper_tiny.en",
    "frontend.revision": "",
    "frontend.layers": "all",
    "frontend.trim_decibels": 40.0,
    "frontend.trainable": "none",
    "frontend.learning_rate": 1e-5,
    "network.layers": "weighted",
    "network.pooled_norm": "none",
    "network.head_dropout": 0.0,
}


# Old name of a key -> its name.
RENAMED = {
    "training.improvement": "training.min_delta",
    "network.hidden_size": "network.lstm.hidden_size",
    **{f"network.tdnn_{key}": f"network.tdnn.{key}" for key in ("layers", "size", "norm")},
    **{f"network.attention_{key}": f"network.attention.{key}" for key in ("layers", "size", "heads", "context")},
    **{f"network.nin_{key}": f"network.nin.{key}" for key in ("layers", "size", "hidden", "blocks")},
}
FIRST_NAMES = {new: old for old, new in RENAMED.items()}


def with_new_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings of an earlier version, with the names that the keys have now."""
    return _nested({RENAMED.get(key, key): value for key, value in _flatten(values)})


def dotted(experiment: Experiment) -> dict[str, Any]:
    """Dotted keys and values of all settings."""
    return dict(_flatten(asdict(experiment)))


def changed(experiment: Experiment, values: Mapping[str, Any], source: str) -> Experiment:
    """An experiment with other values of some dotted keys.

    Args:
        source: where these come from, for messages.

    Raises:
        InputError: a value of the wrong kind.
    """
    found = dotted(experiment) | dict(values)
    return _build(found, dict.fromkeys(found, source), source)


def _compared(experiment: Experiment) -> dict[str, Any]:
    """Dotted keys and values; the budget of a single corpus counts as the one that older results have."""
    return dotted(experiment) | ({BUDGET: ADDED_DEFAULTS[BUDGET]} if len(experiment.corpora) == 1 else {})


def result_affecting(experiment: Experiment) -> dict[str, Any]:
    """Dotted keys and values of what decides a result, for digests: each key under its first name.

    So a result made before a key was renamed stays valid.
    """
    return {FIRST_NAMES.get(key, key): value for key, value in _result_affecting(experiment).items()}


def shared_settings(experiment: Experiment) -> dict[str, Any]:
    """Those of `result_affecting` that all cells, folds and seeds of a grid have in common."""
    # Two corpora, so that the settings of augmentation are among them for every cell, or for none.
    return result_affecting(
        replace(experiment, corpora=["", ""], task="multi", temporal="", pooling="", fold=1, seed=0)
    )


def comparable_settings(experiment: Experiment) -> dict[str, Any]:
    """`shared_settings` but for the budget: those of results that stand in one table."""
    return {key: value for key, value in shared_settings(experiment).items() if key != BUDGET}


def _result_affecting(experiment: Experiment) -> dict[str, Any]:
    """The same under the names of today.

    Of augmentation these are the kinds in use, and only where copies can come of them: with copies = 1 the largest
    corpus gets none, and so a single one.
    """
    least = 2 if len(experiment.corpora) == 1 else 1
    section = experiment.augment
    used = ["copies", "chain", "kinds", *section["kinds"]] if section["copies"] >= least else []
    return {
        key: value
        for key, value in _compared(experiment).items()
        if key not in RUNTIME_KEYS
        and ADDED_DEFAULTS.get(key) != value
        and (not key.startswith("augment.") or key.split(".")[1] in used)
    }


def deciding(experiment: Experiment) -> set[str]:
    """Dotted keys of what decides a result or, as an option that came later, is off."""
    idle = {BUDGET} if len(experiment.corpora) == 1 else set()
    return {*_result_affecting(experiment), *ADDED_DEFAULTS} - idle


def differences(one: Experiment, other: Experiment) -> dict[str, tuple[Any, Any]]:
    """Dotted keys that decide the result of either and differ, with both values."""
    first, second = _compared(one), _compared(other)
    found = dict.fromkeys([*_result_affecting(one), *_result_affecting(other)])
    return {key: (first[key], second[key]) for key in found if first[key] != second[key]}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        place = result
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return result


def _collect(new: dict[str, Any], source: str, values: dict[str, Any], origin: dict[str, str]) -> None:
    for key, value in _flatten(new):
        if key in RENAMED:
            warnings.warn(f"{source}: {key} is now called {RENAMED[key]}", stacklevel=2)
            key = RENAMED[key]
        if key not in keys():
            raise InputError(f"unknown key {key}{did_you_mean(key, keys())} (all keys: conf/*.yaml)", source)
        values[key] = "" if value is None and _augment().get(key) == "" else value  # no folder
        origin[key] = source


def _build(values: dict[str, Any], origin: dict[str, str], last: str) -> Experiment:
    for key in keys():
        if values.get(key) is None:
            raise InputError(f"key {key} has no value", origin.get(key, last), "give it one")
    check_names(values, origin)
    if isinstance(layers := values["frontend.layers"], int):  # of one layer, which YAML takes for a number
        values["frontend.layers"] = str(layers)
    typed: dict[str, Any] = {}
    for key, kind in {**_types(), **types()}.items():
        if key not in values:  # of a kind of augmentation, with a default of its own
            continue
        try:
            typed[key] = of_setting(kind, values[key], key)
        except ValueError as error:
            place, _, wanted = str(error).rpartition(", expected ")
            item = place.partition(" = ")[0].removeprefix(key)  # "[0]" of a list
            hint = f", such as [{shown(values[key])}]" if wanted == "a list" else QUOTE if wanted == "text" else ""
            what = f"{item and f'item {item} '}must be {wanted}{hint}"
            raise InputError(f"key {key} = {shown(values[key])}: {what}", origin[key]) from None
    nested = _nested(typed)
    nested["augment"] = resolve_augment(nested["augment"], origin, str(AUGMENT))
    experiment: Experiment = of_kind(Experiment, nested, "")
    try:
        from_registry(FRONTENDS, experiment.frontend.name).check(experiment)
    except InputError as error:
        key = str(error.where).partition(" ")[0]
        raise InputError(f"key {error.where}: {error.what}", origin.get(key, last), error.fix) from None
    return experiment
