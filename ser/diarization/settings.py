"""conf/timeline.yaml: how a recording is cut into windows and its windows into segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

import numpy as np
import yaml

from ser.common import InputError, did_you_mean, write_text
from ser.common.kinds import NonNegativeFloat, of_kind
from ser.config.yaml_file import read_yaml

NO_SPEECH = "no_speech"


@dataclass(frozen=True)
class Settings:
    """Seconds, natural logarithms and decibels; conf/timeline.yaml describes each and holds its default."""

    window: NonNegativeFloat
    hop: NonNegativeFloat
    minimum: NonNegativeFloat
    switching_cost: NonNegativeFloat
    no_speech_minimum: NonNegativeFloat
    no_speech_cost: NonNegativeFloat
    no_speech_decibels: NonNegativeFloat
    normalisation: Literal["model", "channel"]
    statistics_minimum: NonNegativeFloat
    transitions: dict[str, dict[str, NonNegativeFloat]]

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

    known = get_type_hints(Settings, include_extras=True)
    given: dict[str, tuple[Any, str | Path]] = {}  # value and origin
    for source in (find("conf/timeline.yaml", None), *([path] if path else [])):
        for key, value in read_yaml(source).items():
            if key not in known:
                raise InputError(f"unknown key {key}{did_you_mean(key, known)} (all keys: conf/timeline.yaml)", source)
            given[key] = value, source
    given |= {key: (value, "command line") for key, value in (changes or {}).items() if value is not None}
    values = {}
    for key, hint in known.items():
        if key not in given:
            raise InputError(f"key {key} has no value", "conf/timeline.yaml", "give it one")
        value, origin = given[key]
        try:
            values[key] = of_kind(hint, value or {} if key == "transitions" else value, key)
        except ValueError as error:
            raise InputError(str(error), origin) from None
    settings = Settings(**values)
    if not 0.05 <= settings.hop <= settings.window:
        where = f"{given['hop'][1]}: hop = {settings.hop} s, window = {settings.window} s"
        raise InputError("a hop has 0.05 s at least and a window at most", where)
    return settings


def write_settings(settings: Settings, path: Path, comment: str) -> None:
    """Write a file for `read_settings`, headed by a comment of one line."""
    write_text(path, f"# {comment}\n{yaml.safe_dump(asdict(settings), sort_keys=False)}")
