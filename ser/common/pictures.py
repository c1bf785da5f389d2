"""Save figures as files, atomically and reproducibly: the same figure gives the same bytes."""

from __future__ import annotations

import re
import unicodedata
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ser.common.errors import InputError
from ser.common.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Suffix -> metadata without date and version.
METADATA = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}

# Distinct for the colour-blind too (Okabe and Ito, without black).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442")
BLUE, VERMILION, GREEN, PURPLE, SKY_BLUE, ORANGE, YELLOW = PALETTE

# Script -> font package of Debian; colour emoji are bitmaps, which matplotlib cannot draw.
PACKAGES = {"Chinese, Japanese or Korean": "fonts-noto-cjk", "emoji": "fonts-symbola"}
OTHERS = "fonts-noto-core"


def check_picture(path: Path) -> None:
    """Check the suffix of a picture, before anything is computed for it.

    Raises:
        InputError: the suffix is not that of a picture.
    """
    if path.suffix.lower() not in METADATA:
        raise InputError(f"unknown ending; a picture ends in {', '.join(METADATA)}", path)


def text_colour(ground: str) -> str:
    """Choose black or white, whichever has the higher contrast (WCAG 2) with the background: at least 4.58:1.

    Args:
        ground: colour of the background, #rrggbb.
    """
    channels = [int(ground[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (light + 0.05) ** 2 > 0.05 * 1.05 else "#FFFFFF"


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the suffix.

    Characters that the font lacks are drawn with other installed fonts. If no font has them, they appear as boxes, and
    one warning names the packages to install. A dollar sign is drawn as text and does not start a formula.

    Args:
        figure: of matplotlib.
        path: of the file: .png, .pdf or .svg.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with atomic_path(path) as temporary:
        missing = _save(figure, temporary)
        if missing and (families := _find_families(missing)):
            for text in figure.findobj(Text):
                text.set_fontfamily([*text.get_fontfamily(), *families])
            missing = _save(figure, temporary)
    _warn_missing(missing, path)


def _save(figure: Figure, path: Path) -> set[str]:
    """Write a figure; return the characters that the fonts of its texts lack."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "picture"}), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(path, dpi=120, metadata=METADATA[path.suffix.lower()])
    missing = set()
    for warning in caught:
        if match := re.match(r"Glyph (\d+) ", str(warning.message)):
            missing.add(chr(int(match[1])))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return {c for c in missing if unicodedata.category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f"}


def _find_families(missing: set[str]) -> list[str]:
    """Find few installed font families that together have all characters that any installed font has."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {entry.fname for entry in fontManager.ttflist}
    for file in set(findSystemFonts()) - known:  # installed after matplotlib listed the fonts
        with suppress(OSError, RuntimeError):
            fontManager.addfont(file)
    covered: dict[str, set[str]] = {}
    for entry in fontManager.ttflist:
        if entry.name not in covered and "lastresort" not in entry.name.replace(" ", "").lower():
            covered[entry.name] = _characters(entry.fname, entry.index) & missing
    families = []
    while missing and covered:
        best = max(sorted(covered), key=lambda name: (len(covered[name] & missing), "Sans" in name))
        if not covered[best] & missing:
            break
        families.append(best)
        missing = missing - covered[best]
    return families


def _characters(file: str, index: int) -> set[str]:
    """The characters that a font can draw; empty for a bitmap font, such as colour emoji."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(file, face_index=index)
        return set(map(chr, font.get_charmap())) if font.scalable else set()
    except (OSError, RuntimeError):
        return set()


_warned: set[str] = set()  # scripts: one warning for each, even for many pictures


def _warn_missing(missing: set[str], path: Path) -> None:
    scripts = {_script(character): character for character in sorted(missing)}
    new = {script: character for script, character in scripts.items() if script not in _warned}
    if not new:
        return
    _warned.update(new)
    shown = ", ".join(f"{script} characters such as {character}" for script, character in new.items())
    packages = " ".join(sorted({PACKAGES.get(script, OTHERS) for script in new}))
    warnings.warn(
        f"{path}: no installed font has {shown}; this and later pictures show boxes for them. Fix: install "
        f"fonts (Debian, Ubuntu: apt-get install {packages}; without root: .ttf files in ~/.local/share/fonts), then "
        "draw again",
        stacklevel=3,
    )


def _script(character: str) -> str:
    """The script of a character, by its Unicode name."""
    first = re.split("[ -]", unicodedata.name(character, "unprintable"), maxsplit=1)[0]
    if first in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "FULLWIDTH", "IDEOGRAPHIC"):
        return "Chinese, Japanese or Korean"
    return "emoji" if unicodedata.category(character) in ("So", "Sk") else first.capitalize()
