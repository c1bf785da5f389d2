"""Messages and commands in the documentation agree with the code."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import programs
import pytest
from conftest import ROOT

GAP = "\0"  # in place of a value in a message
# Function that makes or raises an error -> names of its arguments, and fields that it sets itself.
ERRORS = {
    **dict.fromkeys(("InputError", "FetchError"), (("what", "where", "fix"), {})),
    "Issue": (("kind", "what", "where", "fix"), {}),
    "damaged": (("what", "where"), {"fix": "replace it by an intact copy"}),
    "check_regular": (("where", "fix"), {"what": "no such file"}),
}


def texts_of_python(path):
    """Yield every string of a file, with gaps for values; Python's parser joins adjacent strings."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if text := text_of(node):
            yield text
        elif isinstance(node, ast.Call) and (call := getattr(node.func, "id", "")) in ERRORS:  # as printed
            names, texts = ERRORS[call]
            named = zip(names, node.args, strict=False)
            fields = {**dict(named), **{keyword.arg: keyword.value for keyword in node.keywords}}
            texts = texts | {name: text_of(value) or GAP for name, value in fields.items()}
            yield f"{texts.get('where', '')}: {texts['what']}; {texts.get('fix', '')}"


def text_of(node):
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else GAP for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@cache
def texts():
    """All strings of the code."""
    found = [
        text for folder in ("ser", "steps") for path in (ROOT / folder).rglob("*.py") for text in texts_of_python(path)
    ]
    for path in [*ROOT.glob("*.sh"), *ROOT.glob("utils/*.sh")]:
        code = re.sub(r'" \\\n\s*"', " ", path.read_text(encoding="utf-8"))  # one message in two lines
        found.append(re.sub(r"\$\([^)]*\)|\$\{[^}]*\}+|\$\w+|%s", GAP, code))
    return [re.sub(GAP + "+", GAP, text) for text in found]


MESSAGES = re.findall(r"^### `(.*)`$", (ROOT / "docs" / "faq.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_faq_has_messages():
    assert len(MESSAGES) > 20


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_is_in_the_code(message):
    wanted = re.sub(GAP + "+", GAP, re.sub(r"<[^<>]*>", GAP, message)).strip(GAP)
    assert any(wanted in text for text in texts()), wanted.replace(GAP, "<...>")


PAGES = ["README.md", "README.pt.md", "CONTRIBUTING.md", "egs/README.md", "egs/public/README.md"]
PAGES += ["egs/interaffection/README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
PROGRAM = re.compile(
    r"(?<![\w/.-])((?:\.\.?/)*(?:(?:egs|steps|tests)/[\w/]+\.(?:sh|py)|run\.sh)|(?<!from )ser [a-z][a-z-]+)(?![\w/.])"
)
MADE = r"egs/(?:mine|calls|emodb_savee)/"  # recipes that the reader makes


def pieces(text):
    """Yield lines of code blocks, without comments, and code in sentences."""
    text = text.replace("\\\n", " ")
    blocks = re.compile(r"^```sh\n(.*?)^```|((?:^    .*\n)+)", re.MULTILINE | re.DOTALL)
    for fenced, indented in blocks.findall(text):
        yield from (line.partition(" #")[0] for line in (fenced or indented).splitlines())
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose))


def commands(page):
    """Yield (program, arguments) of each command of a page; recipes that the reader makes count as run.sh."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if page == "docs/from-other-toolkits.md":
        text = re.sub(r"^\| .*? \| ", "", text, flags=re.MULTILINE)  # commands of other toolkits
    for piece in pieces(text):
        for part in re.split(r"[;|]|&&|\$\(", piece):
            if found := PROGRAM.search(part):
                yield re.sub(rf"^{MADE}run\.sh", "run.sh", found[1]), part[found.end() :]


@cache
def options(program):
    """List the options in --help."""
    if program.endswith(".sh"):
        done = subprocess.run(["bash", ROOT / program, "--help"], capture_output=True, text=True, cwd=ROOT, check=False)
    else:
        done = programs.run(
            *(["-m", *program.split()] if program.startswith("ser ") else [program]), "--help", cwd=ROOT
        )
    assert done.returncode == 0, f"{program} --help: {done.stderr[-500:]}"
    return {name.replace("_", "-") for name in re.findall(r"--([a-z][\w.-]*)", done.stdout)} | {"help"}


def script(program):
    """Return the file of a program, which a page names relative to the root or to a recipe folder."""
    return program if program.startswith("ser ") else re.sub(r"^(\.\.?/)+", "", program)


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_there_and_have_their_options(page):
    wrong = []
    for program, arguments in commands(page):
        name = script(program)
        if re.match(MADE, name):
            continue
        if not name.startswith("ser ") and not (ROOT / name).is_file():
            wrong.append(program)
            continue
        given = {option.replace("_", "-") for option in re.findall(r"(?<!\S)--([a-z][\w.-]*)", arguments)}
        keys = {option for option in given if "." in option and name.endswith("run.sh")}  # of conf/, of all recipes
        known = options("run.sh") if keys else set()
        if given - keys or name.startswith("ser "):
            known = known | options(name)
        if given - known:
            wrong.append(f"{program}: {given - known}")
        for preset in re.findall(r"--preset ([a-z]\w*)", arguments):
            folders = (ROOT / "conf" / "presets", ROOT / Path(name).parent / "conf" / "presets")
            wrong += [] if any((folder / f"{preset}.yaml").is_file() for folder in folders) else [f"--preset {preset}"]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_keys_are_options_of_recipes(page):
    codes = [code for code in pieces((ROOT / page).read_text(encoding="utf-8")) if code.startswith("--")]
    keys = {key for code in codes for key in re.findall(r"(?<!\S)--([a-z]\w*\.[\w.]*\w)", code)}
    assert {key.replace("_", "-") for key in keys} - options("run.sh") == set()


def test_commands_are_found():
    found = [program for page in PAGES for program, _ in commands(page)]
    assert len(found) > 150
    assert {"ser predict", "egs/ravdess/run.sh", "steps/pool.py", "../../steps/ledger.py"} <= set(found)
