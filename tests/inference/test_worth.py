"""ser check: scores by corpus and gender, and decisions that conditions flip."""

import gzip
import json
import shutil

import numpy as np
import pytest
import soundfile
from conftest import refuses

from ser import load_model
from ser.audio import read_audio
from ser.augment.transforms import Volume
from ser.cli import main
from ser.common import InputError
from ser.corpora.kaldi import read_table, write_table
from ser.inference.check import measure as check
from ser.inference.check.labelled import read_labelled
from ser.inference.check.measure import CONDITIONS, LOUDER, DegradedSources
from ser.inference.model import open_model
from ser.inference.predict.inputs import Source
from ser.inference.predictor import Predictor

pytestmark = pytest.mark.slow

CLASSES = ("angry", "happy", "neutral", "sad")


@pytest.fixture(scope="session")
def able(packed_with):
    """A model package whose answers differ."""
    return packed_with("training.max_epochs=10", "training.learning_rate=0.01")[1]


@pytest.fixture
def data(made, tmp_path):
    """A data dir of the training, validation and test speakers of fold 1, none of which is named as in stage 1."""
    folder = tmp_path / "several"
    tables = ("wav.scp", "utt2emo", "utt2spk", "spk2gender")
    for name in tables:
        parts = [made.data_root / "one" / "strict_fold1" / part / name for part in ("train", "valid", "test")]
        write_table(folder / name, {key: value for path in parts for key, value in read_table(path).items()})
    return folder


@pytest.fixture
def test_part(made):
    return made.data_root / "one" / "strict_fold1" / "test"


def run(model, *arguments, out):
    assert main(["check", str(model), *map(str, arguments), "--out", str(out)]) == 0
    return json.loads((out / "check.json").read_text())


def ua_by_hand(truth, labels):
    recalls = [np.mean([one == two for one, two in zip(truth, labels, strict=True) if one == c]) for c in set(truth)]
    return float(np.mean(recalls))


def row_of(found, condition, gender=""):
    return next(row for row in found["rows"] if row["condition"] == condition and row["gender"] == gender)


def edited(folder, name, change):
    table = read_table(folder / name)
    change(table)
    write_table(folder / name, table)


def test_scores_are_those_of_predict_by_gender_too(able, data, tmp_path):
    found = run(able, data, out=tmp_path / "out")
    truth, speakers = read_table(data / "utt2emo"), read_table(data / "utt2spk")
    genders = read_table(data / "spk2gender")
    answers = {answer.id: answer.label for answer in load_model(able).predict(str(data))}
    assert {genders[s] for s in speakers.values()} == {"f", "m"}
    assert len(set(answers.values())) > 1
    for gender in ("", "f", "m"):
        keys = [key for key in answers if gender in ("", genders[speakers[key]])]
        row = row_of(found, "clean", gender)
        assert row["n"] == len(keys)
        wanted = ua_by_hand([truth[key] for key in keys], [answers[key] for key in keys])
        assert row["ua"] == pytest.approx(wanted)
        assert row["wa"] == pytest.approx(np.mean([truth[key] == answers[key] for key in keys]))
        assert row["flipped"] is None
        assert row["corpus"] == "several"


def test_scores_of_a_condition_are_those_of_predict_on_what_it_leaves(able, data, tmp_path, monkeypatch):
    """Volume drawn by the condition alone: at -60 dB this model, which knows levels, answers otherwise."""
    monkeypatch.setitem(CONDITIONS, "nothing", (Volume((0, 0)), None))
    monkeypatch.setitem(CONDITIONS, "60 dB quieter", (Volume((-60, -60)), None))
    found = run(able, data, out=tmp_path / "out")
    truth, files = read_table(data / "utt2emo"), read_table(data / "wav.scp")
    model = load_model(able)
    plain = [a.label for a in model.predict(str(data))]
    quiet = [a.label for a in model.predict([read_audio(files[key]).mono * 0.001 for key in files], 8000)]
    flipped = np.mean([one != two for one, two in zip(plain, quiet, strict=True)])
    assert flipped > 0
    row = row_of(found, "60 dB quieter")
    assert row["flipped"] == pytest.approx(flipped)
    assert row["ua"] == pytest.approx(ua_by_hand([truth[key] for key in files], quiet))
    assert row_of(found, "nothing")["flipped"] == 0
    assert row_of(found, "nothing")["ua"] == row_of(found, "clean")["ua"]
    assert [row["condition"] for row in found["rows"]][3:] == [*CONDITIONS]


