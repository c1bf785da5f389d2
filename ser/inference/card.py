"""The model card, README.md of a model package: architecture, training data and scores, all from model.json."""

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
from ser.inference.model import CARD, REPACK, SEEN, Provenance, read_description

LIMITS = """## Limits

Most corpora above are acted, by few speakers: what people show when they act is not what they feel. An answer is a
guess at what listeners would say, not at a state of mind. Not for decisions about persons; at work and in schools the
law of the EU forbids inferring emotions."""
GROUPS = {"speaker": "the same speaker", "corpus": "the list"}  # whose statistics are taken out


def write_card(folder: Path) -> None:
    """Write README.md of a model package; the caller renews SHA256SUMS."""
    write_text(folder / CARD, model_card(read_description(folder), check_files(folder)))


def check_files(folder: Path) -> list[str]:
    """Names of the files of `ser check` in a model package."""
    return sorted(path.name for path in folder.glob("check*"))


def utterance_hash(utterance: str) -> str:
    """The SHA-256 of "<corpus>/<utterance id>", as in seen.txt."""
    return hashlib.sha256(utterance.encode()).hexdigest()


def training_hashes(folder: Path) -> frozenset[str]:
    """`utterance_hash` of each training utterance of a model package.

    Raises:
        InputError: the list is not text.
    """
    try:
        return frozenset((folder / SEEN).read_text(encoding="utf-8").split())
    except UnicodeDecodeError:
        raise InputError("not text", folder / SEEN, REPACK) from None


def model_card(description: Mapping[str, Any], checks: Sequence[str] = ()) -> str:
    """The model card in Markdown.

    Args:
        description: what model.json holds.
        checks: files of `ser check` in the same folder.
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
        _checks(checks),
        _provenance(description["provenance"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _networks(description: Mapping[str, Any]) -> str:
    frontend = _frontend(description)
    if "svm" in description:
        svm = description["svm"]
        what = "percentiles, mean and deviation of log-mel bands and their deltas"
        if svm["features"] == "statistics":
            what = "mean and deviation over frames"
        return f"A linear SVM (C = {svm['C']:g}; one-vs-one, classes balanced) on functionals ({what}) of {frontend}."
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
    for part, by_corpus in ((metrics["part"], metrics["test"]), ("validation", metrics["valid"])):
        for corpus, scores in by_corpus.items():
            rows.append((corpus, part, *columns(scores).values(), scores["n"]))
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
    if kind not in GROUPS:
        return f"## Normalisation\n\n`{kind}`: no answer depends on any other file."
    known, unknown = (
        description[key].get("mean", {}).get("ua") for key in ("calibration", "calibration_without_speakers")
    )
    notes = " These are of functionals, over the files given." if "svm" in description else ""
    if known is not None:
        uas = f"{100 * known:.1f} % in the first way, {100 * unknown:.1f} % in the second"
        notes += f" UA on validation, mean of heads: {uas}."
    return (
        f"## Normalisation\n\n`{kind}`: where the input names speakers, the statistics of all given files of "
        f"{GROUPS[kind]} are taken out, without labels (as in the results above); else those of the training.{notes}"
    )


def _calibration(description: Mapping[str, Any]) -> str:
    rows, rejected = [], list[str]()
    for key, which in (("calibration", ""), ("calibration_without_speakers", ", unnamed")):
        for head, c in description.get(key, {}).items():
            errors = f"{100 * c['ece_before']:.1f}", f"{100 * c['ece_after']:.1f}"
            rows.append((head + which, f"{c['temperature']:.2f}", *errors, c["n"]))
            if fitted := c.get("rejected"):
                rejected.append(
                    f"{markdown(head + which)}: the fitted temperature {fitted['temperature']:.2f} is not applied, for "
                    f"ECE would be {100 * fitted['ece']:.1f} % in place of {errors[0]} %."
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
    licences = "The licences bind whoever passes on what was trained on these corpora."
    return "\n\n".join(["## Trained on", "\n".join(items), licences])


def _checks(names: Sequence[str]) -> str:
    lines = [f"{'!' if n.endswith('.png') else '- '}[{markdown(n)}]({urllib.parse.quote(n)})" for n in names]
    return "\n\n".join(["## What it is worth elsewhere", "\n".join(lines)]) if names else ""


def _provenance(provenance: Mapping[str, Any]) -> str:
    rows = [(key, provenance[key]) for key in Provenance.__annotations__]
    return f"## Provenance\n\n{markdown_table(('what', 'value'), rows)}"
