"""From folders of experiments to every table, as a person calls it."""

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import programs
import pytest
from conftest import refuses
from made_ledgers import PAPER, RUN, TWO, answered, drawn_grid, write_run

from ser.findings.ledger.load import Ledger
from ser.findings.report.layout import Table, comma_separated, table_markdown
from ser.findings.report.results import Results
from ser.findings.report.write import write_findings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TABLES = [f"table{number}" for number in range(1, 6)]
TABLES += ["answers", "effects", "transfer", "budgets", "variance", "negative_control"]


def call(step, *arguments):
    return programs.run(ROOT / "steps" / f"{step}.py", *arguments)


@pytest.fixture(scope="module")
def exp(tmp_path_factory):
    """The 24 cells of tess and ravdess, two folds, one seed: TESS corrects a speaker, a tdnn has another wrong."""
    root = tmp_path_factory.mktemp("grid") / "exp"
    for corpora in (["ravdess"], ["tess", "ravdess"]):
        for i, configuration in enumerate(TWO.configurations):
            for fold in (1, 2):
                speakers = [f"a{fold}", f"b{fold}"]
                wrong = [f"ravdess_a{fold}-sad-{i % 3}"]
                wrong += [f"a{fold}"] if corpora == ["ravdess"] else []
                wrong += [f"ravdess_b{fold}-happy-0"] if configuration[1] == "tdnn" else []
                answers = {"ravdess": answered("ravdess", speakers, wrong, per_class=3)}
                write_run(root, corpora, configuration, fold, 0, answers)
    return root


@pytest.fixture(scope="module")
def findings(exp):
    ledger = exp / "ledger"
    made = call("ledger", exp)
    assert made.returncode == 0, made.stderr
    assert made.stdout == f"{ledger}: 48 runs, 1152 predictions\n"
    found = call("findings", ledger, "--resamples", "200")
    assert found.returncode == 0, found.stderr
    return exp / "findings", found.stdout


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_table_is_there_with_protocol_counts_and_command(findings, exp):
    folder, _ = findings
    command = f"steps/findings.py {os.path.relpath(exp / 'ledger', ROOT)} --resamples 200"
    for name in TABLES:
        text = (folder / f"{name}.md").read_text()
        assert f"Printed by {command}." in text
        assert "No target, for no run was tested on it: tess." in text
        assert "Target ravdess: protocol protocol, 48 utterances of 4 speakers in 2 folds, 24 cells, seeds 0." in text
        rows = rows_of(folder / f"{name}.csv")
        assert {(row["command"], row["protocols"]) for row in rows} == {(command, "ravdess=protocol")}


def test_the_figures_are_those_of_the_folders(findings):
    """Alone a cell has 24 of 48 wrong, or two more with a tdnn; with tess two or four."""
    folder, printed = findings
    (best, _) = rows_of(folder / "table2.csv")
    assert float(best["best_score"]) == pytest.approx(46 / 48)
    assert float(best["alone_score"]) == pytest.approx(24 / 48)
    assert int(best["tied"]) == 8
    assert [float(row["wa"]) for row in rows_of(folder / "cells.csv")] == [
        row["wa"] for row in json.loads((folder / "findings.json").read_text())["cells"]["records"]
    ]
    effect = next(r for r in rows_of(folder / "effects.csv") if (r["effect"], r["metric"]) == ("main effect", "wa"))
    assert float(effect["value"]) == pytest.approx(22 / 48)
    assert (effect["target"], effect["sources"], effect["pairs"]) == ("ravdess", "tess", "12")
    shares = {r["level"]: float(r["share"]) for r in rows_of(folder / "table4.csv") if r["metric"] == "ua"}
    assert shares == pytest.approx(
        {"multi": 0.5, "unified": 0.5, "lstm": 0.5, "blstm": 0.5, "tdnn": 0, "mu": 0.5, "mu_sigma2": 0.5}
    )
    assert "tied for the first place, each a part of the win: 2 of them by WA, 2 by UA." in printed
    assert "One seed alone: intervals say nothing of the noise between trainings (ravdess)." in printed


