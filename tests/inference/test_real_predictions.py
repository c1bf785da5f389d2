"""From real corpora to a model package and its answers."""

import numpy as np
import pytest
from made import Made, filled
from packed import finish
from scored import decoded

from ser import load_model
from ser.config import load
from ser.corpora import read_protocol
from ser.corpora.prepare import prepare_corpus
from ser.corpora.preparers import load_preparer
from ser.features import FeatureStore
from ser.frontends import build_frontend
from ser.inference.pack import pack

SMALL = ["network.prep_size=32", "network.hidden_size=16", "training.max_epochs=1", "training.steps_per_epoch=10"]


@pytest.mark.slow
def test_real_speech_gives_the_decoded_posteriors(real_ravdess, tmp_path):
    """Preset strong: trimmed, floored, every second frame, statistics of speakers; 48 or 16 kHz, some files stereo."""
    made = Made(tmp_path)
    some = tmp_path / "some"
    some.mkdir()
    stereo = {"03-01-02-01-01-02-01", "03-01-08-01-02-02-01", "03-01-02-01-02-02-05"}
    for path in real_ravdess.rglob("03-01-*"):
        if path.stem[12:14] == "01" or path.stem in stereo:
            (some / path.name).symlink_to(path)
    experiment = load("strong", None, ["corpora=[ravdess]", *SMALL])
    data_dir = made.data_root / "ravdess"
    prepare_corpus(load_preparer("ravdess", None), read_protocol("ravdess"), some, data_dir, allow_partial=True)
    filled(FeatureStore(made.dump, data_dir, build_frontend(experiment))).link()
    folder = finish(made, tmp_path, experiment)
    description = pack(folder, tmp_path / "model", made.recipe, made.data_root, made.dump)
    assert description["corpora"]["ravdess"]["licence"] == "CC BY-NC-SA 4.0"
    answers = load_model(tmp_path / "model").predict(data_dir / "strict_fold1" / "test", raw=True)
    expected = decoded(folder, "ravdess")
    assert len(answers) == len(expected) > 50
    for answer in answers:
        np.testing.assert_allclose(list(answer.posteriors.values()), expected[answer.id], atol=1e-5)
