"""What is too short to be resampled is left out by stage 1; what stage 1 keeps has features in stage 3."""

import numpy as np
import pytest
import soundfile
from made import filled

from ser.common import InputError
from ser.config import load
from ser.corpora.utterance import Utterance
from ser.corpora.validation import validate_utterances
from ser.features import FeatureStore
from ser.frontends import build_frontend

EXPERIMENT = load("strict", None, ["corpora=[ravdess]"])


def noise(samples):
    return np.random.default_rng(samples).uniform(-0.3, 0.3, samples)


def test_both_stages_have_one_rule(small, tmp_path):
    short = {1: small.file(1, "03"), 2: small.file(2, "03"), 47: small.file(3, "03")}
    for samples, path in short.items():
        soundfile.write(path, noise(samples), 48000)
    soundfile.write(small.file(4, "03"), noise(48), 48000)
    with pytest.raises(InputError) as caught:
        small.prepare()
    for samples, path in short.items():
        assert f"{path}: too short: {samples} samples" in str(caught.value)
    small.prepare(allow_partial=True)
    left_out = [line.split("\t")[1] for line in (small.out / "left_out.tsv").read_text().splitlines()]
    assert sorted(why.partition(": ")[0] for why in left_out if "too short" in why) == sorted(map(str, short.values()))
    store = filled(FeatureStore(tmp_path / "dump", small.out, build_frontend(EXPERIMENT)))
    assert len(store.num_frames()) == 24 * 4 - 3  # one label of five is in no class
    assert len(store.padded()) == 1
    reader = store.reader()
    assert all(np.isfinite(reader.read(cut.id)).all() for cut in store.cuts)


@pytest.mark.parametrize(("samples", "usable"), [(7, False), (8, True)])
def test_a_segment_that_is_too_short_is_named(small, samples, usable):
    path = small.corpus / "long.wav"
    soundfile.write(path, noise(8000), 8000)
    utterance = Utterance("s-1", path, "s", "happy", start=0.5, end=0.5 + samples / 8000, origin="segments:7")
    items, unusable = validate_utterances(small.protocol, [utterance])
    assert [item.num_samples for item in items] == [samples] * usable
    assert all(str(issue).startswith("segments:7: s-1: too short") for issue in unusable.values())
    assert len(unusable) == (not usable)
