"""Effects of source corpora on targets with tests, also by budget of updates, and the transfer matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ser.findings.design import Design
from ser.findings.report.layout import Row, Table, difference, score
from ser.findings.report.results import Results
from ser.findings.scores import METRICS, Target
from ser.findings.stats.effects import (
    MAIN_EFFECT,
    PANELS,
    SAMPLED,
    SHAPLEY,
    Contrast,
    is_score,
    main_effects,
    source_effects,
    transfer,
)
from ser.findings.stats.tests import EffectTest, Key
from ser.scoring.results_table import BUDGETS

# What is equal in trainings with and without a source corpus.
EQUAL = {"total": "equal total updates", "per_corpus": "equal updates on the target"}


def effects_table(results: Results) -> Table:
    """Main effects with sign-flip tests, Shapley values, interactions."""
    rows, records, notes = [], [], []
    for target in results.targets:
        effects = source_effects(target, results.design)
        for effect, figures in zip(effects, results.figures(target.name, effects), strict=True):
            texts: Row = []
            errors = _sampling(effect, results.resampled[target.name].observed)
            for m, (metric, figure) in enumerate(figures.items()):
                test = results.tests.get((target.name, effect.sources, m)) if effect.kind == MAIN_EFFECT else None
                p = (test.speakers.p, test.holm, test.seeds.p) if test else (None,) * 3
                record = {
                    "target": target.name,
                    "effect": effect.kind,
                    "sources": " ".join(effect.sources),
                    "metric": metric,
                    **figure,
                    "pairs": effect.pairs,
                    "configurations": effect.configurations,
                }
                records.append(record | dict(zip(("p_speakers", "p_holm", "p_seeds"), p, strict=True)))
                shown = difference(**figure)
                texts += [shown._replace(text=shown.text + errors[m]), *map(p_value, p)]
            rows.append([target.name, effect.kind, ", ".join(effect.sources), *texts, str(effect.pairs)])
        values = results.estimates(target.name, effects).value
        notes += _additivity(target, effects, values) + _shapley_notes(target, effects, results.design)
    header = ["target", "effect", "source"]
    for metric in METRICS:
        header += [f"{metric.upper()}, points", "p", "p, Holm", "p of seeds"]
    notes += _effect_notes(results, results.tests)
    return Table("effects", "Effects of source corpora", [*header, "pairs"], rows, records, notes)


def _effect_notes(results: Results, tests: Mapping[Key, EffectTest]) -> list[str]:
    notes = [
        "With v(S) the mean score over configurations when the source corpora S are trained on besides the target: "
        "main effect, the mean of v(S + d) - v(S) over all S, of matched pairs; Shapley value, the same weighted so "
        "that all add up to v(all) - v(none); interaction, the mean of v(S + d + e) - v(S + d) - v(S + e) + v(S).",
        f"{results.intervals}; value +- t * SE.",
    ]
    if tests:
        notes.append(
            f"p: sign-flip test, blocks are speakers; Holm: within the family of the {len(tests) // 2} main effects of "
            "a metric; of seeds: the same test with seeds for blocks, which asks whether the noise between trainings "
            "could have done it."
        )
        speakers, seeds = (max(getattr(t, block).smallest for t in tests.values()) for block in ("speakers", "seeds"))
        notes.append(f"Smallest p that every target can reach: {speakers:.2g} of speakers, {seeds:.2g} of seeds.")
    single = [t.name for t in results.targets if len(t.seeds) < 2]
    if single:
        notes.append(f"One seed alone: intervals say nothing of the noise between trainings ({', '.join(single)}).")
    return notes


def _sampling(effect: Contrast, scores: np.ndarray) -> list[str]:
    """Text after the value of a sampled effect, by metric: permutations and standard error; "" for another effect."""
    if effect.steps is None:
        return [""] * len(scores)
    errors = effect.standard_error(scores)
    texts = ["unknown" if np.isnan(error) else f"{100 * error:.1f}" for error in errors]
    return [f", sampled, {effect.permutations} permutations, +- {text}" for text in texts]


def _shapley_notes(target: Target, effects: Sequence[Contrast], design: Design) -> list[str]:
    """Which permutations of the source corpora can be evaluated, unless all can."""
    kinds = {effect.kind for effect in effects if effect.kind == SAMPLED or (effect.kind, effect.pairs) == (SHAPLEY, 0)}
    if not kinds:
        return []
    text = f"Target {target.name}: no configuration has all training sets, so that Shapley values "
    if SAMPLED in kinds:
        drawn = f" The grid draws {design.drawn[0]}; those that are drawn twice count once." if design.drawn else ""
        return [
            f"{text}are sampled: the mean over the permutations of the source corpora whose prefixes, from none to all "
            "of them, were all trained. +-: the standard error of the mean over permutations, in points, for "
            "permutations drawn at random; those that pass through one training set count as one. It is not part of "
            f"the interval.{drawn}"
        ]
    return [
        f"{text}cannot be computed, nor sampled: no permutation of the source corpora has prefixes, from none to all "
        "of them, that were all trained."
    ]


def p_value(value: float | None) -> str:
    """Three digits, or nothing."""
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _additivity(target: Target, effects: Sequence[Contrast], values: np.ndarray) -> list[str]:
    """Compare the sum of the Shapley values with the effect of all source corpora, in one line."""
    parts = [i for i, e in enumerate(effects) if e.kind in (SHAPLEY, SAMPLED)]
    joint = [i for i, e in enumerate(effects) if e.kind == "all source corpora"]
    # With training sets missing the two may be over different configurations.
    if not joint or effects[joint[0]].configurations != effects[parts[0]].configurations:
        return []
    sums, totals = values[:, parts].sum(1), values[:, joint[0]]
    if np.isnan(totals).any():
        return []
    texts = ", ".join(
        f"{m.upper()} {100 * s:+.2f} of {100 * t:+.2f}" for m, s, t in zip(METRICS, sums, totals, strict=True)
    )
    return [f"Target {target.name}: the Shapley values add up to {texts} points."]


def transfer_table(results: Results) -> Table:
    """The four panels, with a row for each target and source corpus."""
    rows, records = list[Row](), []
    for target in (*results.targets, *results.unseen):
        panels = transfer(target, results.design)
        for panel, figures in zip(panels, results.figures(target.name, panels), strict=True):
            kind, show = ("score", score) if is_score(panel) else ("difference", difference)
            for metric, figure in figures.items():
                records.append(
                    {
                        "panel": panel.kind,
                        "target": target.name,
                        "source": " ".join(panel.sources),
                        "metric": metric,
                        "kind": kind,
                        **figure,
                        "configurations": panel.configurations,
                    }
                )
            texts = [show(**figure) for figure in figures.values()]
            rows.append([panel.kind, target.name, ", ".join(panel.sources), *texts, str(panel.configurations)])
    rows.sort(key=lambda row: list(PANELS).index(str(row[0])))
    classes = ", ".join(
        f"{t.name} {100 / np.count_nonzero(t.counts.sum(0)):.0f} %" for t in (*results.targets, *results.unseen)
    )
    notes = [
        *(f"{name}: {text}." for name, text in PANELS.items()),
        "Scores without a sign, differences in points with one; means over the configurations that have all cells. "
        "What has no cell in the grid, such as a corpus without test set alone, cannot be computed.",
        f"A model scores a corpus that it has not seen by the mean of its heads. UA by chance: {classes}.",
        f"{results.intervals}; value +- t * SE.",
    ]
    header = ["panel", "target", "source", *(m.upper() for m in METRICS), "configurations"]
    return Table("transfer", "Transfer matrix", header, rows, records, notes)


def budgets_table(results: Results) -> Table:
    """Main effects of source corpora, the two budgets side by side; empty where no run has several corpora."""
    budgets = [r for r in (results, results.other) if r is not None and r.ledger.budget]
    records: list[dict[str, Any]] = [
        {
            "target": target.name,
            "source": effect.sources[0],
            "budget": r.ledger.budget,
            "metric": metric,
            **figure,
            "pairs": effect.pairs,
        }
        for r in budgets
        for target in r.targets
        for effects in [main_effects(target, r.design)]
        for effect, figures in zip(effects, r.figures(target.name, effects), strict=True)
        for metric, figure in figures.items()
    ]
    known = {tuple(r[key] for key in ("target", "source", "budget", "metric")): r for r in records}
    header, rows = ["target", "source corpus"], list[Row]()
    for equal in EQUAL.values():
        header += [*(f"{metric.upper()}, {equal}" for metric in METRICS), "pairs"]
    for target, source in dict.fromkeys((r["target"], r["source"]) for r in records):
        row: Row = [target, source]
        for budget in EQUAL:
            effects = [known.get((target, source, budget, metric)) for metric in METRICS]
            row += [difference(r["value"], r["low"], r["high"]) if r else "not in the ledger" for r in effects]
            row.append(str(effects[0]["pairs"]) if effects[0] else "0")
        rows.append(row)
    notes = [
        "Main effects, in points, of matched pairs of trainings with and without the source corpus; a training on one "
        "corpus is the same at both budgets.",
        *(f"{EQUAL[name].capitalize()}: training.budget {name}, {text}." for name, text in BUDGETS.items()),
        f"{results.intervals}; value +- t * SE.",
    ]
    pairs = {budget: [r["pairs"] for r in records if r["budget"] == budget] for budget in EQUAL}
    if all(pairs.values()) and pairs["total"] != pairs["per_corpus"]:
        notes.append("The two are means over other pairs where the numbers of pairs differ.")
    return Table("budgets", "Effects of source corpora by budget of updates", header, rows, records, notes)
