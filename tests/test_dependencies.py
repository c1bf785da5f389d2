"""pyproject.toml is the only list of dependencies, and it is complete."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
UNLISTED = {"k2"}  # has a build for each torch: docs/timeline.md says how to install it


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def listed(requirements):
    """List the names of distributions, including those of our other extras."""
    names = set()
    for requirement in requirements:
        name, extras = re.match(r"([\w.-]+)(?:\[(.*)\])?", requirement).groups()
        if name == PROJECT["name"]:
            names |= listed(r for extra in extras.split(",") for r in PROJECT["optional-dependencies"][extra])
        else:
            names.add(canonical(name))
    return names


def everything():
    return listed([*PROJECT["dependencies"], f"ser[{','.join(PROJECT['optional-dependencies'])}]"])


def imports(path):
    """List the top-level modules that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("folder", ["ser", "steps", "local"])
def test_every_import_is_of_a_listed_distribution(folder):
    known, of_module = everything(), packages_distributions()
    missing = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for module in {*imports(path)} - sys.stdlib_module_names - UNLISTED - {"ser"}:
            if not {canonical(name) for name in of_module.get(module, [module])} & known:
                missing.setdefault(module, path.relative_to(ROOT).as_posix())
    assert missing == {}


def test_constraints_name_a_version_of_each_distribution():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:]
    pinned = {canonical(line.partition("==")[0]) for line in lines}
    assert everything() - pinned == set()


def test_setup_py_and_path_sh_have_no_list_of_their_own():
    for name in ("setup.py", "path.sh"):
        words = {canonical(word) for word in re.findall(r"[\w.-]+", (ROOT / name).read_text(encoding="utf-8"))}
        # path.sh speaks of torch, which it takes from an index of CPU builds
        assert words & everything() <= {"torch"}, name
