"""The log-STFT path gives what it always gave (see golden.py)."""

import golden
import numpy as np
import pytest

pytestmark = pytest.mark.slow


def test_posteriors_of_the_log_stft_path_stay_what_they_were(made):
    with np.load(golden.PATH, allow_pickle=False) as stored:
        expected = dict(zip(stored["names"].tolist(), stored["posteriors"], strict=True))
    found = dict(golden.posteriors(made))
    assert found.keys() == expected.keys()
    assert len(found) == 3 * 2 * 5 * 2
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-6, err_msg=name)
    # They tell models, classes and utterances apart.
    assert np.stack(list(expected.values())).std(0).min() > 1e-3
    assert np.stack(list(expected.values())).std(1).mean() > 1e-3
