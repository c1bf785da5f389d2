"""Mistakes in a preparer of one's own are told by its line, without a traceback of the toolkit."""

import pytest

from ser.common import InputError
from ser.corpora.prepare import prepare
from ser.corpora.preparers import load_preparer
from ser.corpora.protocol import read_protocol

PROTOCOL = """
name: Own
description: noise
licence: none
citation: none
source: none
language: en
classes: [a]
labels: {a: a}
drop: {}
expected: {}
splits: {strict: {groups: speakers}}
"""
GENDER = """
from pathlib import Path
from ser.corpora import Utterance

def utterances(corpus_dir):
    yield Utterance("own_x-1", Path(corpus_dir, "x.wav"), "own_x", "a", gender="male")
"""


def prepare_own(folder):
    protocol = read_protocol("own", folder)
    prepare(load_preparer("own", folder), protocol, folder / "corpus", folder / "data", allow_partial=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def utterances(corpus_dir)\n    pass\n", r"prepare_own.py:1: expected ':'; fix the preparer"),
        ("import nosuchmodule\n", r"prepare_own.py:1: ModuleNotFoundError: No module named 'nosuchmodule'; fix"),
        ("def utterances(d):\n    x = 1\n    yield x.y\n", r"prepare_own.py:3: AttributeError: 'int' object has"),
        ("def utterances(d):\n    pass\n", r"prepare_own.py: utterances\(corpus_dir\) gives None; it is to yield"),
        ("def utterances(d):\n    yield {}\n", r"prepare_own.py: utterances\(corpus_dir\) yields {}, which is no Utt"),
        (GENDER, r"x.wav: gender 'male' is not f, m or empty; fix the preparer"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, text, message):
    for name, content in (("local/prepare_own.py", text), ("conf/corpora/own.yaml", PROTOCOL)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "corpus").mkdir()
    with pytest.raises(InputError, match=message) as caught:
        prepare_own(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "data").exists()
