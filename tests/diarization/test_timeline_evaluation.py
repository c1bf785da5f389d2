"""Joined recordings, the settings chosen on them, and the section of results."""

import re
from itertools import groupby, pairwise, product

import numpy as np
import programs
import pytest
import soundfile
from conftest import ROOT, refuses
from read_timelines import read_rttm

from ser.corpora import read_protocol
from ser.corpora.protocol import PARTS
from ser.corpora.splits import with_splits
from ser.diarization import tune as tuning
from ser.diarization import viterbi
from ser.diarization.evaluation import TimelineEvaluation, results_section
from ser.diarization.joined import PAUSE_SECONDS, TURN_UTTERANCES, UTTERANCES, join_all, known_utterances
from ser.diarization.settings import read_settings


def known(made, parts, corpus="one"):
    experiment = made.experiment()
    protocol = with_splits(read_protocol(corpus, made.recipe), made.data_root / corpus)
    return known_utterances(made.data_root, protocol, experiment, parts)


def test_joined_recordings_are_of_one_speaker_of_the_part(made):
    utterances = known(made, ("valid",))
    found = join_all(utterances, made.experiment().features, 0, 2, "one")
    speakers = {one.speaker for one in utterances}
    assert speakers == {one.speaker for one in known(made, ("train", "valid", "test"))} - {
        one.speaker for part in ("train", "test") for one in known(made, (part,))
    }
    assert [one.name for one in found] == [f"one_{speaker}_{order}" for speaker in sorted(speakers) for order in (1, 2)]
    first, second = found
    assert [s.label for s in first.reference] != [s.label for s in second.reference]
    again = join_all(utterances, made.experiment().features, 0, 2, "one")
    np.testing.assert_array_equal(first.samples, again[0].samples)
    other = join_all(utterances, made.experiment().features, 1, 1, "one")
    assert other[0].reference != first.reference


def test_a_corpus_of_fewer_folds_starts_again_at_its_first(made):
    experiment = made.experiment("fold=6")  # of a corpus with six; this one has four
    protocol = with_splits(read_protocol("one", made.recipe), made.data_root / "one")
    speakers = {
        part: {one.speaker for one in known_utterances(made.data_root, protocol, experiment, (part,))} for part in PARTS
    }
    assert speakers == {part: set(names) for part, names in protocol.fold("strict", 2).items()}
    assert speakers["test"] == {"one2"}


def test_the_reference_is_where_the_utterances_are(made):
    joined = join_all(known(made, ("valid",)), made.experiment().features, 0, 1, "one")[0]
    assert sorted(s.label for s in joined.reference) == sorted(one.emotion for one in known(made, ("valid",)))
    times = [0.0, *(t for s in joined.reference for t in (s.start, s.end)), len(joined.samples) / joined.rate]
    pauses = [end - start for start, end in list(pairwise(times))[::2]]
    assert all(PAUSE_SECONDS[0] - 0.001 <= pause <= PAUSE_SECONDS[1] + 0.001 for pause in pauses)

    def power(start, end):
        return np.mean(np.square(joined.samples[round(start * joined.rate) : round(end * joined.rate)]))

    inside = [power(s.start, s.end) for s in joined.reference]
    # The reference is in whole milliseconds.
    between = [power(start + 0.001, end - 0.001) for start, end in list(pairwise(times))[::2]]
    assert min(inside) > 100 * max(between) > 0


def test_turns_change_emotion_and_recordings_end(made):
    many = known(made, ("train", "valid", "test")) * 9
    for joined in join_all(many, made.experiment().features, 0, 1, "one"):
        runs = [len(list(run)) for _, run in groupby(s.label for s in joined.reference)]
        assert max(runs) <= TURN_UTTERANCES[-1]
        assert len(joined.reference) == UTTERANCES


@pytest.fixture
def evaluation(packed, made, tmp_path):
    return TimelineEvaluation(packed, made.data_root, made.recipe, tmp_path, 0, 1)


