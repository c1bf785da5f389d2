import numpy as np
import pytest
from scipy.special import softmax

from ser.scoring import plots
from ser.scoring.calibration import (
    TEMPERATURES,
    choose_temperature,
    expected_calibration_error,
    fit_temperature,
    reliability,
    tempered,
    threshold_for,
)


def test_a_known_temperature_is_found():
    """Targets drawn from softmax(logits) and posteriors made sharper by 2.5 want 2.5."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 4))
    targets = np.array([rng.choice(4, p=row) for row in softmax(logits, 1)])
    assert fit_temperature(softmax(2.5 * logits, 1), targets) == pytest.approx(2.5, rel=0.05)


def test_temperature_by_hand():
    """Two classes, all posteriors (0.9, 0.1), three of four right: the best says 3/4, so 9^(1/T) = 3 and T = 2."""
    posteriors = np.array([[0.9, 0.1]] * 4, np.float32)
    assert fit_temperature(posteriors, np.array([0, 0, 0, 1])) == pytest.approx(2, abs=1e-4)
    np.testing.assert_allclose(tempered(posteriors, 2), [[0.75, 0.25]] * 4, atol=1e-6)


def test_a_temperature_that_makes_the_calibration_error_worse_is_not_applied():
    """(0.5, 0.4, 0.1), half of it right: no error as it is. The rest is all of the third class: flatter is likelier."""
    posteriors = np.array([[0.5, 0.4, 0.1]] * 4, np.float32)
    targets = np.array([0, 0, 2, 2])
    applied, fitted = choose_temperature(posteriors, targets)
    assert (applied, fitted) == (1, pytest.approx(fit_temperature(posteriors, targets)))
    assert fitted > 1.5
    sharp = np.array([[0.9, 0.1]] * 4, np.float32)
    assert choose_temperature(sharp, np.array([0, 0, 0, 1])) == pytest.approx((2, 2), abs=1e-4)


def test_a_bin_of_few_utterances_is_not_drawn(monkeypatch, tmp_path):
    bins = reliability(np.array([0.5] * 19 + [0.9] * 20), np.array([True] * 39))
    drawn = []
    monkeypatch.setattr(plots, "save_picture", lambda figure, path: drawn.extend(figure.axes))
    found = {"ece_before": 0.1, "ece_after": 0.1, "reliability": {"before": bins, "after": bins}}
    plots.plot_reliability(found, "", tmp_path / "a.png")
    np.testing.assert_allclose(drawn[0].lines[1].get_xdata(), [0.9])
    assert sum(bar.get_height() for bar in drawn[2].patches) == 39


def test_temperature_at_its_ends():
    sure = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert fit_temperature(sure, np.array([0, 1])) == pytest.approx(TEMPERATURES[0])
    assert fit_temperature(sure, np.array([1, 0])) == pytest.approx(TEMPERATURES[1])
    assert fit_temperature(np.ones((3, 1)), np.zeros(3, int)) == 1
    assert fit_temperature(np.full((3, 4), 0.25), np.array([0, 1, 2])) == 1
    with pytest.raises(ValueError, match="at least one utterance"):
        fit_temperature(np.zeros((0, 4)), np.zeros(0, int))


def test_posteriors_of_zero_are_no_trouble():
    posteriors = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    temperature = fit_temperature(posteriors, np.array([0, 1, 2]))
    found = tempered(posteriors, temperature)
    assert TEMPERATURES[0] < temperature <= TEMPERATURES[1]
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(tempered(posteriors, 1), posteriors, atol=1e-6)


def test_temperature_changes_no_answer():
    posteriors = softmax(np.random.default_rng(1).normal(0, 3, (200, 5)), 1)
    for temperature in (0.3, 1, 4):
        assert (tempered(posteriors, temperature).argmax(1) == posteriors.argmax(1)).all()


def test_reliability_and_error_by_hand():
    confidence = np.array([0.5, 0.45, 0.9, 0.7, 1.0])
    right = np.array([True, False, True, True, False])

    def found(*arguments, bins):
        return [tuple(each.values()) for each in reliability(*arguments, bins)]

    empty = (0, None, None)
    assert found(confidence, right, bins=2) == [
        (2, pytest.approx(0.475), 0.5),  # 0.5 belongs to the bin that ends there
        (3, pytest.approx(2.6 / 3), pytest.approx(2 / 3)),
    ]
    assert found(confidence[:1], right[:1], bins=4) == [empty, (1, 0.5, 1.0), empty, empty]
    # |0.5 - 0.475| * 2/5 + |2/3 - 2.6/3| * 3/5
    assert expected_calibration_error(confidence, right, bins=2) == pytest.approx(0.01 + 0.12)
    assert np.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, bool)))


def test_edges_of_bins_as_float32():
    edges = np.arange(1, 16, dtype=np.float32) / np.float32(15)
    assert [b["count"] for b in reliability(edges, np.ones(15, bool))] == [1] * 15
    assert reliability(np.array([0.0]), np.array([True]))[0]["count"] == 1


def test_threshold_answers_the_most_that_reach_the_precision():
    confidence = np.array([0.6, 0.9, 0.8, 0.7, 0.5])
    right = np.array([True, True, False, True, False])
    # precision from the surest on: 1, 1/2, 2/3, 3/4, 3/5
    assert threshold_for(confidence, right, 0.7) == (0.6, 0.8, 0.75)
    assert threshold_for(confidence, right, 0.8) == (0.9, 0.2, 1.0)
    assert threshold_for(confidence, right, 0.6) == (0.5, 1.0, 0.6)
    assert threshold_for(confidence, ~right, 0.9) is None
    assert threshold_for(np.zeros(0), np.zeros(0, bool), 0.5) is None


def test_equal_confidences_are_answered_together():
    confidence, right = np.array([0.8, 0.8, 0.8]), np.array([True, True, False])
    assert threshold_for(confidence, right, 0.9) is None
    assert threshold_for(confidence, right, 0.6) == (0.8, 1.0, pytest.approx(2 / 3))
