"""Shared fixtures: real corpora if available, sound files, and a small corpus in the official RAVDESS layout."""

import os
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import programs
import pytest
import soundfile
import yaml

from ser.common import InputError
from ser.common.errors import LISTED
from ser.common.records import unchecked

# Fixtures of small made corpora, prepared and with features, and of their models.
pytest_plugins = ["browser", "made", "packed", "stand_ins", "tiny"]

ROOT = Path(__file__).resolve().parents[1]


def sources(*folders: str) -> list[Path]:
    """List the Python files of the toolkit, or of some of its folders, relative to its root."""
    folders = folders or ("ser", "steps", "local", "utils", "egs")
    found = [path.relative_to(ROOT) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(found) > 150
    return found


def real_corpus(name: str) -> Path:
    given = os.environ.get(name.upper())
    path = Path(given) if given else ROOT.parent / "shared" / "corpora" / name
    if not path.is_dir():
        pytest.skip(f"{path}: no {name.upper()} there; set {name.upper()}=<folder of the corpus as published>")
    return path


@pytest.fixture(autouse=True)
def none_unchecked():
    """Forget the files that the previous test read without a record."""
    unchecked.clear()


@pytest.fixture
def closed(monkeypatch):
    """Make a folder one that may not be entered, also for root."""

    def close(folder):
        stat = os.stat

        def refusing(path, **options):
            if not isinstance(path, int) and folder in Path(os.fsdecode(path)).parents:
                raise PermissionError(13, "Permission denied", str(path))
            return stat(path, **options)

        monkeypatch.setattr(os, "stat", refusing)

    return close


@pytest.fixture
def unlisted(monkeypatch):
    """Make a folder one that cannot be listed, also for root."""

    def refuse(folder):
        scandir = os.scandir

        def refusing(path):
            if str(path) == str(folder):
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refusing)

    return refuse


@pytest.fixture(scope="session")
def real_ravdess() -> Path:
    return real_corpus("ravdess")


def write_noise(path, seed=0, seconds=0.3, rate=16000, channels=1, **options):
    """Write noise, equal in every channel, in 16 bits unless `format` is given; returns the path."""
    samples = np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * rate))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([samples] * channels, axis=1), rate, **(options or {"subtype": "PCM_16"}))
    return path


@contextmanager
def refuses(what="", where="", fix=""):
    """Check that the block raises an InputError whose fields contain `what`, `where` and `fix`."""
    with pytest.raises(InputError) as caught:
        yield caught
    assert "\n" not in str(caught.value).replace(LISTED, "")
    for field, words in {"what": what, "where": where, "fix": fix}.items():
        assert str(words) in str(getattr(caught.value, field)), f"{field}: {words!r} is not in: {caught.value}"


class Corpus:
    """A corpus folder, a recipe folder with its protocol, and the output folder of stage 1."""

    def __init__(self, root: Path, name: str, preparer: str) -> None:
        self.root, self.name, self.preparer = root, name, preparer
        self.corpus, self.recipe, self.out = root / "corpus", root / "recipe", root / "data" / name
        self.protocol_path = self.recipe / "conf" / "corpora" / f"{name}.yaml"
        for folder in (self.corpus, self.protocol_path.parent):
            folder.mkdir(parents=True)

    @property
    def protocol(self):
        from ser.corpora import read_protocol

        return read_protocol(self.name, self.recipe)

    @property
    def _preparer(self):
        from ser.corpora.preparers import load_preparer

        return load_preparer(self.preparer, self.recipe)

    def utterances(self) -> dict:
        """List the utterances of the preparer: id -> utterance."""
        return {u.id: u for u in self._preparer.utterances(self.corpus, protocol=self.protocol)}

    def prepare(self, allow_partial=False, allow_pipes=False, corpus=None, **options) -> str:
        from ser.corpora.prepare import prepare_corpus

        given = (corpus or self.corpus, self.out, allow_partial, allow_pipes)
        return prepare_corpus(self._preparer, self.protocol, *given, **options)

    def check(self) -> tuple[str, bool]:
        from ser.corpora.check import check_corpus

        return check_corpus(self._preparer, self.protocol, self.corpus)

    def written(self) -> list[str]:
        """List the names in the parent of the output folder."""
        return sorted(path.name for path in self.out.parent.glob("*"))

    def left_out(self) -> dict[str, str]:
        lines = (self.out / "left_out.tsv").read_text(encoding="utf-8").splitlines()
        return dict(line.split("\t") for line in lines)

    def refused(self, *words: object, **options: bool) -> str:
        """Check that preparing fails with every word in the error, and writes nothing; returns the error."""
        with refuses() as caught:
            self.prepare(**options)
        message = str(caught.value)
        assert all(str(word) in message for word in words), message
        assert self.written() == []
        return message

    def command(self, *options: str, corpus=None, out=None, cwd=None) -> CompletedProcess:
        """Run steps/prepare.py as a user does."""
        words = ["--recipe", self.recipe, *options, self.name, corpus or self.corpus, out or self.out]
        return programs.run(ROOT / "steps" / "prepare.py", *words, cwd=cwd)


class SmallRavdess(Corpus):
    """A small RAVDESS whose protocol expects exactly its files."""

    def file(self, actor: int, emotion: str, sentence: str = "01") -> Path:
        return self.corpus / f"Actor_{actor:02d}" / f"03-01-{emotion}-01-{sentence}-01-{actor:02d}.wav"

    def edit(self, change) -> None:
        """Apply `change` to the values of the protocol."""
        values = yaml.safe_load(self.protocol_path.read_text())
        change(values)
        self.protocol_path.write_text(yaml.safe_dump(values, sort_keys=False))


EMOTIONS = {"01": "neutral", "02": "calm", "03": "happy", "04": "sad", "05": "angry"}


@pytest.fixture
def small_ravdess(tmp_path):
    """A factory of corpora: 24 actors x five emotions x one sentence by default; each file has its own noise."""

    def make(root: Path = tmp_path, sentences=("01",), stereo=()) -> SmallRavdess:
        small = SmallRavdess(root, "ravdess", "ravdess")
        labels = Counter()
        for actor in range(1, 25):
            for emotion in EMOTIONS:
                for sentence in sentences:
                    seed = actor * 10000 + int(emotion) * 100 + int(sentence)
                    channels = 2 if (actor, emotion) in stereo else 1
                    write_noise(small.file(actor, emotion, sentence), seed, channels=channels)
                    labels[EMOTIONS[emotion]] += 1
        small.protocol_path.write_text((ROOT / "conf" / "corpora" / "ravdess.yaml").read_text())
        expected = {"utterances": sum(labels.values()), "speakers": 24, "labels": dict(labels)}
        small.edit(lambda values: values.update(expected=expected))
        return small

    return make


@pytest.fixture
def small(small_ravdess) -> SmallRavdess:
    return small_ravdess()


def one_line(run: CompletedProcess) -> str:
    """Check that a command failed with exit code 1 and one line without a traceback; returns the line."""
    assert run.returncode == 1, run.stdout + run.stderr
    assert run.stdout == ""
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def last_error(run: CompletedProcess) -> str:
    """Check that a command failed without a traceback; returns its last line."""
    assert run.returncode != 0
    assert "Traceback" not in run.stderr
    return run.stderr.strip().splitlines()[-1]


@pytest.fixture(name="one_line")
def one_line_fixture():
    return one_line
