"""Corpora listed in a CSV or TSV file."""

import pytest
from lab import LABELS, Lab

from ser.common import InputError, read_json
from ser.corpora import read_protocol
from ser.corpora.kaldi import read_table
from ser.corpora.prepare import prepare_corpus
from ser.corpora.preparers import load_preparer
from ser.corpora.table import Names, read_sheet

HEADER = "path,speaker,emotion"


@pytest.fixture
def lab(tmp_path):
    """Three speakers with a file of each class, without a table."""
    lab = Lab(tmp_path, "csv")
    for speaker in ("ana", "bia", "caio"):
        for label in LABELS:
            lab.noise(f"wav/{speaker}_{label}.wav")
    return lab


def lines(separator=",", header=HEADER):
    rows = [(f"wav/{s}_{label}.wav", s, label) for s in ("ana", "bia", "caio") for label in LABELS]
    return [header.replace(",", separator), *(separator.join(row) for row in rows)]


def test_invisible_characters_at_the_ends_of_cells_and_decomposed_accents_are_no_other_name(tmp_path):
    path = tmp_path / "lab.csv"
    path.write_text("path,speaker\na.wav,\u200bjosé\u200b\u00a0\nb.wav,jose\u0301\ufeff\n", encoding="utf-8")
    _, rows, _ = read_sheet(path)
    names = Names("lab")
    assert [names.speaker(fields[1], origin) for fields, origin in rows] == ["lab_josé", "lab_josé"]
    assert names.replaced == {}


def test_a_plain_table_needs_no_code(lab):
    lab.table("lab.csv", *lines())
    assert "12 utterances of 3 speakers; 12 in the classes (angry 3, happy 3, neutral 3, sad 3)" in lab.prepare()
    test = lab.out / "strict_fold1" / "test"
    assert read_table(test / "wav.scp")["lab_ana-ana_sad"] == str(lab.corpus / "wav" / "ana_sad.wav")
    assert read_table(test / "utt2spk")["lab_ana-ana_sad"] == "lab_ana"
    assert not (test / "segments").exists()
    assert lab.prepare().startswith("lab: up to date")
    # the table itself instead of its folder
    assert lab.prepare(corpus=lab.corpus / "lab.csv").startswith("lab: up to date")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separator_line_end_and_encoding_do_not_matter(lab, separator, end, encoding):
    lab.table("lab.csv", *lines(separator), end=end, encoding=encoding)
    utterances = lab.utterances()
    assert len(utterances) == 12
    utterance = utterances["lab_bia-bia_happy"]
    assert (utterance.path, utterance.speaker, utterance.label) == (
        lab.corpus / "wav" / "bia_happy.wav",
        "lab_bia",
        "happy",
    )
    assert utterance.origin == f"{lab.corpus / 'lab.csv'}:7"


@pytest.mark.parametrize("separator", ["sep=;", "SEP=;"])
def test_additions_of_spreadsheets_are_ignored(lab, separator):
    lab.table("lab.csv", separator, *lines(";"), ";;", "", end="\r\n")
    assert len(lab.utterances()) == 12
    assert lab.utterances()["lab_ana-ana_angry"].origin.endswith("lab.csv:3")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("weiblich", "männlich", "MÄNNLICH"), "fmm"),
        (("Femme", "homme", "Féminin"), "fmf"),
        (("mujer", "hombre", "niña"), "fmf"),
        (("femmina", "maschio", "uomo"), "fmm"),
        (("feminino", "masculino", ""), "fm-"),
        (("M", "H", "m"), "fmf"),  # mujer, hombre
        (("F", "H", "m"), "fmm"),  # femme, homme
        (("girl", "Boy", "m"), "fmm"),
    ],
)
def test_genders_of_six_languages(lab, words, expected):
    rows = [f"wav/{s}_sad.wav,{s},sad,{word}" for s, word in zip(("ana", "bia", "caio"), words, strict=True)]
    lab.table("lab.csv", f"{HEADER},gender", *rows)
    assert "".join(u.gender or "-" for u in lab.utterances().values()) == expected


