"""Answers of a grid, one sentence for each target: which source corpora help, whether mixing helps, the better task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ser.findings.report.effects import p_value
from ser.findings.report.layout import Drawn, Table, difference, score
from ser.findings.report.results import Results
from ser.findings.scores import METRICS, Target
from ser.findings.stats.bootstrap import LEAST_SPEAKERS
from ser.findings.stats.effects import (
    MAIN_EFFECT,
    MIXING,
    MULTI_TASK,
    Contrast,
    is_score,
    main_effects,
    mixing,
    multi_task,
    transfer,
)
from ser.scoring.pooled import COVERAGE

METRIC = "ua"
ALPHA = 1 - COVERAGE
BETTER, WORSE, UNCLEAR, FEW = "better", "worse", "no effect shown", "too few speakers"
VERDICT_TEXTS = {
    BETTER: "helped by",
    WORSE: "hurt by",
    UNCLEAR: "no effect shown of",
    FEW: f"fewer than {LEAST_SPEAKERS} speakers, too few for intervals:",
}
Record = dict[str, Any]


def answers_table(results: Results) -> Table:
    """A record for each target and question; the notes are the sentences."""
    records, sentences = [], []
    holm = {key[:2]: test.holm for key, test in results.tests.items() if METRICS[key[2]] == METRIC}
    for target in results.targets:
        design = results.design
        contrasts = [*main_effects(target, design), mixing(target, design), *multi_task(target, design)]
        answers = _records(results, target, contrasts)
        for record in answers:
            if record["question"] == MAIN_EFFECT:
                record["p_holm"] = holm.get((target.name, tuple(record["source"].split())))
        sentences.append(f"{target.name} ({len(target.speakers)} speakers): {_effects(answers)}.")
        records += answers
    claims = [*_corrected(records), *_claims(records)]
    for target in results.unseen:
        scores = _records(results, target, transfer(target, results.design))
        sentences.append(f"{target.name} ({len(target.speakers)} speakers), in no training: {_scores(scores, target)}.")
        records += scores
    rows = [
        [r["target"], r["question"], r["source"].replace(" ", ", "), _figure(r), r["verdict"], p_value(r["p_holm"])]
        for r in records
    ]
    figure = f"{METRIC.upper()}: points, or % without a sign"
    header = ["target", "question", "source corpora", figure, "answer", "p, Holm"]
    return Table("answers", "Which corpora help which", header, rows, records, [*sentences, *claims])


def _records(results: Results, target: Target, contrasts: Sequence[Contrast]) -> list[Record]:
    """Records of the contrasts that can be computed."""
    records = []
    for contrast, figures in zip(contrasts, results.figures(target.name, contrasts), strict=True):
        if contrast.weights is None:
            continue
        figure, level = figures[METRIC], is_score(contrast)
        few = np.isnan(figure["low"])
        verdict = FEW if few else BETTER if figure["low"] > 0 else WORSE if figure["high"] < 0 else UNCLEAR
        records.append(
            {
                "target": target.name,
                "question": contrast.kind,
                "source": " ".join(contrast.sources),
                "metric": METRIC,
                "kind": "score" if level else "difference",
                **figure,
                "verdict": "" if level else verdict,
                "p_holm": None,
            }
        )
    return records


def _figure(record: Record) -> Drawn:
    shown = difference if record["kind"] == "difference" else score
    return shown(record["value"], record["low"], record["high"])


def _effects(records: Sequence[Record]) -> str:
    """What a target gains from each source corpus, from mixing, and from a head for each corpus."""
    if not records:
        return "no matched pair of trainings with and without a source corpus is there"
    parts = []
    for verdict, text in VERDICT_TEXTS.items():
        figures = [
            f"{r['source']} {_figure(r)}" for r in records if (r["question"], r["verdict"]) == (MAIN_EFFECT, verdict)
        ]
        parts += [f"{text} {', '.join(figures)}"] if figures else []
    named = {MIXING: "any mixture minus the target by itself", MULTI_TASK: "a head for each corpus minus one for all"}
    parts += [f"{named[r['question']]} {_figure(r)}" for r in records if r["question"] in named]
    return "; ".join(parts)


def _scores(records: Sequence[Record], target: Target) -> str:
    """Zero-shot scores, best first."""
    best = sorted(records, key=lambda r: -r["value"])
    texts = [f"{_figure(r)} from {r['source'].replace(' ', ', ')}" for r in best]
    return f"UA {'; '.join(texts) or 'not scored'}; chance {100 / np.count_nonzero(target.counts.sum(0)):.0f}"


def _corrected(records: Sequence[Record]) -> list[str]:
    """Which main effects remain significant after joint correction (Holm 1979)."""
    family = [r for r in records if r["p_holm"] is not None]
    remaining = [f"{r['source']} on {r['target']}" for r in family if r["p_holm"] < ALPHA]
    subject = f"Of the {len(family)} main effects, corrected together (Holm), {', '.join(remaining) or 'none'}"
    return [f"{subject} {'stay' if remaining else 'stays'} below p {ALPHA:g}."] if family else []


def _claims(records: Sequence[Record]) -> list[str]:
    """Whether the paper's claims hold: mixing helps, and multi-task learning is best."""
    lines = []
    for question, text in ((MIXING, "Mixing corpora"), (MULTI_TASK, "A head for each corpus (multi-task)")):
        verdicts = [r["verdict"] for r in records if r["question"] == question]
        counts = ", ".join(f"{v} on {verdicts.count(v)}" for v in VERDICT_TEXTS if v in verdicts)
        lines += [f"{text}: {counts} of {len(verdicts)} targets."] if verdicts else []
    return lines
