"""Kinds of waveform perturbation: delay, length, level, ratio, reverberation time, bands; and unusable input."""

import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ser.augment.kinds import BandPass, Mp3, Speed, TooShort, Volume, Vtlp, copy_rng, rms, voiced
from ser.augment.noise import COLOURS, Noise, coloured
from ser.augment.room import Room, measured_rt60
from ser.augment.settings import KINDS, Augment, load_augment
from ser.augment.spectral import warp_frequency
from ser.common import InputError

RATE = 8000
PARALLEL = ["noise", "vtlp", "room", "mp3", "band_pass", "volume"]  # length kept
QUIET = ["vtlp", "room", "mp3", "band_pass"]  # level of the whole kept

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Those of conf/augment.yaml, with few and small rooms."""
    made = dict(load_augment().kinds)
    cache = str(tmp_path_factory.mktemp("rooms"))
    made["room"] = replace(made["room"], cache=cache, count=6, rt60=(0.15, 0.3))
    made["speed"] = Speed([0.9, 1.1])
    return made


def speech(seconds=3.0, rate=RATE, seed=0):
    """Syllables of harmonics of a gliding voice between pauses, with a little breath, as float32."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(140 + 30 * np.sin(2 * np.pi * 0.7 * time)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    loud = np.clip(np.sin(2 * np.pi * 2 * time), 0, None)
    return (0.1 * loud * (voice + 0.1 * rng.standard_normal(len(time)))).astype(np.float32)


def decibels(ratio):
    return 20 * np.log10(ratio)


def lag(changed, samples):
    return int(np.argmax(np.abs(np.correlate(changed, samples, "full")))) - len(samples) + 1


def envelope(samples):
    """Power over 10 ms, without its mean."""
    power = np.convolve(samples.astype(np.float64) ** 2, np.hanning(82), "same")
    return power - power.mean()


def done(kind, samples, seed, rate=RATE):
    values = kind.draw(np.random.default_rng(seed))
    assert json.loads(json.dumps(values)) == values
    before = samples.copy()
    changed = kind.apply(samples, rate, values)
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()
    np.testing.assert_array_equal(samples, before)
    np.testing.assert_array_equal(kind.apply(samples, rate, values), changed)
    return changed, values


def test_every_registered_kind_is_built_and_used(kinds):
    assert set(kinds) == set(KINDS)
    assert set(PARALLEL) | {"speed"} == set(KINDS)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", PARALLEL)
def test_no_delay_same_length_same_level(kinds, name, seed):
    samples = speech(seed=seed)
    changed, _ = done(kinds[name], samples, seed)
    assert len(changed) == len(samples)
    wide = np.random.default_rng(seed).standard_normal(8000).astype(np.float32) * np.float32(0.1)
    if name == "vtlp":  # at other frequencies, waves no longer match, but what carries them does
        rough = np.repeat(np.random.default_rng(seed).uniform(size=40), 200).astype(np.float32) ** 2 * wide
        assert abs(lag(envelope(done(kinds[name], rough, seed)[0]), envelope(rough))) <= 4  # half a millisecond
    else:
        assert lag(done(kinds[name], wide, seed)[0], wide) == 0
    if name in QUIET:
        where = voiced(samples, RATE)
        assert abs(decibels(rms(changed[where]) / rms(samples[where]))) < 0.1


@pytest.mark.parametrize("name", KINDS)
def test_silence_and_short_and_loud(kinds, name):
    for size in (0, 1, 100, RATE):
        try:
            changed, _ = done(kinds[name], np.zeros(size, np.float32), 1)
        except TooShort:
            assert (name, size < 800) == ("mp3", True)
            continue
        assert not changed.any()
    for size in (1, 2, 50, 300, 900):
        samples = np.full(size, 0.5, np.float32)
        samples[::2] = -0.25
        try:
            done(kinds[name], samples, 2)
        except TooShort:
            assert (name, size < 800) == ("mp3", True)
    loud = 20 * speech(seed=3)  # beyond full scale, and clipped
    changed, _ = done(kinds[name], np.clip(loud, -1.5, 1.5), 3)
    if name in QUIET:
        assert abs(decibels(rms(changed[voiced(loud, RATE)]) / rms(np.clip(loud, -1.5, 1.5)[voiced(loud, RATE)]))) < 0.1


