"""The only reader of YAML: conf/, protocols, grids and values of options. The input is not trusted.

Scalars follow YAML 1.2, so that text stays text: `no`, `yes`, `01`, dates and 12:30 are strings. Only true, false,
null, ~, whole and decimal numbers are not strings. Every key is a string.
"""

from __future__ import annotations

import logging
import math
import re
import reprlib
from pathlib import Path
from typing import Any

import yaml

from ser.common import InputError, check_regular

log = logging.getLogger(__name__)
MOST_BYTES = 2_000_000
MOST_DEPTH = 20
# Limit on values and keys; those that aliases (*name) repeat count each time.
MOST_NODES = 200_000
MOST_DIGITS = 20
# Control characters, line separators and surrogates, which no text may contain.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
# For messages about a value that should be text but is another type in YAML.
QUOTE = "; if it is text, write it in quotes"
PREFIX = "tag:yaml.org,2002:"
SCALARS = {
    "null": re.compile(r"(~|null|Null|NULL|)\Z"),
    "bool": re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"),
    "int": re.compile(r"[-+]?(0|[1-9][0-9]*)\Z"),
    "float": re.compile(
        r"([-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"
    ),
}


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping from a YAML file; for errors see `yaml_text` and `parse_mapping`."""
    return parse_mapping(yaml_text(path), path)


def yaml_text(path: Path) -> str:
    """Read the text of a YAML file.

    Raises:
        InputError: the file is absent, too large, or not UTF-8.
    """
    check_regular(path, "set SER_ROOT to the toolkit's folder, which has conf/")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"larger than {MOST_BYTES:,} bytes", path, "give a YAML file of settings")
        log.debug("reading %s", path)
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text", path, "save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path, "fix that") from None


def parse_mapping(text: str, path: Path) -> dict[str, Any]:
    """Parse the text of a YAML file that holds a mapping.

    Args:
        text: of the file.
        path: of the file, for messages.

    Raises:
        InputError: it is not YAML (with the line), or not a mapping.
    """
    value = parse_yaml(text, str(path))
    if not isinstance(value, dict):
        raise InputError("must hold `key: value` lines", path)
    return value


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML text to dict (with text keys), list, str, int, float, bool or None.

    Args:
        text: of the YAML file.
        source: of the text for messages, such as the path of the file.

    Raises:
        InputError: it is not YAML, too large, nested too deeply, has a duplicate key, or a number that is not finite.
    """
    try:
        node = yaml.compose(text, _Loader)
        return None if node is None else _value(node, [MOST_NODES], 0)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark and "\n" in text else ""
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "see its quotes and indents"
        raise InputError(f"not readable as YAML ({what})", f"{source}{line}", "fix the line") from None
    except (ValueError, OverflowError):  # raised for an escape such as "\UFFFFFFFF"
        raise InputError("not readable as YAML (an escape or directive that is none)", source, "fix it") from None


def parse_option(text: str, source: str) -> Any:
    """Parse the value of an option: YAML for a list, mapping or quoted text; otherwise a number, bool or plain text.

    Args:
        text: the value.
        source: of the value, for messages.

    Raises:
        InputError: see `parse_yaml`.
    """
    if text.lstrip()[:1] in ("[", "{", "'", '"'):
        return parse_yaml(text, source)
    text = re.sub(r"^0+(?=[0-9]+$)", "", text.strip())  # 010 is ten
    kind = next((kind for kind, pattern in SCALARS.items() if pattern.match(text)), "str")
    try:
        return _text(text, None) if kind == "str" else _number(text, kind, None)
    except yaml.MarkedYAMLError as error:
        raise InputError(str(error.problem), source) from None


def shown(value: Any) -> str:
    """Shorten a value for a message."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 80
    return short.repr(value)


class _Loader(yaml.SafeLoader):
    """Composes nodes, which `_value` converts; no constructor of the library is called."""

    yaml_implicit_resolvers = {None: [(PREFIX + name, pattern) for name, pattern in SCALARS.items()]}  # noqa: RUF012
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise _error(f"nested deeper than {MOST_DEPTH}", self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _error(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _value(node: yaml.Node, left: list[int], depth: int) -> Any:
    """Convert a node to a value.

    Args:
        node: to convert.
        left: number of nodes that may still follow, as a list of one counter.
        depth: of the node.
    """
    left[0] -= 1
    if left[0] < 0:
        raise _error(f"more than {MOST_NODES:,} values, with those that aliases repeat", node.start_mark)
    if depth >= MOST_DEPTH:
        raise _error("an alias that leads back to itself, or nested too deeply", node.start_mark)
    kind = node.tag.removeprefix(PREFIX)
    if isinstance(node, yaml.SequenceNode) and kind == "seq":
        return [_value(item, left, depth + 1) for item in node.value]
    if isinstance(node, yaml.MappingNode) and kind == "map":
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _key(key_node)
            if key in mapping:
                raise _error(f"key {key[:80]} appears twice", key_node.start_mark)
            mapping[key] = _value(value_node, left, depth + 1)
        return mapping
    if isinstance(node, yaml.ScalarNode) and kind == "str":
        return _text(node.value, node.start_mark)
    if isinstance(node, yaml.ScalarNode) and kind in SCALARS:
        return _number(node.value, kind, node.start_mark)
    raise _error(f"tag {node.tag[:80]!r}: remove the tag", node.start_mark)


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _error("a key that is a list or a mapping, not text", node.start_mark)
    if node.style is None and node.value in ("", "<<"):
        raise _error("<<: write the keys out" if node.value else "no key before the colon", node.start_mark)
    return _text(node.value, node.start_mark)


def _text(text: str, mark: Any) -> str:
    if UNPRINTABLE.search(text):
        raise _error("a control character in a text", mark)
    return text


def _number(text: str, kind: str, mark: Any) -> int | float | bool | None:
    """Convert a scalar that is not text."""
    if not SCALARS[kind].match(text):
        raise _error(f"{text[:80]!r} is no {kind}; remove the tag", mark)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        if len(text) > MOST_DIGITS:
            raise _error(f"a number of {len(text)} digits{QUOTE}", mark)
        return int(text)
    number = math.inf if text[-1].isalpha() else float(text)
    if not math.isfinite(number):
        raise _error(f"{text[:80]} is no finite number{QUOTE}", mark)
    return number
