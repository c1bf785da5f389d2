"""The model card, README.md of a model package: what it is, was trained on and is worth, all from model.json."""

from __future__ import annotations

import hashlib
import urllib.parse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ser.common import InputError, write_text
from ser.common.output import markdown, markdown_code, markdown_table
from ser.config.metrics import columns
from ser.inference.model import AGAIN, CARD, SEEN, read_description

LIMITS = """## Limits

Most corpora above are acted, by few speakers: what people show when they act is not what they feel. An answer is a
guess at what listeners would say, not at a state of mind. Not for decisions about persons; at work and in schools the
law of the EU forbids inferring emotions."""
NAMED = {"speaker": "the same speaker", "corpus": "the list"}


def write_card(folder: Path) -> None:
    """Write README.md of a model package; the caller renews SHA256SUMS."""
    write_text(folder / CARD, card(read_description(folder), sorted(p.name for p in folder.glob("check*"))))


def seen_name(utterance: str) -> str:
    """What seen.txt holds of "<corpus>/<utterance id>"."""
    return hashlib.sha256(utterance.encode()).hexdigest()


def seen(folder: Path) -> frozenset[str]:
    """`seen_name` of each training utterance.

    Raises:
        InputError: the list of a model package is not text.
    """
    try:
        return frozenset((folder / SEEN).read_text(encoding="utf-8").split())
    except UnicodeDecodeError:
        raise InputError("not text", folder / SEEN, AGAIN) from None


