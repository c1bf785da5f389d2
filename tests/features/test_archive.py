import gzip
import io
import os
import resource
import subprocess
import sys
import zlib
from pathlib import Path

import kaldi_native_io
import kaldiio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser.common import InputError
from ser.features import ArkReader, ArkWriter


@pytest.fixture
def matrices():
    rng = np.random.default_rng(0)
    return {f"spk-{i}": rng.normal(-8, 4, (5 + 3 * i, 257)).astype(np.float32) for i in range(4)}


def write(folder: Path, matrices, storage: str) -> Path:
    with ArkWriter(folder / "feats.ark", storage) as writer:
        for key, matrix in matrices.items():
            writer.write(key, matrix)
    return folder / "feats.scp"


@pytest.mark.parametrize(("storage", "error"), [("float32", 0), ("int16", 4e-4)])
@pytest.mark.parametrize("folder", ["plain", "with a space"])
def test_three_readers_read_back_what_was_written(tmp_path, matrices, storage, error, folder):
    scp = write(tmp_path / folder, matrices, storage)
    ours, theirs = ArkReader(scp), kaldiio.load_scp(str(scp))
    native = kaldi_native_io.RandomAccessFloatMatrixReader(f"scp:{scp}")
    assert list(theirs) == sorted(matrices)
    for key, matrix in matrices.items():
        assert ours.shape(key) == matrix.shape
        for found in (ours.read(key), theirs[key], native[key]):
            np.testing.assert_allclose(found, matrix, atol=error, rtol=0)
        np.testing.assert_allclose(ours.read(key), native[key], atol=4e-6)


@pytest.mark.parametrize("storage", ["float32", "int16"])
def test_rows_are_those_of_the_whole(tmp_path, matrices, storage):
    reader = ArkReader(write(tmp_path, matrices, storage))
    whole = reader.read("spk-3")
    np.testing.assert_array_equal(reader.read("spk-3", 2, 7), whole[2:9])
    np.testing.assert_array_equal(reader.read("spk-3", 13), whole[13:])
    with pytest.raises(InputError, match="rows 10 to 15 of 14"):
        reader.read("spk-3", 10, 5)


def test_a_truncated_archive_names_the_key(tmp_path, matrices):
    scp = write(tmp_path, matrices, "int16")
    ark = scp.with_suffix(".ark")
    ark.write_bytes(ark.read_bytes()[:-10])
    reader = ArkReader(scp)
    assert reader.shape("spk-2") == (11, 257)
    with pytest.raises(InputError, match=r"feats\.ark: spk-3: the archive ends within it; run steps/store\.py verify"):
        reader.read("spk-3")


def test_size_and_checksum_are_of_what_was_written(tmp_path, matrices):
    with ArkWriter(tmp_path / "feats.ark", scp=False) as writer:
        for key, matrix in matrices.items():
            writer.write(key, matrix)
    data = (tmp_path / "feats.ark").read_bytes()
    assert list(tmp_path.iterdir()) == [tmp_path / "feats.ark"]
    assert writer.size == len(data)
    assert writer.checksum == zlib.crc32(data)
    assert all(data[offset : offset + 6] == b"\0BCM2 " for offset in writer.offsets.values())


@pytest.mark.parametrize("line", ["a cat x.ark |", "a x.ark", "a"])
def test_an_scp_that_names_no_position_is_refused(tmp_path, line):
    (tmp_path / "feats.scp").write_text(line + "\n")
    with pytest.raises(InputError, match=r"feats\.scp"):
        ArkReader(tmp_path / "feats.scp")


def test_an_error_leaves_nothing_behind(tmp_path, matrices):
    def interrupted():
        with ArkWriter(tmp_path / "feats.ark") as writer:
            writer.write("spk-0", matrices["spk-0"])
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [100, 3000, 200_000])
def test_a_full_disk_is_one_line_and_leaves_nothing_behind(tmp_path, limit):
    """The file size limit stands for the full disk: writing fails with an OSError in the same places."""
    code = (
        "import numpy as np, sys\nfrom pathlib import Path\nfrom ser.common import guarded\n"
        "from ser.features import ArkWriter\n"
        "@guarded\ndef main():\n"
        "    with ArkWriter(Path(sys.argv[1])) as w:\n"
        "        for i in range(10): w.write(f'k{i}', np.random.rand(100, 257).astype('f'))\n"
        "    return 0\nsys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out" / "feats.ark")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}/out/feats.ark: cannot be written (File too large); make room")
    assert done.stderr.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("storage", ["float32", "int16"])
def test_a_range_of_an_scp_counts_both_ends(tmp_path, matrices, storage):
    scp = write(tmp_path, matrices, storage)
    lines = [f"{line}[2:11]\n" for line in scp.read_text().splitlines() if line.startswith("spk-3")]
    scp.write_text("".join(lines))
    ours, native = ArkReader(scp), kaldi_native_io.RandomAccessFloatMatrixReader(f"scp:{scp}")
    assert ours.shape("spk-3") == (10, 257)
    np.testing.assert_allclose(ours.read("spk-3"), native["spk-3"], atol=4e-6)
    np.testing.assert_array_equal(ours.read("spk-3", 4, 3), ours.read("spk-3")[4:7])
    scp.write_text(lines[0].replace("[2:11]", "[2:14]"))
    with pytest.raises(InputError, match="feats.scp: spk-3: rows 2 to 14 of a matrix of 14; mend the range"):
        ArkReader(scp).read("spk-3")


def test_a_gzipped_archive_is_refused(tmp_path, matrices):
    scp = write(tmp_path, matrices, "int16")
    packed = tmp_path / "feats.ark.gz"
    packed.write_bytes(gzip.compress((tmp_path / "feats.ark").read_bytes()))
    scp.write_text(f"spk-0 {packed}:6\n")
    with pytest.raises(InputError, match="feats.ark.gz: a gzip file, in which nothing can be looked up; unpack it"):
        ArkReader(scp).read("spk-0")


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-3, 1.0, 1e6]))
@settings(max_examples=50, deadline=None)
def test_two_bytes_are_written_bit_for_bit_as_kaldiio_does(tmp_path_factory, rows, columns, seed, scale):
    matrix = (scale * np.random.default_rng(seed).standard_normal((rows, columns)) - 3).astype(np.float32)
    path = tmp_path_factory.mktemp("ark") / "a.ark"
    with ArkWriter(path) as writer:
        writer.write("one", matrix)
    expected = io.BytesIO()
    kaldiio.save_ark(expected, {"one": matrix}, compression_method=3)
    assert path.read_bytes() == expected.getvalue()


@pytest.mark.parametrize("storage", ["float32", "int16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_not_stored(tmp_path, matrices, storage, value):
    matrices["spk-2"][3, 100] = value
    with pytest.raises(InputError, match="spk-2"):
        write(tmp_path, matrices, storage)
    assert list(tmp_path.iterdir()) == []


def test_a_list_or_archive_that_is_a_pipe_is_refused_at_once(tmp_path, matrices):
    scp = write(tmp_path, matrices, "int16")
    ark = scp.with_suffix(".ark")
    ark.unlink()
    os.mkfifo(ark)
    with pytest.raises(InputError, match=f"{ark}: a pipe"):
        ArkReader(scp).read("spk-1")
    scp.unlink()
    os.mkfifo(scp)
    with pytest.raises(InputError, match=f"{scp}: a pipe"):
        ArkReader(scp)
