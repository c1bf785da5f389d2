import gzip
import io
import os
import pickle
import resource
import struct
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
from ser.features import ArkReader, ArkWriter, as_stored
from ser.features.archive import read_archive


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
        for values in (ours.read(key), theirs[key], native[key]):
            np.testing.assert_allclose(values, matrix, atol=error, rtol=0)
        np.testing.assert_allclose(ours.read(key), native[key], atol=4e-6)


@pytest.mark.parametrize("storage", ["float32", "int16"])
def test_rows_equal_those_of_the_matrix(tmp_path, matrices, storage):
    reader = ArkReader(write(tmp_path, matrices, storage))
    whole = reader.read("spk-3")
    np.testing.assert_array_equal(reader.read("spk-3", 2, 7), whole[2:9])
    np.testing.assert_array_equal(reader.read("spk-3", 13), whole[13:])
    with pytest.raises(InputError, match="rows 10 to 15 of 14"):
        reader.read("spk-3", 10, 5)


@pytest.mark.parametrize("storage", ["int16", "float32"])
def test_as_stored_equals_what_is_read_back(tmp_path, storage):
    rng = np.random.default_rng(0)
    matrices = {f"u{i}": rng.normal(-8, 4 + i, (1 + 7 * i, 257)).astype(np.float32) for i in range(20)}
    matrices["constant"] = np.full((3, 257), -23.025850, np.float32)
    reader = ArkReader(write(tmp_path, matrices, storage))
    for key, matrix in matrices.items():
        np.testing.assert_array_equal(as_stored(matrix, storage), reader.read(key))
        assert storage == "float32" or key == "constant" or (reader.read(key) != matrix).any()


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


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_stored_value_that_is_not_finite_names_the_key(tmp_path, matrices, value):
    scp = write(tmp_path, matrices, "float32")
    path, _, offset = scp.read_text().splitlines()[1].split()[1].rpartition(":")
    data = bytearray(Path(path).read_bytes())
    data[int(offset) + 15 : int(offset) + 19] = np.float32(value).tobytes()
    Path(path).write_bytes(data)
    np.testing.assert_array_equal(ArkReader(scp).read("spk-0"), matrices["spk-0"])
    with pytest.raises(InputError, match="spk-1: holds values that are not finite"):
        ArkReader(scp).read("spk-1")


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
    with pytest.raises(InputError, match="feats.scp: spk-3: rows 2 to 14 of a matrix of 14; fix the range"):
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
def test_values_that_are_not_finite_are_not_stored(tmp_path, matrices, storage, value):
    matrices["spk-2"][3, 100] = value
    with pytest.raises(InputError, match="spk-2"):
        write(tmp_path, matrices, storage)
    assert list(tmp_path.iterdir()) == []


def test_an_scp_or_archive_that_is_a_pipe_is_refused(tmp_path, matrices):
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


def entry(kind: bytes, order: str, *sizes: int, values: bytes = b"") -> bytes:
    return b"key " + kind + b"".join(b"\4" + struct.pack(f"{order}i", size) for size in sizes) + values


TEN = np.arange(10, dtype=np.float64)


class Trap:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return (open, ("unpickled", "w"))


def numpy_file(value) -> bytes:
    file = io.BytesIO()
    np.save(file, value, allow_pickle=True)
    return file.getvalue()


