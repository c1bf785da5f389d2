"""Waveform transforms: delay, length, level, signal-to-noise ratio, reverberation time, bands; unusable input."""

import json
import os
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from conftest import refuses
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import butter, sosfiltfilt

from ser.audio import read_audio
from ser.augment.noise import COLOURS, Noise, coloured_noise, sound_files, split_sources
from ser.augment.room import Room, measured_rt60
from ser.augment.spectral import warp_frequency
from ser.augment.transforms import BandPass, Mp3, Speed, TooShort, Volume, Vtlp, copy_rng, rms, voiced_samples
from ser.common import InputError, digest
from ser.config.registry import KINDS

RATE = 8000
PARALLEL = ["noise", "vtlp", "room", "mp3", "band_pass", "volume"]  # length kept
QUIET = ["vtlp", "room", "mp3", "band_pass"]  # level of the whole kept

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """One of each, with few and small rooms."""
    return {
        "noise": made_noise(["white", "pink", "brown"], (0, 15)),
        "vtlp": Vtlp((0.9, 1.1), 0.6),
        "room": Room("", 6, (3.6, 5.6), (3.6, 3.9), (2.4, 3.0), (0.15, 0.3), str(tmp_path_factory.mktemp("rooms"))),
        "mp3": Mp3([8, 16, 24, 32, 40, 48, 56, 64]),
        "band_pass": BandPass((50, 300), (3000, 3400)),
        "volume": Volume((-18, 6)),
        "speed": Speed([0.9, 1.1]),
    }


def made_noise(colours, snr):
    return Noise("", colours, snr, (3, 7), (13, 20))


def recorded_noise(folder, snr=(0, 15), cache=""):
    return Noise(str(folder), ["white"], snr, (3, 7), (13, 20), str(cache))


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


def level_change(changed, samples, voiced):
    return decibels(rms(changed[voiced]) / rms(samples[voiced]))


def lag(changed, samples):
    return int(np.argmax(np.abs(np.correlate(changed, samples, "full")))) - len(samples) + 1


def envelope(samples):
    """Power over 10 ms, without its mean."""
    power = np.convolve(samples.astype(np.float64) ** 2, np.hanning(82), "same")
    return power - power.mean()


def done(kind, samples, seed, rate=RATE):
    values = kind.randomize_parameters(np.random.default_rng(seed))
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
        assert abs(level_change(changed, samples, voiced_samples(samples, RATE))) < 0.1


@pytest.mark.parametrize("name", KINDS)
def test_silence_and_short_and_loud(kinds, name):
    for size in (0, 1, 100, RATE):
        try:
            changed, _ = done(kinds[name], np.zeros(size, np.float32), 1)
        except TooShort:
            assert size < kinds[name].min_seconds * RATE
            continue
        assert not changed.any()
    for size in (1, 2, 50, 300, 900):
        samples = np.full(size, 0.5, np.float32)
        samples[::2] = -0.25
        try:
            done(kinds[name], samples, 2)
        except TooShort:
            assert size < kinds[name].min_seconds * RATE
    loud = 20 * speech(seed=3)  # beyond full scale
    clipped = np.clip(loud, -1.5, 1.5)
    changed, _ = done(kinds[name], clipped, 3)
    if name in QUIET:
        assert abs(level_change(changed, clipped, voiced_samples(loud, RATE))) < 0.1


@pytest.mark.parametrize("name", KINDS)
def test_utterances_of_min_seconds_are_transformed(kinds, name):
    assert kinds[name].min_seconds == (0.1 if name == "mp3" else 0)
    samples = speech(max(0.1, kinds[name].min_seconds))
    assert done(kinds[name], samples, 0)[0].any()


def test_copies_depend_on_utterance_number_and_settings(kinds):
    def draws(*key):
        return {name: kind.randomize_parameters(copy_rng(*key)) for name, kind in kinds.items()}

    first = draws("u1", 1, "d1")
    assert draws("u1", 1, "d1") == first
    for other in (("u2", 1, "d1"), ("u1", 2, "d1"), ("u1", 1, "d2")):
        assert all(values != first[name] for name, values in draws(*other).items() if name not in ("speed", "mp3"))


# Noise