@pytest.mark.parametrize(("name", "snr"), [("white noise, SNR 20 dB", 20), ("pink noise, SNR 10 dB", 10)])
def test_noise_is_of_the_ratio_that_it_is_called_by_and_of_the_id(tmp_path, name, snr):
    rng = np.random.default_rng(0)
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", rng.normal(0, 0.05, 8000), 8000, subtype="FLOAT")
    sources = [Source(f"u{number}", tmp_path / f"{number}.wav", speaker="s") for number in range(3)]
    changed = DegradedSources(sources, name, 8000)
    noises = [c.audio.mono - read_audio(s.path).mono for c, s in zip(changed, sources, strict=True)]
    for noise, source in zip(noises, sources, strict=True):
        ratio = np.square(read_audio(source.path).mono).sum() / np.square(noise).sum()
        assert 10 * np.log10(ratio) == pytest.approx(snr, abs=0.01)
    assert np.abs(np.corrcoef(noises)[np.triu_indices(3, 1)]).max() < 0.2
    alone = DegradedSources(sources[::-1], name, 8000)[0]
    np.testing.assert_array_equal(alone.audio.samples, changed[2].audio.samples)
    assert [source.speaker for source in changed] == ["s"] * 3


def test_what_peaks_above_full_scale_is_counted_and_not_clipped(packed, data, tmp_path, capsys):
    files = list(read_table(data / "wav.scp").values())
    loud = [path for path in files if 10**0.5 * np.abs(read_audio(path).samples).max() > 1]
    soundfile.write(tmp_path / "loud.wav", np.full(4000, 0.5), 8000)
    changed = DegradedSources([Source("x", tmp_path / "loud.wav")], LOUDER, 8000)
    assert changed[0].audio.samples.max() == pytest.approx(0.5 * 10**0.5, rel=1e-4)
    assert changed.over == {0}
    edited(data, "wav.scp", lambda table: table.update({next(iter(table)): str(tmp_path / "loud.wav")}))
    found = run(packed, data, out=tmp_path / "out")
    assert found["over"] == len(loud) + (files[0] not in loud)
    assert f"{found['over']} of {len(files)} utterances would peak above full scale" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("condition", "own", "rate"),
    [
        (LOUDER, 24414, 24414),
        ("white noise, SNR 20 dB", 24414, 8000),
        ("telephone band, 300 to 3400 Hz", 44100, 8000),
        ("MP3, 32 kbit/s", 8000, 8000),
        ("MP3, 32 kbit/s", 24414, 32000),
        ("MP3, 32 kbit/s", 96000, 48000),
    ],
)
def test_rates(tmp_path, condition, own, rate):
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).normal(0, 0.05, own), own)
    (changed,) = DegradedSources([Source("x", tmp_path / "x.wav")], condition, 8000)
    assert changed.problem == ""
    assert changed.audio.sampling_rate == rate
    assert changed.audio.samples.shape == (1, rate)


