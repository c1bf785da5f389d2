from conftest import refuses

from ser.common import check_regular
from ser.common.once import parsed_once


def test_a_file_is_parsed_again_only_after_it_has_changed(tmp_path):
    calls = []

    @parsed_once
    def read(path):
        """Read it."""
        check_regular(path, "write it")
        calls.append(path)
        return path.read_text()

    path = tmp_path / "table"
    with refuses(where="table"):
        read(path)
    path.write_text("one")
    assert [read(path), read(path)] == ["one", "one"]
    assert len(calls) == 1
    path.unlink()
    path.write_text("two")
    assert [read(path), read(path)] == ["two", "two"]
    assert len(calls) == 2
    assert read.__doc__ == "Read it."