def test_copies_follow_from_utterance_number_and_settings(kinds):
    def draws(*key):
        return {name: kind.draw(copy_rng(*key)) for name, kind in kinds.items()}

    first = draws("u1", 1, "d1")
    assert draws("u1", 1, "d1") == first
    for other in (("u2", 1, "d1"), ("u1", 2, "d1"), ("u1", 1, "d2")):
        assert all(values != first[name] for name, values in draws(*other).items() if name not in ("speed", "mp3"))


# Noise


@pytest.mark.parametrize("colour", COLOURS)
def test_made_noise_has_the_ratio_and_the_slope(colour):
    samples = speech()
    for snr in (0.0, 15.0):
        changed, values = done(Noise("", [colour], (snr, snr)), samples, 5)
        noise = changed - samples
        assert abs(decibels(rms(samples) / rms(noise)) - snr) < 0.5
        assert values["colour"] == colour
    power = np.abs(np.fft.rfft(coloured(colour, 2**16, 7))) ** 2
    octave = 10 * np.log10(power[4096:8192].mean() / power[512:1024].mean()) / 3
    assert abs(octave - 3.01 * COLOURS[colour]) < 0.3


def test_recorded_noise_of_any_rate_channels_and_length(tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", rng.uniform(-0.5, 0.5, (44100 // 4, 2)), 44100)  # shorter, stereo
    (tmp_path / "deep").mkdir()
    soundfile.write(tmp_path / "deep" / "b.flac", 0.2 + rng.uniform(-0.01, 0.01, 16000 * 8), 16000)  # with an offset
    mostly = np.zeros(RATE * 20)
    mostly[-800:] = rng.uniform(-0.5, 0.5, 800)
    soundfile.write(tmp_path / "c.wav", mostly, RATE)  # silent nearly everywhere
    (tmp_path / "LICENCE").write_text("none")
    kind = Noise(str(tmp_path), ["white"], (3, 9))
    assert kind.sources() == ("a.wav", "c.wav", "deep/b.flac")
    samples = speech()
    used = set()
    for seed in range(20):
        changed, values = done(kind, samples, seed)
        assert abs(decibels(rms(samples) / rms(changed - samples)) - values["snr"]) < 0.5
        used.add(values["file"])
    assert used == set(kind.sources())


def test_noise_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="no such folder of noise"):
        Noise(str(tmp_path / "none"), ["white"], (0, 15))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no sound file of noise"):
        Noise(str(tmp_path / "empty"), ["white"], (0, 15))
    (tmp_path / "silent").mkdir()
    soundfile.write(tmp_path / "silent" / "s.wav", np.zeros(800), RATE)
    with pytest.raises(InputError, match="s.wav: silent"):
        Noise(str(tmp_path / "silent"), ["white"], (0, 15))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match="b.wav"):
        Noise(str(tmp_path / "broken"), ["white"], (0, 15))


# Rooms


def test_rooms_ring_as_long_as_said_from_sample_0(kinds):
    room = kinds["room"]
    seen = set()
    for seed in range(30):
        values = room.draw(np.random.default_rng(seed))
        seen.add(values["response"])
        for rate in (8000, 16000):
            response = room.response(rate, values)
            assert np.argmax(np.abs(response)) == 0
            assert abs(measured_rt60(response, rate) / values["rt60"] - 1) < 0.2
        assert 0.15 <= values["rt60"] <= 0.3
        for name in ("source", "microphone"):
            assert all(0.5 <= at <= side - 0.5 for at, side in zip(values[name], values["room"], strict=True))
    assert seen == set(range(6))


