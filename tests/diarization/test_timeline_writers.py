"""Segments, and files that say them back."""

import csv
import json
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from read_timelines import read_rttm, read_table, read_textgrid

from ser.common import output
from ser.common.output import csv_cell
from ser.diarization.picture import draw_timeline
from ser.diarization.recording import make_timeline
from ser.diarization.segments import Channel, Segment, Timeline, cell_edges, segments_of
from ser.diarization.settings import read_settings
from ser.diarization.viterbi import best_path
from ser.diarization.windows import ChannelStatistics, Windows
from ser.diarization.writers import FORMATS, rttm, textgrid, timeline_csv, timeline_json, write_timeline
from ser.inference.base import Confidence

CLASSES = ("angry", "happy", "no_speech")


def timeline(name="a call", labels=("angry", "happy"), channels=2):
    first, second = labels
    segments = (Segment(0.5, 1.25, first, 0.75), Segment(1.25, 2.0, second, 0.5), Segment(2.5, 3.1, first, 1.0))
    posteriors = np.full((12, 3), 1 / 3, np.float32)
    levels, extremes = np.linspace(-60, -20, 12), np.tile([-0.5, 0.5], (12, 1))
    made = [
        Channel(number + 1, own, -3.25, posteriors, levels, extremes)
        for number, own in enumerate([segments, ()][:channels])
    ]
    return Timeline(name, 3.1, 0.25, (*labels, "no_speech"), tuple(made))


def test_segments_are_runs_without_no_speech():
    labels = np.array([2, 0, 0, 1, 1, 2, 0])
    windows = windows_of([[0.2, 0.8]] * 6 + [[0.7, 0.3]], [0.5] * 7)
    assert segments_of(labels, windows, cell_edges(7, 0.25, 1.8)) == (
        Segment(0.25, 0.75, "angry", 0.2),
        Segment(0.75, 1.25, "happy", 0.8),
        Segment(1.5, 1.8, "angry", 0.7),
    )
    assert segments_of(np.array([2, 2]), windows_of([[0.2, 0.8]] * 2, [0, 0]), cell_edges(2, 0.25, 0.5)) == ()


def windows_of(posteriors, speech):
    return Windows(0, ("angry", "happy"), 0.25, np.array(posteriors, np.float32), np.array(speech, np.float32))


def test_confidence_of_a_segment_by_hand():
    windows = windows_of([[0.2, 0.8], [0.8, 0.2], [0.9, 0.1]], [0.25, 0.75, 1])
    labels, edges = np.array([0, 0, 1]), cell_edges(3, 0.25, 0.75)
    # mean weighted by speech: 0.25 * 0.2 + 0.75 * 0.8 = 0.65; tempered with 0.5: 0.65^2 / (0.65^2 + 0.35^2) = 0.7752
    found = segments_of(labels, windows, edges, Confidence(0.5, 0.77))
    assert found == (Segment(0, 0.5, "angry", 0.7752), Segment(0.5, 0.75, "-", 0.0122))  # 0.1^2 / (0.1^2 + 0.9^2)
    # cell 0: 0.2^2 / (0.2^2 + 0.8^2) = 0.0588 of a quarter that is speech
    np.testing.assert_allclose(windows.calibrated(0.5)[0], [0.25 * 0.0588, 0.25 * 0.9412, 0.75], atol=1e-4)


def test_rttm_by_hand():
    assert rttm(timeline()).splitlines() == [
        "SPEAKER a%20call 1 0.500000 0.750000 <NA> <NA> angry 0.7500 <NA>",
        "SPEAKER a%20call 1 1.250000 0.750000 <NA> <NA> happy 0.5000 <NA>",
        "SPEAKER a%20call 1 2.500000 0.600000 <NA> <NA> angry 1.0000 <NA>",
    ]


