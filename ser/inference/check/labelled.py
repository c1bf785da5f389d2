"""Utterances of known emotion, from Kaldi data dirs and cut manifests, to check a model on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser.common import InputError
from ser.corpora.data_dir import read_values
from ser.inference.predict.inputs import MANIFESTS, Source, manifest_rows, sources_of

GENDERS = {"f": "women", "m": "men"}


@dataclass(frozen=True)
class LabelledUtterance:
    """An utterance.

    Attributes:
        corpus: name of the corpus folder as stage 1 writes it, else of the data dir or manifest.
        gender: "f" or "m"; "" where it is not known.
    """

    corpus: str
    source: Source
    emotion: str
    gender: str = ""


def read_labelled(names: Sequence[str], classes: Sequence[str], folder: Path) -> list[LabelledUtterance]:
    """The utterances of data dirs (wav.scp, utt2emo, spk2gender where known) and cut manifests, in their order.

    Args:
        classes: emotions that there may be.
        folder: of `scratch`, as long as the sources are used.

    Raises:
        InputError: a list that cannot be read, no utterance, one without an emotion or twice in a corpus, or an emotion
            that is none of the classes.
    """
    found: dict[tuple[str, str], LabelledUtterance] = {}
    for name in names:
        path = Path(name)
        listed = name.endswith(MANIFESTS)
        if not listed and not (path / "wav.scp").is_file():
            raise InputError("neither a data dir (wav.scp, utt2emo) nor a cut manifest (.jsonl, .jsonl.gz)", name)
        corpus, sources = _corpus(path), sources_of(name, folder)
        emotions, genders = _of_manifest(path) if listed else _of_tables(path, sources)
        _check(path if listed else path / "utt2emo", sources, emotions, classes)
        for source in sources:
            if (corpus, source.id) in found:
                raise InputError(f"{source.id} of {corpus} is given twice", name, "give it once")
            gender = genders.get(source.id, "").lower()[:1]
            found[corpus, source.id] = LabelledUtterance(
                corpus, source, emotions[source.id], gender if gender in GENDERS else ""
            )
    return list(found.values())


def _corpus(path: Path) -> str:
    around = [place for place in path.resolve().parents[:2] if (place / "splits.json").is_file()]
    return around[0].name if around else path.resolve().name.partition(".")[0]


def _of_tables(folder: Path, sources: Sequence[Source]) -> tuple[dict[str, str], dict[str, str]]:
    emotions, genders = read_values(folder / "utt2emo"), {}
    if (folder / "spk2gender").is_file():
        of_speaker = read_values(folder / "spk2gender")
        genders = {source.id: of_speaker.get(source.speaker, "") for source in sources}
    return emotions, genders


def _of_manifest(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """As stage 1 writes cuts: the emotion in the `custom` of the supervision. `sources_of` has found lines of cuts.

    Raises:
        InputError: a supervision without its fields, or several of a cut that differ in emotion.
    """
    emotions, genders = {}, {}
    for number, row in enumerate(manifest_rows(path), 1):
        key = str(row["id"])
        try:
            supervisions = row.get("supervisions") or []
            own = {str(emotion) for s in supervisions if (emotion := (s.get("custom") or {}).get("emotion"))}
            sexes = {str(s.get("gender") or "") for s in supervisions}
        except (AttributeError, TypeError) as error:
            raise InputError(f"{key}: not readable as a cut ({error!r})", f"{path}:{number}", "fix the line") from None
        if len(own) > 1:
            raise InputError(
                f"{key}: several emotions ({', '.join(sorted(own))})",
                f"{path}:{number}",
                "give a cut for each supervision",
            )
        if own:
            emotions[key] = own.pop()
        genders[key] = sexes.pop() if len(sexes) == 1 else ""
    return emotions, genders


def _check(origin: Path, sources: Sequence[Source], emotions: Mapping[str, str], classes: Sequence[str]) -> None:
    if not sources:
        raise InputError("no utterances", origin, "give data that hold some")
    if odd := sorted(emotions.keys() ^ {source.id for source in sources}):
        raise InputError(f"{odd[0]} has only one of audio and emotion", origin, f"fix or remove it (as {len(odd)} do)")
    unknown = [key for key, emotion in emotions.items() if emotion not in classes]
    if unknown:
        labels = ", ".join(sorted({emotions[key] for key in unknown}))
        raise InputError(
            f"{len(unknown)} of {len(emotions)} utterances have labels that the model does not know "
            f"({labels}; {unknown[0]} is one); it answers {', '.join(classes)}: map them to these, "
            "or leave them out",
            origin,
        )
