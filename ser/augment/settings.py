"""The kinds by name, and their settings from conf/augment.yaml."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ser.augment.kinds import Kind
from ser.common import InputError, digest
from ser.config.load import ROOT, read_yaml
from ser.config.registry import built

# Where each kind is; adding one is one class, one line here and one section in conf/augment.yaml.
KINDS = {
    "noise": "ser.augment.noise:Noise",
    "vtlp": "ser.augment.kinds:Vtlp",
    "room": "ser.augment.room:Room",
    "mp3": "ser.augment.kinds:Mp3",
    "band_pass": "ser.augment.kinds:BandPass",
    "volume": "ser.augment.kinds:Volume",
    "speed": "ser.augment.kinds:Speed",
}


@dataclass(frozen=True)
class Augment:
    """conf/augment.yaml.

    Attributes:
        kinds: those in use, by name, in the order in which the file lists them.
    """

    kinds: dict[str, Kind]

    @property
    def digest(self) -> str:
        """Names the settings, wherever folders lie: what is in a folder counts, by names and sizes, not its place."""
        return digest({name: _decisive(kind) for name, kind in self.kinds.items()}, list(self.kinds))


def load_augment(recipe: Path | None = None) -> Augment:
    """The toolkit's conf/augment.yaml, with what the recipe's own sets in its place.

    Raises:
        InputError: an unknown kind or key (the nearest known one is named), a key without value, a value of the wrong
            kind or out of range, or a folder that cannot be used.
    """
    path = ROOT / "conf" / "augment.yaml"
    values = read_yaml(path)
    own = (recipe or ROOT) / "conf" / "augment.yaml"
    if own != path and own.is_file():
        path = own
        for key, value in read_yaml(own).items():
            _known(own, key, ["kinds", *KINDS])
            values[key] = values.get(key, {}) | value if isinstance(value, dict) else value
    for key in values:
        _known(path, key, ["kinds", *KINDS])
    names = values.get("kinds")
    if not isinstance(names, list) or not names or len(set(map(str, names))) < len(names):
        raise InputError(f"{path}: key kinds = {names!r}: must list kinds, each once: {', '.join(KINDS)}")
    for name in names:
        _known(path, name, list(KINDS))
    return Augment({name: _built(path, name, values.get(name)) for name in names})


def _built(path: Path, name: str, values: Any) -> Kind:
    from jsonargparse import ArgumentError, ArgumentParser

    kind = built(KINDS, name)
    keys = list(kind.__annotations__)
    if not isinstance(values, dict):
        raise InputError(f"{path}: key {name}: must hold {', '.join(keys)}")
    for key in values:
        _known(path, f"{name}.{key}", [f"{name}.{key}" for key in keys])
    for key in keys:
        if values.get(key) is None:
            raise InputError(f"{path}: key {name}.{key} has no value; give it one")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, name)
    try:
        parsed = parser.parse_object({name: values})
    except ArgumentError as error:
        text = " ".join(str(error).split())
        wrong = next((key for key in keys if f'"{name}.{key}"' in text), None)
        what = f"key {name}.{wrong} = {values[wrong]!r}: " if wrong else f"key {name}: "
        raise InputError(f"{path}: {what}{text.split(': ', 1)[-1]}") from None
    made: Kind = kind(**vars(parsed[name]))
    return made


def _known(path: Path, key: Any, known: list[str]) -> None:
    if key not in known:
        near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"{path}: unknown key {key}; {hint}there is: {', '.join(known)}")


def _decisive(kind: Any) -> dict[str, Any]:
    values = asdict(kind)
    values.pop("cache", None)
    folder = values.pop("folder", "")
    if folder:
        values["files"] = [[name, (Path(folder) / name).stat().st_size] for name in kind.sources()]
    return values
