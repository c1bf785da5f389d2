"""The page of a timeline, also in a real browser."""

import base64
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from browser import CONTRAST, SIZES
from conftest import refuses

from ser.common.pictures import text_colour
from ser.diarization.html import sound as sounds
from ser.diarization.html.page import robustness, write_timeline_page
from ser.diarization.html.sound import read_page_audio
from ser.diarization.picture import COLOURS, GREY
from ser.diarization.segments import Channel, Segment, Timeline
from ser.diarization.windows import ChannelStatistics
from ser.inference.base import Confidence
from ser.inference.model import open_model
from ser.inference.predictor import Predictor

RATE = 8000
CLASSES = ("angry", "happy", "neutral", "sad", "no_speech")
EVIL = "</script><script>alert(1)</script> 'call' & \"co\""


@pytest.fixture(scope="module")
def predictor(packed):
    return Predictor(open_model(packed))


def made_call(folder, minutes=10.0, channels=2):
    """A recording, and a timeline with a segment every three seconds, some without label."""
    rng, duration = np.random.default_rng(0), 60 * minutes
    path = folder / "call.wav"
    with soundfile.SoundFile(path, "w", RATE, channels, subtype="PCM_16") as file:
        for _ in range(round(duration / 3)):
            loud = np.concatenate([rng.normal(0, 0.1, (2 * RATE, channels)), np.zeros((RATE, channels))])
            file.write(loud.clip(-1, 1))
    cells = round(duration * 4)
    posteriors = rng.dirichlet(np.ones(len(CLASSES)), cells).astype(np.float32)
    names = [*CLASSES[:-1], "-"]
    segments = tuple(
        Segment(t, t + 2.0, names[n % 5], 0.625) for n, t in enumerate(np.arange(0, duration, 3.0).tolist())
    )
    given = -1.0, posteriors, np.zeros(cells, np.float32), np.zeros((cells, 2))
    statistics = ChannelStatistics("channel", 400.0), ChannelStatistics("training", 5.0)
    confidence = Confidence(0.8, 0.5, 0.75, 0.9)
    made = [Channel(n + 1, segments, *given, statistics[n], confidence) for n in range(channels)]
    return path, Timeline(EVIL, duration, 0.25, CLASSES, tuple(made), ("channel 2: 5.0 s of speech",))


def test_text_on_every_colour_can_be_read():
    # WCAG 2 by hand: #0072B2 has a luminance of 0.1537, so 1.05 / 0.2037 = 5.15 with white
    assert text_colour("#0072B2") == "#FFFFFF"
    assert [text_colour(c) for c in (*COLOURS[:3], GREY)] == ["#000000"] * 4


def test_peaks_by_hand_and_audio_of_the_same_length(tmp_path):
    left = np.zeros(RATE)
    left[100], left[239] = 0.5, -0.25  # of stretches of 80 samples, the second and the third
    soundfile.write(tmp_path / "a.wav", np.stack([left, np.full(RATE, 0.1)], axis=1), RATE, subtype="FLOAT")
    for codec, kind in (("opus", "ogg"), ("mp3", "mpeg"), ("none", None)):
        found = read_page_audio(tmp_path / "a.wav", 2, codec)
        assert (found.peak_rate, found.peaks.shape) == (100, (2, 100, 2))
        assert found.peaks[0, :4].tolist() == [[0, 0], [0, 127], [-64, 0], [0, 0]]
        assert set(found.peaks[1].ravel().tolist()) <= {126, 127}
        if kind is None:
            assert found.audio == ""
            continue
        head, _, body = found.audio.partition(",")
        assert head == f"data:audio/{kind};base64"
        (tmp_path / "b").write_bytes(base64.b64decode(body))
        info = soundfile.info(tmp_path / "b")
        assert (info.samplerate, info.channels) == (RATE, 2)
        assert info.duration == pytest.approx(1, abs=0.15)


def test_a_long_recording_has_fewer_peaks_and_no_audio(tmp_path, predictor, monkeypatch):
    path, made = made_call(tmp_path, minutes=0.5, channels=1)
    monkeypatch.setattr(sounds, "MOST_PEAKS", 1000)
    found = read_page_audio(path, 1, "none")
    assert (found.peak_rate, found.peaks.shape) == (100 / 3, (1, 1000, 2))
    long = replace(made, duration=7201.0)
    warning = write_timeline_page(long, path, predictor, tmp_path / "a.html", "opus")
    assert "without audio" in warning
    text = (tmp_path / "a.html").read_text()
    assert warning in text
    assert "<audio" not in text


def test_names_are_escaped_and_the_worth_is_stated(tmp_path, predictor, packed):
    path, made = made_call(tmp_path, minutes=0.5)
    write_timeline_page(made, path, predictor, tmp_path / "a.html", "none")
    text = (tmp_path / "a.html").read_text()
    assert "alert(1)</script>" not in text
    test = json.loads((packed / "model.json").read_text())["metrics"]["test"]
    for corpus, scores in test.items():
        assert f"{corpus}: {100 * scores['ua']:.1f} % on {scores['n']} utterances" in text
    assert "channel 2: statistics of the training speakers" in text
    assert "4 of 20 segments have no label" in text
    assert "below 0.50" in text
    assert "not measured" in text


