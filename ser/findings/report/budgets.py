"""What a source corpus does at equal total updates, and at equal updates on the target."""

from __future__ import annotations

from typing import Any

from ser.findings.report.layout import Row, Table, difference
from ser.findings.report.results import Results
from ser.findings.scores import METRICS
from ser.findings.stats.effects import main_effects
from ser.scoring.results_table import BUDGETS

# What is equal in trainings with and without a source corpus.
EQUAL = {"total": "equal total updates", "per_corpus": "equal updates on the target"}


def budgets_table(found: Results) -> Table:
    """Main effects of source corpora, the two budgets side by side; empty where no run has several corpora."""
    both = [f for f in (found, found.other) if f is not None and f.ledger.budget]
    records = [record for one in both for record in _records(one)]
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
        f"{found.intervals}; value +- t * SE.",
    ]
    pairs = {budget: [r["pairs"] for r in records if r["budget"] == budget] for budget in EQUAL}
    if all(pairs.values()) and pairs["total"] != pairs["per_corpus"]:
        notes.append("The two are means over other pairs where the numbers of pairs differ.")
    return Table("budgets", "Effects of source corpora by budget of updates", header, rows, records, notes)


def _records(found: Results) -> list[dict[str, Any]]:
    """A record a target, source corpus and metric of the runs of one budget."""
    records = []
    for target in found.targets:
        effects = main_effects(target, found.design)
        estimates = found.estimates(target.name, effects)
        for i, effect in enumerate(effects):
            for m, metric in enumerate(METRICS):
                records.append(
                    {
                        "target": target.name,
                        "source": effect.sources[0],
                        "budget": found.ledger.budget,
                        "metric": metric,
                        **estimates.of(m, i),
                        "pairs": effect.pairs,
                    }
                )
    return records
