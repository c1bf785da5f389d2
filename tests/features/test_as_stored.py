import numpy as np
import pytest

from ser.features import ArkReader, ArkWriter, as_stored


@pytest.mark.parametrize("storage", ["int16", "float32"])
def test_as_stored_is_what_an_archive_gives_back(tmp_path, storage):
    rng = np.random.default_rng(0)
    matrices = {f"u{i}": rng.normal(-8, 4 + i, (1 + 7 * i, 257)).astype(np.float32) for i in range(20)}
    matrices["constant"] = np.full((3, 257), -23.025850, np.float32)
    with ArkWriter(tmp_path / "a.ark", storage) as writer:
        for key, matrix in matrices.items():
            writer.write(key, matrix)
    reader = ArkReader(tmp_path / "a.scp")
    for key, matrix in matrices.items():
        np.testing.assert_array_equal(as_stored(matrix, storage), reader.read(key))
        assert storage == "float32" or key == "constant" or (reader.read(key) != matrix).any()
