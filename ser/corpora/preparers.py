"""Load local/prepare_<corpus>.py; the recipe's folder comes before the toolkit's."""

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
from ser.corpora.issues import RAISE_ALL, Issue
from ser.corpora.utterance import Utterance


@dataclass(frozen=True)
class Preparer:
    """The functions of a preparer module.

    Attributes:
        utterances: lists the utterances of a corpus folder. The module's function gets further arguments if it has
            parameters of these names: issues (an `Issues`, which collects what is left out), protocol (the `Protocol`,
            with the corpus's name and labels), allow_pipes (whether commands may be run), audio_dir (folder for audio
            that the preparer makes).
        download: fetches or makes the corpus folder; None: the user has to fetch it.
        tree: describes which of several known folder layouts a corpus folder has; None: there is only one.
        path: the module's file.
    """

    utterances: Callable[..., Iterator[Utterance]]
    download: Callable[[Path], None] | None
    path: Path
    tree: Callable[[Path], str] | None = None


def load_preparer(corpus: str, recipe: Path | None = None) -> Preparer:
    """Load a preparer by the name of its corpus (`preparer` in the protocol).

    Raises:
        InputError: there is no such file, or it has no function `utterances`.
    """
    path = find(f"local/prepare_{corpus}.py", recipe)
    # A preparer may import modules of its own folder.
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
    parameters = inspect.signature(module.utterances).parameters

    def utterances(corpus_dir: Path, **offered: Any) -> Iterator[Utterance]:
        try:
            with _located(path):
                arguments = {name: value for name, value in offered.items() if name in parameters}
                listed = module.utterances(corpus_dir, **arguments)
                if not isinstance(listed, Iterable):
                    raise InputError(f"utterances(corpus_dir) gives {listed!r}; it is to yield each Utterance", path)
                for utterance in listed:
                    if not isinstance(utterance, Utterance):
                        raise InputError(f"utterances(corpus_dir) yields {utterance!r}, which is no Utterance", path)
                    yield utterance
        except Issue as issue:
            if not offered.get("issues", RAISE_ALL).collects(issue):
                raise
            fix = f"to have it left out, write utterances(corpus_dir, issues) and audio_files(..., issues) in {path}"
            raise InputError(issue.what, issue.where, fix) from None

    return Preparer(utterances, getattr(module, "download", None), path, getattr(module, "tree", None))


@contextmanager
def _located(path: Path) -> Iterator[None]:
    """Report an exception of a preparer with its line in the file.

    Raises:
        InputError: the preparer raised an exception of another kind.
    """
    try:
        yield
    except (InputError, OSError):
        raise
    except SyntaxError as error:
        raise InputError(error.msg, f"{error.filename}:{error.lineno}", "fix the preparer") from None
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        local = [frame for frame in frames if Path(frame.filename).parent == path.parent]
        where = f"{local[-1].filename}:{local[-1].lineno}" if local else path
        raise InputError(f"{type(error).__name__}: {error}", where, "fix the preparer") from error
