"""No file can run code: find all calls in the source that could unpickle, evaluate or execute a file."""

import ast

import pytest
from conftest import ROOT, refuses, sources

from ser.config.load import read_yaml

# Modules whose functions may execute the files that they read.
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "kaldiio"}
# Builtin functions, and names of methods of any object.
BARE = {"eval", "exec", "__import__"}
CALLS = {"load_ark", "load_scp", "load_mat", "read_pickle", "unsafe_load", "unsafe_load_all", "full_load", "fromregex"}
# Calls that may execute files unless they have a certain argument.
LOADERS = {"np": "allow_pickle=False", "numpy": "allow_pickle=False", "torch": "weights_only=True", "yaml": "Loader"}


def suspects(tree: ast.AST) -> list[str]:
    """Find calls and imports that can execute a file, with their lines."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            lines += [f"{node.lineno}: import {name}" for name in names if name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            base, _, last = called.rpartition(".")
            if last in CALLS or (last in BARE and not base):
                lines.append(f"{node.lineno}: {called}")
            if last in ("load", "load_all") and base in LOADERS:
                lines += [f"{node.lineno}: {ast.unparse(node)}"] * (not _is_safe(node, LOADERS[base]))
    return lines


def _is_safe(call: ast.Call, wanted: str) -> bool:
    if wanted == "Loader":  # a second argument: which loaders there are is the next test
        return len(call.args) > 1 or any(keyword.arg == "Loader" for keyword in call.keywords)
    return any(ast.unparse(keyword) == wanted for keyword in call.keywords)


@pytest.mark.parametrize("path", sources(), ids=str)
def test_no_file_is_unpickled_or_run(path):
    assert suspects(ast.parse((ROOT / path).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "import kaldiio.utils",
        "kaldiio.load_ark(p)",
        "np.load(p)",
        "numpy.load(p, allow_pickle=True)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "pd.read_pickle(p)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "eval(text)",
    ],
)
def test_unsafe_calls_are_found(text):
    assert len(suspects(ast.parse(text))) == 1


@pytest.mark.parametrize(
    "text", ["np.load(p, allow_pickle=False)", "network.eval()", "yaml.load(text, _Loader)", "json.load(file)"]
)
def test_safe_calls_are_not_found(text):
    assert suspects(ast.parse(text)) == []


@pytest.mark.parametrize("tag", ["python/object/apply:os.system", "python/name:os.system", "python/module:os"])
def test_yaml_makes_no_objects(tmp_path, tag):
    path = tmp_path / "a.yaml"
    path.write_text(f"seed: !!{tag} [touch {tmp_path / 'ran'}]\n")
    with refuses(where="a.yaml"):
        read_yaml(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.yaml"]
