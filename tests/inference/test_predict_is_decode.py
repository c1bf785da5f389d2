"""Predict is evaluation: the posteriors of decoding, whatever the order, the batch and the way files are given."""

import json
import shutil

import kaldiio
import numpy as np
import pytest
import soundfile
from scored import decoded

from ser import load_model
from ser.cli import main
from ser.corpora.kaldi import read_table

NORMALISATIONS = ["global", "none", "utterance", "speaker", "corpus"]
STRONG = ["batches.trim_decibels=20", "batches.floor_decibels=30", "batches.frame_step=2"]


def assert_decoded(answers, folder, by=lambda p: p.id):
    expected = decoded(folder, "one")
    assert len(answers) == len(expected) == 12
    for answer in answers:
        assert not answer.error
        np.testing.assert_allclose(list(answer.posteriors.values()), expected[by(answer)], atol=1e-5)


def list_of(made):
    return made.data_root / "one" / "strict_fold1" / "test"


def files_of(made):
    """Utterance -> file."""
    return read_table(list_of(made) / "wav.scp")


@pytest.mark.parametrize("settings", [[], STRONG], ids=["plain", "strong"])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_list_of_an_experiment_gives_the_decoded_posteriors(made, packed_with, normalisation, settings):
    folder, model = packed_with(f"batches.normalisation={normalisation}", *settings)
    for given in (list_of(made), list_of(made) / "wav.scp"):
        assert_decoded(load_model(model).predict(given, head="one", raw=True), folder)


@pytest.mark.parametrize("normalisation", ["global", "none", "utterance"])
def test_order_batch_and_way_do_not_matter(made, packed_with, tmp_path, normalisation):
    folder, model = packed_with(f"batches.normalisation={normalisation}")
    files, model = files_of(made), load_model(model)
    names = {path: key for key, path in files.items()}
    backwards = model.predict(list(reversed(files.values())), head="one", raw=True)
    assert [answer.id for answer in backwards] == list(reversed(files.values()))
    assert_decoded(backwards, folder, lambda p: names[p.id])
    singly = [model.predict(path, head="one", raw=True)[0] for path in files.values()]
    assert_decoded(singly, folder, lambda p: names[p.id])
    for path in files.values():
        shutil.copy(path, tmp_path)
    assert_decoded(
        model.predict(tmp_path, head="one", raw=True), folder, lambda p: p.id.split("/")[-1][:-4].replace("_", "-")
    )
    samples = [soundfile.read(path, dtype="float32")[0] for path in files.values()]
    for key, answer in zip(files, model.predict(samples, 8000, head="one", raw=True), strict=True):
        np.testing.assert_allclose(list(answer.posteriors.values()), decoded(folder, "one")[key], atol=1e-5)


def test_normalisation_of_the_training_is_used_and_not_that_of_the_file(made, packed_with):
    """A model that was trained on global statistics hears how loud a file is."""
    _, model = packed_with("batches.normalisation=global")
    path = next(iter(files_of(made).values()))
    samples = soundfile.read(path, dtype="float32")[0]
    loud, soft = load_model(model).predict([samples, samples * 0.05], 8000)
    assert np.abs(np.subtract(list(loud.posteriors.values()), list(soft.posteriors.values()))).max() > 1e-3


def test_the_manifest_of_a_corpus_gives_the_decoded_posteriors(made, packed_with):
    folder, model = packed_with("batches.normalisation=speaker")
    answers = load_model(model).predict(made.data_root / "one" / "cuts.jsonl.gz", head="one", raw=True)
    expected = decoded(folder, "one")
    found = {answer.id: list(answer.posteriors.values()) for answer in answers}
    assert len(found) > len(expected)
    for key, row in expected.items():
        np.testing.assert_allclose(found[key], row, atol=1e-5)


def test_speakers_by_option_are_speakers_of_a_list(made, packed_with):
    folder, model = packed_with("batches.normalisation=speaker")
    files, speakers = files_of(made), read_table(list_of(made) / "utt2spk")
    answers = load_model(model).predict(
        list(files.values()), head="one", speakers=[speakers[key] for key in files], raw=True
    )
    names = {path: key for key, path in files.items()}
    assert_decoded(answers, folder, lambda p: names[p.id])


@pytest.mark.parametrize("normalisation", ["speaker", "corpus"])
@pytest.mark.filterwarnings("ignore:.*no speakers are named")
def test_without_named_speakers_no_answer_depends_on_other_files(made, packed_with, normalisation):
    _, model = packed_with(f"batches.normalisation={normalisation}")
    model, files = load_model(model), list(files_of(made).values())
    with pytest.warns(UserWarning, match="no speakers are named"):
        together = model.predict(files)
    alone = model.predict(files[3])
    np.testing.assert_allclose(list(together[3].posteriors.values()), list(alone[0].posteriors.values()), atol=1e-6)


@pytest.mark.parametrize(
    ("task", "temporal"), [("multi", "tdnn"), ("unified", "lstm"), ("multi", "attention"), ("unified", "nin")]
)
def test_every_network_with_its_adapters(made, packed_with, task, temporal):
    folder, model = packed_with(
        f"task={task}", f"temporal={temporal}", "network.adapter_size=4", "network.nin.size=16", "network.nin.hidden=16"
    )
    assert_decoded(load_model(model).predict(list_of(made), head="one", raw=True), folder)


def test_the_mean_of_heads_is_by_class_name(made, packed):
    model, given = load_model(packed), list_of(made)
    one, two, mean = (model.predict(given, head=head, raw=True) for head in ("one", "two", "mean"))
    for a, b, m in zip(one, two, mean, strict=True):
        assert list(m.posteriors) == ["angry", "happy", "neutral", "sad"]
        expected = [(a.posteriors[name] + b.posteriors[name]) / 2 for name in m.posteriors]
        np.testing.assert_allclose(list(m.posteriors.values()), expected, atol=1e-6)


def test_the_command_writes_the_decoded_posteriors_in_every_form(made, packed_with, tmp_path, capsys):
    folder, model = packed_with()
    capsys.readouterr()  # what training logs, where no test before this one has trained the model
    given = [str(model), str(list_of(made)), "--head", "one", "--raw"]
    assert main(["predict", *given, "--format", "jsonl"]) == 0
    rows = {row["file"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert main(["predict", *given, "--format", "ark", "--out", str(tmp_path / "post.ark")]) == 0
    assert (tmp_path / "post.labels").read_text().split() == ["angry", "happy", "neutral", "sad"]
    ark = kaldiio.load_scp(str(tmp_path / "post.scp"))
    assert main(["predict", *given, "--format", "csv", "--out", str(tmp_path / "post.csv")]) == 0
    head, *lines = (tmp_path / "post.csv").read_text().splitlines()
    assert head == "file,channel,seconds,label,confidence,angry,happy,neutral,sad,warnings,error"
    table = {line.split(",")[0]: line.split(",")[5:9] for line in lines}
    for key, row in decoded(folder, "one").items():
        np.testing.assert_allclose(list(rows[key]["posteriors"].values()), row, atol=1e-5)
        np.testing.assert_allclose(ark[key], row, atol=1e-5)
        np.testing.assert_allclose(np.array(table[key], float), row, atol=1e-5)
        assert rows[key]["label"] == list(rows[key]["posteriors"])[int(row.argmax())]