def test_each_condition_does_what_it_states(tmp_path):
    """Of noise at 16 kHz: what the telephone takes away, what MP3 keeps, and how much louder the louder is."""
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).normal(0, 0.05, 16000), 16000, subtype="FLOAT")
    source = [Source("x", tmp_path / "x.wav")]
    own = read_audio(source[0].path).mono
    audio = {name: DegradedSources(source, name, 8000)[0].audio for name in CONDITIONS}
    for name, decibels in ((LOUDER, 10), ("10 dB quieter", -10)):
        np.testing.assert_allclose(audio[name].mono, own * 10 ** (decibels / 20), rtol=1e-5)
    power = np.square(np.abs(np.fft.rfft(audio["telephone band, 300 to 3400 Hz"].mono)))
    assert power[:150].sum() < 0.01 * power[1000:1150].sum()
    mp3 = audio["MP3, 32 kbit/s"].mono
    assert 0.5 < np.corrcoef(mp3, own)[0, 1] < 0.999


def test_what_is_too_short_for_mp3_is_left_out_there_alone(packed, data, tmp_path, capsys):
    soundfile.write(tmp_path / "short.wav", np.random.default_rng(0).normal(0, 0.1, 500), 8000)
    edited(data, "wav.scp", lambda table: table.update({next(iter(table)): str(tmp_path / "short.wav")}))
    found = run(packed, data, out=tmp_path / "out")
    whole = len(read_table(data / "wav.scp"))
    assert found["too_short"] == {"MP3, 32 kbit/s": 1}
    assert [row_of(found, name)["n"] for name in ("clean", "MP3, 32 kbit/s", LOUDER)] == [whole, whole - 1, whole]
    assert "MP3, 32 kbit/s: 1 utterances are too short for it" in capsys.readouterr().err


def test_training_data_are_named(made, packed, data, test_part, tmp_path, capsys):
    trained = read_table(made.data_root / "one" / "strict_fold1" / "train" / "utt2emo")
    found = run(packed, data, out=tmp_path / "out")
    assert set(found["seen"]["several"]) == set(trained)
    assert len(trained) < row_of(found, "clean")["n"]
    message = f"several: the model was trained on {len(trained)} of these utterances ({next(iter(trained))}, "
    assert message in capsys.readouterr().err
    assert message in (tmp_path / "out" / "check.md").read_text()
    assert run(packed, test_part, out=tmp_path / "out")["seen"] == {}
    assert "trained on" not in capsys.readouterr().err + (tmp_path / "out" / "check.md").read_text()


def test_several_corpora_have_rows_of_their_own(made, packed, test_part, data, tmp_path, capsys):
    found = run(packed, test_part, data, out=tmp_path / "out")
    corpora = [row["corpus"] for row in found["rows"]]
    assert corpora == sorted(corpora)  # one, several
    assert {row["n"] for row in found["rows"] if row["corpus"] == "one" and not row["gender"]} == {12}
    assert {row["n"] for row in found["rows"] if row["corpus"] == "several" and not row["gender"]} == {48}
    table = (tmp_path / "out" / "check.md").read_text()
    assert "| one " in table
    assert "| several " in table
    assert table.count("MP3, 32 kbit/s ") == 2
    assert capsys.readouterr().out.strip() in table
    assert (tmp_path / "out" / "check.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", ["own.jsonl", "own.jsonl.gz"])
def test_a_cut_manifest_is_the_data_dir(made, packed, test_part, tmp_path, name):
    ids = read_table(test_part / "utt2emo")
    with gzip.open(made.data_root / "one" / "cuts.jsonl.gz", "rt") as file:
        lines = [line for line in file if json.loads(line)["id"] in ids]
    with (gzip.open if name.endswith("gz") else open)(tmp_path / name, "wt") as file:
        file.writelines(lines)
    rows = [run(packed, path, out=tmp_path / "out")["rows"] for path in (test_part, tmp_path / name)]
    assert [{**row, "corpus": "own"} for row in rows[0]] == rows[1]
    whole = read_labelled([str(made.data_root / "one" / "cuts.jsonl.gz")], CLASSES, tmp_path)
    assert {u.corpus for u in whole} == {"one"}