def card(description: Mapping[str, Any], beside: Sequence[str] = ()) -> str:
    """Markdown.

    Args:
        beside: files of `ser check` in the same folder.
    """
    corpora, trained = description["corpora"], description["trained"]
    names = markdown(", ".join(about["name"] for about in corpora.values()))
    low, high = trained["seconds"]
    rates = ", ".join(f"{int(rate):,} Hz" for rate in trained["sampling_rates"])
    parts = [
        f"# Speech emotion model: {names}",
        f"{_networks(description)} It answers one emotion an utterance.",
        "## Use\n\n```sh\nser predict <this folder> some.wav\n```",
        _heads(description["heads"]),
        _results(description),
        _normalisation(description),
        _calibration(description),
        f"## Trained range\n\nUtterances of {low:.1f} to {high:.1f} s, recorded at {rates}. Nothing is known of what "
        "answers outside of it are worth, and `ser predict` warns.",
        _corpora(corpora, trained["corpora"]),
        f"## Has it seen an utterance?\n\n`{SEEN}` holds the SHA-256 of `<corpus>/<utterance id>` of each training "
        f"utterance: {markdown_code(f'ser card <this folder> --seen {next(iter(corpora))}/<id>')} tells.",
        LIMITS,
        *([_check(beside)] if beside else []),
        _provenance(description["provenance"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _networks(description: Mapping[str, Any]) -> str:
    frontend = _frontend(description)
    if "svm" in description:
        own = description["svm"]
        what = "percentiles, mean and deviation of log-mel bands and their deltas"
        if own["features"] == "statistics":
            what = "mean and deviation over frames"
        return f"A linear SVM (C = {own['C']:g}; one-vs-one, classes balanced) on functionals ({what}) of {frontend}."
    members = description.get("members", [description["settings"]])
    kinds = Counter(
        f"{markdown_code(one['temporal'])} network with {markdown_code(one['pooling'])} pooling" for one in members
    )
    if len(members) == 1:
        return f"A {next(iter(kinds))} on {frontend}."
    each = "; ".join(f"{kind} ({number})" for kind, number in kinds.items())
    return (
        f"An ensemble of {len(members)} networks on {frontend}. Members: {each}. Answers are the mean of their "
        "posteriors, and all scores below are of that mean."
    )


def _frontend(description: Mapping[str, Any]) -> str:
    settings = description["settings"]
    rate = f"{settings['features']['sampling_rate']:,} Hz"
    if "frontend" in description:
        encoder, layers = description["frontend"], settings["frontend"]["layers"]
        at = f" at {encoder['revision']}" if encoder["revision"] else ""
        which = "all layers" if layers == "all" else f"layers {markdown(layers)}"
        return (
            f"{which} of the frozen pretrained encoder {markdown(encoder['model'] + at)} (SHA-256 of "
            f"its weights {markdown_code(encoder['weights'])}; licence: {markdown(encoder['licence'])})"
        )
    if settings.get("frontend", {}).get("name") == "logmel":
        return f"{settings['frontend']['bands']} log-mel bands at {rate}"
    return f"the log-STFT at {rate} (da Silva et al. 2020)"


def _heads(heads: Mapping[str, Sequence[str]]) -> str:
    rows = [(head, ", ".join(classes)) for head, classes in heads.items()]
    return (
        f"## Labels\n\n{markdown_table(('head', 'labels'), rows)}\n\nWithout `--head`, the mean of all heads answers."
    )


def _results(description: Mapping[str, Any]) -> str:
    metrics = description["metrics"]
    rows = []
    for part, found in ((metrics["part"], metrics["test"]), ("validation", metrics["valid"])):
        for corpus, s in found.items():
            rows.append((corpus, part, *columns(s).values(), s["n"]))
    table = markdown_table(("corpus", "part", *columns({}), "utterances"), rows)
    by = "each corpus by its own head" if len(description["heads"]) > 1 else "all by one head"
    who = f"Of speakers that are not in training ({markdown(metrics['split'])}), {by}."
    return "\n\n".join(["## Results", who, table, *_unseen_corpora(description.get("unseen_corpora", ()))])


def _unseen_corpora(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    if not scores:
        return []
    rows = [
        (
            one["target"],
            ", ".join(one["trained_on"]),
            f"{100 * one['ua']:.1f}",
            "" if one["low"] is None else f"{100 * one['low']:.1f} to {100 * one['high']:.1f} ({one['coverage']:.0%})",
        )
        for one in scores
    ]
    what = "On a corpus that is in no training, as yours is: single models of the same settings, trained on others."
    return [what, markdown_table(("corpus", "trained on", "UA %", "interval over speakers"), rows)]


def _normalisation(description: Mapping[str, Any]) -> str:
    kind = description["settings"]["batches"]["normalisation"]
    if kind not in NAMED:
        return f"## Normalisation\n\n`{kind}`: no answer depends on any other file."
    one = description["calibration"].get("mean", {}).get("ua")
    other = description["calibration_without_speakers"].get("mean", {}).get("ua")
    worth = (
        ""
        if one is None
        else f" UA on validation, mean of heads: {100 * one:.1f} % in the first way, {100 * other:.1f} % in the second."
    )
    if "svm" in description:
        worth = f" These are of functionals, over the files given.{worth}"
    return (
        f"## Normalisation\n\n`{kind}`: where the input names speakers, the statistics of all given files of "
        f"{NAMED[kind]} are taken out, without labels (as in the results above); else those of the training.{worth}"
    )


def _calibration(description: Mapping[str, Any]) -> str:
    rows, rejected = [], list[str]()
    for key, which in (("calibration", ""), ("calibration_without_speakers", ", unnamed")):
        for head, c in description.get(key, {}).items():
            errors = f"{100 * c['ece_before']:.1f}", f"{100 * c['ece_after']:.1f}"
            rows.append((head + which, f"{c['temperature']:.2f}", *errors, c["n"]))
            if other := c.get("rejected"):
                rejected.append(
                    f"{markdown(head + which)}: the fitted temperature {other['temperature']:.2f} is not applied, for "
                    f"ECE would be {100 * other['ece']:.1f} % in place of {errors[0]} %."
                )
    table = markdown_table(("head", "temperature", "ECE before %", "ECE after %", "utterances"), rows)
    what = "Temperature scaling fitted on validation; ECE: expected calibration error, on the same."
    if "svm" in description:
        what = (
            "An SVM has no probabilities: posteriors are the softmax of its one-vs-one votes and summed margins, and "
            f"the label is that of the votes, as libsvm has it. {what}"
        )
    return "\n\n".join(["## Confidence", what, table, *rejected])


def _corpora(corpora: Mapping[str, Mapping[str, str]], counts: Mapping[str, Mapping[str, int]]) -> str:
    items = []
    for corpus, about in corpora.items():
        n = counts.get(corpus, {"utterances": 0, "speakers": 0})
        t = {key: markdown(text) for key, text in about.items()}
        note = f" {t['note']}" if t["note"] else ""
        items.append(
            f"- **{t['name']}** ({markdown_code(corpus)}, {t['language']}): {n['utterances']} training utterances, "
            f"{n['speakers']} speakers. {t['description']} Licence: {t['licence']}. Cite: {t['citation']}. "
            f"From: {t['source']}.{note}"
        )
    return (
        "## Trained on\n\n"
        + "\n".join(items)
        + "\n\nThe licences bind whoever passes on what was trained on these corpora."
    )


def _check(beside: Sequence[str]) -> str:
    lines = [
        f"{'!' if name.endswith('.png') else '- '}[{markdown(name)}]({urllib.parse.quote(name)})" for name in beside
    ]
    return "## What it is worth elsewhere\n\n" + "\n".join(lines)


def _provenance(found: Mapping[str, Any]) -> str:
    keys = ("experiment", "weights", "config_hash", "data_hash", "split_hash", "code_hash", "git_revision")
    return f"## Provenance\n\n{markdown_table(('what', 'value'), [(key, found[key]) for key in keys])}"
