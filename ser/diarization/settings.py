"""conf/timeline.yaml: how a recording is cut into windows and its windows into segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from ser.common import InputError, did_you_mean, write_text
from ser.common.kinds import of_kind
from ser.config.yaml_file import read_yaml

NO_SPEECH = "no_speech"


@dataclass(frozen=True)
class Settings:
    """Seconds, natural logarithms and decibels; conf/timeline.yaml describes each and holds its default."""

    window: float
    hop: float
    minimum: float
    switching_cost: float
    no_speech_minimum: float
    no_speech_cost: float
    no_speech_decibels: float
    normalisation: Literal["model", "channel"]
    statistics_minimum: float
    transitions: dict[str, dict[str, float]]

    def minima(self, classes: int, windows: int) -> list[int]:
        """Windows of the shortest segment of each class and of no speech, none longer than the recording."""
        seconds = [self.minimum] * classes + [self.no_speech_minimum]
        return [min(windows, max(1, round(value / self.hop))) for value in seconds]

    def costs(self, classes: Sequence[str]) -> np.ndarray:
        """The transition table over the classes and, last, no speech; float64, (classes + 1, classes + 1).

        Raises:
            InputError: `transitions` names a class that the model does not know.
        """
        names = [*classes, NO_SPEECH]
        table = np.full((len(names), len(names)), self.switching_cost)
        table[-1], table[:, -1] = self.no_speech_cost, self.no_speech_cost
        for origin, row in self.transitions.items():
            for target, cost in row.items():
                for name in (origin, target):
                    if name not in names:
                        raise InputError(f"{name} is no class of the model; there is {', '.join(names)}", "transitions")
                table[names.index(origin), names.index(target)] = cost
        np.fill_diagonal(table, 0)
        return table


def read_settings(path: Path | None = None, changes: Mapping[str, Any] | None = None) -> Settings:
    """conf/timeline.yaml, then a file of the same keys such as the tuning writes, then single values.

    Raises:
        InputError: a key that does not exist (the nearest known one is named), or a value that cannot be.
    """
    from ser.config import find

    known = [field.name for field in fields(Settings)]
    values: dict[str, Any] = {}
    for source in (find("conf/timeline.yaml", None), path):
        if source is None:
            continue
        for key, value in read_yaml(source).items():
            if key not in known:
                raise InputError(f"unknown key {key}{did_you_mean(key, known)} (all keys: conf/timeline.yaml)", source)
            values[key] = value
    values |= {key: value for key, value in (changes or {}).items() if value is not None}
    missing = [key for key in known if key not in values]
    if missing:
        raise InputError(f"key {missing[0]} has no value", "conf/timeline.yaml", "give it one")
    return _checked(values)


def write_settings(settings: Settings, path: Path, comment: str) -> None:
    """Write a file for `read_settings`, headed by a comment of one line."""
    write_text(path, f"# {comment}\n{yaml.safe_dump(asdict(settings), sort_keys=False)}")


def _checked(values: dict[str, Any]) -> Settings:
    try:
        settings = of_kind(Settings, {**values, "transitions": values["transitions"] or {}}, "")
    except ValueError as error:
        raise InputError(str(error)) from None
    numbers = {key: value for key, value in asdict(settings).items() if isinstance(value, float)}
    numbers |= {f"transitions.{a}.{b}": cost for a, row in settings.transitions.items() for b, cost in row.items()}
    for key, value in numbers.items():
        if value < 0:
            raise InputError("must be a number, 0 or more", f"{key} = {value:g}")
    if not 0.05 <= settings.hop <= settings.window:
        raise InputError(
            "a hop has 0.05 s at least and a window at most", f"hop = {settings.hop} s, window = {settings.window} s"
        )
    return settings
