"""The timeline of a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from ser.audio import audio_info
from ser.common import InputError
from ser.diarization.decoders import Decoder
from ser.diarization.segments import Channel, Timeline, decode_segments
from ser.diarization.settings import NO_SPEECH, Settings
from ser.diarization.windows import ChannelStatistics, read_levels, running_stats_factory, score_windows
from ser.inference.base import BasePredictor
from ser.inference.predict.inputs import Source, with_speakers


def make_timeline(
    path: Path,
    predictor: BasePredictor,
    settings: Settings,
    decoder: Decoder,
    speakers: Mapping[int, ChannelStatistics] = MappingProxyType({}),
    precision: float | None = None,
) -> Timeline:
    """The timeline of a recording.

    Args:
        speakers: by channel, from 0, what `speaker_statistics` gave of its speaker.
        precision: on validation; segments below the confidence that it asks for get no label. None: all get one.

    Raises:
        InputError: the file cannot be read, its name is not UTF-8, or the precision was not reached on validation.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise InputError("its name is not UTF-8 text", path, "rename it, such as with `convmv`") from None
    recording = read_levels(path, predictor.sampling_rate, settings.hop)
    channels, warnings = [], []
    for windows in score_windows(path, predictor, settings, recording, speakers=speakers):
        statistics, number = windows.statistics, windows.channel
        confidence = predictor.confidence(statistics.from_input, precision)
        segments, score = decode_segments(windows, settings, decoder, recording.duration, confidence)
        posteriors = windows.calibrated(confidence.temperature)
        levels, extremes = recording.levels[number], recording.extremes[number]
        channels.append(Channel(number + 1, segments, score, posteriors, levels, extremes, statistics, confidence))
        if running_stats_factory(predictor, settings) and not statistics.from_input:
            whose = f"speaker {statistics.speaker}" if statistics.speaker else channels[-1].name
            warnings.append(
                f"{whose}: {statistics.seconds:.1f} s of speech, and statistics of a speaker need "
                f"{settings.statistics_minimum:g} s (--statistics-minimum): those of the training speakers are used, "
                "with which labels are worth less; give a longer recording, or name the speaker of several (--utt2spk)"
            )
    if settings.normalisation == "channel" and predictor.grouped and predictor.running_stats is None:
        warnings.append(
            "a graph takes no statistics of the recording: those of the training speakers are used, with which labels "
            "are worth less; give the model package"
        )
    classes = (*predictor.classes, NO_SPEECH)
    return Timeline(
        path.stem, recording.duration, recording.hop, classes, tuple(channels), tuple(dict.fromkeys(warnings))
    )


def read_speakers(utt2spk: Path, recordings: Sequence[Path]) -> dict[Path, dict[int, str]]:
    """Speakers of recordings as a table names them: channel, from 0, to speaker; a file that cannot be read has none.

    Lines are `<file> <speaker>`, of a file of one channel, or `<file>:<channel> <speaker>`, with channels from 1, as
    timelines number them.

    Raises:
        InputError: the table cannot be read, names one twice or none, or one speaker of a file of several channels.
    """
    sources = []
    for path in recordings:
        with suppress(InputError):
            names = [f"{path}:{number + 1}" for number in range(audio_info(path).num_channels)]
            sources += [(path, None, Source(str(path))), *((path, c, Source(name)) for c, name in enumerate(names))]
    speakers: dict[Path, dict[int, str]] = {}
    named = with_speakers([source for _, _, source in sources], utt2spk)
    for (path, channel, _), source in zip(sources, named, strict=True):
        if not source.speaker:
            continue
        if channel is None and audio_info(path).num_channels > 1:
            raise InputError(f"{path} has several channels", utt2spk, f"name the speaker of each: {path}:1 <speaker>")
        speakers.setdefault(path, {})[channel or 0] = source.speaker
    return speakers
