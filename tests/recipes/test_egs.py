"""The recipe folders: their declarations, their description in egs/README.md, and the folders of their corpora."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import combinations
from pathlib import Path

import programs
import pytest
import yaml
from conftest import ROOT, last_error

PAPER = ("iemocap", "tess", "ravdess", "customer_ptbr")
COMBINATIONS = [c for n in range(1, 5) for c in combinations(PAPER, n) if c != ("tess",)]
ALONE = ["emodb", "crema_d", "emouerj", "savee", "nemo", "urdu"]
CORPORA = [*PAPER, *ALONE]
RECIPES = ["_".join(c) for c in COMBINATIONS] + ALONE
DECLARED = re.compile(r"--corpora (\S+)")


def lines_of(recipe: str) -> list[str]:
    return (ROOT / "egs" / recipe / "run.sh").read_text().splitlines()


def run(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    unset = dict.fromkeys(map(str.upper, CORPORA), "")
    environment = {**os.environ, **unset, "SER_ENV": programs.environment(), **variables}
    return subprocess.run(
        [folder / "run.sh", *options], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_there_is_a_recipe_for_each_combination_of_the_paper_and_each_other_corpus() -> None:
    assert len(COMBINATIONS) == 14
    recipes = {path.parent.name for path in (ROOT / "egs").glob("*/run.sh")}
    assert recipes >= set(RECIPES)
    assert not (ROOT / "egs" / "tess").exists()  # has no test speakers


def test_recipes_differ_in_nothing_but_their_corpora_and_comments() -> None:
    bodies = set()
    for recipe in RECIPES:
        lines = lines_of(recipe)
        assert lines[0] == "#!/usr/bin/env bash"
        assert lines[1].startswith("# ")
        assert os.access(ROOT / "egs" / recipe / "run.sh", os.X_OK)
        code = "\n".join(line for line in lines if not line.startswith("#"))
        (corpora,) = DECLARED.findall(code)
        assert corpora.replace(",", "_") == recipe
        assert set(corpora.split(",")) <= set(CORPORA)
        bodies.add(DECLARED.sub("--corpora X", code))
    assert len(bodies) == 1


def test_a_recipe_reports_the_corpora_that_it_needs() -> None:
    for recipe in RECIPES:
        (corpora,) = DECLARED.findall("\n".join(lines_of(recipe)))
        (usage,) = (line for line in lines_of(recipe) if line.startswith("#   "))
        assert re.findall(r"([A-Z_]+)=", usage) == [corpus.upper() for corpus in corpora.split(",")]
        assert usage.endswith(f" egs/{recipe}/run.sh")


@pytest.mark.parametrize("recipe", RECIPES)
def test_help_names_the_corpora(recipe: str) -> None:
    done = run(ROOT / "egs" / recipe, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    corpora = DECLARED.findall("\n".join(lines_of(recipe)))[0]
    assert done.stdout.splitlines()[0].endswith(f"train and score {corpora} (preset strict)")


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_corpus_has_a_variable_a_protocol_and_a_message_where_it_is_not_set(corpus: str) -> None:
    declared = re.findall(r"^export ([A-Z_]+)=\$\{([A-Z_]+):-\} +# \S", (ROOT / "db.sh").read_text(), re.MULTILINE)
    assert (corpus.upper(), corpus.upper()) in declared
    recipe = corpus if corpus in RECIPES else "tess_ravdess"
    assert last_error(run(ROOT / "egs" / recipe)) == (
        f"error: {corpus}: {corpus.upper()} is not set; write its folder in {ROOT}/db.sh, "
        f"or call {corpus.upper()}=/path/to/{corpus} egs/{recipe}/run.sh"
    )


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe folder with a variant of TESS, a variant of that variant, and an EmoDB based on the toolkit's."""
    folder = tmp_path / "a recipe"
    (folder / "conf" / "corpora").mkdir(parents=True)
    for name, base in (("tess_mine", "tess"), ("tess_other", '"tess_mine"  # a comment'), ("emodb", "emodb")):
        (folder / "conf" / "corpora" / f"{name}.yaml").write_text(f"name: {name}\nbase: {base}\n")
    script = folder / "run.sh"
    script.write_text(f'#!/usr/bin/env bash\nexec \'{ROOT}/run.sh\' --recipe "{folder}" --preset strict "$@"\n')
    script.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("corpus", "variable"),
    [("tess_mine", "TESS"), ("tess_other", "TESS"), ("tess_swapped", "TESS"), ("emodb", "EMODB")],
)
def test_a_variant_of_a_corpus_uses_the_folder_of_its_base(recipe: Path, corpus: str, variable: str) -> None:
    line = last_error(run(recipe, "--corpora", corpus))
    assert line.startswith(f"error: {corpus}: {variable} is not set; ")
    assert line.endswith(f"or call {variable}=/path/to/{variable.lower()} {recipe}/run.sh")


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"TESS": "/nowhere/tess"}, "/nowhere/tess"),
        ({"TESS": "/nowhere/tess", "TESS_MINE": "/nowhere/mine"}, "/nowhere/mine"),
        ({"TESS_MINE": "/nowhere/mine", "TESS_OTHER": "/nowhere/other"}, "/nowhere/other"),
    ],
)
def test_the_variable_of_the_variant_comes_first(recipe: Path, variables: dict[str, str], folder: str) -> None:
    done = run(recipe, "--corpora", "tess_other,ravdess", "--stage", "1", RAVDESS="/nowhere", **variables)
    assert last_error(done).startswith(
        f"error: {folder}: no such folder or table; fix the path (tess_other can be had from "
    )


