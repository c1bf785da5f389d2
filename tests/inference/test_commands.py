"""The console command, and the toolkit from Python."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile
from conftest import ROOT, refuses
from made_models import SMALL, made_model, swelling
from packed import edit

from ser import load_model
from ser.cli import COMMANDS, main
from ser.inference.explain import explain
from ser.inference.model import open_model
from ser.inference.predict import api
from ser.inference.predict.answers import Answers
from ser.inference.predict.api import EmotionModel
from ser.inference.predict.inputs import Source
from ser.inference.predictor import Predictor
from ser.scoring.calibration import tempered, threshold_for

pytestmark = pytest.mark.filterwarnings("ignore:.*no speakers are named")


def files_of(made):
    return sorted(str(path) for path in (made.root / "one").glob("one1_*.wav"))


def python(code):
    """A piece of Python in a process of its own."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.fixture
def unsure(made, packed, tmp_path):
    """A model whose validation says that confidence above the median of these files is right, and below it never."""
    own = tmp_path / "unsure"
    shutil.copytree(packed, own)
    rows = np.array([list(a.posteriors.values()) for a in load_model(packed).predict(files_of(made), raw=True)])
    middle = float(np.median(tempered(rows, 0.2).max(1)))
    confidence = [round(0.002 * i, 3) for i in range(100, 501)]
    changed = {"temperature": 0.2, "confidence": confidence, "right": [int(c > middle) for c in confidence]}
    edit(own, lambda values: values["calibration"]["mean"].update(changed))
    return own


def test_help_is_instant_and_names_all_commands():
    for arguments in ([], *([name] for name in COMMANDS)):
        given = [*arguments, "--help"]
        run = python(f"import sys; from ser.cli import main\ntry: main({given!r})\nfinally: print(*sys.modules)")
        assert arguments or all(name in run.stdout for name in COMMANDS)
        assert not {"torch", "soundfile"} & set(run.stdout.splitlines()[-1].split()), given
    assert python("import sys, ser; print('torch' in sys.modules)").stdout == "False\n"


@pytest.mark.slow
@pytest.mark.parametrize("words", [["pack", "x", "--out", "y"], ["--out", "pack", "x"]])
def test_a_wrong_option_shows_the_usage_of_the_command(capsys, words):
    with pytest.raises(SystemExit):
        main(words)
    text = capsys.readouterr().err
    assert text.startswith("usage: ser pack [-h]")
    assert "ser pack: error: unrecognized arguments: --out" in text


def test_predict_imports_what_it_needs_and_no_more(made, packed):
    code = f"import sys; from ser.cli import main\nmain(['predict', {str(packed)!r}, {files_of(made)[0]!r}])\n"
    run = python(code + "print(*sys.modules)")
    modules = set(run.stdout.splitlines()[-1].split())
    assert "torch" in modules
    heavy = {"lhotse", "scipy", "sklearn", "matplotlib", "pandas", "kaldiio", "pyroomacoustics", "torchaudio", "jinja2"}
    assert not heavy & modules


