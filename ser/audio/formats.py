"""Recognise the format of a file by its content; find second recordings in a file."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ser.common import InputError


class AudioInfo(NamedTuple):
    """Values of the header of a file.

    Attributes:
        sampling_rate: in Hz.
        num_samples: per channel.
        num_channels: number of channels.
    """

    sampling_rate: int
    num_samples: int
    num_channels: int


# Programs that write to a pipe write 0 as the size of RIFF, or the largest possible number minus some header.
PIPED_SIZES = (range(1), range(0x7FFFEF00, 0x80000001), range(0xFFFFEF00, 0x100000000))


RIFF = re.compile(rb"RIFF....WAVE", re.DOTALL)


class UnknownFormat(Exception):
    """A program cannot read the format of a file."""


# Beginnings of formats of which libsndfile and sox read only the first of several joined files. RIFF is read chunk by
# chunk (wav.py); FLAC, Ogg and MP3 have their own modules.
_BEGINNINGS = [
    re.compile(pattern, re.DOTALL)
    for pattern in (
        rb"(?:RIFX|RF64|FFIR)....WAVE",
        rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb",  # W64
        rb"FORM....(?:AIF[FC]|8SVX|16SV|MAUD)",
        rb"\.snd\x00\x00[\x00-\x0f].{5}\x00\x00\x00[\x01-\x1f]",
        rb"dns\..[\x00-\x0f]\x00\x00.{4}[\x01-\x1f]\x00\x00\x00",
        rb"caff\x00\x01\x00\x00desc",
        rb"NIST_1A\n   1024\n",
        rb"Creative Voice File\x1a",
        rb"2BIT.{8}\0",  # AVR
        rb" paf\0\0\0\0|fap \0\0\0\0",
        rb"PVF1\n",
        rb"Extended Instrument: ",
        rb"ALawSoundFile\*\*",
        rb"#!AMR(?:-WB)?\n",
        # WavPack: a first block, by its index and its flags.
        rb"wvpk....[\x02-\x10]\x04.{6}\x00{4}.{5}[" + re.escape(bytes(b for b in range(256) if b & 8)) + rb"]",
    )
]


def damaged(what: str, where: Path | str) -> InputError:
    """Make the error for a damaged file."""
    return InputError(what, where, "replace it by an intact copy")


def check_single(path: Path, data: mmap.mmap) -> None:
    """Check that a file has only one recording.

    Raises:
        InputError: a second recording begins; the message has the byte.
    """
    pattern = next((pattern for pattern in _BEGINNINGS if pattern.match(data)), None)
    if pattern:
        at = second.start() if (second := pattern.search(data, 4)) else -1
    else:  # another format: search for its first 16 bytes
        head = data[:16]
        text = all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in data[:256])
        at = data.find(head, 16) if len(set(head)) > 5 and not text and path.suffix.lower() != ".gsm" else -1
    if at != -1:
        raise joined(path, at)


def check_no_wav(path: Path, data: mmap.mmap) -> None:
    """Check that no wav follows in a compressed file, of which decoders would take no notice.

    Raises:
        InputError: one begins; the message has the byte.
    """
    if second := RIFF.search(data, 4):
        raise joined(path, second.start())


def begins_as_audio(data: mmap.mmap) -> bool:
    """Whether a file begins like one of the formats above."""
    return any(pattern.match(data) for pattern in _BEGINNINGS)


def joined(path: Path, at: int) -> InputError:
    """Make the error for a file with a second recording that begins at a byte."""
    return InputError(f"a second recording begins at byte {at}", path, "split the file there, or convert each with sox")


# Beginnings of formats that only ffmpeg reads, including video.
_CONTAINERS = re.compile(
    rb"....(?:ftyp|moov|mdat|wide)"  # MP4, M4A, 3GP, QuickTime
    rb"|\x1aE\xdf\xa3"  # Matroska, WebM
    rb"|RIFF....AVI "
    rb"|\x30\x26\xb2\x75\x8e\x66\xcf\x11"  # ASF: WMA, WMV
    rb"|FLV\x01"
    rb"|\x00\x00\x01[\xba\xb3]"  # MPEG program stream
    rb"|(?:.{4})?\x47.{187}(?:.{4})?\x47.{187}"  # MPEG transport stream, with or without time codes
    rb"|\xff[\xf0\xf1\xf8\xf9]"  # AAC in ADTS
    rb"|\xff[\xfc\xfd\xff\xf4-\xf7][\x10-\xef]"  # MPEG audio, layers I and II
    rb"|\x0b\x77"  # AC-3
    rb"|\x7f\xfe\x80\x01|\xfe\x7f\x01\x80"  # DTS
    rb"|OggS.{24,120}?(?:Speex   |\x80theora)"
    rb"|MAC |MP\+|MPCK|TTA1|tBaK|\.RMF\x00|\.ra\xfd|DSD |FRM8|ajkg",
    re.DOTALL,
)


def is_container(path: Path) -> bool:
    """Whether a file has a format that only ffmpeg reads."""
    with path.open("rb") as file:
        return _CONTAINERS.match(file.read(512)) is not None


def check_container(path: Path, data: mmap.mmap) -> None:
    """Check what ffmpeg does not report: an AVI that is cut off, and a second recording in MP4, ASF or TTA.

    Args:
        path: of the file.
        data: its bytes.

    Raises:
        InputError: the file is truncated or has a second recording.
    """
    if data[:4] == b"RIFF":
        declared = int.from_bytes(data[4:8], "little") + 8
        if len(data) < declared < PIPED_SIZES[1].start:
            raise damaged(f"truncated: {len(data)} of {declared} bytes", path)
    elif data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        seen: set[bytes] = set()
        for at, name in _boxes(data):
            if name in seen and name in (b"ftyp", b"moov"):
                raise joined(path, at)
            seen.add(name)
    elif data[:4] in (b"TTA1", b"\x30\x26\xb2\x75") and (at := data.find(data[:14], 14)) != -1:
        raise joined(path, at)


def _boxes(data: mmap.mmap) -> Iterator[tuple[int, bytes]]:
    """Place and name of each outermost box of an MP4 or QuickTime file (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield at, data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:  # to the end of the file, or damaged
            return
        at += size


_SIGNATURES = {
    "nothing but zeros where a header should be": rb"\x00*\Z",
    "a git-lfs pointer, not audio: run `git lfs pull` in the corpus": rb"version https://git-lfs",
    "a PNG picture, not audio": rb"\x89PNG",
    "a JPEG picture, not audio": rb"\xff\xd8\xff",
    "a GIF picture, not audio": rb"GIF8",
    "a BMP picture, not audio": rb"BM.{4}\x00{4}",
    "a TIFF picture, not audio": rb"II\*\x00|MM\x00\*",
    "a WebP picture, not audio": rb"RIFF.{4}WEBP",
    "a PDF document, not audio": rb"%PDF",
    "an AVI video": rb"RIFF.{4}AVI ",
    "an MP4, M4A or QuickTime file": rb".{4}(?:ftyp|moov)",
    "a Matroska or WebM file": rb"\x1aE\xdf\xa3",
    "what macOS keeps beside a file (AppleDouble), not audio": rb"\x00\x05\x16\x07",
    "a zip archive, not audio": rb"PK\x03\x04",
    "a gzip file, not audio": rb"\x1f\x8b",
    "a RAR or 7z archive, not audio": rb"Rar!|7z\xbc\xaf",
    "text in UTF-16, not audio": rb"(?:\xff\xfe|\xfe\xff).*\x00",
    "a web page, not audio": rb"(?i)\s*<(?:!doctype|html)",
    "a wav with a broken header or of an unknown kind": rb"RIFF|RIFX|RF64",
    "an AIFF file with a broken header or of an unknown kind": rb"FORM.{4}AIF",
    "a FLAC file that cannot be decoded": rb"fLaC",
    "an Ogg file that cannot be decoded": rb"OggS",
    "text, not audio": rb"(?!NIST_1A)[\t\r\n\x1b\x20-\xff]*\Z",
}


def name_of_other_kind(path: Path) -> str | None:
    """Name the kind of a file that is not audio or is damaged; None if it may be intact audio."""
    with path.open("rb") as file:
        head = file.read(512)
    return next((name for name, pattern in _SIGNATURES.items() if re.match(pattern, head, re.DOTALL)), None)
