"""Suffixes of audio files that `read_audio` decodes, by library or program, and of those that it cannot decode.

The format is determined by the content. The suffix only tells which files of a folder are audio files.
"""

from __future__ import annotations


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


# Read by libsndfile, which the wheels of soundfile include; without .mat and .htk, which are matrices and features.
_LIBSNDFILE = _suffixes(
    "wav wave bwf rf64 w64 aiff aif aifc au snd caf flac ogg oga opus mp3 gsm sph nist wv1 wv2 voc avr paf fap pvf "
    "8svx svx ircam sf wve xi"
)
# Read by the program sox if it is installed, otherwise by ffmpeg; without both, reading is an InputError.
_SOX = _suffixes("amr awb wv amb maud prc smp sndt")

READABLE_SUFFIXES = _LIBSNDFILE | _SOX
"""Lower-case suffixes, with dot, of audio files as in corpora, which `read_audio` decodes."""

FFMPEG_SUFFIXES = _suffixes(
    "m4a m4b m4r m4v mp4 3gp 3gpp 3ga 3g2 mov qt aac adts webm weba mkv mka wma wmv asf avi flv f4v f4a mpg mpeg mpa "
    "mp1 mp2 m2ts mts vob ogv ogx ac3 eac3 dts ape mpc tta tak spx ra ram rm rmvb dsf dff shn"
)
"""Suffixes of audio and video that `read_audio` decodes with the program ffmpeg."""

UNREADABLE_SUFFIXES = _suffixes(
    "ofr sd2 sds txw hcom "
    # Without a header, so that rate and encoding are unknown.
    "raw pcm vox sln ul ulaw al alaw la lu cvs cvsd lpc lpc10 g722 g723 g726 g729 adpcm"
)
"""Suffixes of audio that must be converted before it can be read."""

AUDIO_SUFFIXES = READABLE_SUFFIXES | FFMPEG_SUFFIXES | UNREADABLE_SUFFIXES
"""All suffixes of audio files."""
