import re

import pytest
from conftest import ROOT, refuses, sources

from ser.config.yaml_file import parse_option, parse_yaml, read_yaml, shown

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{two}: &{two} [{', '.join([f'*{one}'] * 10)}]\n" for one, two in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("off", "off"),
        ("01", "01"),
        ("0x10", "0x10"),
        ("0o7", "0o7"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("2024-13-99", "2024-13-99"),
        ("!!str 1", "1"),
        ("'1'", "1"),
        ("1", 1),
        ("-3", -3),
        ("1e-3", 0.001),
        ("1.5", 1.5),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("[1, a, &x b, *x]", [1, "a", "b", "b"]),
        ("{1: no, yes: 2, null: 01}", {"1": "no", "yes": 2, "null": "01"}),
        ("", None),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    parsed = parse_yaml(text, "here")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "!!int abc",
        "!!float q",
        "!!bool maybe",
        "!!timestamp 2024-01-01",
        "!!binary aGk=",
        "!!set {a, b}",
        "!!python/object/apply:os.system [x]",
        "!own x",
        "1" * 5000,
        "[" * 5000,
        "{a: " * 5000,
        "&a [*a]",
        "&a {b: *a}",
        "{a: 1, a: 2}",
        "{1: 1, '1': 2}",
        "{[a]: 1}",
        "{<<: {a: 1}}",
        ": 1",
        ".inf",
        "-.inf",
        ".nan",
        "1e999",
        "*x",
        "[1",
        '"\\UFFFFFFFF"',
        '"\\uD800"',
        '"\\e[31m"',
        "a: 1\n---\nb: 2",
        f"%YAML {'9' * 5000}.1\n--- a",
        "\0",
        BOMB,
    ],
)
def test_a_refused_text_names_its_source(text):
    with refuses(where="here") as caught:
        parse_yaml(text, "here")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("data", "what"),
    [(b"\xff\xfe", "not UTF-8"), (b"a: A\xe7\xe3o", "not UTF-8"), (b"", "must hold"), (b"- a", "must hold"),
     (b"x" * 3_000_000, "larger")],
)  # fmt: skip
def test_a_file_that_is_not_a_mapping_is_named(tmp_path, data, what):
    path = tmp_path / "mine.yaml"
    path.write_bytes(data)
    with refuses(what, where=path):
        read_yaml(path)
    for place in (tmp_path, tmp_path / "absent.yaml"):
        with refuses(where=place):
            read_yaml(place)


def test_options_are_numbers_or_plain_text():
    texts = {"010": 10, "1e-3": 0.001, "/a: b #c": "/a: b #c", "[1, a]": [1, "a"], "'1'": "1", "*a": "*a", "": None}
    assert {text: parse_option(text, "x") for text in texts} == texts


def test_a_large_value_is_shown_in_part():
    assert len(shown(["x" * 10_000] * 10_000)) < 1000


def test_yaml_is_read_by_one_module():
    readers = re.compile(r"yaml\.\w*load\w*\(|yaml\.compose|SafeLoader")
    modules = {path.as_posix() for path in sources() if readers.search((ROOT / path).read_text(encoding="utf-8"))}
    assert modules == {"ser/config/yaml_file.py"}
