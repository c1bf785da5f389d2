"""Find local/prepare_<corpus>.py: the recipe's own before the toolkit's."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.common import InputError
from ser.config import find
from ser.corpora.issues import RAISED, Issue
from ser.corpora.utterance import Utterance


@dataclass(frozen=True)
class Preparer:
    """What a preparer module offers.

    Attributes:
        utterances: corpus folder -> its utterances. The module's function may ask for more by naming it as a further
            parameter: issues (an `Issues`, which gets what is left out), protocol (a `Protocol`, which has the
            corpus's name and labels), allow_pipes (whether commands may be run), audio_dir (where audio that it makes
            is to lie).
        download: makes the corpus folder complete, or None where a person has to fetch it.
        tree: corpus folder -> in a few words, which of the trees that circulate it is; None where there is but one.
        path: the module's file.
    """

    utterances: Callable[..., Iterator[Utterance]]
    download: Callable[[Path], None] | None
    path: Path
    tree: Callable[[Path], str] | None = None


def load_preparer(corpus: str, recipe: Path | None = None) -> Preparer:
    """Load a preparer by the name of its corpus (a protocol's `preparer`).

    Raises:
        InputError: there is none, or it has no function `utterances`.
    """
    path = find(f"local/prepare_{corpus}.py", recipe)
    # A preparer may import modules that lie beside it.
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up there
    with _located(path):
        spec.loader.exec_module(module)
    if not hasattr(module, "utterances"):
        raise InputError("has no function utterances(corpus_dir)", path)
    asked = inspect.signature(module.utterances).parameters

    def utterances(corpus_dir: Path, **offered: Any) -> Iterator[Utterance]:
        try:
            with _located(path):
                found = module.utterances(corpus_dir, **{name: v for name, v in offered.items() if name in asked})
                if not isinstance(found, Iterable):
                    raise InputError(f"utterances(corpus_dir) gives {found!r}; it is to yield each Utterance", path)
                for utterance in found:
                    if not isinstance(utterance, Utterance):
                        raise InputError(f"utterances(corpus_dir) yields {utterance!r}, which is no Utterance", path)
                    yield utterance
        except Issue as issue:
            if not offered.get("issues", RAISED).lists(issue):
                raise
            fix = f"to have it left out, write utterances(corpus_dir, issues) and audio_files(..., issues) in {path}"
            raise InputError(issue.what, issue.where, fix) from None

    return Preparer(utterances, getattr(module, "download", None), path, getattr(module, "tree", None))


@contextmanager
def _located(path: Path) -> Iterator[None]:
    """Report a mistake in a user's preparer with its place in the file.

    Raises:
        InputError: whatever went wrong in it.
    """
    try:
        yield
    except (InputError, OSError):
        raise
    except SyntaxError as error:
        raise InputError(error.msg, f"{error.filename}:{error.lineno}", "fix the preparer") from None
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).parent == path.parent]
        line = f":{own[-1].lineno}" if own else ""
        place = own[-1].filename if own else path
        raise InputError(f"{type(error).__name__}: {error}", f"{place}{line}", "fix the preparer") from error
