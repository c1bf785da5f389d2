from conftest import refuses

from ser.common import check_regular, once
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


def test_small_files_stay_and_of_large_ones_the_last_eight(tmp_path, monkeypatch):
    calls = []
    read = parsed_once(lambda path: calls.append(path))
    paths = [tmp_path / str(number) for number in range(12)]
    for path in paths:
        path.write_bytes(bytes(10))
    for path in paths * 2:
        read(path)
    assert calls == paths
    monkeypatch.setattr(once, "BYTES", 50)
    (tmp_path / "more").touch()
    read(tmp_path / "more")
    calls.clear()
    for path in reversed(paths):
        read(path)
    assert calls == paths[4::-1]