def test_tuning_takes_the_most_accurate_of_all_settings(evaluation, monkeypatch):
    values = {"WINDOWS": (0.5, 1.0), "MINIMA": (0.25, 1.0), "SWITCHING": (0.0, 3.0), "NO_SPEECH": (1.0,)}
    values["DECIBELS"] = (10.0, 30.0)
    for name, given in values.items():
        monkeypatch.setattr(tuning, name, given)
    recordings, start = evaluation.join("one", ("valid",)), read_settings()
    settings, found = tuning.tune(recordings, evaluation.predictor, start, viterbi.best_path)
    every = []
    for window, minimum, switching, decibels in product(
        *(values[k] for k in ("WINDOWS", "MINIMA", "SWITCHING", "DECIBELS"))
    ):
        changes = {"window": window, "minimum": minimum, "switching_cost": switching, "no_speech_decibels": decibels}
        own = read_settings(None, {**changes, "no_speech_cost": 1.0})
        result = tuning.measure(tuning.score_recordings(recordings, evaluation.predictor, own), own, viterbi.best_path)
        every.append((-result.frame_accuracy, result.segment_error, own, result))
    best = min(every, key=lambda one: one[:2])
    assert (found.frame_accuracy, found.segment_error) == (best[3].frame_accuracy, best[3].segment_error)
    assert settings in [own for *errors, own, _ in every if tuple(errors) == best[:2]]


def test_without_the_decoder_every_window_has_its_likeliest_label(evaluation):
    recordings, settings = evaluation.join("one", ("valid",)), read_settings(None, {"window": 1.0})
    scored = tuning.score_recordings(recordings, evaluation.predictor, settings)
    free = read_settings(
        None, {"window": 1.0, "minimum": 0, "no_speech_minimum": 0, "switching_cost": 0, "no_speech_cost": 0}
    )
    plain = tuning.measure(scored, settings, None)
    np.testing.assert_array_equal(plain.confusion, tuning.measure(scored, free, viterbi.best_path).confusion)


def test_a_corpus_that_was_trained_on_is_not_unseen(evaluation):
    with refuses("was trained on it", where="--unseen two"):
        evaluation.run(read_settings(), viterbi.best_path, ["two"])


def test_short_recordings_are_measured_with_the_settings_as_they_are(packed, made, tmp_path):
    short = TimelineEvaluation(packed, made.data_root, made.recipe, tmp_path, 0, 1, most_utterances=2)
    own = read_settings()
    outcome = short.run(own, viterbi.best_path, [], tuning=False)
    assert (outcome.settings, outcome.tuned) == (own, None)
    assert not list(tmp_path.rglob("*.yaml"))
    assert {len(reference) for _, reference in short.join("one", ("test",))} == {2}
    found = outcome.scores["one"].decoded
    assert found.errors.duration == pytest.approx(found.confusion.sum() / 100, abs=0.02)
    text = results_section("## Short", [outcome], "x")
    assert f"| {100 * found.errors.eder:.1f} " in text
    assert "not tuned" in text
    assert "switching_cost" not in text


@pytest.mark.slow
def test_the_step_writes_its_section_and_replaces_it(packed_with, made, tmp_path):
    _, model = packed_with(corpora="one")
    results = tmp_path / "RESULTS.md"
    results.write_text("# Results\n\n## Timeline of joined recordings\n\nold\n\n## Other\n\nkept\n")
    command = [ROOT / "steps" / "timeline.py", model, "--data", made.data_root, "--recipe", made.recipe]
    options = ["--out", tmp_path / "out", "--orders", "1", "--unseen", "two", "--append", results]
    run = programs.run(*command, *options)
    assert run.returncode == 0, run.stderr
    text = results.read_text()
    assert text == f"# Results\n\n## Other\n\nkept\n\n{run.stdout}"
    form = r"^\| (one|two) +\| (\d+) +\| (\d+) .*\| channel +\| (likeliest label of each window|decoded) "
    rows = re.findall(form, text, re.M)
    likeliest = "likeliest label of each window"
    assert rows == [(c, "1", n, way) for c, n in (("one", "1"), ("two", "2")) for way in (likeliest, "decoded")]
    tuned = read_settings(tmp_path / "out" / model.name / "timeline_channel.yaml")
    assert f"| {tuned.window} " in text
    for part, speakers in (("valid", {"one2"}), ("test", {"one1"}), ("train-valid-test", {"two1", "two2"})):
        folder = tmp_path / "out" / model.name / part
        assert {path.stem.split("_")[1] for path in folder.glob("*.wav")} == speakers
        for path in folder.glob("*.rttm"):
            (reference,) = read_rttm(path).values()
            assert reference[-1].end < soundfile.info(path.with_suffix(".wav")).duration
