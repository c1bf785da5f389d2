"""The training part of a fold with copies of its utterances: a Kaldi data dir of its own, train_<digest>, beside train.

The digest names all that it follows from, so a set that is there is right, and no other is ever read.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.augment.babble_pool import BabblePool
from ser.augment.copies import VERSION, copy_id, sample_transforms
from ser.augment.settings import Augment
from ser.common import InputError, digest, write_text
from ser.common.json_lines import read_json_lines, write_json_lines
from ser.corpora.cuts import Cut, read_cuts
from ser.corpora.kaldi import read_table, spk2utt, write_table

# What a copy has of its utterance.
BY_UTTERANCE = ("utt2emo", "utt2votes", "utt2lang")
BY_SPEAKER = ("spk2gender", "known_spk2gender")


@dataclass(frozen=True)
class TrainSet:
    """Training utterances and their copies.

    Args:
        train: the data dir of the originals, data/<corpus>/<split>_fold<k>/train.
        cuts: those of the corpus, as stage 1 wrote them.
        examples: of each utterance, the original among them; with 1 there is nothing to write.
    """

    train: Path
    cuts: Mapping[str, Cut]
    examples: int
    augment: Augment

    @property
    def folder(self) -> Path:
        """Where it lies; named by the settings, the number of copies, and the tables and audio of the originals."""
        tables = {name: (self.train / name).read_text(encoding="utf-8") for name in self._tables()}
        audio = [[cut.audio_digest, cut.start, cut.duration, cut.channel] for cut in self._originals().values()]
        return self.train.with_name(f"train_{digest(VERSION, self.augment.digest, self.examples, tables, audio)}")

    @property
    def finished(self) -> bool:
        """Whether it is all there."""
        return (self.folder / "cuts.jsonl.gz").is_file()  # written last

    def babble_pool(self) -> BabblePool:
        """The originals, of whom babble is made."""
        return BabblePool(self._originals(), read_table(self.train / "utt2spk"))

    def write(self) -> None:
        """Draw the copies; write the data dir (no wav.scp: copies are made again wherever their features are), the
        cuts of originals and copies, and in left_out.tsv the copies that cannot be made."""
        folder, utt2spk = self.folder, read_table(self.train / "utt2spk")
        cuts = read_json_lines(self.train.parents[1] / "cuts.jsonl.gz", dict, "a cut manifest")
        rows = {row["id"]: row for row in cuts if row["id"] in utt2spk}
        lines, utt2uniq, left_out = [], {key: key for key in utt2spk}, []
        babble_pool = self.babble_pool()
        others_of = {speaker: babble_pool.exclude_speaker(speaker) for speaker in dict.fromkeys(utt2spk.values())}
        for key in utt2spk:
            lines.append(rows[key])
            others = others_of[utt2spk[key]]
            for number in range(1, self.examples):
                steps = sample_transforms(key, number, self.augment, others)
                short = self._too_short(rows[key]["duration"], steps)
                if short:
                    left_out.append(f"{copy_id(key, number)}\t{short}\n")
                    continue
                lines.append(_copy_row(rows[key], number, steps))
                utt2uniq[lines[-1]["id"]] = key
        tables = {"utt2uniq": utt2uniq}
        for name in self._tables():
            table = tables[name] = read_table(self.train / name)
            if name not in BY_SPEAKER:
                tables[name] = {key: table[of] for key, of in utt2uniq.items() if of in table}
        tables["spk2utt"] = spk2utt(tables["utt2spk"])
        for name, table in tables.items():
            write_table(folder / name, table)
        write_text(folder / "left_out.tsv", "".join(left_out))
        lines.sort(key=lambda row: row["id"].encode())
        write_json_lines(folder / "cuts.jsonl.gz", lines)

    def counts(self) -> dict[str, Counter[str]]:
        """Utterances by class before and with copies, and copies by kind; "too short" are those that cannot be."""
        before = Counter(read_table(self.train / "utt2emo").values())
        if self.examples == 1:
            return {"before": before, "after": before, "kinds": Counter()}
        kinds = Counter(
            "+".join(step["kind"] for step in cut.steps)
            for cut in read_cuts(self.folder / "cuts.jsonl.gz")
            if cut.steps
        )
        left_out = (self.folder / "left_out.tsv").read_text(encoding="utf-8").splitlines()
        if left_out:
            kinds["too short, see left_out.tsv"] = len(left_out)
        return {"before": before, "after": Counter(read_table(self.folder / "utt2emo").values()), "kinds": kinds}

    def originals(self) -> dict[str, str]:
        """Each utterance and copy, and the utterance that it is or is a copy of."""
        return read_table(self.folder / "utt2uniq")

    def check(self) -> None:
        """See that it is there, and holds the utterances of `train`, copies of these, and nothing else.

        Raises:
            InputError: it does not.
        """
        if not self.finished:
            raise InputError(f"no copies of the utterances in {self.train}", self.folder, "run stage 2")
        utt2uniq, known = self.originals(), read_table(self.train / "utt2spk")
        for key, of in utt2uniq.items():
            if of not in known:
                raise InputError(
                    f"{key} is a copy of {of}, which is no training utterance of this fold",
                    self.folder / "utt2uniq",
                    f"remove {self.folder} and run stage 2",
                )
        missing = sorted(known.keys() - utt2uniq.keys())
        if missing:
            raise InputError(f"{missing[0]} is missing", self.folder / "utt2uniq", f"remove {self.folder}, run stage 2")

    def _originals(self) -> dict[str, Cut]:
        keys = read_table(self.train / "utt2spk")
        missing = [key for key in keys if key not in self.cuts]
        if missing:
            raise InputError(f"{missing[0]} has no cut", self.train, "run stage 1 again")
        return {key: self.cuts[key] for key in keys}

    def _tables(self) -> list[str]:
        names = ("utt2spk", *BY_UTTERANCE, *BY_SPEAKER)
        return [name for name in names if (self.train / name).is_file()]

    def _too_short(self, duration: float, steps: list[dict[str, Any]]) -> str:
        for step in steps:
            least = self.augment.kinds[step["kind"]].least_seconds
            duration /= step.get("factor", 1)
            if duration < least:
                return f"{step['kind']} takes {least:g} s or more, and this is {duration:.3f} s long"
        return ""


def copies_table(sets: Mapping[str, TrainSet]) -> str:
    """Training utterances by corpus and class before and after, and copies by kind, as a table."""
    from tabulate import tabulate

    found = {corpus: train_set.counts() for corpus, train_set in sets.items()}
    classes = sorted({name for counts in found.values() for name in counts["before"]})
    rows = [
        [corpus, sets[corpus].examples, when, counts[when].total(), *(counts[when][name] for name in classes)]
        for corpus, counts in found.items()
        for when in ("before", "after")
    ]
    table = tabulate(rows, ["corpus", "examples each", "", "utterances", *classes])
    kinds = [
        f"{corpus}: copies by kind: {', '.join(f'{name} {n}' for name, n in sorted(counts['kinds'].items()))}"
        for corpus, counts in found.items()
        if counts["kinds"]
    ]
    return "\n".join([table, *kinds])


def _copy_row(row: dict[str, Any], number: int, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """The cut of a copy: that of its utterance under another id, and what is done to it."""
    own = copy.deepcopy(row)
    own["id"] = own["supervisions"][0]["id"] = copy_id(row["id"], number)
    own["supervisions"][0]["custom"]["copy"] = {"of": row["id"], "number": number, "steps": steps}
    return own