@pytest.mark.parametrize("colour", COLOURS)
def test_made_noise_has_the_ratio_and_the_slope(colour):
    samples = speech()
    for snr in (0.0, 15.0):
        changed, values = done(made_noise([colour], (snr, snr)), samples, 5)
        noise = changed - samples
        assert abs(decibels(rms(samples) / rms(noise)) - snr) < 0.5
        assert values["colour"] == colour
    power = np.abs(np.fft.rfft(coloured_noise(colour, 2**16, 7))) ** 2
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
    kind = recorded_noise(tmp_path, (3, 9))
    assert list(kind.sources()) == ["a.wav", "c.wav", "deep/b.flac"]
    samples = speech()
    for seed, name in enumerate(list(kind.sources()) * 5):
        values = kind.randomize_parameters(np.random.default_rng(seed)) | {
            "file": name,
            "audio_digest": kind.sources()[name],
        }
        noise = kind.apply(samples, RATE, values) - samples
        assert noise.shape == samples.shape
        assert abs(decibels(rms(samples) / rms(noise)) - values["snr"]) < 0.5


def test_noise_folders_that_cannot_be_used(tmp_path):
    with refuses("no such folder of noise"):
        recorded_noise(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README").write_text("none")
    with refuses("no sound file of noise"):
        recorded_noise(tmp_path / "empty")
    for name in ("a.m4a", "b.ul"):
        (tmp_path / "empty" / name).touch()
    with refuses("no sound file of noise"), pytest.warns(UserWarning, match=r"2 audio files are not used, such as a\."):
        recorded_noise(f"{tmp_path}/empty/")
    (tmp_path / "silent").mkdir()
    write(tmp_path / "silent" / "s.wav", 0, 1e-6)
    with refuses("silent", where="s.wav"):
        recorded_noise(tmp_path / "silent", cache=tmp_path / "cache")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "b.wav").write_bytes(b"RIFF")
    with refuses(where="b.wav"):
        recorded_noise(tmp_path / "broken", cache=tmp_path / "cache")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "l.wav").symlink_to(tmp_path / "gone.wav")
    with refuses("no such file, but a link to none", where="l.wav"):
        recorded_noise(tmp_path / "link")


def write(path, seed, loud=0.3, size=800):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-loud, loud, size).astype(np.float32)
    soundfile.write(path, noise, RATE, subtype="FLOAT")
    return path