def test_words_that_are_no_gender_are_counted(lab):
    rows = [f"{line},{word}" for line, word in zip(lines()[1:5], ("other", "f", "other", "-"), strict=True)]
    lab.table("lab.csv", f"{HEADER},gender", *rows)
    with pytest.warns(UserWarning, match=r"lab.csv: the gender of 3 utterances .*: 'other' \(2\), '-' \(1\)"):
        assert [u.gender for u in lab.utterances().values()] == ["", "f", "", ""]


def test_commas_within_quotes_are_no_separators(lab):
    lab.table("lab.csv", 'path;speaker;emotion;"noisy, loud, far, or near"', "wav/ana_sad.wav;ana;sad;x")
    (utterance,) = lab.utterances().values()
    assert utterance.custom == {"noisy,_loud,_far,_or_near": "x"}


def test_the_white_space_of_a_label_does_not_count(lab):
    lab.write(labels={**dict.fromkeys(LABELS, "sad"), "very sad": "sad", "muito  triste": "sad"})
    lab.table("lab.csv", HEADER, "wav/ana_sad.wav,ana, Very   Sad ", "wav/ana_happy.wav,ana,MUITO\u00a0triste")
    assert {u.label for u in lab.utterances().values()} == {"very sad", "muito  triste"}


def test_cells_that_mean_missing(lab):
    lab.write(labels={**dict.fromkeys(LABELS, "sad"), "none": "neutral"})
    lab.table("lab.csv", f"{HEADER},text_id,gender,note", "wav/ana_sad.wav,ana,None,nan,NULL,none")
    (utterance,) = lab.utterances().values()
    assert (utterance.label, utterance.text_id, utterance.gender) == ("none", "", "")
    assert utterance.custom == {"note": "none"}


def test_a_column_of_votes_is_text_like_others(lab):
    header, *rows = lines()
    lab.table("lab.csv", f"{header},votes", *(f"{row},2 of 3" for row in rows))
    assert "12 utterances of 3 speakers" in lab.prepare()
    assert {utterance.custom["votes"] for utterance in lab.utterances().values()} == {"2 of 3"}
    assert not (lab.out / "strict_fold1" / "test" / "utt2votes").exists()


def test_all_columns(lab):
    lab.table(
        "lab.tsv",
        "Emotion\tPATH\tSpeaker\tStart\tEND\tText ID\tgender\tlanguage\tsplit\tagent\tchannel",
        " RAIVA \twav\\ana_sad.wav\tAna Maria\t0.1\t0.35\t7\tFemale\tpt-BR\tTrain\tx12\t0",
        "sad\twav/bia_sad.wav\tlab_bia\t\t-1\t\t\t\t\t\t",
    )
    with pytest.warns(UserWarning, match=r"lab\.tsv: 1 names .*'Ana Maria' -> Ana_Maria"):
        one, two = lab.utterances().values()
    assert (one.id, one.speaker, one.label) == ("lab_Ana_Maria-ana_sad-000100-000350-0", "lab_Ana_Maria", "Raiva")
    assert (one.start, one.end, one.channel, one.recording) == (0.1, 0.35, 0, "lab_ana_sad")
    assert (one.gender, one.text_id, one.language, one.split) == ("f", "lab_7", "pt-BR", "train")
    assert one.custom == {"agent": "x12"}
    assert (two.id, two.start, two.end, two.channel, two.gender) == ("lab_bia-bia_sad", 0.0, None, None, "")
    assert (two.language, two.split, two.custom) == ("", "", {})


def test_a_decimal_comma_is_read_if_commas_are_no_separators(lab):
    lab.table("lab.csv", "path;speaker;emotion;start;end", "wav/ana_sad.wav;ana;sad;0,125;0,25")
    (utterance,) = lab.utterances().values()
    assert (utterance.start, utterance.end) == (0.125, 0.25)


def test_a_duration_is_counted_from_the_start(lab):
    header = f"{HEADER},start,duration,id"
    rows = ["0.1,0.2,a", "0.1,-1,b", "0.1,,c", ",0.25,d"]
    lab.table("lab.csv", header, *(f"wav/ana_sad.wav,ana,sad,{row}" for row in rows))
    segments = [(u.start, u.end) for u in lab.utterances().values()]
    assert segments == [(0.1, 0.3), (0.1, None), (0.1, None), (0, 0.25)]
    lab.table("lab.csv", f"{HEADER},duration", "wav/ana_sad.wav,ana,sad,0.51")  # of the file, and not quite exact
    (utterance,) = lab.utterances().values()
    assert (utterance.start, utterance.end) == (0, None)


