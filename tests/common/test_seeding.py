import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from ser.common import derive_seed


def test_the_seed_of_a_purpose_never_changes():
    assert derive_seed(0, 1, "order", "ravdess", 0) == 8768536981866638031


def test_the_seed_does_not_depend_on_the_process():
    code = "from ser.common import derive_seed; print(derive_seed(0, 'order'))"
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    assert int(output) == derive_seed(0, "order")


def test_purposes_differ():
    purposes = [(seed, fold, what, n) for seed in range(5) for fold in range(6) for what in "ab" for n in range(20)]
    assert len({derive_seed(*purpose) for purpose in purposes}) == len(purposes)
    # the parts are separated
    assert derive_seed(1, 11) != derive_seed(11, 1)
    assert derive_seed("a", "b") != derive_seed("ab")


@given(st.lists(st.integers() | st.text(alphabet=st.characters(codec="utf-8"))))
def test_seeds_are_valid_for_torch_and_numpy(purpose):
    assert 0 <= derive_seed(*purpose) < 2**63
