"""dump/<corpus>/<key>/: features computed once, shared by every recipe, never stale.

The key names everything that decides the features: which stretches of which audio, the settings, and the version of
the code. So an entry never changes, and nothing has to be told that it is out of date.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ser.audio import resample
from ser.common import InputError, atomic_path, digest, write_json, write_text
from ser.common.progress import progress
from ser.config import Features
from ser.corpora.cuts import Cut, read_cut, read_cuts
from ser.corpora.kaldi import read_table, table_text, validate, write_table
from ser.features.archive import ArkReader, ArkWriter
from ser.features.stft import log_stft

# Utterances an archive: what is whole stays when a job is stopped or fails.
ARCHIVE = 500
# Part of the key: raise it when the same audio and settings give other values.
VERSION = 1


class FeatureStore:
    """The features of one corpus under one configuration.

    Args:
        dump_dir: root of the store.
        data_dir: data/<corpus>, written by stage 1.
    """

    def __init__(self, dump_dir: Path, data_dir: Path, config: Features) -> None:
        self.config = config
        self.data_dir = data_dir
        self.cuts = read_cuts(data_dir / "cuts.jsonl.gz")
        # Storage is how values are kept, and part of the key because two bytes round them.
        self.key = digest(VERSION, asdict(config), [_name(cut) for cut in self.cuts])
        self.folder = dump_dir / data_dir.name / self.key

    @property
    def finished(self) -> bool:
        """Whether all is there, and in this place: a folder that was moved is joined anew from its parts."""
        scp = self.folder / "feats.scp"
        if not (self.folder / "info.json").is_file() or not scp.is_file():
            return False
        archives = {value.rpartition(":")[0] for value in read_table(scp).values()}
        return all(Path(a).is_file() and Path(a).parent == self.folder.resolve() for a in archives)

    def reader(self) -> ArkReader:
        """Open the features.

        Raises:
            InputError: they are not all there.
        """
        self._check_finished()
        return ArkReader(self.folder / "feats.scp")

    def num_frames(self) -> dict[str, int]:
        """utt2num_frames.

        Raises:
            InputError: the features are not all there.
        """
        self._check_finished()
        return {key: int(value) for key, value in read_table(self.folder / "utt2num_frames").items()}

    def compute(self, job: int, jobs: int) -> tuple[int, int]:
        """Compute a job's share of what is missing.

        Returns:
            How many were computed, and how many this job finds done already.
        """
        share = self.cuts[job - 1 :: jobs]
        done = self._places().keys()
        todo = [cut for cut in share if cut.id not in done]
        with progress(text="log-STFT", unit="utt", total=len(todo), show=job == 1) as bar:
            for start in range(0, len(todo), ARCHIVE):
                chunk = todo[start : start + ARCHIVE]
                name = f"feats.{job}of{jobs}.{digest([cut.id for cut in chunk])}.ark"
                with ArkWriter(self.folder / name, self.config.storage) as writer:
                    for cut in chunk:
                        writer.write(cut.id, features_of(cut, self.config))
                        bar.update()
        return len(todo), len(share) - len(todo)

    def finish(self) -> int:
        """Count the jobs' outputs and join them: feats.scp, utt2num_frames, cuts.jsonl.gz with features.

        Returns:
            The number of utterances.

        Raises:
            InputError: some are missing.
        """
        places = self._places()
        missing = [cut.id for cut in self.cuts if cut.id not in places]
        if missing:
            raise InputError(
                f"{self.folder}: features of {len(missing)} of {len(self.cuts)} utterances are missing, "
                f"{missing[0]} the first; see its log/, then run stage 3 again"
            )
        write_table(self.folder / "feats.scp", {cut.id: places[cut.id] for cut in self.cuts})
        reader = ArkReader(self.folder / "feats.scp")
        frames = {cut.id: reader.shape(cut.id)[0] for cut in self.cuts}
        write_table(self.folder / "utt2num_frames", {key: str(n) for key, n in frames.items()})
        self._write_cuts(frames)
        write_json(
            self.folder / "info.json",
            {
                "corpus": self.data_dir.name,
                "key": self.key,
                "version": VERSION,
                "features": asdict(self.config),
                "utterances": len(frames),
                "frames": sum(frames.values()),
            },
        )
        return len(frames)

    def link(self) -> None:
        """Give every Kaldi data dir of the corpus its feats.scp and utt2num_frames."""
        places = read_table(self.folder / "feats.scp")
        frames = read_table(self.folder / "utt2num_frames")
        for utt2spk in sorted(self.data_dir.glob("*/*/utt2spk")):
            keys = list(read_table(utt2spk))
            changed = False
            for name, table in (("feats.scp", places), ("utt2num_frames", frames)):
                path, text = utt2spk.with_name(name), table_text({key: table[key] for key in keys})
                if not path.is_file() or path.read_text(encoding="utf-8") != text:
                    write_text(path, text)
                    changed = True
            if changed:
                validate(utt2spk.parent)

    def _check_finished(self) -> None:
        if not self.finished:
            raise InputError(f"{self.folder}: no features of {self.data_dir} under these settings; run stage 3")

    def _places(self) -> dict[str, str]:
        """Where the features of each utterance lie, of all archives that are whole."""
        places: dict[str, str] = {}
        for scp in sorted(self.folder.glob("feats.*of*.scp")):
            archive = scp.with_suffix(".ark").resolve()
            if archive.is_file():
                places |= {key: f"{archive}:{value.rpartition(':')[2]}" for key, value in read_table(scp).items()}
        return places

    def _write_cuts(self, frames: dict[str, int]) -> None:
        import lhotse

        config = self.config
        cuts = []
        for cut in lhotse.CutSet.from_file(self.data_dir / "cuts.jsonl.gz"):
            # As long as its frames, as lhotse wants it: what is left over after the last one has no features.
            duration = round(frames[cut.id] * config.frame_shift / config.sampling_rate, 6)
            features = lhotse.Features(
                type="log-stft",
                num_frames=frames[cut.id],
                num_features=config.bins,
                frame_shift=config.frame_shift / config.sampling_rate,
                sampling_rate=config.sampling_rate,
                start=cut.start,
                duration=duration,
                storage_type="kaldiio",
                storage_path=str((self.folder / "feats.scp").resolve()),
                storage_key=cut.id,
                recording_id=cut.recording.id,
                channels=cut.channel,
            )
            cut = cut.resample(config.sampling_rate).truncate(duration=duration, preserve_id=True)
            cuts.append(replace(cut, features=features))
        with atomic_path(self.folder / "cuts.jsonl.gz") as temporary:
            lhotse.CutSet.from_cuts(cuts).to_file(temporary)


def _name(cut: Cut) -> tuple[object, ...]:
    """What the key holds of a cut; a channel only where one was chosen."""
    return cut.id, cut.audio_digest, cut.start, cut.duration, *([] if cut.channel is None else [cut.channel])


def features_of(cut: Cut, config: Features) -> np.ndarray:
    """Read a cut, its channels mixed down or one of them, resample, transform: float32, (frames, bins)."""
    samples, rate = read_cut(cut)
    try:
        return log_stft(resample(samples, rate, config.sampling_rate), config)
    except InputError as error:
        raise InputError(f"{cut.path}: {cut.id}: {error}; name it under `drop` in the corpus's protocol") from None
