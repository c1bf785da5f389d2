"""The list of skipped tests, from real reports of pytest."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

SUITE = """
import os
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_two(number):
    pytest.skip("no scheduler")

def test_lane():
    if "LANE" not in os.environ:
        pytest.skip("runs in the other lane")

@pytest.mark.xfail
def test_expected():
    raise ValueError
"""


def test_reasons_are_counted_over_both_lanes(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(SUITE)
    (tmp_path / "test_whole.py").write_text('import pytest\npytest.skip("no\\nk2", allow_module_level=True)\n')
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    for lane in ({}, {"LANE": "2"}):
        report = f"--junitxml={tmp_path}/lane{len(lane)}.xml"
        subprocess.run([*command, report], env={"PATH": "/usr/bin:/bin", **lane}, check=True, capture_output=True)
    reports = sorted(tmp_path.glob("*.xml"))
    done = subprocess.run([sys.executable, TESTS / "skipped.py", *reports], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["2 x no scheduler", "1 x no k2 (a whole file)"]
    assert (done.returncode, done.stderr) == (0, "")
