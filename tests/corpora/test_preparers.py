"""Every preparer of local/ on a small tree in the official layout and, if available, on the real corpus.

Then the quirks of each corpus, and the arithmetic of the protocol files.
"""

import shutil
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT, real_corpus, refuses, write_noise
from corpora_made import FILES, write_tree

from ser.common import InputError, read_json
from ser.corpora import read_protocol
from ser.corpora.check import check_corpus
from ser.corpora.kaldi import read_table
from ser.corpora.prepare import prepare_corpus
from ser.corpora.preparers import load_preparer
from ser.corpora.protocol import is_rule

CORPORA = sorted(FILES)
# Preparers of tables, which belong to no corpus.
TABLES = {"csv", "kaldi"}
# File names do not tell which sentence was said.
WITHOUT_TEXTS = {"emouerj", "savee", "urdu"}
EVALUATION = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
# Number of files of the small tree that are no clips: EmoEvaluation, data.tsv.
OTHERS = {"iemocap": 10, "nemo": 1}


def list_utterances(corpus: str, folder: Path) -> list:
    return list(load_preparer(corpus).utterances(folder))


def prepare(corpus: str, folder: Path, out: Path, allow_partial: bool = True) -> str:
    return prepare_corpus(load_preparer(corpus), read_protocol(corpus), folder, out, allow_partial)


def prepare_and_report(corpus: str, folder: Path, out: Path, allow_partial: bool = True) -> dict:
    """Prepare a corpus, and return its report."""
    prepare(corpus, folder, out, allow_partial)
    return read_json(out / "report.json")


def left_out(out: Path) -> dict[str, str]:
    return dict(line.split("\t") for line in (out / "left_out.tsv").read_text(encoding="utf-8").splitlines())


@pytest.fixture
def tree(tmp_path):
    """Write the small tree of a corpus, and return its folder."""
    return lambda corpus: write_tree(corpus, tmp_path / corpus)


def check_contract(corpus: str, folder: Path, is_complete: bool = True) -> list:
    """Check the properties of utterances that later stages rely on."""
    utterances, protocol = list_utterances(corpus, folder), read_protocol(corpus)
    genders: dict[str, set[str]] = {}
    for u in utterances:
        assert u.id.startswith(f"{u.speaker}-")
        assert u.speaker.startswith(f"{corpus}_")
        assert u.label in protocol.labels
        assert u.path.is_file() or not is_complete
        assert folder in u.path.parents
        assert u.text_id.startswith(f"{corpus}_") != (corpus in WITHOUT_TEXTS)
        genders.setdefault(u.speaker, set()).add(u.gender)
    assert len({u.id for u in utterances}) == len(utterances)
    assert all(g in ({"f"}, {"m"}) for g in genders.values()), genders
    return utterances


def test_every_preparer_has_a_tree_here():
    names = {path.stem.removeprefix("prepare_") for path in ROOT.glob("local/prepare_*.py")}
    assert names - TABLES == set(CORPORA)


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_file_becomes_an_utterance_that_keeps_the_contract(tree, corpus):
    utterances = check_contract(corpus, tree(corpus))
    assert len(utterances) == len(FILES[corpus])
    assert {u.label for u in utterances} >= {
        label for label, name in read_protocol(corpus).labels.items() if name and not label.startswith("song_")
    }


@pytest.mark.parametrize("corpus", ["ravdess", "tess", "emodb", "nemo", "urdu"])
def test_real_corpora_keep_the_contract(corpus):
    utterances = check_contract(corpus, real_corpus(corpus), is_complete=corpus != "nemo")
    counts = Counter(u.label for u in utterances)
    expected = {
        "ravdess": {"angry": 192, "happy": 192, "neutral": 96, "sad": 192},
        "tess": dict.fromkeys(("angry", "happy", "neutral", "sad"), 400),
        "emodb": {"anger": 127, "happiness": 71, "neutral": 79, "sadness": 62},
        # of its table, also without the files
        "nemo": {"anger": 749, "fear": 736, "happiness": 749, "neutral": 809, "sadness": 769, "surprised": 669},
        "urdu": dict.fromkeys(("angry", "happy", "neutral", "sad"), 100),
    }
    assert {label: counts[label] for label in expected[corpus]} == expected[corpus]


@pytest.mark.slow
def test_real_ravdess_is_prepared(tmp_path, real_ravdess):
    out = tmp_path / "ravdess"
    report = prepare_and_report("ravdess", real_ravdess, out, allow_partial=False)
    assert report["found"]["utterances"] == report["utterances"] == 1440
    labels = ["angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised"]
    assert report["found"]["labels"] == {**dict.fromkeys(labels, 192), "neutral": 96}
    assert report["classes"] == {"angry": 192, "happy": 192, "neutral": 96, "sad": 192}
    assert report["speakers"] == 24
    assert report["stereo"] == 5
    assert report["left_out"] == 768
    groups = [{1, 11, 20, 21}, {4, 10, 12, 14}, {8, 9, 19, 23}, {3, 5, 7, 24}, {2, 15, 16, 18}, {6, 13, 17, 22}]
    for k, group in enumerate(groups, 1):
        speakers = read_table(out / f"strict_fold{k}" / "test" / "spk2utt")
        assert {int(speaker[-2:]) for speaker in speakers} == group
        assert [report["parts"][f"strict_fold{k}/{part}"] for part in ("train", "valid", "test")] == [448, 112, 112]
    counts = {part: len(read_table(out / "paper_fold1" / part / "spk2utt")) for part in ("train", "valid", "test")}
    assert counts == {"train": 17, "valid": 5, "test": 2}


