"""No file that is read can run code: every call in the source that could unpickle, evaluate or run what it reads."""

import ast
from pathlib import Path

import pytest
from conftest import refuses

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("ser", "steps", "local", "utils", "egs")
# Modules that run what they read, whatever is called of them.
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "kaldiio"}
# The last name of a call, whatever it is called on, and the argument without which it runs what it reads.
CALLS = {
    "load_ark": "",
    "load_scp": "",
    "load_mat": "",
    "read_pickle": "",
    "unsafe_load": "",
    "unsafe_load_all": "",
    "full_load": "",
    "fromregex": "",
    "eval": "",
    "exec": "",
    "__import__": "",
}
LOADERS = {"np": "allow_pickle=False", "numpy": "allow_pickle=False", "torch": "weights_only=True", "yaml": "Loader"}


def sources() -> list[Path]:
    """Python of the product, also of scripts without an ending."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(found) > 150
    return found


def suspects(tree: ast.AST) -> list[str]:
    """Calls and imports that can run what a file holds, and their lines."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            found += [f"{node.lineno}: import {name}" for name in names if name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            base, _, last = called.rpartition(".")
            bare = {"eval", "exec", "__import__"}
            if (last in bare and not base) or (last in CALLS and last not in bare):
                found.append(f"{node.lineno}: {called}")
            if last in ("load", "load_all") and base in LOADERS:
                found += [f"{node.lineno}: {ast.unparse(node)}"] * (not _is_safe(node, LOADERS[base]))
    return found


def _is_safe(call: ast.Call, wanted: str) -> bool:
    if wanted == "Loader":  # a second argument: which loaders there are is the next test
        return len(call.args) > 1 or any(keyword.arg == "Loader" for keyword in call.keywords)
    return any(ast.unparse(keyword) == wanted for keyword in call.keywords)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_unpickled_or_run(path):
    assert suspects(ast.parse(path.read_text(encoding="utf-8"))) == []


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
def test_what_could_is_found(text):
    assert len(suspects(ast.parse(text))) == 1


@pytest.mark.parametrize(
    "text", ["np.load(p, allow_pickle=False)", "network.eval()", "yaml.load(text, _Loader)", "json.load(file)"]
)
def test_what_could_not_is_not(text):
    assert suspects(ast.parse(text)) == []


@pytest.mark.parametrize("tag", ["python/object/apply:os.system", "python/name:os.system", "python/module:os"])
def test_yaml_makes_no_objects(tmp_path, tag):
    from ser.config.load import read_yaml

    path = tmp_path / "a.yaml"
    path.write_text(f"seed: !!{tag} [touch {tmp_path / 'ran'}]\n")
    with refuses(where="a.yaml"):
        read_yaml(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.yaml"]