def test_names_with_accents_are_found_in_any_normal_form(lab):
    lab.noise("wav/ac\u0327a\u0303o.wav")  # as a Mac names it
    lab.table("lab.csv", HEADER, "wav/a\u00e7\u00e3o.wav,jo\u00e3o,sad")
    (utterance,) = lab.utterances().values()
    assert utterance.id == "lab_jo\u00e3o-a\u00e7\u00e3o"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (["path,speaker,emotions", "a,b,c"], ":1: column emotion is missing (did you mean emotions?); the first"),
        (["wav/ana_sad.wav,ana,sad"], ":1: column path is missing"),
        (["path,speaker,emotion,", "a,b,c,"], ":1: column 4 has no name"),
        (["path,speaker,emotion,Path", "a,b,c,d"], ":1: column Path appears twice"),
        ([HEADER], ": has no lines below the column names"),
        ([], ": empty; the first line names the columns"),
        ([HEADER, "wav/ana_sad.wav,ana"], ":2: 2 fields, but 3 columns; fix the line"),
        ([HEADER, "wav/ana_sad.wav,ana,sad,x"], ":2: 4 fields, but 3 columns; fix the line"),
        ([HEADER, "", "wav/none.wav,ana,sad"], ":3: {corpus}/wav/none.wav: no such file; fix the path"),
        ([HEADER, "wav,ana,sad"], ":2: {corpus}/wav: no such file"),
        ([HEADER, "wav/ana_sad.wav,,sad"], ":2: speaker is empty; fill it in, or remove the line"),
        ([HEADER, "wav/ana_sad.wav,ana, "], ":2: emotion is empty"),
        ([HEADER, "#REF!,ana,sad"], ":2: path is empty (#REF!); fill it in"),
        ([HEADER, "wav/ana_sad.wav,#N/A,sad"], ":2: speaker is empty (#N/A)"),
        ([HEADER, "wav/ana_sad.wav,NaN,sad"], ":2: speaker is empty (NaN)"),
        ([HEADER, "wav/ana_sad.wav,ana,None"], ":2: emotion is empty (None)"),
        ([HEADER, "wav/ana_sad.wav,ana,sadd"],
         ":2: unknown label 'sadd' (did you mean sad?); {protocol} knows angry, "),
        ([HEADER, "wav/ana_sad.wav,ana,42"], ":2: unknown label '42'; "),
        ([HEADER, 'wav/ana_sad.wav,"ana,sad'], ":2: not readable as a table (unexpected end of data)"),
        ([HEADER + ",start", "wav/ana_sad.wav,ana,sad,0:01"], ":2: start '0:01': a number of seconds, such as 12.5"),
        ([HEADER + ",start", "wav/ana_sad.wav,ana,sad,1_0"], ":2: start '1_0': a number of seconds"),
        ([HEADER + ",end", "wav/ana_sad.wav,ana,sad,nan"], ":2: end 'nan': a number of seconds"),
        ([HEADER + ",end", "wav/ana_sad.wav,ana,sad,1e400"], ":2: end '1e400': a number of seconds"),
        ([HEADER, f"{'a' * 300}.wav,ana,sad"], f":2: {{corpus}}/{'a' * 300}.wav: no such file"),
        ([HEADER + ",start", "wav/ana_sad.wav,ana,sad,-1"], ":2: starts at -1 s"),
        ([HEADER + ",start,end", "wav/ana_sad.wav,ana,sad,0.2,0.2"], ":2: starts at 0.2 s and ends at 0.2 s"),
        ([HEADER + ",start,end", "wav/ana_sad.wav,ana,sad,0.2,0.1"], ":2: starts at 0.2 s and ends at 0.1 s"),
        ([HEADER + ",start,duration", "wav/ana_sad.wav,ana,sad,0.2,0"], ":2: starts at 0.2 s and ends at 0.2 s"),
        ([HEADER + ",start,duration", "wav/ana_sad.wav,ana,sad,0.2,x"], ":2: duration 'x': a number of seconds"),
        ([HEADER + ",end", "wav/ana_sad.wav,ana,sad,0.52"],
         ":2: lab_ana-ana_sad-000000-000520 lies between 0 s and 0.52 s, and {corpus}/wav/ana_sad.wav ends at 0.5 s"),
        ([HEADER + ",start", "wav/ana_sad.wav,ana,sad,0.5"],
         ":2: lab_ana-ana_sad-000500-end lies between 0.5 s and the end"),
        ([HEADER + ",channel", "wav/ana_sad.wav,ana,sad,A"], ":2: channel 'A': a number from 0"),
        ([HEADER + ",channel", "wav/ana_sad.wav,ana,sad,1"], ":2: lab_ana-ana_sad-1 needs channel 1, and "
         "{corpus}/wav/ana_sad.wav has channel 0 only"),
        ([HEADER + ",split", "wav/ana_sad.wav,ana,sad,1"], ":2: split '1': one of train, valid, test, or empty"),
        ([HEADER, "wav/ana_sad.wav,ana,sad", "wav/ana_sad.wav,ana,angry"],
         ":3: the same utterance as {corpus}/lab.csv:2 (lab_ana-ana_sad); remove a line, or give them an id each"),
        ([HEADER, "wav/ana_sad.wav,ana,sad", "wav/ana_angry.wav,Ana,angry"],
         ":3: speaker 'Ana' can hardly be distinguished from 'ana' in {corpus}/lab.csv:2"),
        ([HEADER, "wav/ana_sad.wav,a-1,sad", "wav/ana_angry.wav,a 1,angry"],
         ":3: speaker 'a 1' can hardly be distinguished"),
        ([HEADER + ",gender", "wav/ana_sad.wav,ana,sad,f", "wav/ana_happy.wav,ana,happy,m"],
         ":2: speaker lab_ana is f here and m in {corpus}/lab.csv:3"),
    ],
)  # fmt: skip
def test_every_mistake_is_named_with_its_line(lab, text, message):
    lab.table("lab.csv", *text)
    where = str(lab.corpus / "lab.csv") + message.format(corpus=lab.corpus, protocol=lab.protocol.path)
    assert lab.refused().startswith(where)


