import pytest

from ser.common.cores import available_cores, default_threads


@pytest.mark.parametrize(("value", "threads"), [("3", 3), (" 2,4", 2), ("", None), ("0", None), ("x", None)])
def test_threads_are_those_of_the_environment_or_all_cores(monkeypatch, value, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert default_threads() == (threads or available_cores())