def test_measured_rt60_of_a_known_decay():
    noise = np.random.default_rng(0).standard_normal(16000) * 10 ** (-3 * np.arange(16000) / 8000 / 0.5)
    assert measured_rt60(noise, 8000) == pytest.approx(0.5, rel=0.05)
    assert np.isnan(measured_rt60(np.array([1.0]), 8000))


def test_bank_is_made_once_and_depends_on_its_settings_alone(kinds, tmp_path, monkeypatch):
    room = replace(kinds["room"], count=2, cache=str(tmp_path / "one"))
    other = replace(room, cache=str(tmp_path / "two"))
    samples = speech(1.0)
    values = room.draw(np.random.default_rng(0))
    assert other.draw(np.random.default_rng(0)) == values
    np.testing.assert_array_equal(room.apply(samples, RATE, values), other.apply(samples, RATE, values))
    assert [path.name for path in (tmp_path / "one").iterdir() if path.suffix == ".npz"] == [room.bank.name]
    monkeypatch.setattr(Room, "_simulate", None)
    room.draw(np.random.default_rng(1))
    changed = replace(room, rt60=(0.16, 0.3))
    assert changed.bank != room.bank
    changed.bank.write_bytes(b"PK no archive")
    with pytest.raises(InputError, match="not a readable bank of rooms"):
        changed.draw(np.random.default_rng(0))
    with pytest.raises(InputError, match="drawn from rooms-"):
        changed.apply(samples, RATE, values)


def test_sizes_and_times_that_no_room_has(kinds, tmp_path):
    hall = replace(kinds["room"], length=(40, 50), width=(40, 50), height=(20, 30), rt60=(0.1, 0.2))
    with pytest.raises(InputError, match="no room of these sizes"):
        replace(hall, cache=str(tmp_path)).draw(np.random.default_rng(0))
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".npz"]


def test_a_bank_that_was_interrupted_leaves_nothing(kinds, tmp_path, monkeypatch):
    room = replace(kinds["room"], cache=str(tmp_path), count=1)

    def cut_short(path, **arrays):
        path.write_bytes(b"PK")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", cut_short)
        with pytest.raises(KeyboardInterrupt):
            room.draw(np.random.default_rng(0))
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    assert room.draw(np.random.default_rng(0))["response"] == 0


def test_measured_responses_longer_than_the_utterance(kinds, tmp_path):
    response = np.random.default_rng(0).standard_normal((32000, 2)) * 0.02
    response *= np.exp(-np.arange(32000) / 4000)[:, None]
    response[:1000] *= 0.01
    response[1000] = 0.9  # the direct sound
    soundfile.write(tmp_path / "hall.wav", response, 16000)
    room = replace(kinds["room"], folder=str(tmp_path))
    for size in (400, RATE):
        samples = np.random.default_rng(1).uniform(-0.3, 0.3, size).astype(np.float32)
        changed, values = done(room, samples, 0)
        assert values == {"file": "hall.wav"}
        assert lag(changed, samples) == 0
    soundfile.write(tmp_path / "none.wav", np.zeros(100), 16000)
    (tmp_path / "two").mkdir()
    with pytest.raises(InputError, match="none.wav: silent"):
        replace(room, folder=str(tmp_path) + "/")
    with pytest.raises(InputError, match="no sound file of impulse responses"):
        replace(room, folder=str(tmp_path / "two"))


# MP3


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_mp3_at_every_bit_rate(rate):
    samples = speech(0.5, rate)
    for kbps in (32, 64):
        changed, values = done(Mp3([kbps]), samples, 0, rate)
        assert (len(changed), lag(changed, samples), values) == (len(samples), 0, {"kbps": kbps})
        assert rms(changed - samples) < 0.5 * rms(samples)