def test_a_file_in_a_folder_that_may_not_be_entered(lab, closed):
    lab.table("lab.csv", HEADER, "wav/ana_sad.wav,ana,sad")
    closed(lab.corpus / "wav")
    lab.refused(f"lab.csv:2: {lab.corpus}/wav/ana_sad.wav: cannot be read (Permission denied); change the permissions")


def test_all_faulty_lines_are_named_or_left_out_and_listed(lab):
    table = lab.corpus / "lab.csv"
    wrong = ["wav/ana_sad.wav,ana", "wav/none.wav,bia,sad", "wav/ana_sad.wav,Ana,sad", "wav/bia_sad.wav,bia,sad"]
    lab.table("lab.csv", *lines(), *wrong)
    message = lab.refused(":14: 2 fields, but 3 columns", ":15: ", "no such file", ":16: ", ":17: the same utterance")
    assert message.count(f"{table}:1") == 4
    summary = lab.prepare(allow_partial=True)
    assert "12 utterances of 3 speakers" in summary
    assert "  4 lines of tables that cannot be used left out (left_out.tsv)" in summary.splitlines()
    left_out = lab.left_out()
    assert list(left_out) == [f"{table}:{number}" for number in (14, 15, 16, 17)]
    assert left_out[f"{table}:14"] == "2 fields, but 3 columns"
    lab.write(labels={**dict.fromkeys(LABELS, "sad"), "angry": "angry"})
    lab.table("lab.csv", *lines(), "wav/ana_sad.wav,ana,furious")
    with pytest.raises(InputError, match="unknown label 'furious'"):  # labels are a closed set
        lab.prepare(allow_partial=True)


def test_another_encoding_is_named_with_its_line(lab):
    lab.table("lab.csv", HEADER, "wav/ana_sad.wav,jo\u00e3o,sad", encoding="latin-1")
    lab.refused(f"{lab.corpus / 'lab.csv'}:2: not UTF-8 text; save the table as UTF-8")
    lab.table("lab.csv", HEADER, encoding="utf-16")
    lab.refused(f"{lab.corpus / 'lab.csv'}:1: not UTF-8 text")


