"""Docstrings of public functions with several parameters describe them by their names."""

import ast
import re

import pytest
from conftest import ROOT

FILES = [
    path.relative_to(ROOT).as_posix()
    for package in ("common", "frontends", "scoring", "inference")
    for path in sorted((ROOT / "ser" / package).rglob("*.py"))
]


def public_functions(node):
    """Yield functions and methods whose names, and those of their classes, do not begin with _."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public_functions(child)
        elif isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
            yield child


def parameters(function):
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [name for argument in named if (name := argument.arg) not in ("self", "cls")]


def test_there_are_files():
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES)
def test_arguments_are_described(path):
    wrong = []
    for function in public_functions(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        names, text = parameters(function), ast.get_docstring(function) or ""
        section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
        if len(names) > 1 and not section:
            wrong.append(f"{function.name}: no Args")
        described = re.findall(r"^    (\w+):", section[1], re.MULTILINE) if section else []
        many = [argument.arg for argument in (function.args.vararg, function.args.kwarg) if argument]
        wrong += [f"{function.name}: {name}" for name in described if name not in (*names, *many)]
    assert wrong == []
