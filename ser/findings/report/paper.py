"""Tables 1 to 5 of the paper, with intervals, chance level and probability of being best beside each share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ser.findings.design import FACTORS
from ser.findings.paper_tables import ALL, Share, cases, cell_indices, shares3, shares4, shares5, table2, ties, winners
from ser.findings.report.layout import Drawn, Row, Table, difference, interval_text, named, percent, range_text
from ser.findings.report.results import Results
from ser.findings.scores import METRICS
from ser.findings.stats.bootstrap import estimate

# da Silva et al. 2020, Table 2: best and single-corpus baseline, in percent. Their test speakers are not published.
REPORTED = {
    ("iemocap", "wa"): (58.8, 58.8),
    ("ravdess", "wa"): (81.3, 79.2),
    ("customer_ptbr", "wa"): (60.4, 52.1),
    ("iemocap", "ua"): (59.4, 57.7),
    ("ravdess", "ua"): (81.9, 79.2),
    ("customer_ptbr", "ua"): (83.5, 64.7),
}
NAN = float("nan")
SHARES = (
    "Best %: in how many of the resamples the share is the largest of those that it competes with. A share says how "
    "often, not by how much; noise moves it towards chance, and its interval leans that way."
)


def paper_tables(results: Results) -> list[Table]:
    """The five, in order."""
    return [_corpora(results), _best(results), *_configurations(results), _sources(results)]


def _corpora(results: Results) -> Table:
    """Table 1: what was trained and tested on, from the counts in the results."""
    seen: dict[str, dict[str, Any]] = {}  # corpus -> its own fold -> part -> class -> utterances
    protocols: dict[str, str] = {}
    for row in results.ledger.runs:
        folds, counts, hashes = (json.loads(row[key]) for key in ("folds", "counts", "protocol_hash"))
        for corpus, parts in counts.items():
            seen.setdefault(corpus, {})[folds[corpus]] = parts
        protocols |= hashes
    records: list[dict[str, Any]] = []
    for corpus in (c for c in results.design.corpora if c in seen):
        folds = list(seen[corpus].values())
        target = results.ledger.targets.get(corpus)
        classes = {name: sum(parts[part][name] for part in parts) for parts in folds[:1] for name in parts["train"]}
        records.append(
            {
                "corpus": corpus,
                "utterances": sum(classes.values()),
                **classes,
                **{part: range_text([sum(parts[part].values()) for parts in folds]) for part in folds[0]},
                "folds": len(folds),
                "test speakers": len(target.speakers) if target else 0,
                "tested utterances": target.utterances if target else 0,
                "protocol": protocols.get(corpus, "not recorded"),
            }
        )
    header = list(dict.fromkeys(key for record in records for key in record))
    missing = [c for c in results.design.corpora if c not in seen]
    notes = [
        "Utterances of the classes in use, all parts of a fold together; train, valid and test are those of a fold, or "
        "the least and the most of several. A corpus without test utterances is never a target.",
        *([f"Unknown, for no result counts them: {', '.join(missing)}."] if missing else []),
    ]
    rows: list[Row] = [[str(record.get(key, 0)) for key in header] for record in records]
    return Table("table1", "Table 1: corpora", header, rows, records, notes)


def _best(results: Results) -> Table:
    """Table 2: the best of all training sets, beside the single-corpus baseline."""
    rows, records = list[Row](), []
    for target in results.targets:
        for best in table2(target, results.resampled[target.name], results.design):
            cells = np.eye(len(target.cells))
            chosen = cells[target.index[best.best[0]]]
            single = cells[target.index[best.single[0]]] if best.single else np.full(len(cells), np.nan)
            weights = np.stack([chosen, single, chosen - single])
            m, e = METRICS.index(best.metric), estimate(results.resampled[target.name], weights)
            (b, s, d), low, high = (v[m].tolist() for v in (e.value, e.low.clip(-1, 1), e.high.clip(-1, 1)))
            low[:2] = [max(value, 0) for value in low[:2]]
            reported = [percents / 100 for percents in REPORTED.get((target.name, best.metric), (NAN, NAN))]
            records.append(
                {
                    "target": target.name,
                    "metric": best.metric,
                    "best": named(best.best),
                    "best_score": b,
                    **{"best_low": low[0], "best_high": high[0]},
                    "p_best": best.p_best,
                    "tied": len(best.best),
                    "cells": best.cells,
                    "alone": named(best.single),
                    "alone_score": s,
                    **{"alone_low": low[1], "alone_high": high[1]},
                    **{"gain": d, "gain_low": low[2], "gain_high": high[2]},
                    **{"reported_best": reported[0], "reported_alone": reported[1]},
                }
            )
            rows.append(
                [
                    *(target.name, best.metric.upper(), percent(b)),
                    Drawn(interval_text(low[0], high[0]), b, low[0], high[0], s if best.single else None),
                    *(named(best.best), percent(best.p_best), percent(s)),
                    Drawn(interval_text(low[1], high[1]), s, low[1], high[1]),
                    named(best.single) or "not run",
                    difference(d, low[2], high[2]) if best.single else "",
                    *map(percent, reported),
                ]
            )
    header = ["target", "", "best %", "95 %", "of", "prob. best %", "alone %", "95 %", "of", "best minus alone",
              "paper: best %", "paper: alone %"]  # fmt: skip
    notes = [
        *_not_run(results),
        "The best is the highest of many noisy scores, so it is too high, and its interval does not know that it was "
        "chosen: the effects of source corpora are the fair comparison. Cells of a tie are all named.",
        "probability of being best: in how many of the resamples one of these cells has the highest score of all.",
        "Paper: the best figures of da Silva et al. (2020), of other, unpublished test speakers.",
        f"{results.intervals}; value +- t * SE.",
    ]
    title = "Table 2: best score on each target, of all training sets and of the single-corpus baseline"
    return Table("table2", title, header, rows, records, notes)


def _not_run(results: Results) -> list[str]:
    """Which cells of the factorial of each target are missing."""
    notes = []
    for target in results.targets:
        indices = cell_indices(target, results.design)
        if (indices < 0).any():
            m, c = np.argwhere(indices < 0)[0]
            cell = results.design.cell(
                frozenset([target.name]) | results.design.source_sets(target.name, target.cells)[m],
                results.design.configurations[c],
            )
            notes.append(
                f"Target {target.name}: {(indices >= 0).sum()} of {indices.size} cells are there; missing is, among "
                f"others, {cell.name}."
            )
    return notes


def _configurations(results: Results) -> list[Table]:
    """Tables 3 and 4: which configuration wins a case, in full and by one factor at a time."""
    design, number = results.design, len(results.design.configurations)
    titles = (
        "Table 3: share of the cases (target and training set) that each configuration wins",
        "Table 4: the same wins by one factor at a time",
    )
    observed, both = cases(results.targets, results.resampled, design)
    every = sum(len(design.source_sets(target.name, target.cells)) for target in results.targets)
    if not observed.shape[1]:
        reason = f"Cannot be computed: none of the {every} cases has all {number} configurations."
        notes = [reason, *_not_run(results)]
        return [Table(f"table{i}", title, [], [], [], notes) for i, title in enumerate(titles, 3)]
    tied = ties(observed, 2)
    notes = [
        *_not_run(results),
        f"{observed.shape[1]} of {every} cases have all {number} configurations and count; tied for the first place, "
        f"each a part of the win: {tied[0]} of them by WA, {tied[1]} by UA.",
        SHARES,
        f"{results.intervals}; percentiles.",
    ]
    wins = winners(observed, 2), winners(both, 3)
    three, four = shares3(*wins, design), shares4(*wins, design)
    return [
        _share_table("table3", titles[0], three, FACTORS, notes),
        _share_table("table4", titles[1], four, ("factor", "level"), notes),
    ]


def _sources(results: Results) -> Table:
    """Table 5: which corpora the best training set of a configuration contains."""
    title = "Table 5: share of the configurations whose best training set contains a source corpus"
    shares, counts, tied = shares5(results.targets, results.resampled, results.design)
    number = len(results.design.configurations)
    text = f"of {number} configurations have all training sets and count."
    notes = [f"Target {name}: {n} {text}" for name, n in counts.items()]
    if not shares:
        notes = ["Cannot be computed: no configuration has all training sets of any target.", *_not_run(results)]
        return Table("table5", title, [], [], [], notes)
    notes += [
        f"Target {name}: tied for the best training set, each a part of the win: {wa} configurations by WA, {ua} by UA."
        for name, (wa, ua) in tied.items()
    ]
    notes += [
        "A target is in all of its own training sets, so that a row has no share of it. Chance: a source corpus is in "
        "half of them.",
        f"{ALL}: over all targets but the source corpus itself."
        if len(tied) > 1
        else f"No row {ALL}: it needs two targets whose training sets are all there.",
        SHARES,
        f"{results.intervals}; percentiles.",
    ]
    return _share_table("table5", title, shares, ("target", "source"), notes)


def _share_table(name: str, title: str, shares: Sequence[Share], labels: Sequence[str], notes: Sequence[str]) -> Table:
    """A row for each share, WA and UA side by side."""
    by_labels: dict[tuple[str, ...], dict[str, Share]] = {}
    for share in shares:
        by_labels.setdefault(tuple(share.labels[key] for key in labels), {})[share.metric] = share
    header = [*labels]
    for metric in METRICS:
        header += [f"{metric.upper()} wins", f"{metric.upper()} %", "95 %", "best %"]
    records = [
        {
            **share.labels,
            "metric": share.metric,
            **{key: getattr(share, key) for key in ("wins", "of", "share", "low", "high", "chance")},
            "p_best": share.best,
        }
        for share in shares
    ]
    rows = [[*key, *(text for m in METRICS for text in _words(by[m])), percent(by[METRICS[0]].chance)]
            for key, by in by_labels.items()]  # fmt: skip
    return Table(name, title, [*header, "chance %"], rows, records, notes)


def _words(share: Share) -> Row:
    wins = f"{share.wins:.3g} of {share.of}"
    best = "" if share.best is None else percent(share.best)
    interval = Drawn(interval_text(share.low, share.high), share.share, share.low, share.high, share.chance)
    return [wins, percent(share.share), interval, best]
