import re

import pytest

from ser.common import InputError
from ser.corpora import audio_files
from ser.corpora.issues import Issues
from ser.corpora.preparers import load_preparer
from ser.corpora.utterance import Utterance, count_hidden_files, other_files

ANY = re.compile(r"(\w+)\.wav")


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_all_eight_emotions_of_ravdess(tmp_path):
    make(tmp_path, *(f"03-01-{n:02d}-01-01-01-01.wav" for n in range(1, 10)))
    labels = [u.label for u in load_preparer("ravdess").utterances(tmp_path)]
    # https://zenodo.org/records/1188976; an unknown code is returned as it is
    assert labels == ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised", "09"]


def test_hidden_files_and_other_files_are_skipped(tmp_path):
    hidden = ["._a.wav", "x/.b.wav", "__MACOSX/x/a.wav", ".git/c.wav", "x/.DS_Store", "__MACOSX/._d"]
    make(tmp_path, "b.wav", "x/a.wav", "readme.txt", "Thumbs.db", *hidden)
    assert [path.name for path, _ in audio_files(tmp_path, ANY)] == ["b.wav", "a.wav"]
    assert count_hidden_files(tmp_path) == 4


def test_links_to_folders_are_followed_and_a_hidden_one_hides_no_other(tmp_path):
    make(tmp_path / "corpus", "b/b.wav")
    make(tmp_path / "elsewhere", "a.wav")
    (tmp_path / "corpus" / "a").symlink_to(tmp_path / "elsewhere")
    for name in (".a", ".z", "b/.a"):  # sorted before and after the folder, in the order of some file systems
        (tmp_path / "corpus" / name).symlink_to(tmp_path / "corpus" / "b")
    (tmp_path / "corpus" / "b" / "round").symlink_to(tmp_path / "corpus")
    assert [path.name for path, _ in audio_files(tmp_path / "corpus", ANY)] == ["a.wav", "b.wav"]


def test_a_link_to_itself_is_another_file(tmp_path):
    make(tmp_path, "a.wav")
    for name in ("loop", "loop.wav"):
        (tmp_path / name).symlink_to(name)
    assert [path.name for path in other_files(tmp_path, [tmp_path / "a.wav", tmp_path / "loop.wav"])] == ["loop"]
    assert Utterance("a-b", tmp_path / "loop.wav", "a", "sad").real_path == str(tmp_path / "loop.wav")


def test_a_folder_that_cannot_be_read_is_named(tmp_path, unlisted):
    make(tmp_path, "a/a.wav", "b/b.wav")
    unlisted(tmp_path / "b")
    with pytest.raises(InputError, match=r"/b: cannot be read \(Permission denied\)"):
        list(audio_files(tmp_path, ANY))


def test_a_hidden_folder_above_the_corpus_hides_nothing(tmp_path):
    make(tmp_path / ".cache" / "corpus", "a.wav")
    assert len(list(audio_files(tmp_path / ".cache" / "corpus", ANY))) == 1
    assert count_hidden_files(tmp_path / ".cache" / "corpus") == 0


@pytest.mark.parametrize("names", [[], ["readme.txt"], ["._a.wav"]])
def test_a_folder_without_audio_is_named(tmp_path, names):
    make(tmp_path, *names)
    with pytest.raises(InputError, match="holds no audio files; give the folder"):
        list(audio_files(tmp_path, ANY))


def test_a_preparer_of_the_recipe_comes_first(tmp_path):
    make(tmp_path, "local/prepare_ravdess.py")
    with pytest.raises(InputError, match=r"prepare_ravdess\.py: has no function utterances"):
        load_preparer("ravdess", tmp_path)
    (tmp_path / "local/prepare_ravdess.py").write_text(
        "from ser.corpora import Utterance\ndef utterances(d):\n    return iter([Utterance('a-1', d, 'a', 'mine')])\n"
    )
    assert [u.label for u in load_preparer("ravdess", tmp_path).utterances(tmp_path)] == ["mine"]
    with pytest.raises(InputError, match=r"prepare_none\.py: no such file .*prepare_ravdess"):
        load_preparer("none", tmp_path)


@pytest.mark.parametrize("skip_unmatched", [False, True])
def test_the_folder_of_another_corpus_is_one_error(tmp_path, skip_unmatched):
    make(tmp_path, "OAF_back_angry.wav", "OAF_bar_angry.wav")
    issues = Issues()
    assert list(audio_files(tmp_path, re.compile(r"03-\d\d\.wav"), issues, skip_unmatched=skip_unmatched)) == []
    (issue,) = issues
    assert (issue.kind, issue.where) == ("stray files", tmp_path)
    assert "none of its 2 audio files has a name of the corpus" in issue.what
