"""Names of the files of an experiment are defined in one module only."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT, sources

from ser.common import run_folder

NAMES = {v for key, v in vars(run_folder).items() if key.isupper() and isinstance(v, str) and v != run_folder.TRAINING}
NAMES |= {"post.ark", "utterances.tsv", "result.tsv", "zero_shot.tsv"}
PARTS = ("decode_", "result_")  # beginnings of names with a variable part
FILLED_IN = [ast.Constant, ast.FormattedValue]
# A folder of Hugging Face has a file of this name, too.
FOREIGN = {("ser/frontends/whisper.py", "model.safetensors")}


def names_in(path: Path, source: str) -> list[str]:
    """Find string literals that are such a name, or a path that ends in one; not docstrings and messages."""
    tree = ast.parse(source)
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            last = node.value.rpartition("/")[2]
            if last in NAMES and len(node.value.split()) == 1 and (path.as_posix(), last) not in FOREIGN:
                names.append(node.value)
        elif isinstance(node, ast.JoinedStr) and [type(part) for part in node.values[:2]] == FILLED_IN:
            start = node.values[0].value
            names += [start] if start.rpartition("/")[2] in PARTS else []
    return names


def test_names_are_defined_in_one_module():
    paths = sources("ser", "steps", "local", "utils")
    names_of = {path.as_posix(): names_in(path, (ROOT / path).read_text()) for path in paths}
    assert [path for path, names in names_of.items() if names] == ["ser/common/run_folder.py"]


@pytest.mark.parametrize(
    "source",
    [
        'folder / "result.json"',
        'exp.glob("*/*/*/config.yaml")',
        'folder / f"decode_{part}" / "x"',
        'exp.glob(f"{cell}/train.json")',
    ],
)
def test_a_name_elsewhere_is_found(source):
    assert names_in(Path("ser/x.py"), source)


@pytest.mark.parametrize(
    "source", ['"""What result.json holds."""', 'print("absent: result.json")', 'f"decode_folder {x}"']
)
def test_a_message_is_not_a_name(source):
    assert names_in(Path("ser/x.py"), source) == []
