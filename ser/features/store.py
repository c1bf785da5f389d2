"""The feature store, dump/<corpus>/: features are computed once and shared by all recipes.

Features are found by digests, so they are never out of date. The content digest of an utterance or copy covers audio,
settings and version of the code (see index.py). A set has the features of a data dir; its key covers all contents and
ids. A set contains only the positions of the features in the archives.
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
from ser.corpora.known_files import read_versions
from ser.corpora.utterance import version_of
from ser.features.archive import ArkReader, ArkWriter, read_scp
from ser.features.index import Archives, bucket_lock, bucket_of, bucket_path, check_archive, local_copy, write_index
from ser.frontends import Frontend

# Utterances per archive: finished archives remain when a job is stopped or fails.
ARCHIVE_UTTERANCES = 500
# Seconds of audio per batch of the front end.
BATCH_SECONDS = 30
# Gigabytes above which the estimate suggests how to save space.
LARGE = 20
# Part of the key: raise it when the same audio and settings give other features.
VERSION = 1


class FeatureStore:
    """The features of one data dir under one configuration.

    Args:
        dump_dir: root of the store.
        data_dir: data/<corpus>, written by stage 1, or its <split>_fold<k>/train_<digest>, written by stage 2.
        frontend: computes the features.
        augment: transforms of the copies; required only to compute features of copies.
        local: folder on a local disk to which archives are copied before they are read; "": read them in place.

    Attributes:
        cuts: utterances and copies.
        key: digest of the set.
        folder: of the set.
        settings: digest of the configuration.
    """

    def __init__(
        self, dump_dir: Path, data_dir: Path, frontend: Frontend, augment: Augment | None = None, local: str = ""
    ) -> None:
        self.dump_dir, self.data_dir, self.frontend, self.augment = dump_dir, data_dir, frontend, augment
        self.local = Path(local) if local else None
        self.cuts = read_cuts(data_dir / "cuts.jsonl.gz")
        self._originals = {cut.id: cut for cut in self.cuts if cut.original is None}
        # A data dir of stage 2 is two levels below the folder of the corpus.
        self.corpus_dir = data_dir.absolute().parents[1] if (data_dir / "utt2spk").is_file() else data_dir
        # The key includes the storage, because two bytes round the values.
        self.key = digest(VERSION, frontend.identity(), [[cut.id, *_content(cut)] for cut in self.cuts])
        self.folder = dump_dir / self.corpus_dir.name / self.key
        self.settings = digest(VERSION, frontend.identity())
        self.archives = Archives(dump_dir / self.corpus_dir.name / "archives" / self.settings)

    @property
    def copies(self) -> int:
        """The number of copies among the cuts."""
        return len(self.cuts) - len(self._originals)

    @property
    def finished(self) -> bool:
        """Whether the set is complete and its archives are in this store, which may have been moved."""
        scp = self.folder / "feats.scp"
        if not (self.folder / "info.json").is_file() or not scp.is_file():
            return False
        root = self.dump_dir.resolve()
        archives = map(Path, {path for path, _ in read_scp(scp)[0].values()})
        return all(path.is_file() and path.is_relative_to(root) for path in archives)

    def reader(self) -> ArkReader:
        """Open the features.

        Raises:
            InputError: the set is not complete.
        """
        self._check_finished()
        reader = ArkReader(self.folder / "feats.scp", check_archive)
        if self.local is not None:
            archives = {path for path, _ in reader.positions.values()}
            copies = {path: str(local_copy(Path(path), self.local)) for path in archives}
            reader.positions = {key: (copies[path], offset) for key, (path, offset) in reader.positions.items()}
        return reader

    def num_frames(self) -> dict[str, int]:
        """Read utt2num_frames.

        Raises:
            InputError: the set is not complete.
        """
        self._check_finished()
        return _read_frames(self.folder / "utt2num_frames")

    def padded(self) -> list[str]:
        """Ids of utterances and copies that are shorter than one frame."""
        return list(read_json(self.folder / "info.json").get("padded", []))

    def content_of(self, cut: Cut) -> str:
        """The content digest of an utterance or copy.

        The digests of an utterance and its copies begin alike, so that one job has them in one bucket and reads the
        audio once.
        """
        return digest(_audio(cut))[:2] + digest(self.settings, _content(cut))[2:]

    def estimate(self) -> str:
        """Describe the size of the features; if it is large, suggest how to reduce it."""
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
        low_rates = [cut.sampling_rate for cut in self.cuts if 0 < cut.sampling_rate < rate]
        if low_rates:
            text += (
                f"; {len(low_rates)} of {len(self.cuts)} utterances are sampled below {rate} Hz, "
                f"from {min(low_rates)} Hz on, and leave the upper part of the band empty"
            )
        return text

    def prepare(self) -> None:
        """Begin the set before the jobs start: an earlier one becomes unfinished, and rooms are simulated once."""
        (self.folder / "info.json").unlink(missing_ok=True)
        step = next((step for cut in self.cuts for step in cut.steps if "bank" in step), None)
        if step is not None:
            apply_transforms(
                np.ones(1, np.float32), self.frontend.sampling_rate, [step], self._augment, self._babble_pool
            )

    def compute(self, job: int, jobs: int) -> tuple[int, int]:
        """Compute the share of a job of the missing features; equal contents are computed once.

        Args:
            job: number of the job, from 1.
            jobs: number of jobs.

        Returns:
            The number of computed contents, and of those that exist already or that another process computed.

        Raises:
            InputError: an audio file cannot be read or has changed, or copies have other transforms than `augment`.
        """
        cuts: dict[str, Cut] = {}
        for cut in self.cuts:
            cuts.setdefault(self.content_of(cut), cut)
        buckets = _buckets_of(job, jobs, cuts)
        share = {content: cut for content, cut in cuts.items() if bucket_of(content) in buckets}
        done = self.archives.entries()
        missing = [content for content in share if content not in done]
        _mark_used(done[content].rxfilename for content in share if content in done)
        self._check_unchanged([share[content] for content in missing])
        computed = 0
        with progress(text=self.frontend.name, unit="utt", total=len(missing), show=job == 1) as bar:
            for group in _bucket_groups(missing):
                with ExitStack() as locks:
                    # In ascending order in every process, to avoid deadlocks.
                    for bucket in sorted({bucket_of(content) for content in group}):
                        locks.enter_context(bucket_lock(bucket_path(self.archives.folder, bucket)))
                    done = self.archives.entries()
                    todo = [content for content in group if content not in done]
                    bar.update(len(group) - len(todo))
                    for start in range(0, len(todo), ARCHIVE_UTTERANCES):
                        self._write_archive({key: share[key] for key in todo[start : start + ARCHIVE_UTTERANCES]}, bar)
                    computed += len(todo)
        return computed, len(share) - computed

    def finish(self) -> int:
        """Write the set: feats.scp, utt2num_frames, and cuts of lhotse with features.

        A complete set is kept, except for the cuts if stage 1 or 2 has written cuts again, for example with new labels.

        Returns:
            The number of utterances and copies.

        Raises:
            InputError: features are missing.
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
        entry_of = {key: entries[content] for key, content in contents.items()}
        frames = {key: entry.frames for key, entry in entry_of.items()}
        write_table(self.folder / "feats.scp", {key: entry.rxfilename for key, entry in entry_of.items()})
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
                "padded": [key for key, entry in entry_of.items() if entry.padded],
                "source": source,
            },
        )
        return len(frames)

    def link(self) -> None:
        """Write feats.scp and utt2num_frames to the data dirs: that of stage 2, or all of stage 1 of the corpus."""
        scp = read_table(self.folder / "feats.scp")
        frames = read_table(self.folder / "utt2num_frames")
        if self.data_dir != self.corpus_dir:
            data_dirs = [self.data_dir]
        else:
            folders = sorted(path.parent for path in self.data_dir.glob("*/*/utt2spk"))
            data_dirs = [folder for folder in folders if not (folder / "cuts.jsonl.gz").is_file()]
        for folder in data_dirs:
            keys = list(read_table(folder / "utt2spk"))
            changed = False
            for name, table in (("feats.scp", scp), ("utt2num_frames", frames)):
                path, text = folder / name, table_text({key: table[key] for key in keys})
                if not path.is_file() or path.read_text(encoding="utf-8") != text:
                    write_text(path, text)
                    changed = True
            if changed:
                validate(folder)
        _mark_used(scp.values())

    def _check_finished(self) -> None:
        if not self.finished:
            raise InputError(f"no features of {self.data_dir} under these settings", self.folder, "run stage 3")

    @cached_property
    def _babble_pool(self) -> BabblePool:
        return BabblePool(self._originals, read_table(self.data_dir / "utt2spk"))

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
        """Compute the features of cuts, by content digest, and write them to an archive."""
        first = next(iter(cuts))
        path = bucket_path(self.archives.folder, bucket_of(first))
        entries: dict[str, dict[str, Any]] = {}
        archive = path.with_name(f"{path.name}.{digest(list(cuts))}.ark")
        with ArkWriter(archive, self.frontend.storage, scp=False) as ark:
            for batch in batched_by_size(cuts.items(), lambda item: item[1].duration, BATCH_SECONDS):
                samples = [self._read_samples(cut) for _, cut in batch]
                features = self.frontend.extract_all(samples)
                for (content, cut), x, values in zip(batch, samples, features, strict=True):
                    ark.write(content, values)
                    entries[content] = {"frames": len(values), "utterance": cut.id}
                    if cut.original is not None:
                        entries[content]["copy_of"] = cut.original
                    if len(x) < self.frontend.shortest:
                        entries[content]["padded"] = True
                    bar.update()
        write_index(ark, self.frontend.identity(), entries)

    def _read_samples(self, cut: Cut) -> np.ndarray:
        augmentation = () if cut.original is None else (self._augment, self._babble_pool)
        return read_samples(cut, self.frontend.sampling_rate, *augmentation)

    def _check_unchanged(self, cuts: Sequence[Cut]) -> None:
        """Check that audio files whose size or times are no longer as in stage 1 still have the same content."""
        if any(cut.original is not None for cut in cuts):
            cuts = [*cuts, *self._originals.values()]  # babble may be made of any of them
        versions = read_versions(self.corpus_dir)
        for path, audio in {cut.path: cut.audio_digest for cut in cuts}.items():
            if path.is_file() and version_of(path.stat()) != versions.get(str(path)) and digest(path) != audio:
                raise InputError("has changed since it was prepared", path, "run stage 1 with --recheck true")

    def _write_cuts(self, frames: dict[str, int]) -> None:
        import lhotse

        frontend = self.frontend
        copies = {cut.id for cut in self.cuts if cut.original is not None}
        cuts = []
        for cut in lhotse.CutSet.from_file(self.data_dir / "cuts.jsonl.gz"):
            # lhotse requires the duration of the frames: samples after the last frame have no features.
            duration = round(frames[cut.id] * frontend.frame_shift / frontend.sampling_rate, 6)
            if cut.id in copies:
                # A copy has no audio file; its transforms are in the custom fields of its supervision.
                supervision = replace(cut.supervisions[0], recording_id=cut.id, start=0, duration=duration, channel=0)
                cut = lhotse.MonoCut(cut.id, 0, duration, 0, supervisions=[supervision])
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


