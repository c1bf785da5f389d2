"""Kaldi data dirs and cut manifests as others write them; stage 1 and predict read the same of them."""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import refuses
from test_inputs import noise

from ser.common import InputError
from ser.inference.check.labelled import read_labelled
from ser.inference.predict.inputs import scratch, sources_of, with_speakers
from ser.inference.predict.sound import read_mono

pytestmark = pytest.mark.filterwarnings("ignore:.*no speakers are named")
BOM = b"\xef\xbb\xbf"


@pytest.fixture
def four(tmp_path):
    """Samples of four channels, which lie in a.wav."""
    samples = noise(channels=4)
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    return samples


def table(folder, name, text):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def sources(folder):
    with scratch() as own:
        return {source.id: source for source in sources_of(str(folder), own)}


def samples_of(folder):
    """By id; an error stands for samples that cannot be read."""
    found = {}
    for key, source in sources(folder).items():
        try:
            found[key] = read_mono(source, 8000)
        except InputError as error:
            found[key] = error
    return found


# -- Kaldi ------------------------------------------------------------------------------------------------------------


def test_what_is_no_part_of_a_table(tmp_path, four):
    table(tmp_path, "wav.scp", BOM + b"u1 a.wav\r\n\r\n \t \r\nu2\ta.wav  \r\n")
    table(tmp_path, "utt2spk", BOM + b"\nu1 one \n\nu2\ttwo")
    table(tmp_path, "reco2file_and_channel", BOM + b"u1 a A\r\n\r\nu2  a  D \r\n")
    found = sources(tmp_path)
    assert {key: (s.path, s.speaker) for key, s in found.items()} == {
        "u1": (tmp_path / "a.wav", "one"),
        "u2": (tmp_path / "a.wav", "two"),
    }
    read = samples_of(tmp_path)
    np.testing.assert_array_equal(read["u1"], four[:, 0])
    np.testing.assert_array_equal(read["u2"], four[:, 3])


def test_every_letter_is_its_channel(tmp_path, four):
    table(tmp_path, "wav.scp", "".join(f"u{x} a.wav\n" for x in "ABCDE") + "none a.wav\n")
    table(tmp_path, "reco2file_and_channel", "".join(f"u{x} a {x}\n" for x in "ABCDE"))
    read = samples_of(tmp_path)
    for number, letter in enumerate("ABCD"):
        np.testing.assert_array_equal(read[f"u{letter}"], four[:, number])
    np.testing.assert_allclose(read["none"], four.mean(1), atol=1e-7)
    assert isinstance(read["uE"], InputError)
    assert str(read["uE"]).startswith("uE: has channels 0 to 3, and none is 4")


def test_one_sided_recordings_are_that_side(tmp_path):
    samples = noise()
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    table(tmp_path, "wav.scp", "call-A a.wav\ncall-B a.wav\n")
    table(tmp_path, "reco2file_and_channel", "call-A call A\ncall-B call B\n")
    for read in samples_of(tmp_path).values():
        np.testing.assert_array_equal(read, samples[:, 0])


