"""Mutations of small valid files, of bytes, lines, values of JSON and YAML, and the fields of audio headers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from random import Random
from typing import Any

import yaml

Mutator = Callable[[bytes, Random], bytes]

# Where readers go wrong: signs, sizes, ids and numbers that somebody's file has held.
TEXTS = ("", " ", "\t", "-1", "0", "nan", "inf", "1e999", "-0", "NO", "null", "\ufeff", "\u2028", "\x1b[31m", "é", "é")
TEXTS += (
    "../../x",
    "/etc/passwd",
    "/nowhere/a.wav",
    "cat x |",
    "| cat",
    "a:b",
    "x.ark:12",
    "x.ark:99999999999",
    "=1+1",
)
TEXTS += ("9" * 5000, "1_0", "٣", "0x10", "[0:9]", '"', "'", "a\rb", "\0", "x" * 300, "[" * 2000, "<b>x&y</b>")
VALUES: tuple[Any, ...] = (None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, 1e308, float("nan"), float("inf"), 0.5)
VALUES += ([], {}, "", [[]], [None], {"": None}, [1, 2, 3], {"a": {"b": []}}, "text", "nan", "é\n", "\x1b[31m")
WORDS = ("yes", "no", "01", "2024-13-99", "2024-01-01", "!!int abc", "!!float q", "!!python/object:os.system x", ".inf")
WORDS += (
    ".nan",
    "&a [*a]",
    "*b",
    "{a: b, a: c}",
    "[1, [2, {x: y}]]",
    "9" * 5000,
    "? [a]\n: b",
    "0o17",
    "1:30",
    "~",
    "|",
)
WORDS += ("!!binary aGk=", "!!set {a}", "!!timestamp 2001-99-99", "<<: {a: b}", "[" * 1500, "1e999", "-1", "!!null x")


def flip(data: bytes, rng: Random) -> bytes:
    """Some bits or bytes changed."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if found:
            place = rng.randrange(len(found))
            found[place] = rng.choice((0, 255, found[place] ^ 1 << rng.randrange(8), rng.randrange(256)))
    return bytes(found)


def cut(data: bytes, rng: Random) -> bytes:
    """The end, or a stretch within, is missing."""
    start, end = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    return data[:start] if rng.random() < 0.6 else data[:start] + data[end:]


def join(data: bytes, rng: Random) -> bytes:
    """Twice, a part twice, or rubbish behind or within it."""
    start, end = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    rubbish = rng.randbytes(rng.choice((1, 2, 7, 64, 5000)))
    return rng.choice((data + data, data[:end] + data[start:], data + rubbish, data[:start] + rubbish + data[start:]))


def head(data: bytes, rng: Random) -> bytes:
    """A field of 1, 2, 4 or 8 bytes within the first 128 holds an edge value."""
    found = bytearray(data)
    size = rng.choice((1, 2, 4, 8))
    place = rng.randrange(max(1, min(128, len(found)) - size + 1))
    edge = rng.choice((0, 1, (1 << 8 * size) - 1, 1 << (8 * size - 1), rng.randrange(1 << 8 * size)))
    found[place : place + size] = edge.to_bytes(size, rng.choice(("little", "big")))
    return bytes(found)


def raw(data: bytes, rng: Random) -> bytes:
    """Bytes of any file."""
    return rng.choice((flip, flip, cut, join))(data, rng)


def binary(data: bytes, rng: Random) -> bytes:
    """Bytes of a file with a header."""
    return rng.choice((flip, cut, join, head, head))(data, rng)


