import pytest

from ser.common import InputError
from ser.features.index import local_copy


def test_an_archive_without_an_index_names_the_fix(tmp_path):
    archive = tmp_path / "dump" / "one" / "archives" / "settings" / "feats.00.a.ark"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"values")
    with pytest.raises(InputError, match=r"feats\.00\.a\.ark: has no index feats\.00\.a\.json .*stage 3.*local_dump"):
        local_copy(archive, tmp_path / "local")
    assert not (tmp_path / "local").exists()
    archive.with_suffix(".json").write_text("{}")
    assert local_copy(archive, tmp_path / "local").read_bytes() == b"values"
