"""Small trees in the official layouts of the corpora; each file has its own noise."""

import zlib
from pathlib import Path

from conftest import write_noise

IEMOCAP_LABELS = ("ang", "hap", "exc", "neu", "sad", "fru", "xxx")
NEMO_GENDERS = {
    **dict.fromkeys(("EB0", "IC0", "KD0", "MK0"), "female"),
    **dict.fromkeys(("KS0", "MP0", "SM0", "TP0", "WR0"), "male"),
}
# emotion -> speakers, as published
URDU_SPEAKERS = {
    "Angry": "SM1 SM2 SM3 SM4",
    "Happy": "SF1 SF2 SF3 SF4 SF5 SF6 SF7 SF8 SM17 SM18 SM19 SM3 SM5 SM6 SM7",
    "Neutral": "SF9 SM20 SM21 SM22 SM3 SM5",
    "Sad": "SF10 SF11 SM23 SM24 SM25 SM26 SM27 SM6",
}


def _iemocap() -> list[str]:
    turns = [
        f"{dialogue}_{letter}{number:03d}"
        for session in range(1, 6)
        for dialogue in (f"Ses0{session}F_impro01", f"Ses0{session}M_script01_1")
        for letter in "FM"
        for number in range(len(IEMOCAP_LABELS))
    ]
    return [f"Session{turn[4]}/sentences/wav/{turn.rsplit('_', 1)[0]}/{turn}.wav" for turn in turns]


# corpus -> files of a small tree with every speaker and every class
FILES: dict[str, list[str]] = {
    "ravdess": [
        f"Actor_{actor:02d}/03-01-{emotion}-01-01-01-{actor:02d}.wav"
        for actor in range(1, 25)
        for emotion in ("01", "02", "03", "04", "05")
    ],
    "tess": [
        f"{speaker}_{emotion}/{speaker}_{word}_{emotion}.wav"
        for speaker in ("OAF", "YAF")
        for emotion in ("angry", "happy", "neutral", "sad", "ps")
        for word in ("back", "bar")
    ],
    "iemocap": _iemocap(),
    "emodb": [
        f"wav/{speaker}{text}{emotion}a.wav"
        for speaker in ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
        for text in ("a01", "b10")
        for emotion in "WLEAFTN"
    ],
    "crema_d": [
        f"AudioWAV/{actor}_{sentence}_{emotion}_XX.wav"
        for actor in range(1001, 1092)
        for sentence, emotion in [("DFA", "ANG"), ("TIE", "HAP"), ("WSI", "NEU"), ("MTI", "SAD"), ("ITS", "FEA")]
    ],
    "emouerj": [
        f"{gender}{number:02d}{emotion}{take:02d}.wav"
        for gender in "mw"
        for number in range(1, 5)
        for emotion in "hans"
        for take in (1, 2)
    ],
    "savee": [
        f"AudioData/{speaker}/{emotion}{number:02d}.wav"
        for speaker in ("DC", "JE", "JK", "KL")
        for emotion in ("a", "d", "f", "h", "n", "sa", "su")
        for number in (1, 2)
    ],
    "nemo": [
        f"samples/{speaker}_{emotion}_{sentence}.wav"
        for speaker in NEMO_GENDERS
        for emotion in ("anger", "fear", "happiness", "neutral", "sadness", "surprised")
        for sentence in (1, 90)
    ],
    "urdu": [
        f"{folder}/{speaker}_F{number}_{folder[0]}0{number}.wav"
        for folder, speakers in URDU_SPEAKERS.items()
        for speaker in speakers.split()
        for number in (1, 2)
    ],
}


def write_tree(corpus: str, folder: Path) -> Path:
    """Write the small tree of a corpus into a folder, and return the folder."""
    for name in FILES[corpus]:
        # The seed depends on the name only, so that a tree written twice has equal files.
        write_noise(folder / name, zlib.crc32(name.encode()), seconds=0.05, rate=8000)
    if corpus == "iemocap":
        write_evaluations(folder)
    if corpus == "nemo":
        write_nemo_table(folder)
    return folder


def write_nemo_table(folder: Path) -> None:
    """Write data.tsv of the small nEMO, unsorted and with spaces before the speaker, as published."""
    lines = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    for name in reversed(FILES["nemo"]):
        speaker, emotion, _ = Path(name).stem.split("_")
        text = "Kupiłem nową szafę do sypialni."
        lines.append(
            f"{Path(name).name}\t{emotion}\t{text}\t{text.lower()}\t        {speaker}\t{NEMO_GENDERS[speaker]}\t27"
        )
    (folder / "data.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_evaluations(folder: Path) -> None:
    """Write EmoEvaluation of the small IEMOCAP, with the line ends of the release."""
    lines: dict[Path, list[str]] = {}
    for index, name in enumerate(FILES["iemocap"]):
        path = folder / name
        evaluation = path.parents[3] / "dialog" / "EmoEvaluation" / f"{path.parent.name}.txt"
        label = IEMOCAP_LABELS[int(path.stem[-1])]
        lines.setdefault(evaluation, ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]).extend(
            [
                f"[{index}.2500 - {index + 1}.5000]\t{path.stem}\t{label}\t[2.5000, 2.5000, 2.0000]",
                "C-E2:\tNeutral;\t()",
                "C-E3:\tNeutral; Sadness;\t()",
                "C-E4:\tAnger;\t(a comment)",
                "C-F1:\tExcited;\t()",
                "A-E3:\tval 3; act 2; dom  2;\t()",
                "A-E4:\tval 2; act 3; dom  2;\t(a comment; with val 1; in it)",
                "A-F1:\tval 3; act 2; dom  1;\t()",
                "",
            ]
        )
    for evaluation, text in lines.items():
        evaluation.parent.mkdir(parents=True, exist_ok=True)
        evaluation.write_bytes("\r\n".join(text).encode())
