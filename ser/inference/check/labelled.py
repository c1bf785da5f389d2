"""Utterances of known emotion, from Kaldi data dirs and cut manifests, for the robustness evaluation of a model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser.common import InputError
from ser.corpora.data_dir import read_values
from ser.inference.predict.inputs import MANIFESTS, Source, manifest_rows, sources_of

GENDERS = {"f": "women", "m": "men"}


@dataclass(frozen=True)
class LabelledUtterance:
    """An utterance and its labels.

    Attributes:
        corpus: name of the corpus folder of stage 1, else of the data dir or manifest.
        gender: "f" or "m"; "" if it is not known.
    """

    corpus: str
    source: Source
    emotion: str
    gender: str = ""


def read_labelled(names: Sequence[str], classes: Sequence[str], folder: Path) -> list[LabelledUtterance]:
    """The utterances of data dirs (wav.scp, utt2emo, spk2gender where known) and cut manifests, in their order.

    Args:
        names: of data dirs and manifests.
        classes: emotions that the model knows.
        folder: of `scratch`, which must exist as long as the sources are used.

    Raises:
        InputError: a list that cannot be read, no utterance, one without an emotion or twice in a corpus, or an emotion
            that is none of the classes.
    """
    utterances: dict[tuple[str, str], LabelledUtterance] = {}
    for name in names:
        path = Path(name)
        listed = name.endswith(MANIFESTS)
        if not listed and not (path / "wav.scp").is_file():
            raise InputError("neither a data dir (wav.scp, utt2emo) nor a cut manifest (.jsonl, .jsonl.gz)", name)
        corpus, sources = _corpus_name(path), sources_of(name, folder)
        emotions, genders = _labels_of_manifest(path) if listed else _labels_of_tables(path, sources)
        _check(path if listed else path / "utt2emo", sources, emotions, classes)
        for source in sources:
            if (corpus, source.id) in utterances:
                raise InputError(f"{source.id} of {corpus} is given twice", name, "give it once")
            gender = genders.get(source.id, "").lower()[:1]
            gender = gender if gender in GENDERS else ""
            utterances[corpus, source.id] = LabelledUtterance(corpus, source, emotions[source.id], gender)
    return list(utterances.values())


def _corpus_name(path: Path) -> str:
    path = Path(os.path.abspath(path))
    corpora = [parent for parent in path.parents[:2] if (parent / "splits.json").is_file()]
    return corpora[0].name if corpora else path.name.partition(".")[0]


def _labels_of_tables(folder: Path, sources: Sequence[Source]) -> tuple[dict[str, str], dict[str, str]]:
    emotions, genders = read_values(folder / "utt2emo"), {}
    if (folder / "spk2gender").is_file():
        of_speaker = read_values(folder / "spk2gender")
        genders = {source.id: of_speaker.get(source.speaker, "") for source in sources}
    return emotions, genders


def _labels_of_manifest(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Emotions and genders of cuts as stage 1 writes them, the emotion in the `custom` of the supervision.

    Raises:
        InputError: a supervision without its fields, or several of a cut that differ in emotion.
    """
    emotions, genders = {}, {}
    for number, row in enumerate(manifest_rows(path), 1):
        key = str(row["id"])
        try:
            supervisions = row.get("supervisions") or []
            labels = {str(emotion) for s in supervisions if (emotion := (s.get("custom") or {}).get("emotion"))}
            sexes = {str(s.get("gender") or "") for s in supervisions}
        except (AttributeError, TypeError) as error:
            raise InputError(f"{key}: not readable as a cut ({error!r})", f"{path}:{number}", "fix the line") from None
        if len(labels) > 1:
            what = f"{key}: several emotions ({', '.join(sorted(labels))})"
            raise InputError(what, f"{path}:{number}", "give a cut for each supervision")
        if labels:
            emotions[key] = labels.pop()
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
        what = f"{len(unknown)} of {len(emotions)} utterances have labels that the model does not know ({labels}; "
        what += f"{unknown[0]} is one); it answers {', '.join(classes)}: map them to these, or leave them out"
        raise InputError(what, origin)