def test_statistics_and_withheld_labels_stand_in_every_format(tmp_path):
    plain = timeline()
    source = ChannelStatistics("speaker", 31.25, "anna")
    segments = (Segment(0.5, 1.25, "-", 0.4), Segment(1.25, 2.0, "happy", 0.9))
    first = replace(plain.channels[0], segments=segments, score=-1.0, statistics=source, confidence=Confidence(2, 0.5))
    made = replace(plain, channels=(first, plain.channels[1]), warnings=("channel 2: short",))
    assert rttm(made).splitlines()[0] == "SPEAKER a%20call 1 0.500000 0.750000 <NA> statistics=speaker - 0.4000 <NA>"
    assert timeline_csv(made).splitlines()[1] == "a call,1,0.5,1.25,-,0.4,speaker"
    assert 'text = "-"' in textgrid(made)
    found = json.loads(timeline_json(made, False))
    assert found["warnings"] == ["channel 2: short"]
    one, two = found["channels"]
    assert one["statistics"] == {"source": "speaker", "speech_seconds": 31.25, "speaker": "anna"}
    assert (one["temperature"], one["threshold"], one["segments"][0]["emotion"]) == (2, 0.5, None)
    assert two["statistics"]["source"] == "none"
    draw_timeline(made, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert str(source) == "statistics of anna (31.2 s of speech)"


def test_textgrid_by_hand(tmp_path):
    write_timeline(timeline(labels=('"so-called"', "b")), tmp_path, ["textgrid"], False)
    text = (tmp_path / "a call.TextGrid").read_text()
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 3.1\ntiers? <exists>\n'
    assert text.startswith(head)
    assert '            text = """so-called"""\n' in text
    quoted = '"so-called"'
    first = [(0, 0.5, ""), (0.5, 1.25, quoted), (1.25, 2, "b"), (2, 2.5, ""), (2.5, 3.1, quoted)]
    assert read_textgrid(tmp_path / "a call.TextGrid") == {"channel 1": first, "channel 2": [(0, 3.1, "")]}


NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0/"), min_size=1, max_size=12)


@given(name=NAMES, labels=st.tuples(NAMES, NAMES))
def test_any_name_is_read_back(tmp_path_factory, name, labels):
    folder = tmp_path_factory.mktemp("any")
    made = timeline(name, labels)
    own = list(made.channels[0].segments)
    for ending, text in (("rttm", rttm(made)), ("csv", timeline_csv(made)), ("TextGrid", textgrid(made))):
        (folder / f"a.{ending}").write_text(text, encoding="utf-8", newline="")
    assert read_rttm(folder / "a.rttm") == {(name, 1): own}
    assert read_table(folder / "a.csv") == {(csv_cell(name), 1): [replace(s, label=csv_cell(s.label)) for s in own]}
    spoken = [text for _, _, text in read_textgrid(folder / "a.TextGrid")["channel 1"] if text]
    assert spoken == [output.line(" ".join(s.label.splitlines())) for s in own if " ".join(s.label.splitlines())]


def test_labels_cannot_move_a_cursor_or_become_a_formula(tmp_path):
    made = timeline("a\x1b[2J call", ("=1+1", 'so\x1b[31m "x"'))
    for text in (rttm(made), timeline_csv(made), textgrid(made)):
        assert "\x1b" not in text
    assert "'=1+1" in timeline_csv(made)
    assert '"so\\x1b[31m ""x"""' in textgrid(made)


@pytest.mark.parametrize(
    ("samples", "rate", "hop"),
    [
        (12_349, 8000, 0.25),  # 1.543625 s, above it in whole milliseconds
        (12_345, 8000, 0.25),  # 1.543125 s, below it
        (48_001, 48_000, 0.25),  # no finite decimal, and more samples than 8 kHz can say
        (70_000, 44_100, 0.3),
        (100_000, 8000, 0.0501),  # a cell is 401 samples, not 0.0501 s
        (8, 8000, 0.25),
        (23, 22_050, 0.25),
    ],
)
def test_all_files_end_where_the_recording_ends(packed, tmp_path, samples, rate, hop):
    from lhotse import SupervisionSet
    from praatio import textgrid as praat

    from ser.inference.model import open_model
    from ser.inference.predictor import Predictor

    noise = np.random.default_rng(0).uniform(-0.5, 0.5, samples)
    noise[samples // 3 : samples // 2] = 0
    soundfile.write(tmp_path / "a.wav", noise, rate)
    settings = read_settings(None, {"hop": hop, "window": 1.0, "minimum": hop, "no_speech_minimum": hop})
    made = make_timeline(tmp_path / "a.wav", Predictor(open_model(packed)), settings, best_path)
    write_timeline(made, tmp_path, ["rttm", "textgrid", "csv", "json"], True)

    end = samples / rate
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["duration"] == end
    segments = [(s["start"], s["end"], s["emotion"]) for s in found["channels"][0]["segments"]]
    assert segments[-1][1] == end
    assert all(start < stop for start, stop, _ in segments)
    assert all(one[1] <= two[0] for one, two in pairwise(segments))
    (rows,) = read_table(tmp_path / "a.csv").values()
    assert [(s.start, s.end, s.label) for s in rows] == segments
    grid = praat.openTextgrid(str(tmp_path / "a.TextGrid"), includeEmptyIntervals=True, reportingMode="error")
    tier = grid.getTier("channel 1")
    assert grid.maxTimestamp == tier.maxTimestamp == tier.entries[-1].end == end
    assert [tuple(entry) for entry in tier.entries if entry.label] == segments
    assert all(entry.start < entry.end for entry in tier.entries)
    assert all(one.end == two.start for one, two in pairwise(tier.entries))
    (tmp_path / "a.rttm").rename(tmp_path / "b.rttm")
    for (start, stop, label), line in zip(segments, (tmp_path / "b.rttm").read_text().splitlines(), strict=True):
        at, length = map(Decimal, line.split()[3:5])
        assert line.split()[7] == label
        assert float(at) == start
        assert length > 0
        assert 0 <= Decimal(repr(stop)) - (at + length) < Decimal("1e-6")
    lhotse = list(SupervisionSet.from_rttm(tmp_path / "b.rttm"))
    assert [one.end for one in lhotse] == pytest.approx([stop for _, stop, _ in segments], abs=2e-6)
    cells = list(csv.DictReader((tmp_path / "a.posteriors.csv").open()))
    assert float(cells[-1]["end"]) == end
    assert all(one["end"] == two["start"] for one, two in pairwise(cells))


def test_all_formats_and_posteriors(tmp_path):
    made = timeline()
    written = write_timeline(made, tmp_path, list(FORMATS), True)
    names = {"a call.rttm", "a call.TextGrid", "a call.csv", "a call.json", "a call.png", "a call.posteriors.csv"}
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()} == names
    assert read_table(tmp_path / "a call.csv") == {("a call", 1): list(made.channels[0].segments)}
    found = json.loads((tmp_path / "a call.json").read_text())
    assert found["classes"] == list(CLASSES)
    assert [c["channel"] for c in found["channels"]] == [1, 2]
    first = found["channels"][0]
    assert first["segments"][0] == {"start": 0.5, "end": 1.25, "emotion": "angry", "confidence": 0.75}
    assert first["score"] == -3.25
    assert np.shape(first["posteriors"]) == (12, 3)
    rows = (tmp_path / "a call.posteriors.csv").read_text().splitlines()
    assert rows[0] == "channel,start,end,level,angry,happy,no_speech"
    assert rows[12] == "1,2.75,3.1,-20.0,0.333333,0.333333,0.333333"
    assert len(rows) == 25
    assert (tmp_path / "a call.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_has_a_panel_a_channel_and_segments_in_colour(tmp_path):
    import matplotlib.image

    draw_timeline(timeline(channels=1), tmp_path / "one.png")
    draw_timeline(timeline(channels=2), tmp_path / "two.png")
    one, two = (matplotlib.image.imread(tmp_path / f"{name}.png") for name in ("one", "two"))
    assert two.shape[0] > 1.5 * one.shape[0]
    angry = np.array([0xD5, 0x5E, 0x00]) / 255
    assert (np.abs(one[..., :3] - angry).max(-1) < 0.01).mean() > 0.01