def test_findings_json_has_every_figure(findings):
    folder, _ = findings
    found = json.loads((folder / "findings.json").read_text())
    assert found["grid"]["corpora"] == ["tess", "ravdess"]
    assert len(found["cells"]["records"]) == 24
    assert {row["wa"] for row in found["cells"]["records"]} == {24 / 48, 22 / 48, 46 / 48, 44 / 48}
    assert np.array(found["targets"]["ravdess"]["confusions"][0]["confusion"]).sum() == 48
    for name in TABLES:
        assert len(found[name]["records"]) == len(rows_of(folder / f"{name}.csv"))
    assert found["table3"]["records"][0]["chance"] == 1 / 12
    for name in ("transfer_wa", "transfer_ua", "shapley_wa", "shapley_ua"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_all_tables_are_a_section_of_a_file_of_results(findings, exp, tmp_path):
    path = tmp_path / "RESULTS.md"
    path.write_text("# Results\n")
    for _ in range(2):
        done = call("findings", exp / "ledger", "--resamples", "200", "--out", tmp_path / "out", "--append", path)
        assert done.returncode == 0, done.stderr
    text = path.read_text()
    assert re.findall("^##? .*", text, re.MULTILINE)[0] == "# Results"
    assert len(re.findall("^## Grid paper, preset ", text, re.MULTILINE)) == 1
    assert len(re.findall("^### ", text, re.MULTILINE)) == len(TABLES) + 1
    assert text.count(f"--append {os.path.relpath(path, ROOT)}.") == 1


def test_what_cannot_be_computed_is_noted(findings, exp):
    folder = exp.parent / "sparse"
    found = call("findings", exp / "ledger", "--only", "combination=ravdess", "--resamples", "100", "--out", folder)
    assert found.returncode == 0, found.stderr
    text = (folder / "table5.md").read_text()
    assert "Cannot be computed: no configuration has all training sets of any target." in text
    assert rows_of(folder / "table5.csv")[0]["note"].startswith("Cannot be computed")
    assert "1 of 1 cases have all 12 configurations" in (folder / "table3.md").read_text()


def test_factors_can_be_narrowed(findings, exp):
    folder = exp.parent / "narrow"
    options = ("--temporal", "lstm", "--task", "multi", "--resamples", "100", "--out", folder)
    assert call("findings", exp / "ledger", *options).returncode == 0
    assert [row["chance"] for row in rows_of(folder / "table3.csv")] == ["0.5"] * 4
    wrong = call("findings", exp / "ledger", "--temporal", "gru")
    assert wrong.returncode == 1
    assert wrong.stderr == "error: --temporal gru: gru is not in the grid, which has lstm, blstm, tdnn\n"


def test_a_damaged_run_is_named_by_the_exit_code_and_the_rest_goes_on(findings, exp):
    path = exp / "ravdess" / "multi_lstm_mu" / "fold1_seed0" / "result.json"
    text = path.read_text()
    path.write_text(text[:50])
    try:
        made = call("ledger", exp, "--out", exp.parent / "damaged")
    finally:
        path.write_text(text)
    assert made.returncode == 1
    assert made.stdout == f"{exp.parent / 'damaged'}: 47 runs, 1128 predictions\n"
    assert made.stderr.startswith("1 folders are left out, in whole or in part")
    assert f"{path}: not readable as JSON" in made.stderr
    found = call("findings", exp.parent / "damaged", "--resamples", "100")
    assert found.returncode == 0
    assert "1 folders were left out of the ledger" in found.stdout
    assert "Target ravdess: 23 of 24 cells are there; missing is, among others, ravdess/multi_lstm_mu." in found.stdout
    assert "1 of 2 cases have all 12 configurations and count" in found.stdout
    assert "Target ravdess: 11 of 12 configurations have all training sets and count." in found.stdout


@pytest.mark.parametrize("arguments", [(), ("--resamples", "5"), ("--only", "seed=7")])
def test_a_mistake_is_one_line(tmp_path, findings, exp, arguments):
    ledger = exp / "ledger" if arguments else tmp_path
    found = call("findings", ledger, *arguments)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("error: ")
    assert found.stderr.count("\n") == 1


def test_the_whole_grid_has_all_cells_of_the_paper(tmp_path):
    ledger = Ledger([RUN], drawn_grid(zero_shot=True, per_class=4), {"problems": []}, [])
    tables = {s.name: s for s in write_findings(Results(ledger, PAPER, "x", 100), tmp_path / "out")}
    rows = {name: len(table.rows) for name, table in tables.items()}
    assert rows == {
        "table1": 0,  # no run here counts its corpora
        "table2": 6,
        "table3": 12,
        "table4": 7,
        "table5": 13,
        "answers": 3 * (3 + 1 + 1),
        "effects": 3 * (3 + 3 + 3 + 1),
        "transfer": 3 * (4 + 3 + 1 + 4),
        "budgets": 0,  # nor names a budget
        "variance": 3 * 2 * 12,
        "negative_control": 6,
    }
    assert "Holm: within the family of the 9 main effects of a metric" in table_markdown(tables["effects"])
    assert (
        "Normalisation by speaker uses all test utterances of the speaker, unlabelled (transductive)."
        in (tmp_path / "out" / "table3.md").read_text()
    )
    reported = {(r["target"], r["metric"]): r["reported_best"] for r in tables["table2"].records}
    assert reported["customer_ptbr", "ua"] == pytest.approx(0.835)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    with refuses("holds something else"):
        write_findings(Results(ledger, PAPER, "x", 100), tmp_path / "mine")


def test_names_are_escaped():
    table = Table("x", "T", ["a_b %"], [["50 % & more_"]], [{"a": 'say "x", y'}], ["first\nsecond"])
    assert comma_separated(table, {"command": "c"}) == 'a,command\n"say ""x"", y",c\n'