def test_a_table_as_a_user_sees_it(made, packed, capsys):
    files = files_of(made)[:2]
    assert main(["predict", str(packed), *files]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["file", "label", "confidence", "angry", "happy", "neutral", "sad", "warnings"]
    head = head.removesuffix("warnings").rstrip()
    assert [row.split()[0] for row in rows] == files
    rows = [row[: len(head)] for row in rows]
    for row in rows:
        _, label, confidence, *values = row.split()
        assert label == head.split()[3:][int(np.argmax(np.array(values, float)))]
        assert sum(map(float, values)) == pytest.approx(1, abs=0.003)
        assert confidence == max(values)
    assert len({len(row) for row in (head, *rows)}) == 1


def test_confidence_is_the_posterior_of_the_label_calibrated_or_raw(made, unsure):
    model = load_model(unsure)
    for one, raw in zip(model.predict(files_of(made)), model.predict(files_of(made), raw=True), strict=True):
        wanted = tempered(np.array([list(raw.posteriors.values())]), 0.2)[0]
        np.testing.assert_allclose(list(one.posteriors.values()), wanted, atol=1e-6)
        for answer in (one, raw):
            assert answer.confidence == answer.posteriors[answer.label] == max(answer.posteriors.values())
        assert abs(one.confidence - raw.confidence) > 1e-3
    with refuses("--abstain"):
        model.predict(files_of(made), raw=True, precision=0.5)


def test_explain_and_every_format_give_the_numbers_of_python(made, unsure, tmp_path):
    path = files_of(made)[0]
    (answer,) = load_model(unsure).predict(path)
    wanted = list(answer.posteriors.values())
    np.testing.assert_allclose(explain(Predictor(open_model(unsure)), Path(path)).posteriors, wanted, atol=1e-6)
    out = tmp_path / "o"
    for form in ("csv", "jsonl", "ark"):
        assert main(["predict", str(unsure), path, "--out", str(out.with_suffix(f".{form}"))]) == 0
    (row,) = csv.DictReader(out.with_suffix(".csv").open())
    assert row["confidence"] == row[answer.label] == str(round(answer.confidence, 7))
    assert json.loads(out.with_suffix(".jsonl").read_text())["posteriors"] == pytest.approx(answer.posteriors, abs=1e-6)
    np.testing.assert_allclose(kaldiio.load_scp(str(out.with_suffix(".scp")))[path], wanted, atol=1e-6)


def test_warnings_are_in_the_row_of_every_format(packed, tmp_path, capsys):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 200), 8000)
    (answer,) = load_model(packed).predict(path)
    assert any("less than one frame" in text for text in answer.warnings)
    for form in ("table", "csv", "jsonl"):
        assert main(["predict", str(packed), str(path), "--format", form]) == 0
        printed = capsys.readouterr().out
        assert all(text in printed for text in answer.warnings)
    assert main(["predict", str(packed), str(path), "--out", str(tmp_path / "o.ark")]) == 0
    assert (tmp_path / "o.warnings").read_text().splitlines() == [f"{path} {text}" for text in answer.warnings]