def test_mp3_that_there_is_not():
    with pytest.raises(TooShort, match="0.100 s|0.1 s or more"):
        Mp3([32]).apply(np.ones(799, np.float32), RATE, {"kbps": 32})
    with pytest.raises(InputError, match="not at 24414 Hz"):
        Mp3([32]).apply(np.ones(24414, np.float32), 24414, {"kbps": 32})
    with pytest.raises(InputError, match="at 8000 Hz.*not 128; there is: 8, 16"):
        Mp3([128]).apply(np.ones(8000, np.float32), RATE, {"kbps": 128})
    with pytest.raises(InputError, match="not 33"):
        Mp3([33])


# Band-pass, volume, speed, vocal tract length


@settings(deadline=None, max_examples=20)
@given(low=st.floats(50, 300), high=st.floats(2000, 3400))
def test_pass_band(low, high):
    time = np.arange(2 * RATE) / RATE
    places = {"below": low / 2, "low": low, "middle": (low * high) ** 0.5, "high": high}
    tones = {name: np.sin(2 * np.pi * at * time) for name, at in places.items()}
    kind = BandPass((low, low), (high, high))
    changed = kind.apply(sum(tones.values()).astype(np.float32), RATE, {"low": low, "high": high})[4000:-4000]
    table = np.stack([f(2 * np.pi * at * time[4000:-4000]) for at in places.values() for f in (np.sin, np.cos)])
    size = np.linalg.lstsq(table.T, changed, rcond=None)[0].reshape(-1, 2)
    gain = dict(zip(places, decibels(np.hypot(*size.T)), strict=True))
    assert gain["low"] - gain["middle"] == pytest.approx(-6, abs=0.3)
    assert gain["high"] - gain["middle"] == pytest.approx(-6, abs=0.3)
    assert gain["below"] - gain["middle"] < -45


def test_an_edge_above_the_band(kinds):
    samples = speech(1.0)
    np.testing.assert_array_equal(
        kinds["band_pass"].apply(samples, RATE, {"low": 100.0, "high": 4000.0}),
        kinds["band_pass"].apply(samples, RATE, {"low": 100.0, "high": 9000.0}),
    )
    with pytest.raises(InputError, match="4500 Hz is above"):
        kinds["band_pass"].apply(samples, RATE, {"low": 4500.0, "high": 9000.0})


@given(st.floats(-18, 6))
def test_volume_is_as_stated_and_clips_nothing(gain):
    samples = 5 * speech(0.5)
    changed = Volume((gain, gain)).apply(samples, RATE, {"decibels": gain})
    assert decibels(rms(changed) / rms(samples)) == pytest.approx(gain, abs=0.01)
    np.testing.assert_allclose(changed / 10 ** (gain / 20), samples, rtol=1e-5)


@pytest.mark.parametrize(("factor", "size", "frequency"), [(0.9, 53333, 396.0), (1.1, 43636, 484.0)])
def test_speed_changes_length_and_pitch(factor, size, frequency):
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(48000) / 16000)).astype(np.float32)
    changed, values = done(Speed([factor]), tone, 0, 16000)
    assert (len(changed), values) == (size, {"factor": factor})
    assert np.argmax(np.abs(np.fft.rfft(changed, 160000))) / 10 == pytest.approx(frequency, abs=0.1)
    assert abs(decibels(rms(changed) / rms(tone))) < 0.1


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_is_that_of_sox(factor, tmp_path):
    if shutil.which("sox") is None:
        pytest.skip("the program sox is not installed: speed is not compared with it")
    samples = speech(3.0)
    soundfile.write(tmp_path / "in.wav", samples, RATE, subtype="FLOAT")
    command = ["sox", "in.wav", "-e", "floating-point", "-b", "32", "out.wav", "speed", str(factor), "rate", "-v", "8k"]
    subprocess.run(command, cwd=tmp_path, check=True)
    expected, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    changed = Speed([factor]).apply(samples, RATE, {"factor": factor})
    assert (rate, abs(len(expected) - len(changed)) <= 1) == (RATE, True)
    size = min(len(expected), len(changed))
    assert decibels(rms(changed[:size] - expected[:size]) / rms(expected)) < -40


