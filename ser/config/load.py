"""Read conf/, a preset and the command line into an `Experiment`."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from ser.common import InputError, did_you_mean, write_text
from ser.common.kinds import of_kind, of_setting
from ser.common.output import ROOT
from ser.config.augment import augment_types, resolve_augment
from ser.config.registry import FRONTENDS, check_names, from_registry
from ser.config.schema import Experiment
from ser.config.yaml_file import QUOTE, parse_mapping, parse_option, read_yaml, shown, yaml_text

AUGMENT = ROOT / "conf" / "augment.yaml"
# Lines of config.yaml that differ between the runs of a cell.
NUMBERS = re.compile(r"^(fold|seed): (0|[1-9]\d{0,8})$", re.MULTILINE)
# Text of a config.yaml without these lines -> its settings.
PARSED: dict[str, Experiment] = {}
SECTIONS = {name: kind for name, kind in get_type_hints(Experiment).items() if is_dataclass(kind)}


@lru_cache
def keys() -> tuple[str, ...]:
    """All dotted keys: the fields of the schema, and the keys of conf/augment.yaml of the toolkit."""
    return (*_types(), *_augment())


@lru_cache
def _types() -> dict[str, Any]:
    """Dotted keys of the schema and the types of their values."""
    types = dict(_fields(Experiment))
    del types["augment"]
    return types


def _fields(kind: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if is_dataclass(hint):
            yield from _fields(hint, f"{prefix}{name}.")
        else:
            yield prefix + name, hint


@lru_cache
def _augment() -> dict[str, Any]:
    """Dotted keys and values of conf/augment.yaml of the toolkit."""
    return dict(_flatten({"augment": read_yaml(AUGMENT)}))


def find(name: str, recipe: Path | None) -> Path:
    """Find a file in the folder of the recipe, otherwise in that of the toolkit.

    Args:
        name: path below these folders.
        recipe: folder of the recipe; None: look in the toolkit only.

    Raises:
        InputError: neither has it; the message lists the files in the same folder.
    """
    paths = [folder / name for folder in (recipe, ROOT) if folder is not None]
    for path in paths:
        if os.path.isfile(path):  # Path.is_file raises where a name is too long
            return path
    existing = sorted({file.stem for path in paths for file in path.parent.glob(f"*{Path(name).suffix}")})
    folders = " or ".join(str(path.parent) for path in paths)
    raise InputError(f"no such file below {folders}; there is: {', '.join(existing) or 'nothing'}", name)


def load(preset: str, recipe: Path | None = None, overrides: Sequence[str] = ()) -> Experiment:
    """Load conf/*.yaml of toolkit and recipe, then conf/presets/<preset>.yaml, then `overrides`; later values win.

    Args:
        preset: name of the preset.
        recipe: folder of the recipe; None: the toolkit only.
        overrides: options of the command line, such as "fold=2".

    Raises:
        InputError: a key is unknown (the message has the closest known one) or a value is of the wrong type.
    """
    values: dict[str, Any] = {"preset": preset}
    origin: dict[str, str] = {}
    for section in ("experiment", *SECTIONS, "augment"):
        for folder in dict.fromkeys((ROOT, recipe or ROOT)):
            path = folder / "conf" / f"{section}.yaml"
            if folder == ROOT or path.is_file():
                new = read_yaml(path)
                _collect(new if section == "experiment" else {section: new}, str(path), values, origin)
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
    """Write the settings of an experiment to a file, which `read_experiment` reads."""
    write_text(path, yaml.safe_dump(asdict(experiment), sort_keys=False))


def read_experiment(path: Path) -> Experiment:
    """Read a file of `write_experiment`, also of an earlier version.

    Of files that differ only in fold and seed, the first is parsed: their settings share lists and dicts.
    """
    if not path.is_file():
        raise InputError("no such file; ./run.sh writes it", path)
    text = yaml_text(path)
    found = NUMBERS.findall(text)
    numbers: dict[str, Any] = {key: int(value) for key, value in found}
    if len(found) != 2 or numbers.keys() != {"fold", "seed"} or numbers["fold"] < 1:
        return _parse_experiment(text, path)  # it reports the error
    rest = NUMBERS.sub("", text)
    if rest not in PARSED:
        PARSED[rest] = _parse_experiment(text, path)
    return replace(PARSED[rest], **numbers)


def _parse_experiment(text: str, path: Path) -> Experiment:
    values: dict[str, Any] = {**_augment(), **ADDED_DEFAULTS}
    origin = dict.fromkeys(values, str(AUGMENT))
    _collect(with_new_names(parse_mapping(text, path)), str(path), values, origin)
    return _build(values, origin, str(path))


# Keys that do not affect the result of a run.
RUNTIME_KEYS = {
    *("training.device", "training.ngpu", "training.threads", "training.checkpoint_seconds", "training.local_dump"),
    *("training.tensorboard", "training.wandb", "batches.allow_confounded"),
}
# How updates are divided among corpora; it has no effect with a single corpus.
BUDGET = "training.budget"
# Options that were added later, with the value that switches them off: earlier results stay valid.
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
    """Nested settings with the keys of earlier versions renamed."""
    return _nested({RENAMED.get(key, key): value for key, value in _flatten(values)})


def dotted(experiment: Experiment) -> dict[str, Any]:
    """Dotted keys and values of all settings; lists are those of the experiment."""
    return dict(_flatten(experiment))


def changed(experiment: Experiment, values: Mapping[str, Any], source: str) -> Experiment:
    """Make an experiment with some settings replaced.

    Args:
        experiment: with the other settings.
        values: dotted keys and new values.
        source: of the new values, for messages.

    Raises:
        InputError: a value is of the wrong type.
    """
    settings = dotted(experiment) | dict(values)
    return _build(settings, dict.fromkeys(settings, source), source)


def _compared(experiment: Experiment) -> dict[str, Any]:
    """Dotted keys and values for comparisons; the budget of a single corpus is that of earlier results."""
    return dotted(experiment) | ({BUDGET: ADDED_DEFAULTS[BUDGET]} if len(experiment.corpora) == 1 else {})


def result_affecting(experiment: Experiment) -> dict[str, Any]:
    """Dotted keys and values that affect a result, for digests.

    Each key has its first name, so that results from before a renaming stay valid.
    """
    return {FIRST_NAMES.get(key, key): value for key, value in _result_affecting(experiment).items()}


def shared_settings(experiment: Experiment) -> dict[str, Any]:
    """The settings of `result_affecting` that all cells, folds and seeds of a grid share."""
    # With two corpora, the settings of augmentation are included for all cells or for none.
    return result_affecting(
        replace(experiment, corpora=["", ""], task="multi", temporal="", pooling="", fold=1, seed=0)
    )


def comparable_settings(experiment: Experiment) -> dict[str, Any]:
    """`shared_settings` without the budget: the settings that results of one table share."""
    return {key: value for key, value in shared_settings(experiment).items() if key != BUDGET}


def _result_affecting(experiment: Experiment) -> dict[str, Any]:
    """The settings of `result_affecting` under their current names.

    Of augmentation, only transforms in use count, and only if there are copies: with copies = 1 the largest corpus gets
    none, and neither does a single corpus.
    """
    min_copies = 2 if len(experiment.corpora) == 1 else 1
    section = experiment.augment
    used = ["copies", "chain", "kinds", *section["kinds"]] if section["copies"] >= min_copies else []
    return {
        key: value
        for key, value in _compared(experiment).items()
        if key not in RUNTIME_KEYS
        and ADDED_DEFAULTS.get(key) != value
        and (not key.startswith("augment.") or key.split(".")[1] in used)
    }


def result_affecting_keys(experiment: Experiment) -> set[str]:
    """Dotted keys that affect a result, including options that were added later and are off."""
    unused = {BUDGET} if len(experiment.corpora) == 1 else set()
    return {*_result_affecting(experiment), *ADDED_DEFAULTS} - unused


def differences(one: Experiment, other: Experiment) -> dict[str, tuple[Any, Any]]:
    """Dotted keys that affect the result of either experiment and differ, with both values."""
    first, second = _compared(one), _compared(other)
    affecting = dict.fromkeys([*_result_affecting(one), *_result_affecting(other)])
    return {key: (first[key], second[key]) for key in affecting if first[key] != second[key]}


def _flatten(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a mapping or dataclass that holds others."""
    if is_dataclass(values):
        values = {field.name: getattr(values, field.name) for field in fields(values)}
    for key, value in values.items():
        if (isinstance(value, dict) and value) or is_dataclass(value):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = result
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return result


def _collect(new: dict[str, Any], source: str, values: dict[str, Any], origin: dict[str, str]) -> None:
    for key, value in _flatten(new):
        if key in RENAMED:
            warnings.warn(f"{source}: {key} is now called {RENAMED[key]}", stacklevel=2)
            key = RENAMED[key]
        if key not in keys():
            raise InputError(f"unknown key {key}{did_you_mean(key, keys())} (all keys: conf/*.yaml)", source)
        values[key] = "" if value is None and _augment().get(key) == "" else value  # an empty folder
        origin[key] = source


def _build(values: dict[str, Any], origin: dict[str, str], last: str) -> Experiment:
    for key in keys():
        if values.get(key) is None:
            raise InputError(f"key {key} has no value", origin.get(key, last), "give it one")
    check_names(values, origin)
    if isinstance(layers := values["frontend.layers"], int):  # a single layer, which YAML reads as a number
        values["frontend.layers"] = str(layers)
    typed: dict[str, Any] = {}
    for key, kind in {**_types(), **augment_types()}.items():
        if key not in values:  # a field of a transform that has a default
            continue
        try:
            typed[key] = of_setting(kind, values[key], key)
        except ValueError as error:
            start, _, wanted = str(error).rpartition(", expected ")
            item = start.partition(" = ")[0].removeprefix(key)  # "[0]" of a list
            hint = f", such as [{shown(values[key])}]" if wanted == "a list" else QUOTE if wanted == "text" else ""
            what = f"{item and f'item {item} '}must be {wanted}{hint}"
            raise InputError(f"key {key} = {shown(values[key])}: {what}", origin[key]) from None
    nested = _nested(typed)
    nested["augment"] = resolve_augment(nested["augment"], origin, str(AUGMENT))
    try:
        experiment: Experiment = of_kind(Experiment, nested, "")
        from_registry(FRONTENDS, experiment.frontend.name).check(experiment)
    except InputError as error:
        key = str(error.where).partition(" ")[0]
        raise InputError(f"key {error.where}: {error.what}", origin.get(key, last), error.fix) from None
    return experiment
