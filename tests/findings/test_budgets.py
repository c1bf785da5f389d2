"""Runs of two budgets of updates in one ledger."""

import pytest
from conftest import refuses
from made_ledgers import PAPER, TWO, answered, write_run

from ser.common import read_json
from ser.findings.html.page import write_report
from ser.findings.ledger import build_ledger
from ser.findings.ledger.load import load_ledger
from ser.findings.report.results import Results
from ser.findings.report.write import write_findings

CONFIGURATION = ("multi", "lstm", "mu")
DESIGN = TWO.narrowed({"task": ["multi"], "temporal": ["lstm"], "pooling": ["mu"]})
SPEAKERS = ["a1", "a2"]


def answers(wrong):
    """Of two speakers, an utterance of each of four classes; so many of each speaker's are wrong."""
    keys = [f"ravdess_{speaker}-{name}-0" for speaker in SPEAKERS for name in ("angry", "happy", "neutral")[:wrong]]
    return {"ravdess": answered("ravdess", SPEAKERS, wrong=keys)}


@pytest.fixture
def exp(tmp_path):
    """RAVDESS alone has 1 of 4 wrong, with TESS 3 at budget total and none at budget per_corpus."""
    for budget, wrong in (("total", 3), ("per_corpus", 0)):
        training = {"training": {"budget": budget}}
        root = tmp_path / "exp" / budget
        write_run(root, ["tess", "ravdess"], CONFIGURATION, 1, 0, answers(wrong), **training)
    write_run(tmp_path / "exp" / "total", ["ravdess"], CONFIGURATION, 1, 0, answers(1))
    return tmp_path / "exp"


def ledger_of(exp, budget="", **only):
    build_ledger([exp], exp.parent / "ledger", PAPER.corpora, "command")
    return load_ledger(exp.parent / "ledger", DESIGN, only, budget)


def effects(found, folder):
    write_findings(found, folder)
    sheet = read_json(folder / "findings.json")["budgets"]
    return {(r["budget"], r["metric"]): (r["value"], r["pairs"]) for r in sheet["records"]}


@pytest.mark.parametrize(("budget", "gain"), [("", 0.25), ("per_corpus", 0.25), ("total", -0.5)])
def test_tables_are_of_one_budget_and_the_effects_of_both(exp, tmp_path, budget, gain):
    ledger, design = ledger_of(exp, budget)
    assert ledger.budget == (budget or "per_corpus")
    assert {row["combination"] for row in ledger.runs} == {"ravdess", "tess_ravdess"}
    assert len(ledger.runs) == 2
    assert len({row["settings_hash"] for row in ledger.runs}) == 1
    found = Results(ledger, design, "x", 100)
    expected = {("total", m): (-0.5, 1) for m in ("wa", "ua")} | {("per_corpus", m): (0.25, 1) for m in ("wa", "ua")}
    assert effects(found, tmp_path / "findings") == expected
    records = read_json(tmp_path / "findings" / "findings.json")["effects"]["records"]
    assert {r["value"] for r in records if r["effect"] == "main effect"} == {gain}
    assert any(f"training.budget {ledger.budget}: " in note for note in found.notes)
    write_report(tmp_path / "findings", tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text()
    assert "UA, equal total updates" in page
    assert "not in the ledger" not in page


def test_settings_of_two_budgets_have_two_hashes(exp):
    ledger, _ = ledger_of(exp)
    assert ledger.runs[0]["settings_hash"] != ledger.other.runs[0]["settings_hash"]
    assert ledger.runs[0]["comparable_hash"] == ledger.other.runs[0]["comparable_hash"]


def test_a_budget_that_the_ledger_lacks(exp, tmp_path):
    ledger, design = ledger_of(exp / "total")
    assert (ledger.budget, ledger.other) == ("total", None)
    assert set(effects(Results(ledger, design, "x", 100), tmp_path / "findings")) == {("total", "wa"), ("total", "ua")}
    assert "not in the ledger" in (tmp_path / "findings" / "budgets.md").read_text()
    with refuses(where="--budget per_corpus"):
        ledger_of(exp / "total", "per_corpus")


def test_other_settings_are_refused_at_any_budget(exp):
    write_run(
        exp / "x", ["tess", "ravdess"], CONFIGURATION, 1, 0, answers(0), training={"budget": "total", "patience": 3}
    )
    with refuses("several settings"):
        ledger_of(exp)
