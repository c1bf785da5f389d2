import pytest
from conftest import refuses

from ser.corpora.kaldi import read_table, spk2utt, table_text, validate, write_table

UTTERANCES = {"a-1": "a", "a-2": "a", "b-1": "b"}


@pytest.fixture
def data_dir(tmp_path):
    write_table(tmp_path / "utt2spk", UTTERANCES)
    write_table(tmp_path / "spk2utt", spk2utt(UTTERANCES))
    write_table(tmp_path / "wav.scp", {u: f"/a folder/{u}.wav" for u in UTTERANCES})
    write_table(tmp_path / "utt2dur", dict.fromkeys(UTTERANCES, "1.000000"))
    write_table(tmp_path / "utt2emo", dict.fromkeys(UTTERANCES, "sad"))
    return tmp_path


def test_a_valid_data_dir_is_counted(data_dir):
    assert validate(data_dir) == 3
    assert (data_dir / "spk2utt").read_text() == "a a-1 a-2\nb b-1\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("utt2dur", "a-2 1\na-1 1\nb-1 1\n", "utt2dur: not sorted"),
        ("utt2spk", "b-1 b\na-1 a\na-2 a\n", "utt2spk: not sorted"),
        ("wav.scp", "a-1 x\nb-1 x\n", "wav.scp: a-2 is in only one of wav.scp and utt2spk"),
        ("utt2emo", "a-1 sad\na-2 sad\nb-1 sad\nb-2 sad\n", "utt2emo: b-2 is in only one"),
        ("spk2utt", "a a-1\nb a-2 b-1\n", "spk2utt: does not agree with utt2spk"),
        ("spk2utt", "a a-1 a-2\n", "spk2utt: does not agree with utt2spk"),
        ("utt2dur", "a-1 1\na-2 0.000\nb-1 1\n", "utt2dur: a-2 0.000: must be a number greater than 0"),
        ("utt2dur", "a-1 1\na-2 -1\nb-1 1\n", "utt2dur: a-2 -1: must be"),
        ("utt2dur", "a-1 1\na-2 nan\nb-1 1\n", "utt2dur: a-2 nan: must be"),
        ("utt2dur", "a-1 1\na-2 long\nb-1 1\n", "utt2dur: a-2 long: must be"),
        ("utt2num_frames", "a-1 1\na-2 0\nb-1 1\n", "utt2num_frames: a-2 0: must be"),
        ("utt2num_frames", "a-1 1\na-2 1.5\nb-1 1\n", "utt2num_frames: a-2 1.5: must be"),
        ("feats.scp", "a-1 x\n", "feats.scp: a-2 is in only one"),
        ("utt2emo", "a-1 sad\na-1 sad\n", "utt2emo:2: a-1 appears twice"),
        ("utt2emo", "a-1 sad\na-2\n", "utt2emo:2: expected `key value`, found 'a-2'"),
        ("utt2emo", "a-1 sad\n\na-2 sad\n", "utt2emo:2: expected `key value`, found ''"),
        ("utt2spk", "", "utt2spk: holds no utterances"),
        ("utt2spk", None, "utt2spk: no such file"),
        ("spk2utt", None, "spk2utt: no such file"),
        ("wav.scp", None, ": neither wav.scp nor feats.scp"),
    ],
)
def test_every_damage_is_named(data_dir, name, text, message):
    (data_dir / name).unlink(missing_ok=True)
    if text is not None:
        (data_dir / name).write_text(text)
    where, what = message.split(": ", 1)
    with refuses(what, where=data_dir / where):
        validate(data_dir)


def test_an_utterance_id_without_its_speaker(data_dir):
    utt2spk = {"a-1": "b", "a-2": "a", "b-1": "b"}
    write_table(data_dir / "utt2spk", utt2spk)
    write_table(data_dir / "spk2utt", spk2utt(utt2spk))
    with refuses("an utterance id must start with its speaker"):
        validate(data_dir)


def test_the_order_is_that_of_bytes():
    # A before _ before a, and a longer key after its prefix
    assert table_text(dict.fromkeys(["é", "a_1", "aB", "a1", "a", "B"], "x")).split(" x\n")[:-1] == [
        "B", "a", "a1", "aB", "a_1", "é",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["a  b c\nd e\n", "a\tb c\nd e", "a b c\r\nd e\r\n", " a b c \nd e\n"])
def test_white_space_and_line_ends_are_read_leniently(tmp_path, text):
    (tmp_path / "t").write_bytes(text.encode())
    assert read_table(tmp_path / "t") == {"a": "b c", "d": "e"}


def test_only_a_line_feed_ends_a_line(tmp_path):
    write_table(tmp_path / "t", {"a": "x\u2028y", "b": "ção"})
    assert read_table(tmp_path / "t") == {"a": "x\u2028y", "b": "ção"}


def test_another_encoding_is_named(tmp_path):
    (tmp_path / "t").write_bytes(b"a \xe7\n")
    with refuses("not UTF-8 text", where="t"):
        read_table(tmp_path / "t")