@pytest.mark.slow
def test_real_tess_is_prepared(tmp_path):
    report = prepare_and_report("tess", real_corpus("tess"), tmp_path / "data")
    assert report["classes"] == {"angry": 400, "happy": 400, "neutral": 400, "sad": 400}
    assert report["speakers"] == 2
    assert report["rates"]["96000"] == 1
    assert report["parts"] == {
        f"{split}_fold1/{part}": 800 for split in ("strict", "paper") for part in ("train", "valid")
    }
    speakers = read_table(tmp_path / "data" / "strict_fold1" / "train" / "spk2utt")
    assert "tess_oaf-bite-neutral" in speakers["tess_oaf"].split()


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["emodb", "urdu"])
def test_real_complete_corpora_are_prepared_in_full(tmp_path, corpus):
    folder, protocol = real_corpus(corpus), read_protocol(corpus)
    report = prepare_and_report(corpus, folder, tmp_path / "data", allow_partial=False)
    assert report["found"] in [{**counts} for counts in protocol.editions.values()]
    assert sum(report["classes"].values()) == IN_CLASSES[corpus]
    assert all(sizes > 0 for sizes in report["parts"].values())


@pytest.mark.slow
def test_the_available_part_of_real_nemo_is_prepared(tmp_path):
    folder = real_corpus("nemo")
    present = [path.stem for path in folder.rglob("*") if path.suffix in (".wav", ".flac")]
    report = prepare_and_report("nemo", folder, tmp_path / "data")
    in_class = [stem for stem in present if stem.split("_")[1] not in ("fear", "surprised")]
    assert sum(report["classes"].values()) == len(in_class)
    assert report["found"]["utterances"] == len(present)
    assert report["left_out"] == 4481 - len(in_class)
    assert report["speakers"] == 9


@pytest.mark.parametrize("corpus", CORPORA)
def test_folders_above_the_corpus_do_not_matter(tmp_path, tree, corpus):
    usual = tree(corpus)
    elsewhere = write_tree(corpus, tmp_path / "sad" / "Actor_05" / "Ses02F_angry" / "KL" / "OAF_fear")
    assert [(u.id, u.speaker, u.label, u.gender) for u in list_utterances(corpus, elsewhere)] == [
        (u.id, u.speaker, u.label, u.gender) for u in list_utterances(corpus, usual)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("corpus", CORPORA)
def test_a_partial_copy_is_refused_or_prepared_and_listed(tmp_path, tree, corpus):
    folder, out = tree(corpus), tmp_path / "data"
    with refuses(f"{len(FILES[corpus])} of ", where=folder, fix="--allow-partial true") as caught:
        prepare(corpus, folder, out, allow_partial=False)
    assert f"not the complete {read_protocol(corpus).name}" in caught.value.what
    assert not out.exists()
    assert "partial copy: " in prepare(corpus, folder, out)
    report = read_json(out / "report.json")
    dropped = sum(u.id in read_protocol(corpus).drop for u in list_utterances(corpus, folder))
    assert report["utterances"] == len(FILES[corpus]) - dropped


@pytest.mark.parametrize("corpus", CORPORA)
def test_a_check_reports_what_is_there_and_writes_nothing(tree, corpus):
    folder = tree(corpus)
    write_noise(list_utterances(corpus, folder)[0].path.with_name("take 1 (copy).wav"), 1)
    before = sorted(folder.rglob("*"))
    text, complete = check_corpus(load_preparer(corpus), read_protocol(corpus), folder)
    assert sorted(folder.rglob("*")) == before
    assert not complete
    assert f"{len(FILES[corpus])} utterances, " in text
    assert "  missing: " in text
    assert ("  1 files that are no utterances" if corpus == "emouerj" else "  stray files: 1\n") in text
    assert "cannot be read further" not in text


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_split_places_every_speaker_once_in_every_fold(tmp_path, tree, corpus):
    prepare(corpus, tree(corpus), tmp_path / "data")
    splits = read_protocol(corpus).splits
    assert {"strict", "paper"} <= set(splits)
    speakers = {u.speaker for u in list_utterances(corpus, tmp_path / corpus)}
    for split in splits:
        folds = sorted((tmp_path / "data").glob(f"{split}_fold*"))
        assert folds
        for fold in folds:
            placed = Counter(s for part in fold.iterdir() for s in read_table(part / "spk2utt"))
            assert placed == Counter(speakers)
        if "test" in {part.name for fold in folds for part in fold.iterdir()} and len(folds) > 1:
            tested = Counter(s for fold in folds for s in read_table(fold / "test" / "spk2utt"))
            assert tested == Counter(speakers)


@pytest.mark.parametrize("corpus", CORPORA)
def test_hidden_files_and_files_that_are_no_audio_change_nothing(tmp_path, tree, corpus):
    folder = tree(corpus)
    before = list_utterances(corpus, folder)
    content = bytes.fromhex("00051607") + bytes(196)
    first = before[0].path
    (first.parent / f"._{first.name}").write_bytes(content)
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / f"._{first.name}").write_bytes(content)
    for name in ("._.DS_Store", ".DS_Store", "Thumbs.db", "readme.txt", "LICENSE"):
        (first.parent / name).write_bytes(content)
    assert list_utterances(corpus, folder) == before
    report = prepare_and_report(corpus, folder, tmp_path / "data")
    assert report["hidden"] == 2
    assert report["others"] == 3 + OTHERS.get(corpus, 0)


