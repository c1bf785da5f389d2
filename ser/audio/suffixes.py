"""File name suffixes of audio: what `read_audio` decodes, by which library or program, and what it cannot decode.

The content alone decides what a file is; its name decides whether a file of a folder is meant to be audio at all.
"""

from __future__ import annotations


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


# Read by libsndfile, which soundfile's wheels bring along; without .mat and .htk, which are matrices and features.
_LIBSNDFILE = _suffixes(
    "wav wave bwf rf64 w64 aiff aif aifc au snd caf flac ogg oga opus mp3 gsm sph nist wv1 wv2 voc avr paf fap pvf "
    "8svx svx ircam sf wve xi"
)
# Read by the program sox where it is installed; where it is not, by ffmpeg, or reading is an InputError.
_SOX = _suffixes("amr awb wv amb maud prc smp sndt")

READABLE_SUFFIXES = _LIBSNDFILE | _SOX
"""Lower-case suffixes with their dot of sound files, as corpora are made of them, that `read_audio` decodes."""

FFMPEG_SUFFIXES = _suffixes(
    "m4a m4b m4r m4v mp4 3gp 3gpp 3ga 3g2 mov qt aac adts webm weba mkv mka wma wmv asf avi flv f4v f4a mpg mpeg mpa "
    "mp1 mp2 m2ts mts vob ogv ogx ac3 eac3 dts ape mpc tta tak spx ra ram rm rmvb dsf dff shn"
)
"""Of audio and video that `read_audio` decodes by the program ffmpeg; without that, it names what to install."""

UNREADABLE_SUFFIXES = _suffixes(
    "ofr sd2 sds txw hcom "
    # Without a header: neither rate nor encoding is written in them.
    "raw pcm vox sln ul ulaw al alaw la lu cvs cvsd lpc lpc10 g722 g723 g726 g729 adpcm"
)
"""Of audio that has to be converted before it can be read."""

AUDIO_SUFFIXES = READABLE_SUFFIXES | FFMPEG_SUFFIXES | UNREADABLE_SUFFIXES
"""All of them: files so named are meant to be audio."""
