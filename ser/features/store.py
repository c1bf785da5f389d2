"""dump/<corpus>/: features computed once, shared by every recipe, never stale.

What a key names never changes, and nothing can be out of date: the features of an utterance or copy
are found by its content (what audio, settings and version of the code they follow from; see index.py), and a set, the
features of a data dir, by all its contents and ids. A set holds no features: it holds where in the archives they are.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ser.audio import resample
from ser.augment import Augment, TooShort
from ser.augment.babble_pool import BabblePool
from ser.augment.copies import VERSION as COPIES_VERSION
from ser.augment.copies import apply_transforms
from ser.common import InputError, atomic_path, digest, read_json, write_json, write_text
from ser.common.batching import batched_by_size
from ser.common.once import parsed_once
from ser.common.progress import progress
from ser.corpora.cuts import Cut, read_cut, read_cuts
from ser.corpora.kaldi import read_table, table_text, validate, write_table
from ser.features.archive import ArkReader, ArkWriter, read_scp
from ser.features.index import Archives, bucket_lock, bucket_of, bucket_path, check_archive, local_copy, write_index
from ser.frontends import Frontend

# Utterances an archive: what is whole stays when a job is stopped or fails.
ARCHIVE = 500
# Seconds of audio that the front end gets at once, of several utterances.
PACK = 30
# Gigabytes above which a smaller way is named.
LARGE = 20
# Part of the key: raise it when the same audio and settings give other values.
VERSION = 1


class FeatureStore:
    """The features of one data dir under one configuration.

    Args:
        dump_dir: root of the store.
        data_dir: data/<corpus>, written by stage 1, or its <split>_fold<k>/train_<digest>, written by stage 2.
        augment: what copies are made with; to compute them, and for nothing else.
        local: folder of this machine to copy archives to, and to read them from; "": read where they are.

    Attributes:
        cuts: utterances and copies.
        key: names the set.
        folder: where the set lies.
        settings: names the configuration.
    """

    def __init__(
        self, dump_dir: Path, data_dir: Path, frontend: Frontend, augment: Augment | None = None, local: str = ""
    ) -> None:
        self.dump_dir, self.data_dir, self.frontend, self.augment = dump_dir, data_dir, frontend, augment
        self.local = Path(local) if local else None
        self.cuts = read_cuts(data_dir / "cuts.jsonl.gz")
        self._originals = {cut.id: cut for cut in self.cuts if cut.original is None}
        # A data dir of stage 2 is two below its corpus.
        self.corpus_dir = data_dir.absolute().parents[1] if (data_dir / "utt2spk").is_file() else data_dir
        # Storage is how values are kept, and part of the key because two bytes round them.
        self.key = digest(VERSION, frontend.identity(), [[cut.id, *_content(cut)] for cut in self.cuts])
        self.folder = dump_dir / self.corpus_dir.name / self.key
        self.settings = digest(VERSION, frontend.identity())
        self.archives = Archives(dump_dir / self.corpus_dir.name / "archives" / self.settings)

    @property
    def copies(self) -> int:
        """How many of the cuts are copies."""
        return len(self.cuts) - len(self._originals)

    @property
    def finished(self) -> bool:
        """Whether all is there, and in this place: a store that was moved is joined again."""
        scp = self.folder / "feats.scp"
        if not (self.folder / "info.json").is_file() or not scp.is_file():
            return False
        root = self.dump_dir.resolve()
        archives = map(Path, {path for path, _ in read_scp(scp)[0].values()})
        return all(path.is_file() and path.is_relative_to(root) for path in archives)

    def reader(self) -> ArkReader:
        """Open the features.

        Raises:
            InputError: they are not all there.
        """
        self._check_finished()
        reader = ArkReader(self.folder / "feats.scp", check_archive)
        if self.local is not None:
            copies = {path: str(local_copy(Path(path), self.local)) for path in {p for p, _ in reader.places.values()}}
            reader.places = {key: (copies[path], offset) for key, (path, offset) in reader.places.items()}
        return reader

    def num_frames(self) -> dict[str, int]:
        """utt2num_frames.

        Raises:
            InputError: the features are not all there.
        """
        self._check_finished()
        return _read_frames(self.folder / "utt2num_frames")

    def padded(self) -> list[str]:
        """Ids of utterances and copies that are shorter than one frame."""
        return list(read_json(self.folder / "info.json").get("padded", []))

    def content_of(self, cut: Cut) -> str:
        """What names the features of an utterance or copy.

        An utterance and its copies begin alike: they are in one bucket, and of one job, which reads the audio once.
        """
        return digest(_audio(cut))[:2] + digest(self.settings, _content(cut))[2:]

    def estimate(self) -> str:
        """How large the features will be, and what makes them smaller where that is much."""
        seconds = sum(cut.duration for cut in self.cuts)
        rate = self.frontend.sampling_rate
        frames = seconds * rate / self.frontend.frame_shift
        gigabytes = frames * self.frontend.width * {"int16": 2, "float32": 4}[self.frontend.storage] / 1e9
        shape = f"{self.frontend.layers} layers of " if self.frontend.layers > 1 else ""
        text = (
            f"{self.frontend.name}: {seconds / 3600:.2f} hours, {frames:.3g} frames of {shape}{self.frontend.dim} "
            f"values, up to {gigabytes:.3g} GB in {self.dump_dir}"
        )
        if gigabytes > LARGE and self.frontend.layers > 1:
            text += "; --frontend.layers with fewer numbers, such as the middle ones, makes it smaller"
        below = [cut.sampling_rate for cut in self.cuts if 0 < cut.sampling_rate < rate]
        if below:
            text += (
                f"; {len(below)} of {len(self.cuts)} utterances are sampled below {rate} Hz, from {min(below)} Hz on, "
                "and leave the upper part of the band empty"
            )
        return text

    def prepare(self) -> None:
        """Make what all jobs need, so that they do not wait for each other: the bank of simulated rooms."""
        step = next((step for cut in self.cuts for step in cut.steps if "bank" in step), None)
        if step is not None:
            apply_transforms(
                np.ones(1, np.float32), self.frontend.sampling_rate, [step], self._augment, self._babble_pool
            )

    def compute(self, job: int, jobs: int) -> tuple[int, int]:
        """Compute a job's share of what is missing; of equal contents, one.

        Returns:
            How many were computed, and how many are there already, or are another process's.

        Raises:
            InputError: an audio file that cannot be read or has changed, or copies of other settings than `augment`'s.
        """
        cuts: dict[str, Cut] = {}
        for cut in self.cuts:
            cuts.setdefault(self.content_of(cut), cut)
        own = _buckets_of(job, jobs, cuts)
        share = {content: cut for content, cut in cuts.items() if bucket_of(content) in own}
        done = self.archives.entries()
        missing = [content for content in share if content not in done]
        _mark_used(done[content].place for content in share if content in done)
        self._check_unchanged([share[content] for content in missing])
        computed = 0
        with progress(text=self.frontend.name, unit="utt", total=len(missing), show=job == 1) as bar:
            for group in _whole_buckets(missing):
                with ExitStack() as locks:
                    # In rising order, as every process does, so that no two wait for each other.
                    for bucket in sorted({bucket_of(content) for content in group}):
                        locks.enter_context(bucket_lock(bucket_path(self.archives.folder, bucket)))
                    done = self.archives.entries()
                    todo = [content for content in group if content not in done]
                    bar.update(len(group) - len(todo))
                    for start in range(0, len(todo), ARCHIVE):
                        self._write_archive({key: share[key] for key in todo[start : start + ARCHIVE]}, bar)
                    computed += len(todo)
        return computed, len(share) - computed

    def finish(self) -> int:
        """Say where all features are: feats.scp, utt2num_frames, and lhotse's cuts with features.

        What is there is kept, but for the cuts where stage 1 or 2 has written its own again, maybe with other labels.

        Returns:
            The number of utterances and copies.

        Raises:
            InputError: some are missing.
        """
        source = digest(self.data_dir / "cuts.jsonl.gz")
        if self.finished:
            info = read_json(self.folder / "info.json")
            if info.get("source") != source:
                self._write_cuts(self.num_frames())
                write_json(self.folder / "info.json", {**info, "source": source})
            return len(self.cuts)
        entries = self.archives.entries()
        contents = {cut.id: self.content_of(cut) for cut in self.cuts}
        missing = [key for key, content in contents.items() if content not in entries]
        if missing:
            raise InputError(
                f"features of {len(missing)} of {len(self.cuts)} utterances are missing, {missing[0]} the first",
                self.folder,
                "see its log/, then run stage 3 again",
            )
        found = {key: entries[content] for key, content in contents.items()}
        frames = {key: entry.frames for key, entry in found.items()}
        write_table(self.folder / "feats.scp", {key: entry.place for key, entry in found.items()})
        write_table(self.folder / "utt2num_frames", {key: str(n) for key, n in frames.items()})
        self._write_cuts(frames)
        write_json(
            self.folder / "info.json",
            {
                "corpus": self.corpus_dir.name,
                "key": self.key,
                "version": VERSION,
                "features": self.frontend.identity(),
                "utterances": len(frames),
                "copies": self.copies,
                "frames": sum(frames.values()),
                "padded": [key for key, entry in found.items() if entry.padded],
                "source": source,
            },
        )
        return len(frames)

    def link(self) -> None:
        """Give the data dirs their feats.scp and utt2num_frames: that of stage 2, or all of the corpus by stage 1."""
        places = read_table(self.folder / "feats.scp")
        frames = read_table(self.folder / "utt2num_frames")
        if self.data_dir != self.corpus_dir:
            data_dirs = [self.data_dir]
        else:
            found = sorted(path.parent for path in self.data_dir.glob("*/*/utt2spk"))
            data_dirs = [folder for folder in found if not (folder / "cuts.jsonl.gz").is_file()]
        for folder in data_dirs:
            keys = list(read_table(folder / "utt2spk"))
            changed = False
            for name, table in (("feats.scp", places), ("utt2num_frames", frames)):
                path, text = folder / name, table_text({key: table[key] for key in keys})
                if not path.is_file() or path.read_text(encoding="utf-8") != text:
                    write_text(path, text)
                    changed = True
            if changed:
                validate(folder)
        _mark_used(places.values())

    def _check_finished(self) -> None:
        if not self.finished:
            raise InputError(f"no features of {self.data_dir} under these settings", self.folder, "run stage 3")

    @cached_property
    def _babble_pool(self) -> BabblePool:
        return BabblePool(self._originals, read_table(self.data_dir / "utt2spk"))

    @cached_property
    def _prepared(self) -> float:
        """When stage 1 had read the audio."""
        return min(p.stat().st_mtime for d in (self.corpus_dir, self.data_dir) if (p := d / "cuts.jsonl.gz").is_file())

    @cached_property
    def _augment(self) -> Augment:
        if self.augment is None:
            raise ValueError(f"{self.data_dir}: copies need `augment`")
        unknown = sorted({step["kind"] for cut in self.cuts for step in cut.steps} - self.augment.kinds.keys())
        if unknown:
            raise InputError(
                f"{unknown[0]} is not among augment.kinds", self.data_dir, "run stage 2 with these settings"
            )
        return self.augment

    def _write_archive(self, cuts: Mapping[str, Cut], bar: Any) -> None:
        """Compute cuts, by content, into an archive."""
        first = next(iter(cuts))
        path = bucket_path(self.archives.folder, bucket_of(first))
        about: dict[str, dict[str, Any]] = {}
        place = path.with_name(f"{path.name}.{digest(list(cuts))}.ark")
        with ArkWriter(place, self.frontend.storage, scp=False) as ark:
            for pack in batched_by_size(cuts.items(), lambda item: item[1].duration, PACK):
                samples = [self._samples(cut) for _, cut in pack]
                found = self.frontend.extract_all(samples)
                for (content, cut), x, values in zip(pack, samples, found, strict=True):
                    ark.write(content, values)
                    about[content] = {"frames": len(values), "utterance": cut.id}
                    if cut.original is not None:
                        about[content]["copy_of"] = cut.original
                    if len(x) < self.frontend.shortest:
                        about[content]["padded"] = True
                    bar.update()
        write_index(ark, self.frontend.identity(), about)

    def _samples(self, cut: Cut) -> np.ndarray:
        copied = () if cut.original is None else (self._augment, self._babble_pool)
        return samples_of(cut, self.frontend.sampling_rate, *copied)

    def _check_unchanged(self, cuts: Sequence[Cut]) -> None:
        """Compare the content of files that have been touched since stage 1 with what it read."""
        if any(cut.original is not None for cut in cuts):
            cuts = [*cuts, *self._originals.values()]  # of which babble may be made
        for path, audio in {cut.path: cut.audio_digest for cut in cuts}.items():
            if path.is_file() and path.stat().st_ctime >= self._prepared and digest(path) != audio:
                raise InputError("has changed since it was prepared", path, "run stage 1 with --recheck true")

    def _write_cuts(self, frames: dict[str, int]) -> None:
        import lhotse

        frontend = self.frontend
        copies = {cut.id for cut in self.cuts if cut.original is not None}
        cuts = []
        for cut in lhotse.CutSet.from_file(self.data_dir / "cuts.jsonl.gz"):
            # As long as its frames, as lhotse wants it: what is left over after the last one has no features.
            duration = round(frames[cut.id] * frontend.frame_shift / frontend.sampling_rate, 6)
            if cut.id in copies:
                # Its audio is nowhere; what was done to it is in the custom fields of its supervision.
                own = replace(cut.supervisions[0], recording_id=cut.id, start=0, duration=duration, channel=0)
                cut = lhotse.MonoCut(cut.id, 0, duration, 0, supervisions=[own])
            else:
                short = min(duration, cut.duration)
                cut = cut.resample(frontend.sampling_rate).truncate(duration=short, preserve_id=True)
            features = lhotse.Features(
                type=frontend.name,
                num_frames=frames[cut.id],
                num_features=frontend.width,
                frame_shift=frontend.frame_shift / frontend.sampling_rate,
                sampling_rate=frontend.sampling_rate,
                start=cut.start,
                duration=duration,
                storage_type="kaldiio",
                storage_path=str((self.folder / "feats.scp").resolve()),
                storage_key=cut.id,
                recording_id=cut.supervisions[0].recording_id,
                channels=cut.channel,
            )
            cuts.append(replace(cut, features=features))
        with atomic_path(self.folder / "cuts.jsonl.gz") as temporary:
            lhotse.CutSet.from_cuts(cuts).to_file(temporary)


@parsed_once
def _read_frames(path: Path) -> dict[str, int]:
    return {key: int(value) for key, value in read_table(path).items()}


def samples_of(cut: Cut, rate: int, augment: Augment | None = None, pool: BabblePool | None = None) -> np.ndarray:
    """Read a cut, its channels mixed down or one of them, resample, do what is done to a copy.

    Args:
        rate: in Hz, of the samples.
        augment: what the copy was drawn with; of an original, None.
        pool: the training utterances of the corpus, also for a copy alone.

    Returns:
        float32, (samples,).
    """
    samples = _read(cut._replace(id="", original=None, steps=()), rate)
    if augment is not None and pool is not None:
        try:
            samples = apply_transforms(samples, rate, cut.steps, augment, pool)
        except TooShort as error:
            raise InputError(f"{cut.id}: {error}", cut.path, "take that kind out of augment.kinds") from None
    return samples


@lru_cache(maxsize=1)
def _read(cut: Cut, rate: int) -> np.ndarray:
    samples, own_rate = read_cut(cut)
    return resample(samples, own_rate, rate)


def _audio(cut: Cut) -> list[Any]:
    """What names the audio of an utterance; a channel only where one was chosen."""
    return [cut.audio_digest, cut.start, cut.duration, *([] if cut.channel is None else [cut.channel])]


def _content(cut: Cut) -> list[Any]:
    """What an utterance or copy sounds like follows from this."""
    return [*_audio(cut), *([] if cut.original is None else [COPIES_VERSION, cut.steps])]


def _buckets_of(job: int, jobs: int, cuts: Mapping[str, Cut]) -> set[int]:
    """The buckets of a job, so that all jobs have as many seconds of audio as whole buckets allow."""
    seconds: dict[int, float] = defaultdict(float)
    for content, cut in cuts.items():
        seconds[bucket_of(content)] += cut.duration
    loads, own = [0.0] * jobs, set()
    for bucket, size in sorted(seconds.items(), key=lambda item: (-item[1], item[0])):  # the largest first
        least = loads.index(min(loads))
        loads[least] += size
        if least == job - 1:
            own.add(bucket)
    return own


def _whole_buckets(contents: Sequence[str]) -> Iterator[list[str]]:
    """Parts of some contents, in their order; each is of whole buckets, and an archive or more but for the last."""
    order = {content: number for number, content in enumerate(contents)}
    part: list[str] = []
    for _, bucket in groupby(sorted(contents, key=bucket_of), bucket_of):
        part += bucket
        if len(part) >= ARCHIVE:
            yield sorted(part, key=order.__getitem__)
            part = []
    if part:
        yield sorted(part, key=order.__getitem__)


def _mark_used(places: Iterable[str]) -> None:
    """Note in the time of its index that an archive is of use, so that it is not removed as old."""
    for archive in {place.rpartition(":")[0] for place in places}:
        with suppress(OSError):  # another person's
            os.utime(Path(archive).with_suffix(".json"))