def test_hidden_files_and_duplicates_are_not_noise(tmp_path):
    for number, name in enumerate(["a.wav", "b/c.WAV", ".d.wav", ".e/f.wav"]):
        write(tmp_path / name, number)
    for name in ("._a.wav", "__MACOSX/a.wav", ".DS_Store", "b/._c.WAV", "list.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    shutil.copy(tmp_path / "a.wav", tmp_path / "b" / "a again.wav")
    assert list(recorded_noise(tmp_path).sources()) == ["a.wav", "b/c.WAV"]


def test_sound_files_are_read_once_for_all_processes(tmp_path, monkeypatch):
    """A new process is one that has nothing in its memory."""
    for number in range(3):
        write(tmp_path / "sounds" / f"{number}.wav", number)
    read = []
    monkeypatch.setattr("ser.augment.noise.read_audio", lambda path: read.append(path.name) or read_audio(path))

    def new_process(cache=tmp_path / "cache"):
        read.clear()
        sound_files.cache_clear()
        return dict(recorded_noise(tmp_path / "sounds", cache=cache).sources())

    first = new_process()
    assert read == ["0.wav", "1.wav", "2.wav"]
    assert new_process() == first
    assert read == []
    os.utime(write(tmp_path / "sounds" / "1.wav", 7), ns=(1, 1))  # of the same size
    second = new_process()
    assert read == ["1.wav"]
    assert {name for name in first if first[name] != second[name]} == {"1.wav"}
    write(tmp_path / "sounds" / "3.wav", 3)
    write(tmp_path / "sounds" / "4.wav", 4, 0)
    with refuses("silent", where="4.wav"):
        new_process()
    (tmp_path / "sounds" / "4.wav").unlink()
    assert list(new_process()) == [f"{number}.wav" for number in range(4)]
    assert read == []  # what had been read before the error was kept
    assert new_process("") == new_process()


def test_a_changed_recording_gives_other_values_and_is_not_taken_for_the_old_one(tmp_path, kinds):
    for made in (recorded_noise, lambda folder: replace(kinds["room"], folder=str(folder))):
        sound_files.cache_clear()
        write(tmp_path / "a.wav", 0)
        kind = made(tmp_path)
        old = kind.randomize_parameters(np.random.default_rng(0))
        kind.apply(speech(0.2), RATE, old)
        os.utime(write(tmp_path / "a.wav", 1), ns=(1, 1))
        sound_files.cache_clear()
        new = kind.randomize_parameters(np.random.default_rng(0))
        assert {key for key in old if old[key] != new[key]} == {"audio_digest"}
        with refuses("not there, or not what it was", where="a.wav"):
            kind.apply(speech(0.2), RATE, old)


# Split of the sources


@given(st.lists(st.text(), unique=True))
def test_the_split_is_disjoint_complete_and_depends_on_names(names):
    train, test = split_sources(tuple(names))
    assert sorted(train + test) == sorted(names)
    assert len(test) == (max(1, len(names) // 10) if len(names) > 1 else 0)
    assert set(split_sources(tuple(names[::-1]))[1]) == set(test)


def test_the_split_never_changes():
    """With another split, models would be tested in rooms of their training."""
    assert split_sources(range(30))[1] == (1, 9, 20)
    assert split_sources(tuple(f"{letter}.wav" for letter in "abcdef"))[1] == ("a.wav",)


def test_training_never_uses_noises_and_rooms_of_the_test(kinds, tmp_path):
    for number in range(21):
        write(tmp_path / f"{number}.wav", number)
    recorded = {"noise": recorded_noise(tmp_path), "measured": replace(kinds["room"], folder=str(tmp_path))}
    for kind, key, names in (
        (recorded["noise"], "file", tuple(recorded["noise"].sources())),
        (recorded["measured"], "file", tuple(recorded["measured"].sources())),
        (kinds["room"], "response", range(6)),
    ):
        train, test = split_sources(names)
        assert test
        rng = np.random.default_rng(0)
        assert {kind.randomize_parameters(rng)[key] for _ in range(1000)} == set(train)


# Rooms


def test_rooms_have_the_stated_reverberation_time_from_sample_0(kinds):
    room = kinds["room"]
    seen = set()
    for seed in range(30):
        values = room.randomize_parameters(np.random.default_rng(seed))
        seen.add(values["response"])
        for rate in (8000, 16000):
            response = room.response(rate, values)
            assert np.argmax(np.abs(response)) == 0
            assert abs(measured_rt60(response, rate) / values["rt60"] - 1) < 0.2
        assert 0.15 <= values["rt60"] <= 0.3
        for name in ("source", "microphone"):
            assert all(0.5 <= at <= side - 0.5 for at, side in zip(values[name], values["room"], strict=True))
    assert seen == set(split_sources(range(6))[0])


def test_measured_rt60_of_a_known_decay():
    noise = np.random.default_rng(0).standard_normal(16000) * 10 ** (-3 * np.arange(16000) / 8000 / 0.5)
    assert measured_rt60(noise, 8000) == pytest.approx(0.5, rel=0.05)
    assert np.isnan(measured_rt60(np.array([1.0]), 8000))


def test_bank_is_made_once_and_depends_on_its_settings_alone(kinds, tmp_path, monkeypatch):
    room = replace(kinds["room"], count=2, cache=str(tmp_path / "one"))
    other = replace(room, cache=str(tmp_path / "two"))
    samples = speech(1.0)
    values = room.randomize_parameters(np.random.default_rng(0))
    assert other.randomize_parameters(np.random.default_rng(0)) == values
    np.testing.assert_array_equal(room.apply(samples, RATE, values), other.apply(samples, RATE, values))
    assert [path.name for path in (tmp_path / "one").iterdir() if path.suffix == ".npz"] == [room.bank.name]
    monkeypatch.setattr(Room, "_simulate", None)
    room.randomize_parameters(np.random.default_rng(1))
    changed = replace(room, rt60=(0.16, 0.3))
    assert changed.bank != room.bank
    changed.bank.write_bytes(b"PK no archive")
    with refuses("not a readable bank of rooms"):
        changed.randomize_parameters(np.random.default_rng(0))
    with refuses("drawn from rooms-"):
        changed.apply(samples, RATE, values)


def test_impossible_rooms_are_an_error(kinds, tmp_path):
    hall = replace(kinds["room"], length=(40, 50), width=(40, 50), height=(20, 30), rt60=(0.1, 0.2))
    with refuses("no room of these sizes"):
        replace(hall, cache=str(tmp_path)).randomize_parameters(np.random.default_rng(0))
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".npz"]


def test_a_bank_that_was_interrupted_leaves_nothing(kinds, tmp_path, monkeypatch):
    room = replace(kinds["room"], cache=str(tmp_path), count=1)

    def cut_short(path, **arrays):
        path.write_bytes(b"PK")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", cut_short)
        with pytest.raises(KeyboardInterrupt):
            room.randomize_parameters(np.random.default_rng(0))
    assert list(tmp_path.iterdir()) == []
    assert room.randomize_parameters(np.random.default_rng(0))["response"] == 0


def test_an_utterance_shorter_than_a_room_rings(kinds):
    samples = speech(2.0)[1000:1400]
    changed, values = done(kinds["room"], samples, 0)
    response = kinds["room"].response(RATE, values)
    assert len(response) > len(samples)
    reverberant = np.convolve(samples.astype(np.float64), response)[:400]
    np.testing.assert_allclose(changed, reverberant * (rms(changed) / rms(reverberant)), atol=1e-5)
    assert abs(level_change(changed, samples, voiced_samples(samples, RATE))) < 0.1


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
        assert values == {"file": "hall.wav", "audio_digest": digest(tmp_path / "hall.wav"), "channel": 0}
        assert lag(changed, samples) == 0
    soundfile.write(tmp_path / "none.wav", np.zeros(100), 16000)
    (tmp_path / "two").mkdir()
    with refuses("silent", where="none.wav"):
        replace(room, folder=str(tmp_path) + "/")
    with refuses("no sound file of impulse responses"):
        replace(room, folder=str(tmp_path / "two"))


def test_of_measured_responses_with_several_channels_the_first_is_taken(kinds, tmp_path):
    """Of channels of opposite sign the mean has hardly anything of the direct sound."""
    response = np.zeros((800, 2))
    response[0], response[400] = (0.5, -0.499), (0.25, 0.25)
    soundfile.write(tmp_path / "hall.wav", response, RATE)
    room = replace(kinds["room"], folder=str(tmp_path))
    _, values = done(room, np.ones(RATE, np.float32), 0)
    found = room.response(RATE, values)
    np.testing.assert_allclose(found[[0, 400]], [0.5, 0.25], atol=1e-3)
    soundfile.write(tmp_path / "hall.wav", response[:, 0], RATE)
    mono = replace(kinds["room"], folder=f"{tmp_path}/")  # listed again
    assert "channel" not in done(mono, np.ones(RATE, np.float32), 0)[1]


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
    with refuses("not at 24414 Hz"):
        Mp3([32]).apply(np.ones(24414, np.float32), 24414, {"kbps": 32})
    with pytest.raises(InputError, match="at 8000 Hz.*not 128; there is: 8, 16"):
        Mp3([128]).apply(np.ones(8000, np.float32), RATE, {"kbps": 128})
    with refuses("not 33"):
        Mp3([33])


# Band-pass, volume, speed, vocal tract length


@pytest.mark.parametrize("size", [2000, 24001])
@pytest.mark.parametrize(("low", "high"), [(50.0, 2000.0), (50.0, 3400.0), (300.0, 3400.0)])
def test_the_band_is_that_of_a_filter_run_both_ways(low, high, size):
    """So it is 6 dB down at both edges."""
    samples = speech(4.0)[:size] + np.float32(0.5)  # with an offset
    changed = BandPass((low, low), (high, high)).apply(samples, RATE, {"low": low, "high": high})
    edges = [butter(4, at, kind, fs=RATE, output="sos") for at, kind in ((low, "highpass"), (high, "lowpass"))]
    filtered = sosfiltfilt(np.concatenate(edges), samples.astype(np.float64), padlen=round(2 * RATE / low))
    filtered *= rms(changed) / rms(filtered)
    assert rms(changed - filtered) < 1e-3 * rms(filtered)


def test_an_edge_above_the_band(kinds):
    samples = speech(1.0)
    np.testing.assert_array_equal(
        kinds["band_pass"].apply(samples, RATE, {"low": 100.0, "high": 4000.0}),
        kinds["band_pass"].apply(samples, RATE, {"low": 100.0, "high": 9000.0}),
    )
    with refuses("4500 Hz is above"):
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

    noise = np.random.default_rng(0).standard_normal(24000)
    band = np.fft.irfft(np.where(np.abs(np.arange(12001) - 3000) < 150, 1.0, 0) * np.fft.rfft(noise))
    band = band.astype(np.float32)  # noise of 950 to 1050 Hz

    def centre(alpha):
        power = np.abs(np.fft.rfft(kind.apply(band, RATE, {"alpha": alpha, "boundary": 0.6}))) ** 2
        return float((power * np.arange(12001)).sum() / power.sum() / 3)

    centres = [centre(alpha) for alpha in (0.9, 0.95, 1.0, 1.05, 1.1)]
    np.testing.assert_allclose(centres, [900, 950, 1000, 1050, 1100], atol=10)
    assert np.all(np.diff(centres) > 0)


@pytest.mark.parametrize("alpha", [0.9, 1.1])
def test_vtlp_is_the_warp_of_the_stored_spectrum(alpha):
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