def lines(data: bytes, rng: Random) -> bytes:
    """Lines and fields of a table: dropped, doubled, exchanged, replaced; line ends and encodings of elsewhere."""
    if rng.random() < 0.15:
        return raw(data, rng)
    rows = data.decode("utf-8", "surrogateescape").split("\n")
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.randrange(len(rows))
        words = rows[place].replace(",", " , ").split(" ")
        what = rng.randrange(8)
        if what == 0:
            del rows[place : place + 1]
        elif what == 1:
            rows.insert(place, rng.choice(rows or [""]))
        elif what == 2:
            rng.shuffle(rows)
        elif what == 3:
            rows.insert(place, rng.choice(TEXTS))
        else:
            word = rng.randrange(len(words))
            words[word : word + rng.randrange(2)] = [rng.choice((*TEXTS, words[word], words[word] + rng.choice(TEXTS)))]
            rows[place] = " ".join(words).replace(" , ", ",")
        rows = rows or [""]
    text = rng.choice(("\n", "\n", "\n", "\r\n", "\r")).join(rows)
    code = rng.choice(("utf-8", "utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16"))
    return text.encode(code, "surrogatepass" if code == "utf-16" else "surrogateescape")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of each value below a value."""
    found: list[tuple[Any, Any]] = []
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        found += [(value, key), *_places(value[key])]
    return found


def change(value: Any, rng: Random) -> Any:
    """A value below another is replaced, removed, renamed, doubled or set to one of another place."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = _places(value)
        if not places or rng.random() < 0.03:
            return rng.choice(VALUES)
        holder, key = rng.choice(places)
        what = rng.randrange(6)
        if what == 0:
            del holder[key]
        elif what == 1:
            other, name = rng.choice(places)
            holder[key] = (
                json.loads(json.dumps(other[name]))
                if name in (other if isinstance(other, dict) else range(len(other)))
                else None
            )
        elif what == 2 and isinstance(holder, dict):
            holder[rng.choice((*TEXTS, "extra"))] = holder.pop(key)
        elif what == 2:
            holder.insert(key, holder[key])
        else:
            holder[key] = rng.choice((*VALUES, *TEXTS[:20]))
    return value


def json_value(data: bytes, rng: Random) -> bytes:
    """Values of a JSON file, or its bytes."""
    return raw(data, rng) if rng.random() < 0.15 else json.dumps(change(json.loads(data), rng), indent=1).encode()


def json_lines(data: bytes, rng: Random) -> bytes:
    """Values in lines of JSON, or the lines."""
    rows = data.splitlines()
    if rng.random() < 0.25 or not rows:
        return lines(data, rng)
    place = rng.randrange(len(rows))
    rows[place] = json.dumps(change(json.loads(rows[place]), rng)).encode()
    return b"\n".join(rows) + b"\n"


def gzipped(inner: Mutator) -> Mutator:
    """The content of a gzip file, or its bytes."""

    def mutate(data: bytes, rng: Random) -> bytes:
        return raw(data, rng) if rng.random() < 0.2 else gzip.compress(inner(gzip.decompress(data), rng), 1)

    return mutate


def yaml_value(data: bytes, rng: Random) -> bytes:
    """Values of a YAML file, or words of its lines."""
    what = rng.random()
    if what < 0.1:
        return raw(data, rng)
    if what < 0.5:
        rows = data.decode().split("\n")
        place = rng.choice([n for n, row in enumerate(rows) if ":" in row and not row.lstrip().startswith("#")])
        key, _, rest = rows[place].partition(":")
        indent = key[: len(key) - len(key.lstrip())]
        rows[place] = rng.choice((f"{key}: {rng.choice(WORDS)}", f"{indent}{rng.choice(WORDS)}:{rest}"))
        return "\n".join(rows).encode()
    return yaml.safe_dump(change(yaml.safe_load(data), rng), sort_keys=False, allow_unicode=True).encode()


def safetensors(data: bytes, rng: Random) -> bytes:
    """The JSON header of a safetensors file, its metadata, or bytes."""
    what = rng.random()
    if what < 0.5:
        return binary(data, rng)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    if what < 0.75 and "__metadata__" in header:
        name = rng.choice(list(header["__metadata__"]))
        header["__metadata__"][name] = json_value(header["__metadata__"][name].encode(), rng).decode("utf-8", "replace")
    else:
        header = change(header, rng)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


BY_SUFFIX: dict[str, Mutator] = {
    ".json": json_value,
    ".jsonl": json_lines,
    ".jsonl.gz": gzipped(json_lines),
    ".yaml": yaml_value,
    ".safetensors": safetensors,
    **dict.fromkeys((".scp", ".csv", ".txt", ".tsv", ".md", ".conf"), lines),
}


def mutator_of(name: str) -> Mutator:
    """The mutation that suits a file by its name: tables of Kaldi have no suffix."""
    suffixes = [suffix for suffix in BY_SUFFIX if name.endswith(suffix)]
    if suffixes:
        return BY_SUFFIX[max(suffixes, key=len)]
    return binary if "." in name else lines