def test_a_recording_is_not_replaced_by_its_answer(made, packed, tmp_path, capsys):
    path = tmp_path / "call.wav"
    shutil.copy(min((made.root / "one").glob("one1_*.wav")), path)
    before = path.read_bytes()
    assert main(["predict", str(packed), str(path), "--format", "csv", "--out", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: --out {path}: the name of a recording; ")
    assert path.read_bytes() == before


@pytest.mark.filterwarnings("ignore:trained with")
def test_a_warning_of_all_is_in_each_answer(made, packed_with):
    _, folder = packed_with("batches.normalisation=speaker")
    for answer in load_model(folder).predict(files_of(made)[:2]):
        assert any("no speakers are named" in text for text in answer.warnings)


def test_heads_of_different_labels_are_not_mixed_unasked():
    model = made_model(swelling(4000, 9000), *SMALL, "temporal=blstm")
    with refuses("one (angry, happy, neutral, sad); two (sad, calm, angry)"):
        EmotionModel(model).predict("a.wav")
    assert Predictor(model, "two").head == "two"
    assert Predictor(model, "mean").head == "mean"
    assert Predictor(replace(model, heads={"one": ("a", "b"), "two": ("b", "a")}), None).head == "mean"


def test_labels_are_withheld_for_a_precision(made, unsure, tmp_path, capsys):
    everything = load_model(unsure).predict(files_of(made))
    precision = 1.0
    own = json.loads((unsure / "model.json").read_text())["calibration"]["mean"]
    threshold, coverage, reached = threshold_for(np.array(own["confidence"]), np.array(own["right"]), precision)
    expected = [a.label if a.confidence >= threshold else None for a in everything]
    assert None in expected
    assert any(expected)
    given = [str(unsure), *files_of(made), "--abstain", str(precision)]
    assert main(["predict", *given, "--format", "jsonl", "--out", str(tmp_path / "o")]) == 0
    assert [json.loads(line)["label"] for line in (tmp_path / "o").read_text().splitlines()] == expected
    printed = capsys.readouterr().err
    count = sum(label is not None for label in expected)
    assert f"labels from confidence {threshold:.3f} on: {count} of 12" in printed
    assert f"on validation {100 * coverage:.0f} %, of which {100 * reached:.1f} % were right" in printed
    assert main(["predict", *given]) == 0
    assert [row.split()[1] for row in capsys.readouterr().out.splitlines()[1:]] == [name or "-" for name in expected]
    assert [a.label for a in load_model(unsure).predict(files_of(made), precision=precision)] == expected


def test_a_precision_that_was_never_reached(unsure, made, capsys):
    edit(unsure, lambda values: values["calibration"]["mean"].update(right=[0] * 401))
    assert main(["predict", str(unsure), *files_of(made), "--abstain", "0.9"]) == 1
    assert "precision 0.9: not reached at any confidence on validation" in capsys.readouterr().err


def test_which_calibration_is_used(made, packed_with):
    _, folder = packed_with("batches.normalisation=speaker")
    predictor = Predictor(open_model(folder))
    description = predictor.model.description
    path = made.root / "one" / "one1_sad_00.wav"
    named = Answers(predictor, [Source("x", path, speaker="s")])
    unnamed = Answers(predictor, [Source("x", path)])
    assert named.confidence.temperature == description["calibration"]["mean"]["temperature"]
    assert unnamed.confidence.temperature == description["calibration_without_speakers"]["mean"]["temperature"]


def test_utt2spk(made, packed_with, tmp_path, capsys):
    _, folder = packed_with("batches.normalisation=speaker")
    files = files_of(made)
    (tmp_path / "utt2spk").write_text("".join(f"{path} one1\n" for path in files))
    given = ["predict", str(folder), *files, "--format", "jsonl"]
    assert main([*given, "--utt2spk", str(tmp_path / "utt2spk")]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    wanted = load_model(folder).predict(files, speakers=["one1"] * len(files))
    for row, answer in zip(rows, wanted, strict=True):
        assert list(row["posteriors"].values()) == pytest.approx(list(answer.posteriors.values()), abs=1e-6)
        assert not any("its own statistics" in text for text in row["warnings"])
    (tmp_path / "utt2spk").write_text(f"{files[0]} one1\n")
    assert main([*given, "--utt2spk", str(tmp_path / "utt2spk")]) == 0
    first, *others = map(json.loads, capsys.readouterr().out.splitlines())
    assert "normalised by its own statistics: no other file is of this speaker" in first["warnings"]
    assert all("no speaker named: the mean statistics of training are used" in row["warnings"] for row in others)
    (tmp_path / "utt2spk").write_text("x y\n")
    assert main([*given, "--utt2spk", str(tmp_path / "utt2spk")]) == 1
    assert "names none of what is given" in capsys.readouterr().err


def test_warnings_are_counted(packed, tmp_path, capsys):
    for i in range(5):
        soundfile.write(tmp_path / f"{i}.wav", np.random.default_rng(i).normal(0, 0.1, 200), 8000)
    assert main(["predict", str(packed), str(tmp_path), "--format", "csv"]) == 0
    printed = capsys.readouterr().err.splitlines()
    assert sum("less than one frame" in line for line in printed) == 4
    assert "warning: 5 of 5: less than one frame, padded with zeros" in printed


def test_what_is_written_is_whole_or_absent(made, packed, tmp_path, monkeypatch):
    def stop(self, prepared):
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "posteriors", stop)
    assert main(["predict", str(packed), *files_of(made), "--out", str(tmp_path / "o.csv"), "--format", "csv"]) == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "none", "a.wav"], "error: none: no such folder; give one that `ser pack` made"),
        (["predict", "MODEL", "a.wav", "--head", ""], "no head ''; it has one, two, and mean of all"),
        (["predict", "MODEL", "a.wav", "--head", "three"], "no head three; it has one, two, and mean of all"),
        (["predict", "MODEL", "a.wav", "--device", "abacus"], "error: device abacus: "),
        (["predict", "MODEL", "FILE", "--out", "FOLDER"], "error: FOLDER: not a file that can be replaced; "),
        (["predict", "MODEL", "FILE", "--out", "-"], "error: -: not a file that can be replaced; "),
        (["predict", "MODEL", "FILE", "--out", "o.parquet"], "--out o.parquet: no format is known by .parquet; "),
        (["predict", "MODEL", "FILE", "--out", "o.xlsx", "--format", "csv"], "error: --format csv: --out o.xlsx is "),
        (["predict", "MODEL", "FILE", "--out", "MODEL/model.json"], "files of the model MODEL; give another --out"),
        (["timeline", "MODEL", "FILE", "--out", "MODEL/x"], "files of the model MODEL; give another --out"),
        (["export", "MODEL", "MODEL/a.onnx"], "files of the model MODEL; give another --out"),
        (["explain", "MODEL", "FILE", "--out", "MODEL/a.png"], "files of the model MODEL; give another --out"),
        (["timeline", "MODEL", "FILE", "--out", "FILE"], "error: --out FILE: not a folder; "),
        (["check", "MODEL", "none", "--out", "FILE"], "error: --out FILE: not a folder; "),
        (["predict", "MODEL", "FILE", "--device", "meta"], "error: device meta: "),
        (["predict", "MODEL", "FILE", "--format", "ark"], "give --out <name>.ark"),
        (["predict", "MODEL", "FILE", "FILE", "--format", "ark", "--out", "o.ark"], "FILE is given twice"),
        (["export", "MODEL", "a.pt"], "error: a.pt: must end in .onnx\n"),
        (["export", "MODEL", "a.onnx", "--head", "three"], "no head three"),
    ],
)
def test_a_mistake_is_one_line(made, packed, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    places = {"MODEL": str(packed), "FILE": files_of(made)[0], "FOLDER": str(tmp_path)}
    arguments = [word.replace("MODEL", str(packed)) if "/" in word else places.get(word, word) for word in arguments]
    assert main(arguments) == 1
    for word, place in places.items():
        message = message.replace(word, place)
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "out"),
    [
        (["calls.csv"], "calls.csv"),
        (["link.csv"], "calls.csv"),
        (["calls.csv"], "recording"),
        (["wav.scp"], "wav.ark"),
        (["."], "wav.ark"),
        (["recording", "--utt2spk", "calls.csv"], "calls.csv"),
    ],
)
def test_inputs_are_not_written_over(made, packed, tmp_path, monkeypatch, capsys, given, out):
    monkeypatch.chdir(tmp_path)
    shutil.copy(files_of(made)[0], "recording")
    Path("calls.csv").write_text("path\nrecording\n")
    Path("link.csv").symlink_to("calls.csv")
    Path("wav.scp").write_text("call recording\n")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(["predict", str(packed), *given, "--out", out]) == 1
    assert capsys.readouterr().err.startswith("error: --out: would be written over the input ")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_out_that_is_a_link_stays_one(made, packed, tmp_path):
    (tmp_path / "link.csv").symlink_to("other.csv")
    assert main(["predict", str(packed), files_of(made)[0], "--out", str(tmp_path / "link.csv")]) == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "other.csv").is_file()


def test_the_example_of_the_documentation_runs(made, packed, monkeypatch, tmp_path, capsys):
    """The lines of ser/inference/predict/api.py, as they stand there."""
    lines = str(api.__doc__).split("\n\n", 1)[1]
    shutil.copytree(packed, tmp_path / "models" / "ravdess")
    one, two = files_of(made)[:2]
    shutil.copy(one, tmp_path / "one.wav")
    samples, rate = soundfile.read(two)
    soundfile.write(tmp_path / "two.flac", samples, rate)
    monkeypatch.chdir(tmp_path)
    exec(textwrap.dedent(lines), {"samples": samples})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["one.wav", "two.flac"]


def test_answers_from_python(made, packed):
    model = load_model(packed)
    assert model.heads == dict.fromkeys(("one", "two"), ("angry", "happy", "neutral", "sad"))
    (answer,) = model.predict(files_of(made)[0])
    assert answer.label in answer.posteriors
    assert sum(answer.posteriors.values()) == pytest.approx(1, abs=1e-5)
    assert 0.25 <= answer.confidence <= 1
    (wrong,) = model.predict("none.wav")
    assert wrong.label is None
    assert math.isnan(wrong.confidence)
    assert "none.wav: no such file" in wrong.error
