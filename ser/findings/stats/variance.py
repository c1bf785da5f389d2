"""How much of the differences between the runs on a target each factor of the grid explains."""

from __future__ import annotations

import warnings
from typing import Any

from ser.findings.design import FACTORS, Design
from ser.findings.scores import METRICS, Target
from ser.findings.stats.effects import all_source_sets
from ser.findings.stats.tests import seed_scores


def variance_shares(target: Target, design: Design, metric: str) -> list[dict[str, Any]]:
    """Main effects and two-way interactions of source corpora, temporal block, pooling and task, over cells and seeds.

    Returns:
        Of each term of the analysis of variance:
        term: "sources" (all of them), a factor, two of these joined by " x ", or "rest": higher interactions and the
        noise of seeds;
        df: its degrees of freedom;
        share: of the sum of squares;
        beyond_noise: the share minus what noise alone gives (omega squared); may be below 0; None for the rest.
        Nothing where a cell of the full factorial is missing: then the terms would not add up.
    """
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    sources, configurations = design.sources(target.name), design.configurations
    source_sets = all_source_sets(target, design)
    indices = design.indices(target, [s | {target.name} for s in source_sets])
    if not source_sets or (indices < 0).any():
        return []
    scores = seed_scores(target)[METRICS.index(metric)]
    frame = pd.DataFrame(
        {
            "score": float(scores[seed, indices[i, j]]),
            **{f"source{k}": 0.5 if source in source_set else -0.5 for k, source in enumerate(sources)},
            **dict(zip(FACTORS, configuration, strict=True)),
        }
        for seed in range(len(target.seeds))
        for i, source_set in enumerate(source_sets)
        for j, configuration in enumerate(configurations)
    )
    factors = {f"source{i}": "sources" for i in range(len(sources))}
    factors |= {f"C({factor}, Sum)": factor for factor in FACTORS if len(getattr(design, factor)) > 1}
    if not factors:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a model without a rest, whose F is not used
        table = anova_lm(ols(f"score ~ ({' + '.join(factors)}) ** 2", frame).fit())  # balanced: the order is free
    total = float(table["sum_sq"].sum())
    if total <= 0:
        return []
    rest_df = float(table["df"]["Residual"])
    noise = float(table["sum_sq"]["Residual"]) / rest_df if rest_df > 0 else None
    sums: dict[str, tuple[int, float]] = {}
    for term, row in table.iterrows():
        name = "rest" if term == "Residual" else " x ".join(factors[part] for part in str(term).split(":"))
        df, squares = sums.get(name, (0, 0.0))
        sums[name] = df + round(float(row["df"])), squares + float(row["sum_sq"])
    return [
        {
            "term": name,
            "df": df,
            "share": squares / total,
            "beyond_noise": None if noise is None or name == "rest" else (squares - df * noise) / (total + noise),
        }
        for name, (df, squares) in sums.items()
    ]