def read_samples(cut: Cut, rate: int, augment: Augment | None = None, pool: BabblePool | None = None) -> np.ndarray:
    """Read the samples of a cut, mono and resampled, and apply the transforms of a copy.

    Args:
        cut: an utterance or copy.
        rate: sampling rate of the samples, in Hz.
        augment: the transforms in use, for a copy.
        pool: the training utterances of the corpus, for a copy.

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
    return resample(*read_cut(cut), rate)


def _audio(cut: Cut) -> list[Any]:
    """The values that identify the audio of an utterance, with the channel if one was chosen."""
    return [cut.audio_digest, cut.start, cut.duration, *([] if cut.channel is None else [cut.channel])]


def _content(cut: Cut) -> list[Any]:
    """The values that determine the samples of an utterance or copy."""
    return [*_audio(cut), *([] if cut.original is None else [COPIES_VERSION, cut.steps])]


def _buckets_of(job: int, jobs: int, cuts: Mapping[str, Cut]) -> set[int]:
    """Choose the buckets of a job so that all jobs have similar amounts of audio."""
    seconds: dict[int, float] = defaultdict(float)
    for content, cut in cuts.items():
        seconds[bucket_of(content)] += cut.duration
    loads, buckets = [0.0] * jobs, set()
    for bucket, size in sorted(seconds.items(), key=lambda item: (-item[1], item[0])):  # the largest first
        least = loads.index(min(loads))
        loads[least] += size
        if least == job - 1:
            buckets.add(bucket)
    return buckets


def _bucket_groups(contents: Sequence[str]) -> Iterator[list[str]]:
    """Group contents by whole buckets, in their order; each group but the last fills at least one archive."""
    order = {content: number for number, content in enumerate(contents)}
    group: list[str] = []
    for _, bucket in groupby(sorted(contents, key=bucket_of), bucket_of):
        group += bucket
        if len(group) >= ARCHIVE_UTTERANCES:
            yield sorted(group, key=order.__getitem__)
            group = []
    if group:
        yield sorted(group, key=order.__getitem__)


def _mark_used(rxfilenames: Iterable[str]) -> None:
    """Update the modification time of the index of each archive, so that it is not removed as unused."""
    for archive in {name.rpartition(":")[0] for name in rxfilenames}:
        with suppress(OSError):  # it may belong to another user
            os.utime(Path(archive).with_suffix(".json"))
