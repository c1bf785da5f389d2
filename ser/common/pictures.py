"""Pictures as files: whole or absent, and the same bytes for the same picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ser.common.errors import InputError
from ser.common.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# By ending, what leaves date and version out.
METADATA = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}


def check_picture(path: Path) -> None:
    """Refuse a name before anything is computed for it.

    Raises:
        InputError: an ending that is no picture's.
    """
    if path.suffix.lower() not in METADATA:
        raise InputError(f"{path}: unknown ending; a picture ends in {', '.join(METADATA)}")


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure, in the format of its ending."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "picture"}), atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata=METADATA[path.suffix.lower()])