def test_robustness_is_that_of_the_check(packed, tmp_path):
    model = shutil.copytree(packed, tmp_path / "model")
    assert robustness(model) == []
    row = {"corpus": "one", "gender": "", "condition": "white noise, SNR 10 dB", "n": 8, "ua": 0.5, "flipped": 0}
    (model / "check.json").write_text(json.dumps({"rows": [row, row | {"gender": "f"}], "head": "mean"}))
    assert [(one["condition"], one["ua"]) for one in robustness(model)] == [("white noise, SNR 10 dB", 0.5)]
    (model / "check.json").write_text('{"rows": [{"corpus": 1}]}')
    with refuses("not a check of a model", where="check.json"):
        robustness(model)


@pytest.fixture(scope="module")
def path(tmp_path_factory, predictor):
    folder = tmp_path_factory.mktemp("timeline page")
    path, made = made_call(folder)
    write_timeline_page(made, path, predictor, folder / "page.html", "opus")
    return folder / "page.html"


def wait_for(page, expression):
    """Until it holds, at most 20 s."""
    promise = f"""new Promise((done, failed) => {{ const from = performance.now(); (function look() {{
        if ({expression}) done(true); else if (performance.now() - from > 20000) failed({json.dumps(expression)});
        else setTimeout(look, 20); }})(); }})"""
    found = page.call("Runtime.evaluate", expression=promise, awaitPromise=True, returnByValue=True)
    assert "exceptionDetails" not in found, found


def click(page, x, y):
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


@pytest.mark.slow
class TestInABrowser:
    def test_nothing_is_loaded_and_nothing_is_complained_of(self, page, path):
        # The icons of the browser's own player are data, too.
        assert [url for url in page.requested() if not url.startswith("data:")] == [path.as_uri()]
        assert page.complaints() == []
        assert page.evaluate("document.querySelector('h1').textContent") == EVIL

    def test_a_click_on_a_segment_seeks_and_plays_it(self, page):
        page.resize("desk")
        wait_for(page, "player.readyState >= 2")
        assert page.evaluate("player.duration") == pytest.approx(600, abs=0.2)
        page.evaluate("player.muted = true; show(290, 20)")
        segment = "document.querySelectorAll('.segment')[100].getBoundingClientRect()"
        wait_for(page, f"{segment}.width > 50")
        click(page, *page.evaluate(f"(b => [b.left + b.width / 2, b.top + b.height / 2])({segment})"))
        assert page.evaluate("player.currentTime") == pytest.approx(300, abs=1)
        wait_for(page, "player.currentTime > 300.2 && !player.paused")
        wait_for(page, "player.paused")
        assert page.evaluate("player.currentTime") == pytest.approx(302, abs=0.5)

    def test_a_click_on_the_waveform_seeks(self, page):
        page.resize("desk")
        page.evaluate("show(0, data.duration)")
        x, y, width = page.evaluate(
            "(b => [b.left, b.top + 20, b.width])(document.querySelector('.lane').getBoundingClientRect())"
        )
        click(page, x + width / 4, y)
        wait_for(page, "Math.abs(player.currentTime - 150) < 1")
        assert "2:30" in page.evaluate("document.querySelector('.reading').textContent")

    def test_zoom_and_drag_move_what_is_in_sight(self, page):
        page.resize("desk")
        page.evaluate("show(0, data.duration); seek(300)")
        for _ in range(4):
            page.evaluate("document.getElementById('in').click()")
        assert page.evaluate("[start, span]") == pytest.approx([300 - 18.75, 37.5])
        wait_for(page, "document.querySelectorAll('.segment')[100].getBoundingClientRect().width > 40")
        x, y, width = page.evaluate(
            "(b => [b.left, b.top + 20, b.width])(document.querySelector('.lane').getBoundingClientRect())"
        )
        for kind, at in (("mousePressed", 0.75), ("mouseMoved", 0.5), ("mouseReleased", 0.5)):
            page.call("Input.dispatchMouseEvent", type=kind, x=x + width * at, y=y, button="left", clickCount=1)
        assert page.evaluate("start") == pytest.approx(300 - 18.75 + 37.5 / 4, abs=0.2)
        assert page.evaluate("now") == pytest.approx(300, abs=0.1)  # a drag is no click
        page.evaluate("document.getElementById('all').click()")
        assert page.evaluate("[start, span]") == [0, 600]

    def test_ten_minutes_are_drawn_within_a_few_frames(self, page):
        page.resize("desk")
        times = page.evaluate(
            "[1, 2, 3, 4, 5].map(() => { const from = performance.now(); draw(); return performance.now() - from; })"
        )
        assert min(times) < 50, times  # ms
        pixels = page.evaluate(
            "(c => [...new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer))]"
            ".length)(document.querySelector('.posteriors'))"
        )
        assert pixels >= len(CLASSES)

    @pytest.mark.parametrize("size", ["phone", "desk"])
    def test_it_is_no_wider_than_the_screen_and_can_be_read(self, page, size):
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        for scheme in ("light", "dark"):
            page.resize(size, scheme)
            assert page.evaluate("innerWidth") == SIZES[size][0]
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            ratio, text = page.evaluate(CONTRAST)
            assert ratio >= 4.5, (scheme, text)
        assert page.complaints() == []
