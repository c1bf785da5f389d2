"""What a changed row of a table, or a changed protocol, does to stored features: nothing stale is used again."""

import numpy as np
import pytest
from lab import LABELS, Lab

from ser.config import load
from ser.corpora.cuts import read_cut
from ser.features import FeatureStore
from ser.frontends.log_stft import LogStft, log_stft

HEADER = "path,speaker,emotion,start,end,channel"
CONFIG = load("strict", None, ["corpora=[ravdess]"]).features


def rows(**changed: str) -> list[str]:
    """Two calls of two channels, a speaker each, with a stretch of each class; some rows may be others."""
    found = {}
    for number in range(2):
        for channel, who in enumerate(("agent", "client")):
            for k, label in enumerate(LABELS):
                name = f"{who}{number}_{label}"
                found[name] = f"call{number}.wav,{who}{number},{label},{k + 0.1:.1f},{k + 1.1:.1f},{channel}"
    return [HEADER, *(found | changed).values()]


def store_of(lab: Lab) -> FeatureStore:
    lab.prepare()
    return FeatureStore(lab.root / "dump", lab.out, LogStft(CONFIG))


@pytest.fixture
def calls(tmp_path):
    lab = Lab(tmp_path, "csv")
    for number in range(2):
        lab.noise(f"call{number}.wav", 40001, channels=2)
    lab.table("calls.csv", *rows())
    store = store_of(lab)
    store.compute(1, 1)
    store.finish()
    return lab, store


@pytest.mark.parametrize(
    "row",
    [
        "call0.wav,agent0,angry,0.2,1.1,0",  # start
        "call0.wav,agent0,angry,0.1,1.2,0",  # end
        "call0.wav,agent0,angry,4.2,4.9,1",  # channel
        "call1.wav,agent0,angry,4.2,4.9,0",  # file
    ],
)
def test_a_changed_row_has_features_of_its_own(calls, row):
    lab, before = calls
    lab.table("calls.csv", *rows(agent0_angry=row))
    store = store_of(lab)
    assert store.key != before.key
    assert not store.finished
    assert store.compute(1, 1) == (1, 15)
    store.finish()
    for cut in store.cuts:
        expected = log_stft(read_cut(cut)[0], CONFIG)
        np.testing.assert_allclose(store.reader().read(cut.id), expected, atol=1e-3)


def test_a_changed_label_and_a_changed_protocol_change_no_features(calls):
    lab, before = calls
    lab.table("calls.csv", *rows(agent0_angry="call0.wav,agent0,Raiva,0.1,1.1,0"))  # mapped to angry
    lab.write(description="another")
    store = store_of(lab)
    assert store.key == before.key
    assert store.finished


def test_a_dropped_utterance_makes_another_set_of_the_same_features(calls):
    lab, before = calls
    lab.table("calls.csv", *rows(agent0_angry="call0.wav,agent0,other,0.1,1.1,0"))  # in no class
    store = store_of(lab)
    assert store.key != before.key
    assert store.compute(1, 1) == (0, 15)
    assert store.finish() == 15


def test_another_file_under_the_same_row_has_features_of_its_own(calls):
    lab, before = calls
    (lab.corpus / "call0.wav").write_bytes((lab.corpus / "call1.wav").read_bytes())
    lab.noise("call1.wav", 40001, channels=2)
    values = lab.noise("call2.wav", 40001, channels=2)
    (lab.corpus / "call2.wav").rename(lab.corpus / "call0.wav")
    store = store_of(lab)
    assert store.key != before.key
    assert store.compute(1, 1) == (8, 8)
    store.finish()
    key = next(cut.id for cut in store.cuts if cut.path.name == "call0.wav" and cut.channel == 1)
    expected = log_stft(np.ascontiguousarray(values[800:8800, 1]), CONFIG)
    np.testing.assert_allclose(store.reader().read(key), expected, atol=1e-3)
