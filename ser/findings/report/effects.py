"""What source corpora do for targets: effects with tests, also by budget of updates, and the transfer matrix."""

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
    listed = {target.name: source_effects(target, results.design) for target in results.targets}
    tests = results.tests
    rows, records, notes = [], [], []
    for target in results.targets:
        own = listed[target.name]
        estimates = results.estimates(target.name, own)
        for i, effect in enumerate(own):
            texts: Row = []
            errors = _sampling(effect, results.resampled[target.name].observed)
            for m, metric in enumerate(METRICS):
                ends = estimates.of(m, i)
                test = tests.get((target.name, effect.sources, m)) if effect.kind == MAIN_EFFECT else None
                p = (test.speakers.p, test.holm, test.seeds.p) if test else (None,) * 3
                record = {
                    "target": target.name,
                    "effect": effect.kind,
                    "sources": " ".join(effect.sources),
                    "metric": metric,
                    **ends,
                    "pairs": effect.pairs,
                    "configurations": effect.configurations,
                }
                records.append(record | dict(zip(("p_speakers", "p_holm", "p_seeds"), p, strict=True)))
                figure = difference(**ends)
                texts += [figure._replace(text=figure.text + errors[m]), *map(p_value, p)]
            rows.append([target.name, effect.kind, ", ".join(effect.sources), *texts, str(effect.pairs)])
        notes += _additivity(target, own, estimates.value) + _shapley_notes(target, own, results.design)
    header = ["target", "effect", "source"]
    for metric in METRICS:
        header += [f"{metric.upper()}, points", "p", "p, Holm", "p of seeds"]
    notes += _effect_notes(results, tests)
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
    """What stands behind the value of a sampled effect, by metric; nothing behind that of another."""
    if effect.steps is None:
        return [""] * len(scores)
    errors = effect.standard_error(scores)
    texts = ["unknown" if np.isnan(error) else f"{100 * error:.1f}" for error in errors]
    return [f", sampled, {effect.permutations} permutations, +- {text}" for text in texts]


def _shapley_notes(target: Target, effects: Sequence[Contrast], design: Design) -> list[str]:
    """Which permutations of the source corpora can be evaluated, where not all can."""
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
    """A line that holds the Shapley values against what all source corpora do together."""
    parts = [i for i, e in enumerate(effects) if e.kind in (SHAPLEY, SAMPLED)]
    whole = [i for i, e in enumerate(effects) if e.kind == "all source corpora"]
    # With mixes missing the two may be over different configurations.
    if not whole or effects[whole[0]].configurations != effects[parts[0]].configurations:
        return []
    sums, totals = values[:, parts].sum(1), values[:, whole[0]]
    if np.isnan(totals).any():
        return []
    texts = ", ".join(
        f"{m.upper()} {100 * s:+.2f} of {100 * t:+.2f}" for m, s, t in zip(METRICS, sums, totals, strict=True)
    )
    return [f"Target {target.name}: the Shapley values add up to {texts} points."]


def transfer_table(results: Results) -> Table:
    """The four panels, a row a target and source corpus."""
    rows, records = list[Row](), []
    for target in (*results.targets, *results.unseen):
        own = transfer(target, results.design)
        estimates = results.estimates(target.name, own)
        for i, entry in enumerate(own):
            level = entry.weights is not None and entry.weights.min() >= 0
            texts: Row = []
            for m, metric in enumerate(METRICS):
                figure = estimates.of(m, i)
                records.append(
                    {
                        "panel": entry.kind,
                        "target": target.name,
                        "source": " ".join(entry.sources),
                        "metric": metric,
                        "kind": "score" if level else "difference",
                        **figure,
                        "configurations": entry.configurations,
                    }
                )
                texts.append((score if level else difference)(**figure))
            rows.append([entry.kind, target.name, ", ".join(entry.sources), *texts, str(entry.configurations)])
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
    both = [f for f in (results, results.other) if f is not None and f.ledger.budget]
    records = [record for one in both for record in _budget_records(one)]
    known = {tuple(r[key] for key in ("target", "source", "budget", "metric")): r for r in records}
    header, rows = ["target", "source corpus"], list[Row]()
    for equal in EQUAL.values():
        header += [*(f"{metric.upper()}, {equal}" for metric in METRICS), "pairs"]
    for target, source in dict.fromkeys((r["target"], r["source"]) for r in records):
        row: Row = [target, source]
        for budget in EQUAL:
            own = [known.get((target, source, budget, metric)) for metric in METRICS]
            row += [difference(r["value"], r["low"], r["high"]) if r else "not in the ledger" for r in own]
            row.append(str(own[0]["pairs"]) if own[0] else "0")
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


def _budget_records(results: Results) -> list[dict[str, Any]]:
    """A record a target, source corpus and metric of the runs of one budget."""
    records = []
    for target in results.targets:
        effects = main_effects(target, results.design)
        estimates = results.estimates(target.name, effects)
        for i, effect in enumerate(effects):
            for m, metric in enumerate(METRICS):
                records.append(
                    {
                        "target": target.name,
                        "source": effect.sources[0],
                        "budget": results.ledger.budget,
                        "metric": metric,
                        **estimates.of(m, i),
                        "pairs": effect.pairs,
                    }
                )
    return records
