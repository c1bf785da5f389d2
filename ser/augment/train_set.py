"""The training part of a fold with augmented copies: a Kaldi data dir train_<digest> next to train.

The digest covers everything that the set depends on, so an existing set is never out of date.
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

# Tables that a copy inherits from its utterance.
BY_UTTERANCE = ("utt2emo", "utt2votes", "utt2lang")
BY_SPEAKER = ("spk2gender", "known_spk2gender")


@dataclass(frozen=True)
class TrainSet:
    """Training utterances and their augmented copies.

    Args:
        train: the data dir of the originals, data/<corpus>/<split>_fold<k>/train.
        cuts: the cuts of the corpus that stage 1 wrote.
        oversampling: number of examples of each utterance, including the original; with 1 nothing is written.
        augment: the transforms in use.
    """

    train: Path
    cuts: Mapping[str, Cut]
    oversampling: int
    augment: Augment

    @property
    def folder(self) -> Path:
        """The data dir; its digest covers settings, number of copies, and tables and audio of the originals."""
        tables = {name: (self.train / name).read_text(encoding="utf-8") for name in self._tables()}
        audio = [[cut.audio_digest, cut.start, cut.duration, cut.channel] for cut in self._originals().values()]
        return self.train.with_name(f"train_{digest(VERSION, self.augment.digest, self.oversampling, tables, audio)}")

    @property
    def finished(self) -> bool:
        """Whether the set is complete."""
        return (self.folder / "cuts.jsonl.gz").is_file()  # written last

    def babble_pool(self) -> BabblePool:
        """The originals, from which babble is made."""
        return BabblePool(self._originals(), read_table(self.train / "utt2spk"))

    def write(self) -> None:
        """Sample the transforms of the copies and write the data dir and the cuts of originals and copies.

        There is no wav.scp: copies are computed when their features are extracted. left_out.tsv lists the copies that
        are impossible.
        """
        folder, utt2spk = self.folder, read_table(self.train / "utt2spk")
        cuts = read_json_lines(self.train.parents[1] / "cuts.jsonl.gz", dict, "a cut manifest")
        cut_of = {row["id"]: row for row in cuts if row["id"] in utt2spk}
        rows, utt2uniq, left_out = [], {key: key for key in utt2spk}, []
        babble_pool = self.babble_pool()
        pool_of = {speaker: babble_pool.exclude_speaker(speaker) for speaker in dict.fromkeys(utt2spk.values())}
        for key in utt2spk:
            rows.append(cut_of[key])
            pool = pool_of[utt2spk[key]]
            for number in range(1, self.oversampling):
                steps = sample_transforms(key, number, self.augment, pool)
                reason = self._too_short(cut_of[key]["duration"], steps)
                if reason:
                    left_out.append(f"{copy_id(key, number)}\t{reason}\n")
                    continue
                rows.append(_copy_row(cut_of[key], number, steps))
                utt2uniq[rows[-1]["id"]] = key
        tables = {"utt2uniq": utt2uniq}
        for name in self._tables():
            table = tables[name] = read_table(self.train / name)
            if name not in BY_SPEAKER:
                tables[name] = {key: table[original] for key, original in utt2uniq.items() if original in table}
        tables["spk2utt"] = spk2utt(tables["utt2spk"])
        for name, table in tables.items():
            write_table(folder / name, table)
        write_text(folder / "left_out.tsv", "".join(left_out))
        rows.sort(key=lambda row: row["id"].encode())
        write_json_lines(folder / "cuts.jsonl.gz", rows)

    def counts(self) -> dict[str, Counter[str]]:
        """Count utterances per class before and after augmentation, and copies per transform or as too short."""
        before = Counter(read_table(self.train / "utt2emo").values())
        if self.oversampling == 1:
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
        """Utterance or copy -> original utterance."""
        return read_table(self.folder / "utt2uniq")

    def check(self) -> None:
        """Check that the set is complete and has the utterances of `train`, copies of these, and nothing else.

        Raises:
            InputError: it is not, or does not.
        """
        if not self.finished:
            raise InputError(f"no copies of the utterances in {self.train}", self.folder, "run stage 2")
        utt2uniq, known = self.originals(), read_table(self.train / "utt2spk")
        for key, original in utt2uniq.items():
            if original not in known:
                raise InputError(
                    f"{key} is a copy of {original}, which is no training utterance of this fold",
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
        """Why an utterance of some seconds is too short for the transforms; "" if it is not."""
        for step in steps:
            min_seconds = self.augment.kinds[step["kind"]].min_seconds
            duration /= step.get("factor", 1)
            if duration < min_seconds:
                return f"{step['kind']} takes {min_seconds:g} s or more, and this is {duration:.3f} s long"
        return ""


def copies_table(sets: Mapping[str, TrainSet]) -> str:
    """Format a table of training utterances per corpus and class before and after, with copies per transform."""
    from tabulate import tabulate

    counts_of = {corpus: train_set.counts() for corpus, train_set in sets.items()}
    classes = sorted({name for counts in counts_of.values() for name in counts["before"]})
    rows = [
        [corpus, sets[corpus].oversampling, when, counts[when].total(), *(counts[when][name] for name in classes)]
        for corpus, counts in counts_of.items()
        for when in ("before", "after")
    ]
    table = tabulate(rows, ["corpus", "examples each", "", "utterances", *classes])
    kinds = [
        f"{corpus}: copies by kind: {', '.join(f'{name} {n}' for name, n in sorted(counts['kinds'].items()))}"
        for corpus, counts in counts_of.items()
        if counts["kinds"]
    ]
    return "\n".join([table, *kinds])


def _copy_row(row: dict[str, Any], number: int, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """The cut of a copy: that of the utterance with another id and the transforms."""
    copied = copy.deepcopy(row)
    copied["id"] = copied["supervisions"][0]["id"] = copy_id(row["id"], number)
    copied["supervisions"][0]["custom"]["copy"] = {"of": row["id"], "number": number, "steps": steps}
    return copied
