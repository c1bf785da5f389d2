"""Checks of the figures of a grid: variance shares, and a negative control by the same network trained twice."""

from __future__ import annotations

import numpy as np

from ser.findings.paper_tables import cell_indices
from ser.findings.report.effects import p_value
from ser.findings.report.layout import Drawn, Row, Table, difference, percent
from ser.findings.report.results import Results
from ser.findings.scores import METRICS, Target
from ser.findings.stats.effects import Contrast
from ser.findings.stats.tests import by_speaker, negative_control, sign_flip
from ser.findings.stats.variance import variance_shares


def variance_table(results: Results) -> Table:
    """Shares of the sum of squares, largest first."""
    rows, records, missing = list[Row](), [], []
    for target in results.targets:
        parts = {metric: variance_shares(target, results.design, metric) for metric in METRICS}
        if not any(parts.values()):
            missing.append(target.name)
        for metric, terms in parts.items():
            for part in sorted(terms, key=lambda part: -float(part["share"])):
                records.append({"target": target.name, "metric": metric, **part})
                beyond = "" if part["beyond_noise"] is None else percent(part["beyond_noise"])
                share = Drawn(percent(part["share"]), part["share"], 0, part["share"])
                rows.append([target.name, metric.upper(), part["term"], str(part["df"]), share, beyond])
    notes = [
        *([f"Cannot be computed, for cells of the factorial are missing: {', '.join(missing)}."] if missing else []),
        "Analysis of variance over cells and seeds: main effects and two-way interactions; rest: higher interactions "
        "and the noise of seeds. Beyond noise: omega squared, the share less what noise alone would give it.",
        "Of these test speakers; a share has no interval and does not hold for other speakers.",
    ]
    header = ["target", "metric", "term", "df", "share %", "beyond noise %"]
    return Table("variance", "Variance shares", header, rows, records, notes)


def control_table(results: Results) -> Table:
    """Differences of the single-corpus baseline as multi and as unified, which are one network."""
    rows, records, missing = list[Row](), [], []
    for target in results.targets:
        control = negative_control(target, results.design)
        if control is None:
            missing.append(target.name)
            continue
        mean = Contrast("negative_control", (), control.mean_weights, control.pairs)
        (figures,) = results.figures(target.name, [mean])
        for m, (metric, figure) in enumerate(figures.items()):
            test = sign_flip(by_speaker(target, control.mean_weights)[m])
            largest = float(np.abs(control.differences[m]).max())
            sources = _pair_differences(results, target, m)
            beyond = float((np.abs(sources) > largest).mean()) if len(sources) else float("nan")
            records.append(
                {
                    "target": target.name,
                    "metric": metric,
                    "pairs": control.pairs,
                    **dict(zip(("mean", "low", "high"), figure.values(), strict=True)),
                    "p": test.p,
                    "run_sd": float(control.run_sd[m]),
                    "largest": largest,
                    "source_pairs": len(sources),
                    "source_pairs_beyond": beyond,
                    "differences": " ".join(f"{d:.6f}" for d in control.differences[m]),
                }
            )
            rows.append([target.name, metric.upper(), str(control.pairs), difference(**figure), p_value(test.p),
                         percent(float(control.run_sd[m])), percent(largest),
                         f"{percent(beyond)} of {len(sources)}" if len(sources) else ""])  # fmt: skip
    notes = [
        *([f"Cannot be computed, for no such pair is there: {', '.join(missing)}."] if missing else []),
        "A pair: the single-corpus baseline, as multi and as unified, which is one network with other random draws; "
        "the mean difference should be 0. Run SD: standard deviation of one run's score on all test speakers, points. "
        "Largest: difference of a pair, mean over seeds. Beyond: matched pairs with and without a source corpus that "
        "differ by more.",
        f"{results.intervals}; value +- t * SE. p: sign-flip test over speakers.",
    ]
    header = ["target", "metric", "pairs", "mean, points", "p", "run SD", "largest", "source pairs beyond %"]
    return Table("negative_control", "Negative control: the same network twice", header, rows, records, notes)


def _pair_differences(results: Results, target: Target, metric: int) -> np.ndarray:
    """v(S + d, c) - v(S, c) of every matched pair that is available."""
    design, observed = results.design, results.resampled[target.name].observed[metric]
    source_sets = design.source_sets(target.name, target.cells)
    rows = dict(zip(source_sets, cell_indices(target, design), strict=True))
    pairs = [
        (rows[s | {d}], rows[s]) for s in rows for d in design.sources(target.name) if d not in s and s | {d} in rows
    ]
    after, before = np.array(pairs, np.int64).reshape(-1, 2, len(design.configurations)).swapaxes(0, 1)
    both = (after >= 0) & (before >= 0)
    return np.asarray(observed[after[both]] - observed[before[both]])