def test_the_folder_holds_one_table(lab):
    lab.refused(f"{lab.corpus}: must hold one .csv, .tsv or .xlsx file, and holds none; give the file")
    lab.table("a.csv", HEADER)
    lab.table("b.tsv", HEADER)
    lab.refused("2 of them (a.csv, b.tsv)", "give the file")
    for name in ("a.csv", "b.tsv"):
        (lab.corpus / name).unlink()
    lab.table("wav.scp")
    lab.refused("a Kaldi data dir; it needs a protocol with `preparer: kaldi`")


def test_a_changed_annotation_prepares_the_corpus_again(lab):
    text = lines(header=f"{HEADER},agent,text_id")
    for rest in ("x,1", "y,1", "y,2"):
        lab.table("lab.csv", text[0], *(f"{line},{rest}" for line in text[1:]))
        assert not lab.prepare().startswith("lab: up to date")
        assert lab.prepare().startswith("lab: up to date")
    assert set(read_table(lab.out / "strict_fold1/train/utt2text_id").values()) == {"lab_2"}


def test_a_speaker_in_no_class_and_a_class_without_speaker(lab):
    text = lines()
    lab.table("lab.csv", *text, *(f"wav/ana_{label}.wav,dora,other" for label in LABELS[:1]))
    lab.write(drop={"lab_ana-ana_angry": "equal"})
    lab.refused(f"{lab.corpus / 'lab.csv'}:14: speaker lab_dora has no utterance in a class; fix the labels")
    lab.table("lab.csv", *(line for line in text if "angry" not in line))
    lab.write(drop={})
    lab.refused(f"{lab.protocol.path}: class angry has no speaker; map a label to it")


@pytest.mark.parametrize("valid", ["valid", "dev", "val", "Validation", "Validação"])
def test_the_split_of_the_table(lab, valid):
    parts = {"ana": "train", "bia": valid, "caio": "test"}
    text = [f"{line},{parts[line.split(',')[1]]}" for line in lines()[1:]]
    lab.table("lab.csv", f"{HEADER},split", *text)
    assert "12 utterances have a split of their own, which lab.yaml does not use" in lab.prepare()
    lab.write(splits={"paper": {"given": True}})
    assert "of their own" not in lab.prepare()
    assert read_json(lab.out / "splits.json")["paper"]["folds"] == [
        {"train": ["lab_ana"], "valid": ["lab_bia"], "test": ["lab_caio"]}
    ]


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("test", ":13: speaker lab_caio is in test here and in valid in {table}:10; a speaker may be in one part only"),
        ("", ":13: no split is given; give one, or another rule than {{given: true}}"),
    ],
)
def test_an_invalid_split_of_the_table(lab, last, message):
    text = [f"{line},{'valid' if 'caio' in line else 'train'}" for line in lines()[1:-1]]
    lab.table("lab.csv", f"{HEADER},split", *text, f"{lines()[-1]},{last}")
    lab.write(splits={"paper": {"given": True}})
    table = lab.corpus / "lab.csv"
    lab.refused(str(table) + message.format(table=table))


def test_the_protocol_of_the_private_corpus(lab):
    """conf/corpora/customer_ptbr.yaml as it is: Portuguese labels, splits by rule."""
    rows = [HEADER]
    for number in range(10):
        for label in ("RAIVA", "feliz", " Neutra", "tristeza"):
            lab.noise(f"calls/{number}_{label.strip()}.wav", 2000)
            rows.append(f"calls/{number}_{label.strip()}.wav,client{number},{label}")
    lab.table("calls.csv", *rows)
    protocol = read_protocol("customer_ptbr")
    assert protocol.preparer == "csv"
    out = lab.root / "data" / "customer_ptbr"
    assert "40 in the classes (angry 10, happy 10, neutral 10, sad 10)" in prepare_corpus(
        load_preparer(protocol.preparer), protocol, lab.corpus, out, allow_partial=False
    )
    parts = read_json(out / "report.json")["parts"]
    assert [parts[f"paper_fold1/{part}"] for part in ("train", "valid", "test")] == [28, 8, 4]
    assert [parts[f"strict_fold{k}/test"] for k in range(1, 6)] == [8] * 5
