"""Results that several tables and pictures share, each computed once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ser.common.progress import progress
from ser.findings.design import Design
from ser.findings.ledger.load import Ledger
from ser.findings.scores import METRICS, Target
from ser.findings.stats.bootstrap import LEAST_SPEAKERS, Estimate, Resampled, bootstrap, estimate
from ser.findings.stats.effects import Contrast
from ser.findings.stats.tests import EffectTest, Key, main_effect_tests
from ser.scoring.pooled import COVERAGE
from ser.scoring.results_table import BUDGETS, transductive_notes


@dataclass(frozen=True)
class Results:
    """A ledger with its resamples.

    Attributes:
        command: what prints the tables.
        synthetic: corpora of synthetic speech.
    """

    ledger: Ledger
    design: Design
    command: str
    resamples: int
    synthetic: Sequence[str] = ()

    @cached_property
    def resampled(self) -> dict[str, Resampled]:
        """Target -> resampled scores."""
        bar = progress([*self.targets, *self.unseen], text="resamples", unit="target")
        return {target.name: bootstrap(target, self.resamples) for target in bar}

    @property
    def targets(self) -> list[Target]:
        """Targets in the order of tables."""
        return list(self.ledger.targets.values())

    @property
    def unseen(self) -> list[Target]:
        """Targets that no run was trained on."""
        return list(self.ledger.unseen.values())

    def figures(self, target: str, contrasts: Sequence[Contrast]) -> list[dict[str, dict[str, float]]]:
        """Of each contrast: metric -> value, low and high; NaN where the contrast cannot be computed."""
        estimates = vars(self.estimates(target, contrasts))
        return [
            {metric: {key: float(v[m, i]) for key, v in estimates.items()} for m, metric in enumerate(METRICS)}
            for i in range(len(contrasts))
        ]

    def estimates(self, target: str, contrasts: Sequence[Contrast]) -> Estimate:
        """Values with intervals of contrasts, (metrics, contrasts); NaN for those that cannot be computed."""
        cells = len((self.ledger.targets | self.ledger.unseen)[target].cells)
        weights = np.array([np.zeros(cells) if c.weights is None else c.weights for c in contrasts]).reshape(-1, cells)
        unknown = np.array([c.weights is None for c in contrasts], bool)
        values = vars(estimate(self.resampled[target], weights)).values()
        return Estimate(*(np.where(unknown, np.nan, v) for v in values))

    @cached_property
    def tests(self) -> dict[Key, EffectTest]:
        """Tests of all main effects."""
        return main_effect_tests(self.targets, self.design)

    @cached_property
    def other(self) -> Results | None:
        """Results of the runs of the other budget."""
        ledger = self.ledger.other
        return Results(ledger, self.design, self.command, self.resamples, self.synthetic) if ledger else None

    @cached_property
    def origin(self) -> dict[str, str]:
        """Columns that every CSV file has."""
        return {
            "protocols": " ".join(f"{t.name}={t.protocol}" for t in self.targets),
            "settings": self.ledger.runs[0]["settings_hash"],
            "runs": str(len(self.ledger.runs)),
            "seeds": " ".join(map(str, sorted({seed for t in self.targets for seed in t.seeds}))),
            "command": self.command,
        }

    @cached_property
    def notes(self) -> list[str]:
        """Notes below every table: protocols, counts, settings, what is left out, and the command."""
        runs = self.ledger.runs
        lines = [
            f"Target {t.name}: protocol {t.protocol}, {t.utterances} utterances of {len(t.speakers)} speakers in "
            f"{len(set(t.folds.tolist()))} folds, {len(t.cells)} cells, seeds {', '.join(map(str, t.seeds))}."
            for t in (*self.targets, *self.unseen)
        ]
        lines += [f"Target {t.name}: {note}." for t in (*self.targets, *self.unseen) for note in t.notes]
        lines += [
            f"Target {t.name}: {len(t.speakers)} speakers, too few for intervals, which need {LEAST_SPEAKERS}."
            for t in (*self.targets, *self.unseen)
            if len(t.speakers) < LEAST_SPEAKERS
        ]
        never = [corpus for corpus in self.design.corpora if corpus not in self.ledger.targets]
        lines += [f"No target, for no run was tested on it: {', '.join(never)}."] if never else []
        lines += [f"{note}." for note in self.ledger.notes]
        lines.append(
            f"Preset {runs[0]['preset']}, settings {runs[0]['settings_hash']}, {len(runs)} runs; precision "
            f"{_values(runs, 'precision')}; code {_values(runs, 'git_revision')}."
        )
        budget = self.ledger.budget
        lines += [f"training.budget {budget}: {BUDGETS[budget]}."] if budget else []
        lines += transductive_notes(row["normalisation"] for row in runs)
        lines += _grouped({note for row in runs for note in row["notes"]})
        problems = self.ledger.summary["problems"]
        if problems:
            lines.append(f"{len(problems)} folders were left out of the ledger: {problems[0]['problem']}")
        return [*lines, f"Printed by {self.command}."]

    @property
    def intervals(self) -> str:
        """How intervals are made, in one line."""
        return (
            f"In brackets: {COVERAGE:.0%} intervals of {self.resamples} resamples of speakers, then seeds, the same "
            "for all cells"
        )


def _grouped(notes: Iterable[str]) -> list[str]:
    """Notes `training set: text`, one for each text, by its smallest training set and the number of others."""
    by_text: dict[str, list[str]] = {}
    for note in sorted(notes, key=lambda note: (note.count(","), note)):
        corpora, _, text = note.partition(": ")
        by_text.setdefault(text, []).append(corpora)
    return sorted(
        f"{first}{f' and {len(others)} more training sets' if others else ''}: {text}"
        for text, (first, *others) in by_text.items()
    )


def _values(runs: Sequence[dict[str, Any]], key: str) -> str:
    return ", ".join(sorted({str(row[key]) for row in runs}))
