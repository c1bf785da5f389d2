"""Do the intervals hold what they say? Grids are drawn with known effects, again and again."""

from functools import cache

import numpy as np
import pytest
from made_ledgers import PAPER, drawn_target
from threadpoolctl import threadpool_limits

from ser.findings.paper_tables import cases, shares3, shares4, shares5, winners
from ser.findings.stats.bootstrap import bootstrap, estimate
from ser.findings.stats.effects import source_effects
from ser.findings.stats.tests import by_speaker, holm, negative_control, sign_flip
from ser.scoring.pooled import percentiles

pytestmark = pytest.mark.slow

# Effects of source corpora do not depend on how many configurations there are.
FEW = PAPER.narrowed({"temporal": ["blstm"], "pooling": ["mu"]})
GRIDS = 400
RESAMPLES = 300
# Where noise comes from: an effect of a source corpus for each speaker; few speakers; trainings; nothing but answers.
WORLDS = {
    "speakers": {},
    "few speakers": {"speakers": 8, "folds": 4, "source_sd": 0.3},
    "trainings": {"source_sd": 0.0, "cell_sd": 0.0, "run_sd": 0.5},
    "answers": {"source_sd": 0.0, "cell_sd": 0.0, "run_sd": 0.0},
}


@pytest.fixture(autouse=True)
def _one_thread():
    """So small products are slower on several."""
    with threadpool_limits(1):
        yield


def null(number, design=FEW, **world):
    return drawn_target(np.random.default_rng(number), design=design, **world)


@cache
def effects():
    target = null(0, seeds=1)
    return source_effects(target, FEW), negative_control(target, FEW).mean_weights


@pytest.mark.parametrize("world", WORLDS)
def test_intervals_of_effects_hold_the_truth_of_no_effect_in_95_of_100_grids(world):
    contrasts, same = effects()
    coverage = coverage_of(np.array([*(e.weights for e in contrasts), same]), GRIDS, **WORLDS[world])
    assert 0.93 <= coverage.mean() <= 0.97
    # each of them, within what so many grids can tell
    assert np.all(np.abs(coverage - 0.95) < 0.03)


def coverage_of(weights, grids, **world):
    """How often the interval of each effect holds 0, (effects,)."""
    held = []
    for number in range(grids):
        e = estimate(bootstrap(null(number, **world), RESAMPLES), weights)
        held.append((e.low[1] <= 0) & (e.high[1] >= 0))
    return np.mean(held, axis=0)


def test_one_seed_reports_nothing_of_the_noise_between_trainings():
    """Which is why a table of one seed says so."""
    weights = np.array([e.weights for e in effects()[0][:3]])
    assert coverage_of(weights, 100, **WORLDS["trainings"], seeds=1).mean() < 0.85


def test_percentiles_would_be_too_narrow_with_few_speakers_and_too_wide_for_answers():
    """Why effects have another interval than shares."""
    weights = np.array([e.weights for e in effects()[0][:3]])
    coverage = {}
    for world in ("few speakers", "answers"):
        held = []
        for number in range(150):
            low, high = percentiles(bootstrap(null(number, **WORLDS[world]), RESAMPLES).both[1] @ weights.T, 0)
            held.append((low <= 0) & (high >= 0))
        coverage[world] = np.mean(held)
    assert coverage["few speakers"] < 0.92
    assert coverage["answers"] > 0.98


@pytest.mark.parametrize("world", ["speakers", "few speakers", "answers"])
def test_intervals_of_shares_hold_chance_at_least_as_often_as_they_say(world):
    held = []
    for number in range(60):
        target = null(number, PAPER, **WORLDS[world])
        held.append([share.low - 1e-9 <= share.chance <= share.high + 1e-9 for share in shares_of(target)])
    assert np.mean(held) >= 0.93


def shares_of(target):
    """Of Tables 3 to 5, UA."""
    resampled = {target.name: bootstrap(target, RESAMPLES)}
    observed, both = cases([target], resampled, PAPER)
    wins = winners(observed, 2), winners(both, 3)
    found = [*shares3(*wins, PAPER), *shares4(*wins, PAPER), *shares5([target], resampled, PAPER)[0]]
    return [share for share in found if share.metric == "ua"]


def test_a_planted_source_is_found_by_every_figure():
    """tess is worth some five points of UA to ravdess, iemocap and customer_ptbr nothing."""
    found, others = [], []
    for number in range(20):
        target = null(number, PAPER, sources={"tess": 0.3})
        own = {(e.kind, e.sources): e.weights for e in source_effects(target, PAPER)}
        e = estimate(bootstrap(target, RESAMPLES), np.array([*own.values()]))
        low = dict(zip(own, e.low[1], strict=True))
        sources = [key for key in own if key[0] == "main effect"]
        p = dict(zip(sources, holm([sign_flip(by_speaker(target, own[key])[1]).p for key in sources]), strict=True))
        share = next(s for s in shares_of(target) if s.labels == {"target": "ravdess", "source": "tess"})
        tess = ("tess",)
        found.append(
            [
                low["main effect", tess] > 0,
                low["Shapley value", tess] > 0,
                p["main effect", tess] < 0.05,
                share.low > share.chance,
                share.best > 0.9,
            ]
        )
        others += [p[key] < 0.05 for key in sources if key[1] != tess]
    assert np.mean(found, axis=0).min() >= 0.9
    assert np.mean(others) <= 0.1


def test_a_planted_configuration_is_found():
    best = ("multi", "blstm", "mu_sigma2")
    found = []
    for number in range(15):
        shares = shares_of(null(number, PAPER, best=(best, 0.4)))
        own = next(s for s in shares if tuple(s.labels.values()) == best)
        level = next(s for s in shares if s.labels == {"factor": "temporal", "level": "blstm"})
        found.append([own.low > own.chance, own.best > 0.9, level.low > level.chance])
    assert np.mean(found, axis=0).min() >= 0.9


def test_sign_flips_reject_a_null_that_holds_in_5_of_100_grids():
    weights = effects()[0][0].weights
    p = [sign_flip(by_speaker(null(number, speakers=10, folds=5), weights)[1]).p for number in range(400)]
    assert 0.025 <= np.mean(np.array(p) <= 0.05) <= 0.075
