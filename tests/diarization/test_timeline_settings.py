import re

import numpy as np
import pytest
from conftest import refuses

from ser.common import InputError
from ser.diarization.settings import read_settings, write_settings


def test_defaults_are_changed_by_a_file_and_that_by_options(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("minimum: 2\nhop: 0.5\ntransitions: {sad: {angry: 7}}\n")
    found = read_settings(path, {"hop": 0.2, "window": None})
    default = read_settings()
    assert (found.minimum, found.hop, found.window) == (2.0, 0.2, default.window)
    assert found.transitions == {"sad": {"angry": 7}}


def test_what_is_written_is_read_back(tmp_path):
    settings = read_settings(None, {"minimum": 1.25, "transitions": {"sad": {"no_speech": 3.5}}})
    write_settings(settings, tmp_path / "timeline.yaml", "tuned")
    assert read_settings(tmp_path / "timeline.yaml") == settings


def test_the_transition_table_by_hand():
    settings = read_settings(
        None, {"switching_cost": 4, "no_speech_cost": 2, "transitions": {"sad": {"angry": 7, "no_speech": 1}}}
    )
    np.testing.assert_array_equal(settings.costs(["angry", "sad"]), [[0, 4, 2], [7, 0, 1], [2, 2, 0]])


def test_minima_are_windows_and_no_longer_than_the_recording():
    settings = read_settings(None, {"hop": 0.25, "minimum": 1.1, "no_speech_minimum": 0.1})
    assert settings.minima(2, 100) == [4, 4, 1]
    assert settings.minima(2, 3) == [3, 3, 1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("minimal: 2", "unknown key minimal; did you mean minimum?"),
        ("minimum: -1", "own.yaml: minimum = -1, expected a number from 0"),
        ("minimum: long", "own.yaml: minimum = 'long', expected a number"),
        ("minimum: .nan", "own.yaml:2: "),
        ("hop: 0", "hop = 0.0 s, window = 2.0 s"),
        ("hop: 3", "own.yaml: hop = 3.0 s, window = 2.0 s"),
        ("normalisation: own", "normalisation = 'own', expected one of model, channel"),
        ("transitions: [1]", "transitions = [1], expected an object"),
        ("transitions: {sad: {angry: -2}}", "transitions.sad.angry = -2"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, line, message):
    path = tmp_path / "own.yaml"
    path.write_text(f"window: 2\n{line}\n")
    with pytest.raises(InputError, match=re.escape(message)):
        read_settings(path)


def test_a_transition_of_a_class_that_is_not_there():
    settings = read_settings(None, {"transitions": {"sad": {"bored": 1}}})
    with refuses("bored is no class of the model; there is angry, sad, no_speech"):
        settings.costs(["angry", "sad"])