def test_vtlp_at_1_changes_nothing_and_else_moves_up_with_alpha():
    samples = speech()
    kind = Vtlp((0.9, 1.1), 0.6)
    np.testing.assert_array_equal(kind.apply(samples, RATE, {"alpha": 1.0, "boundary": 0.6}), samples)
    near = kind.apply(samples, RATE, {"alpha": 1 + 1e-7, "boundary": 0.6})
    assert rms(near - samples) < 1e-3 * rms(samples)  # the inverse is that of the transform

    band = np.fft.irfft(np.where(np.abs(np.arange(12001) - 3000) < 150, 1.0, 0) * np.fft.rfft(noise_of(24000)))
    band = band.astype(np.float32)  # noise of 950 to 1050 Hz

    def centre(alpha):
        power = np.abs(np.fft.rfft(kind.apply(band, RATE, {"alpha": alpha, "boundary": 0.6}))) ** 2
        return float((power * np.arange(12001)).sum() / power.sum() / 3)

    centres = [centre(alpha) for alpha in (0.9, 0.95, 1.0, 1.05, 1.1)]
    np.testing.assert_allclose(centres, [900, 950, 1000, 1050, 1100], atol=10)
    assert np.all(np.diff(centres) > 0)


def noise_of(size):
    return np.random.default_rng(0).standard_normal(size)


@pytest.mark.parametrize("alpha", [0.9, 1.1])
def test_vtlp_is_heard_as_the_warp_of_the_stored_spectrum(alpha):
    samples = speech()

    def loud_spectrum(samples):
        frames = np.lib.stride_tricks.sliding_window_view(samples, 512)[::128] * np.hanning(513)[:512]
        return np.log(np.abs(np.fft.rfft(frames)) ** 2 + 1e-10).astype(np.float32)

    before = loud_spectrum(samples)
    warped = warp_frequency(before, alpha)
    loud = warped > warped.max() - 7

    def distance(values):
        return np.sqrt(np.mean((values - warped)[loud] ** 2))

    changed = Vtlp((0.9, 1.1), 0.6).apply(samples, RATE, {"alpha": alpha, "boundary": 0.6})
    assert distance(loud_spectrum(changed)) < 0.4 * distance(before)


# Settings


def write_conf(recipe, text):
    (recipe / "conf").mkdir(exist_ok=True)
    (recipe / "conf" / "augment.yaml").write_text(text)
    return recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kinds: [noice]", "unknown key noice; did you mean noise"),
        ("kinds: []", "must list kinds"),
        ("kinds: [noise, noise]", "each once"),
        ("vtlp: {alfa: [0.9, 1.1]}", "unknown key vtlp.alfa; did you mean vtlp.alpha"),
        ("volume: {decibels: }", "volume.decibels has no value"),
        ("volume: {decibels: loud}", "key volume.decibels = 'loud'"),
        ("noise: {snr: [15, 0]}", "noise.snr"),
        ("noise: {colours: [blue]}", "not blue; there is: white, pink, brown"),
        ("mp3: {kbps: []}", "name one"),
        ("room: {count: 0}", "room.count"),
        ("band_pass: {low: [50, 3300]}", "band_pass.high"),
        ("vtlp: {boundary: 1.5}", "vtlp.boundary"),
        ("room: 3", "key room: must hold"),
    ],
)
def test_settings_that_are_wrong(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_augment(write_conf(tmp_path, text))


def test_a_recipe_overrides_and_the_digest_says_so(tmp_path):
    here = load_augment()
    assert load_augment(tmp_path).digest == here.digest
    own = load_augment(write_conf(tmp_path, "kinds: [volume, noise]\nnoise: {snr: [5, 10]}"))
    assert (list(own.kinds), own.kinds["noise"].snr) == (["volume", "noise"], (5, 10))
    assert own.digest != Augment({name: here.kinds[name] for name in own.kinds}).digest
