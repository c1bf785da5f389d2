"""The sentences that open a report, of grids whose answers are known."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from made_ledgers import PAPER, RUN, drawn_target

from ser.common.output import ROOT, command_line
from ser.findings.design import synthetic
from ser.findings.ledger.load import Ledger
from ser.findings.report.answers import answers_table
from ser.findings.report.results import Results, _grouped
from ser.findings.stats.bootstrap import LEAST_SPEAKERS


def table_of(*targets, unseen=()):
    ledger = Ledger([RUN], {t.name: t for t in targets}, {"problems": []}, [], unseen={t.name: t for t in unseen})
    return answers_table(Results(ledger, PAPER, "x", 200))


@pytest.fixture(scope="module")
def table():
    """iemocap is planted as a help and tess as a harm to ravdess; nothing helps or harms customer_ptbr."""
    rng = np.random.default_rng(0)
    planted = drawn_target(rng, "ravdess", sources={"iemocap": 0.8, "tess": -0.8}, source_sd=0.05, seeds=2)
    nothing = drawn_target(rng, "customer_ptbr", source_sd=0.0, cell_sd=0.0, run_sd=0.0, seeds=2)
    few = drawn_target(rng, "iemocap", speakers=LEAST_SPEAKERS - 1, folds=2, seeds=2)
    unseen = drawn_target(rng, "urdu", zero_shot=True, seeds=2)
    return table_of(planted, nothing, few, unseen=[unseen])


def test_every_target_has_a_sentence_that_names_what_helps_and_what_harms(table):
    ravdess, nothing, few, *_ = table.notes
    assert ravdess.startswith("ravdess (24 speakers): helped by iemocap +")
    assert "; hurt by tess -" in ravdess
    assert "; no effect shown of customer_ptbr " in ravdess
    assert "any mixture minus the target by itself" in ravdess
    assert "a head for each corpus minus one for all" in ravdess
    assert "helped" not in nothing
    assert "hurt" not in nothing
    assert "fewer than 5 speakers, too few for intervals" in few


def test_the_claims_of_the_paper_are_counted_over_targets(table):
    claims = [line for line in table.notes if line.endswith("targets.")]
    assert [line.split(":")[0] for line in claims] == ["Mixing corpora", "A head for each corpus (multi-task)"]
    assert all("too few speakers on 1" in line and line.endswith("of 3 targets.") for line in claims)


def test_main_effects_are_also_corrected_for_their_number(table):
    (line,) = [line for line in table.notes if "(Holm)" in line]
    corrected = "iemocap on ravdess, tess on ravdess stay below p 0.05."
    assert line == f"Of the 9 main effects, corrected together (Holm), {corrected}"
    tested = {(r["target"], r["source"]): r["p_holm"] for r in table.records if r["question"] == "main effect"}
    assert tested["ravdess", "iemocap"] < 0.05 < tested["customer_ptbr", "tess"]
    assert all(r["p_holm"] is None for r in table.records if r["question"] != "main effect")


def test_a_note_of_many_training_sets_is_one_line():
    notes = [f"{corpora}: 1 of the test part is doubled" for corpora in ("a, b", "a", "a, b, c")] + ["b: other"]
    assert _grouped(notes) == ["a and 2 more training sets: 1 of the test part is doubled", "b: other"]


def test_a_corpus_that_no_model_was_trained_on_has_zero_shot_scores(table):
    (line,) = [line for line in table.notes if line.startswith("urdu (24 speakers), in no training: UA ")]
    assert line.endswith("chance 25.")
    scored = [r for r in table.records if r["target"] == "urdu"]
    assert [r["kind"] for r in scored] == ["score"] * 5  # four source corpora, and all of them
    assert [r["question"] for r in scored] == ["zero-shot"] * 4 + ["leave one corpus out"]


def test_without_any_pair_the_sentence_reports_it():
    target = drawn_target(np.random.default_rng(0), design=PAPER.narrowed({"corpora": ["ravdess"]}), seeds=1)
    assert table_of(target).notes == [
        "ravdess (24 speakers): no matched pair of trainings with and without a source corpus is there."
    ]


def test_below_five_speakers_there_is_no_interval(table):
    few = [r for r in table.records if r["target"] == "iemocap"]
    assert {r["verdict"] for r in few} == {"too few speakers"}
    assert all(np.isnan(r["low"]) and np.isfinite(r["value"]) for r in few)


def test_corpora_of_synthetic_speech_are_known_by_their_protocols():
    assert synthetic(["mini_en", "ravdess", "mini_pt"], ROOT / "egs" / "mini") == ["mini_en", "mini_pt"]


def test_a_printed_command_has_no_absolute_path(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pool.py", str(ROOT / "exp a"), "exp", "--append", "/elsewhere/x"])
    elsewhere = os.path.relpath("/elsewhere/x", ROOT)
    assert command_line("steps/pool.py") == f"steps/pool.py 'exp a' exp --append {elsewhere}"
    assert Path(ROOT, "ser").is_dir()