@pytest.mark.parametrize("corpus", sorted(set(CORPORA) - {"emouerj"}))
def test_an_audio_file_whose_name_follows_no_scheme_is_named(tmp_path, tree, corpus):
    folder = tree(corpus)
    unmatched = list_utterances(corpus, folder)[0].path.with_name("take 1 (copy).wav")
    write_noise(unmatched, 1)
    with refuses(where=unmatched):
        prepare(corpus, folder, tmp_path / "data", allow_partial=False)
    prepare(corpus, folder, tmp_path / "data")
    assert str(unmatched) in left_out(tmp_path / "data")
    assert read_json(tmp_path / "data" / "report.json")["stray"] == 1


@pytest.mark.parametrize("corpus", sorted(set(CORPORA) - {"iemocap"}))
def test_a_second_copy_of_the_tree_inside_is_counted_once(tmp_path, tree, corpus):
    folder = tree(corpus)
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy").rename(folder / corpus)
    number = len(FILES[corpus])
    summary = prepare(corpus, folder, tmp_path / "data")
    assert f"{number} second copies of equal content and 0 hidden files skipped" in summary
    assert read_json(tmp_path / "data" / "report.json")["found"]["utterances"] == number
    paths = [path for table in (tmp_path / "data").rglob("wav.scp") for path in read_table(table).values()]
    assert not any(path.startswith(f"{folder / corpus}/") for path in paths)


NAMES = [  # corpus and file; rest of the id, speaker, label, gender, text and custom, each without the corpus's prefix
    ("ravdess", "Actor_12/03-01-06-02-01-02-12.wav", "03-01-06-02-01-02-12", "12", "fearful", "f", "01",
     {"intensity": "strong", "repetition": "02"}),
    ("ravdess", "Actor_07/03-01-01-01-02-01-07.WAV", "03-01-01-01-02-01-07", "07", "neutral", "m", "02",
     {"intensity": "normal", "repetition": "01"}),
    # variants of a folder's and a speaker's name in copies
    ("tess", "OAF_Pleasant_surprise/OAF_back_ps.wav", "back-ps", "oaf", "ps", "f", "back", {}),
    ("tess", "YAF_pleasant_surprised/YAF_back_ps.wav", "back-ps", "yaf", "ps", "f", "back", {}),
    ("tess", "OAF_neutral/OA_bite_neutral.wav", "bite-neutral", "oaf", "neutral", "f", "bite", {}),
    ("tess", "YAF_angry/YAF_Back_angry.WAV", "back-angry", "yaf", "angry", "f", "back", {}),
    ("tess", "OAF_Fear/OAF_back_fear.wav", "back-fear", "oaf", "fear", "f", "back", {}),
    ("emodb", "wav/16a01Fa.wav", "16a01Fa", "16", "happiness", "f", "a01", {}),
    ("crema_d", "AudioWAV/1001_IEO_ANG_HI.wav", "1001_IEO_ANG_HI", "1001", "ANG", "m", "IEO", {"level": "HI"}),
    ("crema_d", "AudioWAV/1091_TSI_NEU_XX.wav", "1091_TSI_NEU_XX", "1091", "NEU", "f", "TSI", {"level": "XX"}),
    # older copies lack an X in this one name
    ("crema_d", "AudioWAV/1040_ITH_SAD_X.wav", "1040_ITH_SAD_XX", "1040", "SAD", "m", "ITH", {"level": "XX"}),
    ("emouerj", "w04a11.wav", "w04a11", "w04", "anger", "f", "", {}),
    ("emouerj", "M01h01.WAV", "m01h01", "m01", "happiness", "m", "", {}),
    ("urdu", "Angry/SM4_F1_A01.wav", "SM4_F1_A01", "SM4", "angry", "m", "", {}),
    ("urdu", "Sad/SF10_F2_S02.wav", "SF10_F2_S02", "SF10", "sad", "f", "", {}),
]  # fmt: skip