def test_segments_with_a_column_of_channels(tmp_path, four):
    table(tmp_path, "wav.scp", "r a.wav\n")
    table(tmp_path, "segments", "x r 0 0.1 2\ny r 0.1 -1 3\nz r 0 0.1 4\nw r 0 0.1\nq r 0 0.1 A\np r 0\nn s 0 0.1\n")
    table(tmp_path, "reco2file_and_channel", "r r B\n")
    read = samples_of(tmp_path)
    np.testing.assert_array_equal(read["x"], four[:800, 2])
    np.testing.assert_array_equal(read["y"], four[800:, 3])
    np.testing.assert_array_equal(read["w"], four[:800, 1])
    errors = {key: str(found) for key, found in read.items() if isinstance(found, InputError)}
    assert sorted(errors) == ["n", "p", "q", "z"]
    assert errors["z"].startswith("z: has channels 0 to 3")
    assert f"{tmp_path / 'segments'}:5" in errors["q"]
    assert f"{tmp_path / 'segments'}:6" in errors["p"]
    assert f"{tmp_path / 'segments'}:7: recording s is not in wav.scp" in errors["n"]


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("wav.scp", "u a.wav\nu a.wav\n", "wav.scp:2: u"),
        ("wav.scp", "u\n", "wav.scp:1: "),
        ("wav.scp", "", "wav.scp: holds no lines"),
        ("wav.scp", BOM + b"\r\n \n", "wav.scp: holds no lines"),
        ("wav.scp", b"u caf\xe9.wav\n", "wav.scp:1: not UTF-8"),
        ("segments", "\n", "segments: holds no lines"),
        ("segments", "x u 0 1\nx u 1 2\n", "segments:2: x"),
        ("utt2spk", "u s\nu s\n", "utt2spk:2: u"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(tmp_path, four, name, text, where):
    table(tmp_path, "wav.scp", "u a.wav\n")
    table(tmp_path, name, text)
    with pytest.raises(InputError) as caught:
        sources(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/{where}")


@pytest.mark.parametrize("name", ["segments", "utt2spk", "reco2file_and_channel"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("none")])
def test_a_table_that_is_no_file_is_not_passed_over(tmp_path, four, name, make):
    table(tmp_path, "wav.scp", "u a.wav\n")
    make(tmp_path / name)
    with refuses(where=tmp_path / name):
        sources(tmp_path)


def test_lines_that_are_wrong_alone(tmp_path, four):
    table(tmp_path, "wav.scp", "# of Monday\nark x.ark:17\nsink | play\ngood a.wav\ngone b.wav\ndir .\n")
    found = {key: source.problem for key, source in sources(tmp_path).items()}
    assert found.pop("good") == ""
    for number, key in ((1, "#"), (2, "ark"), (3, "sink"), (5, "gone"), (6, "dir")):
        assert f"{tmp_path / 'wav.scp'}:{number}: " in found[key]


def test_a_speaker_of_two_words(tmp_path, four):
    table(tmp_path, "wav.scp", "u a.wav\nv a.wav\n")
    table(tmp_path, "utt2spk", "u one two\nv three\n")
    found = sources(tmp_path)
    assert f"{tmp_path / 'utt2spk'}:1: " in found["u"].problem
    assert (found["v"].problem, found["v"].speaker) == ("", "three")


def test_a_wav_scp_that_is_a_folder(model, tmp_path):
    (tmp_path / "wav.scp").mkdir()
    for given in (tmp_path, tmp_path / "wav.scp"):
        with refuses("holds no audio"):
            model.predict(given)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_in_another_form_than_on_disk(model, tmp_path, form):
    other = "NFD" if form == "NFC" else "NFC"
    place = tmp_path / unicodedata.normalize(other, "ação") / (unicodedata.normalize(form, "é") + " ü.wav")
    place.parent.mkdir()
    soundfile.write(place, noise(), 8000)
    listed = unicodedata.normalize(form, "ação/é ü.wav")
    table(tmp_path, "wav.scp", f"u {listed}\nnone ação/ñ.wav\n")
    found = sources(tmp_path)
    assert found["u"].path.samefile(place)
    assert found["none"].problem
    (answer,) = model.predict(tmp_path / listed)
    assert (answer.id, answer.error) == (str(tmp_path / listed), "")
    (tmp_path / "cuts.jsonl").write_text(json.dumps(cut("x", 0, tmp_path / listed, [0])))
    assert sources(tmp_path / "cuts.jsonl")["x"].path.samefile(place)


def test_two_files_whose_names_differ_in_form_alone(tmp_path):
    for form in ("NFC", "NFD"):
        soundfile.write(tmp_path / (unicodedata.normalize(form, "éé") + ".wav"), noise(), 8000)
    table(tmp_path, "wav.scp", f"u e\u0301é.wav\nv {unicodedata.normalize('NFD', 'éé')}.wav\n")
    found = sources(tmp_path)
    assert "no such file" in found["u"].problem
    assert found["v"].problem == ""


def test_commands_run_in_the_data_dir(model, tmp_path, four, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    table(tmp_path, "wav.scp", "u cat a.wav |\n")
    table(tmp_path, "reco2file_and_channel", "u u C\n")
    with scratch() as folder:
        (source,) = sources_of(str(tmp_path), folder, True)
        np.testing.assert_array_equal(read_mono(source, 8000), four[:, 2])


# -- --utt2spk --------------------------------------------------------------------------------------------------------


def test_utt2spk_of_file_names_with_spaces(tmp_path):
    names = ["my call.wav", "a  b.wav", "plain.wav", "é x.wav", "other.wav"]
    for name in names:
        soundfile.write(tmp_path / name, noise(), 8000)
    with scratch() as folder:
        given = [source for name in names for source in sources_of(str(tmp_path / name), folder)]
    lines = [
        "my call.wav ana",
        "a  b.wav\tbia ",
        "plain.wav  ana",
        unicodedata.normalize("NFD", "é x.wav") + " caio",
        "",
    ]
    table(tmp_path, "utt2spk", BOM + "\r\n".join(f"{tmp_path}/{x}" if x else x for x in lines).encode())
    assert [s.speaker for s in with_speakers(given, tmp_path / "utt2spk")] == ["ana", "bia", "ana", "caio", ""]
    for text, where in (("x\n", "utt2spk:1: "), ("a s\na t\n", "utt2spk:2: a "), ("a s\n", "utt2spk: names none")):
        table(tmp_path, "utt2spk", text)
        with pytest.raises(InputError) as caught:
            with_speakers(given, tmp_path / "utt2spk")
        assert str(caught.value).startswith(f"{tmp_path}/{where}")


# -- cut manifests ----------------------------------------------------------------------------------------------------


def cut(key, channel, path, channels, **other):
    source = {"type": "file", "channels": list(channels), "source": str(path)}
    recording = {"id": "r", "sources": [source], "sampling_rate": 8000, "num_samples": 2400, "duration": 0.3}
    return {"id": key, "start": 0, "duration": 0.3, "channel": channel, "recording": recording, **other}


def manifest(folder, rows):
    path = folder / "cuts.jsonl"
    path.write_bytes(BOM + b"\r\n\n".join(json.dumps(row).encode() for row in rows) + b"\n\n")
    return path


def test_channels_of_cuts(tmp_path, four):
    path, every = tmp_path / "a.wav", range(4)
    two = cut("two files", [0, 1], path, [0])
    two["recording"]["sources"].append({"type": "file", "channels": [1], "source": str(path)})
    rows = [cut("third", 2, path, every), cut("some", [1, 3], path, every), cut("all", [0, 1, 2, 3], path, every)]
    rows += [cut("none", 4, path, every), two, cut("other count", 0, path, [0])]
    read = samples_of(manifest(tmp_path, rows))
    np.testing.assert_array_equal(read["third"], four[:, 2])
    np.testing.assert_allclose(read["some"], four[:, [1, 3]].mean(1), atol=1e-7)
    np.testing.assert_allclose(read["all"], four.mean(1), atol=1e-7)
    for key in ("none", "two files", "other count"):
        assert isinstance(read[key], InputError), key
        assert f"{key}: " in str(read[key])


def test_the_file_of_a_channel_of_several_files(tmp_path):
    sides = [noise(seed=1), noise(seed=2)]
    row = cut("second", 1, tmp_path / "0.wav", [0])
    row["recording"]["sources"].append({"type": "file", "channels": [1], "source": str(tmp_path / "1.wav")})
    for number, samples in enumerate(sides):
        soundfile.write(tmp_path / f"{number}.wav", samples, 8000, subtype="FLOAT")
    np.testing.assert_array_equal(samples_of(manifest(tmp_path, [row]))["second"], sides[1][:, 0])


def test_cuts_that_are_wrong_alone(model, tmp_path, four):
    def row(key, **changes):
        return {**cut(key, 0, tmp_path / "a.wav", range(4)), **changes}

    odd = {
        "negative": row("negative", start=-0.1),
        "nan": row("nan", start=float("nan")),
        "text": row("text", start="soon"),
        "empty": row("empty", duration=0),
        "late": row("late", start=0.5),
        "null": row("null", channel=None),
        "supervision": row("supervision", supervisions=["x"]),
        "padding": {"id": "padding", "start": 0, "duration": 1, "type": "PaddingCut"},
        "mixed": {"id": "mixed", "start": 0, "duration": 1, "type": "MixedCut", "tracks": []},
        "number": {**cut("number", 0, "", range(4)), "recording": 5},
    }
    answers = model.predict(manifest(tmp_path, [*odd.values(), row("good", supervisions=None), row(7)]))
    assert {a.id for a in answers if a.error} == set(odd)
    assert all(a.id in a.error for a in answers if a.error)
    assert [a.id for a in answers if a.label] == ["good", "7"]


def test_the_speaker_of_cuts_with_several_supervisions(tmp_path, four):
    def row(key, *speakers):
        return cut(key, 0, tmp_path / "a.wav", range(4), supervisions=[{"speaker": name} for name in speakers])

    found = sources(manifest(tmp_path, [row("one", "ana", "ana"), row("two", "ana", "bia"), row("none"), row("n", 5)]))
    assert {key: source.speaker for key, source in found.items()} == {"one": "ana", "two": "", "none": "", "n": "5"}


NONE = [b"", BOM + b"\n\n", b"\xff\xfe{", b"[" * 100_000, b"[]\n", b"7\n", b"{", b"[1]\n", b"\0"]


@pytest.mark.parametrize("content", [*NONE, b'{"id": "r", "sources": []}\n'])
def test_manifests_that_are_none(model, tmp_path, content):
    (tmp_path / "cuts.jsonl").write_bytes(content)
    with refuses(where="cuts.jsonl"):
        model.predict(tmp_path / "cuts.jsonl")
    with refuses("no such file"):
        model.predict(tmp_path / "wav.scp")


# -- ser check --------------------------------------------------------------------------------------------------------


def test_labels_beside_a_list(tmp_path, four):
    table(tmp_path, "wav.scp", BOM + b"u a.wav\r\n\r\nv a.wav\r\n")
    table(tmp_path, "utt2emo", BOM + b"u sad\r\n\r\nv angry\r\n")
    table(tmp_path, "utt2spk", "u ana\n\nv bia\n")
    table(tmp_path, "spk2gender", BOM + b"\nana f\n")
    table(tmp_path, "reco2file_and_channel", "u u C\nv v D\n")
    with scratch() as folder:
        found = read_labelled([str(tmp_path)], ["sad", "angry"], folder)
        assert [(one.source.id, one.emotion, one.gender) for one in found] == [("u", "sad", "f"), ("v", "angry", "")]
        np.testing.assert_array_equal(read_mono(found[1].source, 8000), four[:, 3])


def test_labels_of_cuts_with_several_supervisions(tmp_path, four):
    def row(key, *emotions):
        supervisions = [{"custom": {"emotion": emotion}, "gender": "F"} for emotion in emotions]
        return cut(key, 0, tmp_path / "a.wav", range(4), supervisions=supervisions)

    with scratch() as folder:
        (one,) = read_labelled([str(manifest(tmp_path, [row("one", "sad", "sad")]))], ["sad", "angry"], folder)
        assert (one.emotion, one.gender) == ("sad", "f")
        for odd in (row("two", "sad", "angry"), row("two") | {"supervisions": [{"custom": "sad"}]}):
            with refuses("two:", where="cuts.jsonl:1"):
                read_labelled([str(manifest(tmp_path, [odd]))], ["sad", "angry"], folder)
