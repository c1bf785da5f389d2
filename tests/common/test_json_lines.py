import gzip

import pytest
from conftest import refuses

from ser.common.json_lines import read_json_lines, write_json_lines


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_plain_and_gzipped_lines_are_read(tmp_path, name):
    data = '\ufeff{"a": "\u2028"}\r\n\n[1]'.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert read_json_lines(tmp_path / name, lambda row: row, "rows") == [{"a": "\u2028"}, [1]]


def test_what_is_written_is_read(tmp_path):
    rows = [{"é": 1}, {"b": [None, "x"]}]
    write_json_lines(tmp_path / "rows.jsonl.gz", rows)
    assert read_json_lines(tmp_path / "rows.jsonl.gz", dict, "rows") == rows


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[" * 100_000, b"7\n"])
def test_damaged_lines_are_refused(tmp_path, data):
    (tmp_path / "rows.jsonl").write_bytes(data)
    with refuses("not readable as rows", where="rows.jsonl", fix="fix it"):
        read_json_lines(tmp_path / "rows.jsonl", lambda row: row["a"], "rows", "fix it")
    with refuses("not readable as rows", where="rows.gz", fix="run stage 1"):
        (tmp_path / "rows.gz").write_bytes(gzip.compress(data)[:-1])
        read_json_lines(tmp_path / "rows.gz", dict, "rows")