OTHER_KINDS = {
    "pickle": (b"key PKL" + pickle.dumps(Trap()), "a Python pickle"),
    "pickle in an array": (b"key " + numpy_file(np.array([Trap()], object)), "a NumPy array"),
    "kaldiio's array": (b"key NPY" + numpy_file(np.array([Trap()], object)), "a NumPy array"),
    "array": (numpy_file(TEN), "no key|a NumPy array|no Kaldi object"),
    "double vector": (entry(b"\0BDV ", "<", 10, values=TEN.tobytes()), "a double-precision vector"),
    "double matrix": (entry(b"\0BDM ", "<", 2, 5, values=TEN.tobytes()), "a double-precision matrix"),
    "one byte": (b"key \0BCM " + struct.pack("<ffii", 0, 1, 2, 5) + bytes(100), "a one-byte compressed matrix"),
    "text": (b"key  [ 1 2 3 ]\n", "text"),
    "big endian": (entry(b"\0BFV ", ">", 10, values=TEN.astype(">f4").tobytes()), "big endian"),
    "big endian matrix": (entry(b"\0BFM ", ">", 2, 5, values=TEN.astype(">f4").tobytes()), "big endian"),
    "negative": (entry(b"\0BFM ", "<", -2, -5, values=bytes(40)), "ends within it"),
    "promises": (entry(b"\0BFM ", "<", 2**31 - 1, 2**31 - 1), "ends within it"),
    "cut": (entry(b"\0BFV ", "<", 10, values=bytes(39)), "ends within it"),
    "cut header": (b"key \0BFM \4", "ends within it"),
    "not finite": (entry(b"\0BFV ", "<", 1, values=struct.pack("<f", np.nan)), "not finite"),
    "span not finite": (b"key \0BCM2 " + struct.pack("<ffii", 0, np.inf, 1, 1) + bytes(2), "not finite"),
    "twice": (2 * entry(b"\0BFV ", "<", 1, values=bytes(4)), "key appears twice"),
    "no key": (b"\0" * 20, "no key"),
    "key of bytes": (b"\xff\xfe \0BFV ", "no key"),
}


@pytest.mark.parametrize("name", OTHER_KINDS)
def test_entries_of_other_kinds_are_refused_by_name_and_never_executed(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    data, message = OTHER_KINDS[name]
    (tmp_path / "post.ark").write_bytes(data)
    with pytest.raises(InputError, match=f"post.ark: .*({message})"):
        read_archive(tmp_path / "post.ark")
    if b"key " in data and name != "twice":
        (tmp_path / "feats.scp").write_text(f"key {tmp_path / 'post.ark'}:4\n")
        reader = ArkReader(tmp_path / "feats.scp")
        with pytest.raises(InputError, match=r"post.ark: key: "):
            reader.read("key")
    assert not (tmp_path / "unpickled").exists()


def test_vectors_and_matrices_are_read_back_as_kaldi_writes_them(tmp_path):
    rng = np.random.default_rng(0)
    vector, matrix = rng.normal(size=7).astype(np.float32), rng.normal(size=(3, 4)).astype(np.float32)
    with kaldi_native_io.FloatVectorWriter(f"ark:{tmp_path}/v.ark") as writer:
        writer.write("a", vector)
        writer.write("b", vector[:0])
    entries = read_archive(tmp_path / "v.ark")
    np.testing.assert_array_equal(entries["a"], vector)
    assert (list(entries), entries["b"].shape) == (["a", "b"], (0,))
    for storage, error in (("float32", 0), ("int16", 1e-4)):
        with ArkWriter(tmp_path / "m.ark", storage) as writer:
            writer.write("a", matrix)
        np.testing.assert_allclose(read_archive(tmp_path / "m.ark")["a"], matrix, atol=error, rtol=0)
        np.testing.assert_allclose(dict(kaldiio.load_ark(str(tmp_path / "m.ark")))["a"], matrix, atol=error, rtol=0)


@pytest.mark.parametrize("value", ["cat {} |:4", "| cat {}:4", "{}|:4", "/dev/zero:4", "/etc:4", "/dev/stdin:0"])
def test_an_scp_runs_no_command(tmp_path, matrices, value):
    write(tmp_path, matrices, "int16")
    (tmp_path / "x.scp").write_text(f"spk-0 {value.format(tmp_path / 'feats.ark')}\n")
    with pytest.raises(InputError):
        ArkReader(tmp_path / "x.scp").read("spk-0")