def test_statistics_are_those_of_the_speaker_in_the_condition(packed_with, data, tmp_path):
    """Where speakers are normalised, a gain that all of their utterances have goes out with their means."""
    _, model = packed_with("batches.normalisation=speaker")
    found = run(model, data, out=tmp_path / "out")
    assert row_of(found, LOUDER)["flipped"] == 0
    answers = load_model(model).predict(str(data))
    truth = read_table(data / "utt2emo")
    wanted = ua_by_hand([truth[a.id] for a in answers], [a.label for a in answers])
    assert row_of(found, "clean")["ua"] == pytest.approx(wanted)


def test_a_file_that_cannot_be_read_does_not_spoil_the_others(packed, data, tmp_path, capsys):
    (tmp_path / "text.wav").write_text("words")
    edited(data, "wav.scp", lambda table: table.update({next(iter(table)): str(tmp_path / "text.wav")}))
    whole = len(read_table(data / "wav.scp"))
    assert main(["check", str(packed), str(data), "--out", str(tmp_path / "out")]) == 1
    found = json.loads((tmp_path / "out" / "check.json").read_text())
    assert {row["n"] for row in found["rows"] if not row["gender"]} == {whole - 1}
    assert list(found["unread"]) == [f"several/{next(iter(read_table(data / 'wav.scp')))}"]
    message = capsys.readouterr().err
    assert "text.wav: text, not audio" in message
    assert f"1 of {whole} utterances could not be read" in message


def test_nothing_can_be_read(packed, data, tmp_path, capsys):
    edited(data, "wav.scp", lambda table: table.update(dict.fromkeys(table, "none.wav")))
    assert main(["check", str(packed), str(data), "--out", str(tmp_path / "out")]) == 1
    assert "error: no utterance can be read, such as: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: edited(folder, "utt2emo", lambda table: table.update({next(iter(table)): "calm"})),
            r"utt2emo: 1 of 48 utterances have labels that the model does not know \(calm; .*\); it answers ",
        ),
        (
            lambda folder: edited(folder, "utt2emo", lambda table: table.pop(next(iter(table)))),
            r"utt2emo: one1-angry-00 has only one of audio and emotion",
        ),
        (lambda folder: (folder / "utt2emo").unlink(), r"utt2emo: no such file"),
        (shutil.rmtree, r"several: neither a data dir"),
    ],
)
def test_data_that_cannot_be_checked_with(packed, data, tmp_path, capsys, spoil, message):
    spoil(data)
    with pytest.raises(InputError, match=message):
        read_labelled([str(data)], CLASSES, tmp_path)
    assert main(["check", str(packed), str(data), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_cuts_without_emotions_and_utterances_given_twice(made, data, tmp_path):
    with gzip.open(made.data_root / "one" / "cuts.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        row["supervisions"][0]["custom"] = None
    (tmp_path / "cuts.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with refuses("has only one of audio and emotion"):
        read_labelled([str(tmp_path / "cuts.jsonl")], CLASSES, tmp_path)
    with refuses("of several is given twice"):
        read_labelled([str(data), str(data)], CLASSES, tmp_path)


def test_the_card_shows_it_and_it_is_under_the_sums(packed, test_part, tmp_path, capsys):
    own = tmp_path / "own"
    shutil.copytree(packed, own)
    assert main(["check", str(own), str(test_part)]) == 1
    assert "give --out FOLDER, or --card true" in capsys.readouterr().err
    assert main(["check", str(own), str(test_part), "--card", "true"]) == 0
    assert "![check.png](check.png)" in (own / "README.md").read_text()
    open_model(own)
    assert main(["card", str(own)]) == 0
    open_model(own)
    (own / "check.json").write_text("{}")
    with refuses("not the file that was packed", where="check.json"):
        open_model(own)


def test_a_check_repeats_itself(packed, test_part, tmp_path):
    predictor = Predictor(open_model(packed))
    utterances = read_labelled([str(test_part)], predictor.classes, tmp_path)
    assert check.check_robustness(predictor, utterances) == check.check_robustness(predictor, utterances)