@pytest.mark.parametrize(("corpus", "name", "rest", "speaker", "label", "gender", "text", "custom"), NAMES)
def test_file_names_are_parsed(tmp_path, corpus, name, rest, speaker, label, gender, text, custom):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    (u,) = list_utterances(corpus, tmp_path)
    assert (u.id, u.speaker, u.path) == (f"{corpus}_{speaker}-{rest}", f"{corpus}_{speaker}", tmp_path / name)
    assert (u.label, u.gender, u.custom) == (label, gender, custom)
    assert u.text_id == (f"{corpus}_{text}" if text else "")


def test_ravdess_song_has_labels_of_its_own(tmp_path):
    for number, name in enumerate(
        ("03-01-03-02-01-02-17", "03-02-03-02-01-02-17", "03-02-01-01-02-01-17", "03-02-02-01-02-01-17")
    ):
        write_noise(tmp_path / "Actor_17" / f"{name}.wav", number)
    speech, neutral, calm, happy = list_utterances("ravdess", tmp_path)
    assert [u.label for u in (speech, neutral, calm, happy)] == ["happy", "song_neutral", "song_calm", "song_happy"]
    assert happy.id == "ravdess_17-03-02-03-02-01-02-17"
    assert (happy.speaker, happy.text_id, happy.custom) == (speech.speaker, speech.text_id, speech.custom)
    classes = {name: [read_protocol(name).labels[u.label] for u in (speech, neutral, calm, happy)]
               for name in ("ravdess", "ravdess_song", "ravdess_calm")}  # fmt: skip
    assert classes == {
        "ravdess": ["happy", None, None, None],
        "ravdess_song": ["happy", "neutral", None, "happy"],
        "ravdess_calm": ["happy", None, None, None],
    }
    assert read_protocol("ravdess_calm").labels["calm"] == "neutral"


def test_tess_swapped_trains_the_other_speaker():
    (usual,) = read_protocol("tess").folds("strict")
    (swapped,) = read_protocol("tess_swapped").folds("strict")
    assert (usual["train"], usual["valid"]) == (["tess_oaf"], ["tess_yaf"])
    assert (swapped["train"], swapped["valid"]) == (["tess_yaf"], ["tess_oaf"])
    assert usual["test"] == swapped["test"] == []


def test_an_iemocap_turn_is_read_with_its_votes(tree):
    utterances = {u.path.stem: u for u in list_utterances("iemocap", tree("iemocap"))}
    turn = utterances["Ses03F_impro01_M003"]
    # the letter before the number is the speaker; the F of Ses03F wore the markers
    assert (turn.id, turn.speaker, turn.gender) == ("iemocap_03M-Ses03F_impro01_M003", "iemocap_03M", "m")
    assert (turn.label, turn.text_id) == ("neu", "iemocap_Ses03F_impro01")
    assert turn.custom == {
        "style": "improvised",
        "valence": 2.5,
        "activation": 2.5,
        "dominance": 2.0,
        "votes": {"neu": 2, "sad": 1, "ang": 1},
        "self_votes": {"exc": 1},
    }
    assert utterances["Ses03M_script01_1_F006"].label == "xxx"
    assert utterances["Ses03M_script01_1_F006"].custom["style"] == "scripted"
    # the scripts are the same in all sessions
    assert utterances["Ses03M_script01_1_F006"].text_id == utterances["Ses05M_script01_1_M000"].text_id
    assert utterances["Ses03F_impro01_M003"].text_id != utterances["Ses04F_impro01_M003"].text_id


def test_a_check_of_iemocap_names_sessions_and_all_that_is_wrong(tree):
    folder = tree("iemocap")
    shutil.rmtree(folder / "Session3")
    evaluation = folder / EVALUATION
    evaluation.write_text("[broken\n[also broken\n" + evaluation.read_text())
    write_noise(folder / "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_M077.wav", 1)
    text, _ = check_corpus(load_preparer("iemocap"), read_protocol("iemocap"), folder)
    assert "  tree: Session1, Session2, Session4, Session5\n" in text
    assert f"  evaluations: 2\n    {evaluation}:1: expected" in text
    assert "unlabelled 1" in text


