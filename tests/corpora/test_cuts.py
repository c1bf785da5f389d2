import gzip
import json

import pytest
from conftest import refuses

from ser.common import InputError
from ser.corpora.cuts import read_cuts


def test_cuts_are_read_without_lhotse(small):
    small.prepare()
    cuts = {cut.id: cut for cut in read_cuts(small.out / "cuts.jsonl.gz")}
    assert len(cuts) == 96
    cut = cuts["ravdess_02-03-01-03-01-01-01-02"]
    assert (cut.path, cut.start, cut.duration) == (small.file(2, "03"), 0, 0.3)
    assert len({cut.audio_digest for cut in cuts.values()}) == 96


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b"text",
        lambda b: b[:-20],
        lambda b: b[:100] + b"\xff\x00" * 20 + b[140:],
        lambda b: gzip.compress(b"{}\n"),
        lambda b: gzip.compress(b"[1]\n"),
        lambda b: gzip.compress(b"{"),
    ],
)
def test_a_damaged_cut_manifest_is_named_and_stage_1_makes_it_again(small, damage):
    small.prepare()
    path = small.out / "cuts.jsonl.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"cuts\.jsonl\.gz: (not readable|holds no cuts).*; remove it and run stage 1"):
        read_cuts(path)
    path.unlink()
    with refuses("no such file", where="cuts.jsonl.gz"):
        read_cuts(path)
    small.prepare()
    assert len(read_cuts(path)) == 96


def test_a_copy_has_its_original_and_its_transforms(small):
    small.prepare()
    path = small.out / "cuts.jsonl.gz"
    steps = [{"kind": "speed", "factor": 0.9}, {"kind": "volume", "decibels": 3.0}]
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()[:2]]
    rows[0]["supervisions"][0]["custom"]["copy"] = {"of": "a-1", "number": 2, "steps": steps}
    rows[1]["supervisions"][0]["custom"]["copy"] = "a column of a table"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    copy, original = read_cuts(path)
    assert (copy.original, copy.steps) == ("a-1", tuple(steps))
    assert (original.original, original.steps) == (None, ())