def expected(corpus: str) -> dict[str, int]:
    """Return the number of utterances of the first edition by raw label."""
    counts = yaml.safe_load((ROOT / "conf" / "corpora" / f"{corpus}.yaml").read_text())["expected"]
    return (counts if "labels" in counts else next(iter(counts.values())))["labels"]


def in_classes(corpus: str) -> int:
    labels = yaml.safe_load((ROOT / "conf" / "corpora" / f"{corpus}.yaml").read_text())["labels"]
    return sum(n for label, n in expected(corpus).items() if labels[label] is not None)


def table(heading: str) -> list[list[str]]:
    """Read the rows of the first table below a heading of egs/README.md, without its header."""
    text = (ROOT / "egs" / "README.md").read_text().split(f"## {heading}\n")[1]
    rows = [line for line in text.split("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_the_readme_lists_each_corpus_with_its_counts() -> None:
    rows = {row[0].strip("`").lower(): row for row in table("The corpora")}
    assert list(rows) == CORPORA
    for corpus in set(CORPORA) - {"customer_ptbr"}:
        protocol = yaml.safe_load((ROOT / "conf" / "corpora" / f"{corpus}.yaml").read_text())
        first = protocol["expected"]
        first = first if "labels" in first else next(iter(first.values()))
        assert rows[corpus][1:6] == [
            protocol["name"],
            protocol["language"],
            str(first["speakers"]),
            f"{first['utterances']:,}",
            f"{in_classes(corpus):,}",
        ]


def test_the_readme_lists_each_recipe_with_its_variables_and_counts() -> None:
    rows = table("What each needs")
    assert [row[0].strip("`") for row in rows] == [*RECIPES, "mini"]
    for folder, _, variables, count in rows[:-1]:
        (corpora,) = DECLARED.findall("\n".join(lines_of(folder.strip("`"))))
        names = corpora.split(",")
        assert variables == ", ".join(f"`{name.upper()}`" for name in names)
        known = sum(in_classes(name) for name in names if name != "customer_ptbr")
        yours = ["yours"] if "customer_ptbr" in names else []
        assert count == " + ".join([f"{known:,}"] * bool(known) + yours)