def test_a_second_copy_of_an_iemocap_file_keeps_the_label(tmp_path, tree):
    folder = tree("iemocap")
    copy = folder / "Session1/sentences/wav/0_copy/Ses01F_impro01_F000.wav"
    copy.parent.mkdir()
    shutil.copy(folder / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav", copy)
    report = prepare_and_report("iemocap", folder, tmp_path / "data")
    assert (report["duplicates"], report["found"]["labels"]["ang"]) == (1, 20)
    assert "unlabelled" not in report["found"]["labels"]


def test_iemocap_is_found_in_its_folder_too(tmp_path):
    write_tree("iemocap", tmp_path / "IEMOCAP_full_release")
    assert len(list_utterances("iemocap", tmp_path)) == len(FILES["iemocap"])


def test_a_missing_iemocap_session_is_an_error(tmp_path, tree):
    folder = tree("iemocap")
    shutil.rmtree(folder / "Session3")
    with refuses("8 of 10 speakers"):
        prepare("iemocap", folder, tmp_path / "data", allow_partial=False)
    for session in folder.glob("Session*"):
        shutil.rmtree(session)
    with refuses("holds no Session1 to Session5"):
        list_utterances("iemocap", folder)


def test_an_iemocap_session_of_other_names_is_left_out_of_a_partial_copy(tmp_path, tree):
    folder = tree("iemocap")
    for path in (folder / "Session2" / "sentences" / "wav").rglob("*.wav"):
        path.rename(path.with_name(f"copy of {path.name}"))
    with refuses("none of its", where="Session2/sentences/wav"):
        prepare("iemocap", folder, tmp_path / "data", allow_partial=False)
    prepare("iemocap", folder, tmp_path / "data")
    assert "Session2/sentences/wav\tnone of its" in (tmp_path / "data" / "left_out.tsv").read_text()


def test_iemocap_dialogues_and_files_of_single_raters_are_not_read(tree):
    folder = tree("iemocap")
    write_noise(folder / "Session1/dialog/wav/Ses01F_impro01.wav", 1)
    inner = folder / "Session1/dialog/EmoEvaluation/Categorical/Ses01F_impro01_e2_cat.txt"
    inner.parent.mkdir()
    inner.write_text("Ses01F_impro01_F000 :Neutral state; ()\n")
    (inner.parents[1] / "._Ses01F_impro01.txt").write_bytes(b"\0\5\x16\7")
    assert len(list_utterances("iemocap", folder)) == len(FILES["iemocap"])


def test_an_iemocap_turn_without_a_file_and_a_file_without_a_turn_are_reported(tmp_path, tree):
    folder, out = tree("iemocap"), tmp_path / "data"
    gone = folder / "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_F000.wav"
    gone.unlink()
    unlabelled = folder / "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_M077.wav"
    write_noise(unlabelled, 1)
    with refuses("1 of 0 unlabelled"):
        prepare("iemocap", folder, out, allow_partial=False)
    prepare("iemocap", folder, out)
    reasons = left_out(out)
    assert reasons["iemocap_02F-Ses02F_impro01_F000"].startswith(f"{gone}: no such file")
    assert reasons["iemocap_02M-Ses02F_impro01_M077"] == "label unlabelled is in no class"
    assert reasons["iemocap_02F-Ses02F_impro01_F006"] == "label xxx is in no class"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1.0 - 2.0]\tSes01F_impro01_F001", ":3: expected `\\[start - end\\] turn emotion"),
        ("[1.0 - 2.0]\tSes01F_impro01_F001\tneu\t[2.5, 2.5]", ":3: expected"),
        ("[1.0 - 2.0]\tsomething\tneu\t[2.5, 2.5, 2.5]", ":3: something is no turn's name"),
        ("[1.0 - 2.0]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]", "Ses01F_impro01_F000 is also in .*:3; remove"),
    ],
)
def test_a_damaged_iemocap_evaluation_names_file_and_line(tree, line, words):
    folder = tree("iemocap")
    path = folder / EVALUATION
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[2:]]))
    with pytest.raises(InputError, match=words) as caught:
        list_utterances("iemocap", folder)
    assert str(path) in str(caught.value)


def test_iemocap_votes_are_counted_by_class_and_an_unknown_word_counts_for_none(tmp_path, tree):
    folder = tree("iemocap")
    path = folder / EVALUATION
    path.write_text(path.read_text().replace("C-E4:\tAnger;", "C-E4:\tBored;", 1))
    first = next(u for u in list_utterances("iemocap", folder) if u.path.stem == "Ses01F_impro01_F000")
    assert first.custom["votes"] == {"neu": 2, "sad": 1, "bored": 1}
    prepare("iemocap", folder, tmp_path / "data")
    votes = read_table(tmp_path / "data" / "strict_fold1" / "test" / "utt2votes")
    assert votes[first.id] == "neutral:2 sad:1"
    assert votes["iemocap_01F-Ses01F_impro01_F001"] == "angry:1 neutral:2 sad:1"


def test_the_letters_of_emodb_are_labels_and_five_of_its_speakers_men(tree):
    utterances = {u.path.stem: u for u in list_utterances("emodb", tree("emodb"))}
    labels = {stem[5]: u.label for stem, u in utterances.items()}
    # http://emodb.bilderbar.info/docu/
    assert labels == {
        "W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness", "N": "neutral"
    }  # fmt: skip
    assert {u.speaker[-2:] for u in utterances.values() if u.gender == "m"} == {"03", "10", "11", "12", "15"}


@pytest.mark.parametrize("name", ["laryngo", "wav_laryng"])
def test_laryngograms_are_never_read(tmp_path, tree, name):
    folder = tree("emodb")
    before = list_utterances("emodb", folder)
    (folder / name).mkdir()
    for path in (folder / "wav").iterdir():
        (folder / name / path.name).write_text("no audio, and other content than the clip of the same name")
    assert list_utterances("emodb", folder) == before
    prepare("emodb", folder, tmp_path / "data")
    # the name of a folder above the corpus does not matter
    folder.rename(tmp_path / "laryngo")
    assert len(list_utterances("emodb", tmp_path / "laryngo")) == len(before)


@pytest.mark.parametrize(("clips", "edition"), [(535, "EmoDB"), (816, "EmoDB 2.0")])
def test_the_edition_of_emodb_that_is_found_is_printed(tmp_path, clips, edition):
    protocol = read_protocol("emodb")
    letters = dict(
        zip(("anger", "boredom", "disgust", "fear", "happiness", "sadness", "neutral"), "WLEAFTN", strict=True)
    )
    labels = [letter for label, letter in letters.items() for _ in range(protocol.expected["EmoDB"]["labels"][label])]
    labels += ["W"] * (clips - len(labels))
    speakers = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
    for number, letter in enumerate(labels):
        name = (
            f"{speakers[number % 10]}a{number // 260:02d}{letter}{'abcdefghijklmnopqrstuvwxyz'[number // 10 % 26]}.wav"
        )
        write_noise(tmp_path / "emodb" / "wav" / name, number, seconds=0.01, rate=8000)
    summary = prepare("emodb", tmp_path / "emodb", tmp_path / "data", allow_partial=False)
    assert f"{clips} utterances of 10 speakers" in summary
    assert edition in summary
    assert (edition == "EmoDB 2.0") == ("EmoDB 2.0" in summary)


def test_crema_d_has_48_men_and_43_women(tree):
    genders = {u.speaker: u.gender for u in list_utterances("crema_d", tree("crema_d"))}
    assert Counter(genders.values()) == {"m": 48, "f": 43}
    for group in read_protocol("crema_d").splits["strict"]["groups"]:
        counts = Counter(genders[speaker] for speaker in group)
        assert counts["m"] in (9, 10)
        assert counts["f"] in (8, 9)


def test_crema_d_mp3_files_are_skipped(tree):
    folder = tree("crema_d")
    for path in list((folder / "AudioWAV").iterdir())[:9]:
        (folder / "AudioMP3").mkdir(exist_ok=True)
        (folder / "AudioMP3" / f"{path.stem}.mp3").write_bytes(b"ID3 of the same clip")
    assert len(list_utterances("crema_d", folder)) == len(FILES["crema_d"])


def test_crema_d_pointers_of_git_lfs_are_one_error_that_counts_them(tree):
    folder = tree("crema_d")
    victims = sorted((folder / "AudioWAV").iterdir())[:300]
    for path in victims:
        oid = f"{zlib.crc32(path.name.encode()):064d}"
        path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 72862\n")
    with refuses(f"300 of 455 files are git-lfs pointers, not audio (such as AudioWAV/{victims[0].name})", folder):
        list_utterances("crema_d", folder)


def test_crema_d_drops_the_silent_file_and_the_three_pairs(tmp_path, tree):
    folder, out = tree("crema_d"), tmp_path / "data"
    soundfile.write(folder / "AudioWAV" / "1076_MTI_SAD_XX.wav", np.zeros(40000), 16000)
    pairs = [
        ("1006_TIE_HAP_XX", "1006_TIE_NEU_XX"),
        ("1013_WSI_DIS_XX", "1013_WSI_SAD_XX"),
        ("1017_IWW_ANG_XX", "1017_IWW_FEA_XX"),
    ]
    for number, (one, other) in enumerate(pairs):
        write_noise(folder / "AudioWAV" / f"{one}.wav", number)
        shutil.copy(folder / "AudioWAV" / f"{one}.wav", folder / "AudioWAV" / f"{other}.wav")
    prepare("crema_d", folder, out)
    dropped = {f"crema_d_{name[:4]}-{name}" for name in ("1076_MTI_SAD_XX", *(name for pair in pairs for name in pair))}
    assert set(read_protocol("crema_d").drop) == dropped
    reasons = left_out(out)
    assert reasons["crema_d_1076-1076_MTI_SAD_XX"] == "no sound"
    assert reasons["crema_d_1006-1006_TIE_NEU_XX"] == "equal to 1006_TIE_HAP_XX, under another emotion"
    assert dropped <= set(reasons)
    protocol = read_protocol("crema_d")
    assert protocol.expected["utterances"] - len(protocol.drop) == 7435


@pytest.mark.parametrize(
    ("corpus", "name", "label"),
    [("emouerj", "m01x01.wav", "x"), ("emodb", "wav/03a01Xa.wav", "X"), ("urdu", "Angry/SM1_F3_X01.wav", "X")],
)
def test_an_unknown_emotion_is_refused_by_file_and_label(tmp_path, tree, corpus, name, label):
    folder = tree(corpus)
    write_noise(folder / name, 1)
    with refuses(f"unknown label '{label}'", where=folder / name):
        prepare(corpus, folder, tmp_path / "data")


def test_other_files_of_emouerj_are_skipped_and_counted(tmp_path, tree):
    folder = tree("emouerj")
    before = list_utterances("emouerj", folder)
    for name in ("readme.txt", "readme.wav", "m1h01.wav"):
        (folder / name).write_text("no audio")
    assert list_utterances("emouerj", folder) == before
    assert "  3 files that are no utterances, skipped" in prepare("emouerj", folder, tmp_path / "data")
    text, _ = check_corpus(load_preparer("emouerj"), read_protocol("emouerj"), folder)
    assert f"3 files that are no utterances, skipped:\n    {folder}/m1h01.wav" in text


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_suffix_may_be_in_capitals(tree, corpus):
    folder = tree(corpus)
    before = [u.id for u in list_utterances(corpus, folder)]
    for path in list(folder.rglob("*.wav")):
        path.rename(path.with_suffix(".WAV"))
    assert [u.id for u in list_utterances(corpus, folder)] == before


def test_savee_is_the_same_in_the_official_tree_and_in_the_flat_copy(tmp_path, tree):
    official, flat = tree("savee"), tmp_path / "flat"
    for name in FILES["savee"]:
        _, speaker, clip = name.split("/")
        (flat / "ALL").mkdir(parents=True, exist_ok=True)
        shutil.copy(official / name, flat / "ALL" / f"{speaker}_{clip}")
    assert {(u.id, u.speaker, u.label) for u in list_utterances("savee", flat)} == {
        (u.id, u.speaker, u.label) for u in list_utterances("savee", official)
    }
    assert ("savee_kl-sa02", "savee_kl", "sadness") in {
        (u.id, u.speaker, u.label) for u in list_utterances("savee", flat)
    }
    tree_of = load_preparer("savee").tree
    assert tree_of(official) == "a folder for each speaker, as published"
    assert tree_of(flat) == "flat copy, with the speaker before each name"
    # with both copies in one folder, each clip counts once
    shutil.move(flat / "ALL", official / "ALL")
    prepare("savee", official, tmp_path / "data")
    assert read_json(tmp_path / "data" / "report.json")["duplicates"] == len(FILES["savee"])


def test_a_savee_file_of_no_speaker_is_named(tmp_path):
    # the name of the corpus folder itself is not used
    write_noise(tmp_path / "DC" / "a01.wav", 1)
    with refuses("neither the name nor the folder says who speaks", where="a01.wav"):
        list_utterances("savee", tmp_path / "DC")
    assert list_utterances("savee", tmp_path)[0].speaker == "savee_dc"


def test_a_line_of_nemo_is_parsed(tree):
    folder = tree("nemo")
    utterance = {u.path.stem: u for u in list_utterances("nemo", folder)}["WR0_sadness_1"]
    assert (utterance.id, utterance.speaker, utterance.label, utterance.gender, utterance.text_id) == (
        "nemo_WR0-WR0_sadness_1", "nemo_WR0", "sadness", "m", "nemo_01"
    )  # fmt: skip
    assert utterance.custom == {"raw_text": "Kupiłem nową szafę do sypialni.", "age": "27"}
    assert utterance.path == folder / "samples" / "WR0_sadness_1.wav"


def test_nemo_clips_may_be_flac(tree):
    folder = tree("nemo")
    before = [u.id for u in list_utterances("nemo", folder)]
    for path in list(folder.rglob("*.wav")):
        soundfile.write(path.with_suffix(".flac"), *soundfile.read(path))
        path.unlink()
    utterances = list_utterances("nemo", folder)
    assert [u.id for u in utterances] == before
    assert {u.path.suffix for u in utterances} == {".flac"}


def test_a_clip_in_the_table_of_nemo_without_a_file_is_missing(tmp_path, tree):
    folder, out = tree("nemo"), tmp_path / "data"
    gone = folder / "samples" / "KD0_neutral_90.wav"
    gone.unlink()
    with pytest.raises(InputError) as caught:
        prepare("nemo", folder, out, allow_partial=False)
    assert f"{len(FILES['nemo']) - 1} of 4481 utterances" in str(caught.value)
    assert str(gone) in str(caught.value)
    prepare("nemo", folder, out)
    assert left_out(out)["nemo_KD0-KD0_neutral_90"].startswith(str(gone))
    report = read_json(out / "report.json")
    assert report["found"]["utterances"] == report["utterances"] == len(FILES["nemo"]) - 1
    text, _ = check_corpus(load_preparer("nemo"), read_protocol("nemo"), folder)
    assert f"holds: {len(FILES['nemo']) - 1} utterances, " in text
    assert str(gone) in text


def test_a_clip_that_is_not_in_the_table_of_nemo_is_refused_or_left_out(tmp_path, tree):
    folder, out = tree("nemo"), tmp_path / "data"
    unmatched = folder / "samples" / "KD0_neutral_91.wav"
    write_noise(unmatched, 1)
    with refuses(folder / "data.tsv", where=unmatched):
        prepare("nemo", folder, out, allow_partial=False)
    report = prepare_and_report("nemo", folder, out)
    assert (report["stray"], report["utterances"]) == (1, len(FILES["nemo"]))
    assert str(unmatched) in left_out(out)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("emotion\t", "feeling\t", 1),
        ("WR0_surprised_90.wav\tsurprised", "WR0_surprised_90.wav\tfear", 2),
        ("WR0_surprised_90.wav", "surprised.wav", 2),
        ("WR0_surprised_1.wav\t", "WR0_surprised_90.wav\t", 3),
        ("\tmale\t27", "\tmale", 2),
        ("\tmale\t", "\tmle\t", 2),
    ],
)
def test_a_faulty_line_of_nemo_is_named(tree, old, new, line):
    folder = tree("nemo")
    table = folder / "data.tsv"
    table.write_text(table.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with refuses(where=f"{table}:{line}"):
        list_utterances("nemo", folder)


def test_nemo_without_its_table_or_with_two_that_differ_is_refused(tree):
    folder = tree("nemo")
    (folder / "copy").mkdir()
    shutil.copy(folder / "data.tsv", folder / "copy")
    assert len(list_utterances("nemo", folder)) == len(FILES["nemo"])
    with (folder / "copy" / "data.tsv").open("a") as file:
        file.write("\n")
    with refuses(where=folder / "copy/data.tsv"):
        list_utterances("nemo", folder)
    for path in list(folder.rglob("data.tsv")):
        path.unlink()
    with pytest.raises(InputError, match=f"^{folder}: .*data.tsv"):
        list_utterances("nemo", folder)


def test_26_speakers_of_urdu_have_one_emotion(tree):
    labels: dict[str, set[str]] = {}
    for u in list_utterances("urdu", tree("urdu")):
        labels.setdefault(u.speaker, set()).add(u.label)
    assert Counter(map(len, labels.values())) == {1: 26, 2: 2, 3: 1}
    assert Counter(speaker[5:7] for speaker in labels) == {"SM": 18, "SF": 11}
    assert "26 of its 29 speakers have one emotion only" in read_protocol("urdu").note


def test_every_class_is_in_every_part_of_every_fold_of_urdu(tmp_path, tree):
    prepare("urdu", tree("urdu"), tmp_path / "data")
    parts = list((tmp_path / "data").glob("*_fold*/*/utt2emo"))
    assert len(parts) == 4 * 3
    for part in parts:
        assert set(read_table(part).values()) == {"angry", "happy", "neutral", "sad"}


# class sums as the literature reports them
IN_CLASSES = {
    "crema_d": 4895,
    "emodb": 339,
    "emouerj": 377,
    "iemocap": 5531,
    "iemocap_without_excited": 4490,
    "nemo": 3076,
    "ravdess": 672,
    "ravdess_calm": 864,
    "ravdess_song": 1316,
    "savee": 300,
    "tess": 1600,
    "tess_swapped": 1600,
    "urdu": 400,
}


@pytest.mark.parametrize("corpus", sorted(IN_CLASSES))
def test_the_counts_of_a_protocol_add_up(corpus):
    protocol = read_protocol(corpus)
    sums = set()
    for counts in protocol.editions.values():
        if "labels" in counts:
            assert sum(counts["labels"].values()) == counts["utterances"]
            assert set(counts["labels"]) <= set(protocol.labels)
            dropped = sum(protocol.labels[key.split("_")[-2]] is not None for key in protocol.drop)
            sums.add(sum(n for label, n in counts["labels"].items() if protocol.labels[label]) - dropped)
    assert max(sums) == IN_CLASSES[corpus]
    assert len(sums) == 1


def test_every_protocol_with_a_preparer_here_is_counted():
    names = {path.stem for path in ROOT.glob("conf/corpora/*.yaml")}
    assert {name for name in names if name in CORPORA or name.startswith(tuple(f"{c}_" for c in CORPORA))} == set(
        IN_CLASSES
    )


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_lists_of_a_protocol_name_all_speakers(corpus):
    protocol = read_protocol(corpus)
    speakers = {counts["speakers"] for counts in protocol.editions.values()}
    for split, spec in protocol.splits.items():
        if not is_rule(spec):
            for fold in protocol.folds(split):
                assert {len({s for part in fold.values() for s in part})} == speakers


def test_variants_differ_from_their_base_as_described():
    for option, base in [
        ("ravdess_song", "ravdess"),
        ("ravdess_calm", "ravdess"),
        ("tess_swapped", "tess"),
        ("iemocap_without_excited", "iemocap"),
    ]:
        changed, usual = read_protocol(option), read_protocol(base)
        assert (changed.licence, changed.citation, changed.classes) == (usual.licence, usual.citation, usual.classes)
        assert changed.name != usual.name
        assert (dict(changed.labels) != dict(usual.labels)) == (option != "tess_swapped")
        assert changed.preparer == usual.preparer == base
