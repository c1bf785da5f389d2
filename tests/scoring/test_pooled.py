import json

import numpy as np
import pytest
from scored import whole_result

from ser.common import InputError
from ser.scoring.pooled import Pool, draws, interval, pooled_table, read_pools, ua_samples


def write_run(exp, cell, fold, seed, rows, normalisation="global"):
    """A scored run: rows are (speaker, truth, hypothesis)."""
    folder = exp / "c" / cell / f"fold{fold}_seed{seed}"
    scoring = folder / "decode_c_test" / "scoring"
    scoring.mkdir(parents=True)
    lines = [f"{s}-{i}\t{s}\t{t}\t{h}\n" for i, (s, t, h) in enumerate(rows)]
    (scoring / "utterances.tsv").write_text("".join(lines))
    confusion = [[sum(row[1:] == (t, h) for row in rows) for h in "ab"] for t in "ab"]
    result = whole_result(confusion, "ab", fold, seed=seed, preset="p", normalisation=normalisation)
    (folder / "result.json").write_text(json.dumps(result))


def test_folds_are_pooled_and_seeds_averaged(tmp_path):
    write_run(tmp_path, "net", 1, 0, [("x", "a", "a"), ("x", "b", "b")])
    write_run(tmp_path, "net", 2, 0, [("y", "a", "b"), ("y", "b", "b")])
    write_run(tmp_path, "net", 1, 1, [("x", "a", "a"), ("x", "b", "a")])
    write_run(tmp_path, "net", 2, 1, [("y", "a", "a"), ("y", "b", "b")])
    (pool,) = read_pools([tmp_path])
    assert (pool.folds, pool.seeds, pool.speakers) == ([1, 2], [0, 1], ["x", "y"])
    assert pool.confusions.tolist() == [[[1, 0], [0.5, 0.5]], [[0.5, 0.5], [0, 1]]]
    # recalls: a 1.5 of 2, b 1.5 of 2
    assert ua_samples(pool, np.ones((1, 2))).tolist() == [75.0]
    assert "75.0 (75.0 to 75.0)" in pooled_table([pool], "x")


def test_a_seed_that_lacks_a_fold_is_named(tmp_path):
    write_run(tmp_path, "net", 1, 0, [("x", "a", "a"), ("x", "b", "b")])
    write_run(tmp_path, "net", 2, 0, [("y", "a", "b"), ("y", "b", "b")])
    write_run(tmp_path, "net", 1, 1, [("x", "a", "a"), ("x", "b", "b")])
    with pytest.raises(InputError, match="seed 1 fold 2 is missing"):
        read_pools([tmp_path])


def test_the_difference_is_to_the_svm_of_the_same_normalisation(tmp_path):
    for name, normalisation, right in (
        ("net", "speaker", True),
        ("svm_x", "speaker", False),
        ("svm_y", "global", True),
    ):
        rows = [(s, t, t if right or s == "x" else "a") for s in "xy" for t in "ab"]
        write_run(tmp_path, name, 1, 0, rows, normalisation)
    text = pooled_table(read_pools([tmp_path]), "x")
    (row,) = [line for line in text.splitlines() if "| net" in line]
    assert "+25.0 (+0.0 to +50.0)" in row


def test_rows_are_compared_with_the_first_of_their_target(tmp_path):
    """The second differs by a speaker who is wrong throughout, the third not at all."""
    for name, wrong in (("net_a", ""), ("net_b", "y"), ("net_c", "")):
        for seed in (0, 1):
            rows = [(s, t, "a" if s in wrong else t) for s in "xyz" for t in "ab"]
            write_run(tmp_path, name, 1, seed, rows)
    text = pooled_table(read_pools([tmp_path]), "x")
    cells = {line.split("|")[6].strip(): [c.strip() for c in line.split("|")] for line in text.splitlines()[4:7]}
    assert [cells[name][-3] for name in ("net_a", "net_b", "net_c")] == [
        "",
        "-16.7 (-33.3 to +0.0)",
        "+0.0 (+0.0 to +0.0)",
    ]
    assert cells["net_b"][-4] == "83.3, 83.3"
    assert "Within noise of the first, for their interval holds 0: rows 2, 3." in text


def test_intervals_cover_what_they_say():
    """Speakers with an own chance of being right: the interval holds the mean of all speakers in 90 % of corpora."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        chance = np.clip(rng.normal(0.6, 0.15, 24), 0, 1)
        right = rng.binomial(14, chance[:, None], (24, 2))
        confusions = np.zeros((24, 2, 2))
        for k in range(2):
            confusions[:, k, k], confusions[:, k, 1 - k] = right[:, k], 14 - right[:, k]
        pool = Pool(
            "c", "c", "p", "hash", "net", "global", [1], [0], [str(i) for i in range(24)], confusions[None], None
        )
        low, high = interval(ua_samples(pool, draws(24)))
        held += low <= 60 <= high
    assert held / 300 == pytest.approx(0.9, abs=0.05)


def test_a_folder_without_results_is_named(tmp_path):
    write_run(tmp_path / "exp", "net", 1, 0, [("x", "a", "a"), ("x", "b", "b")])
    with pytest.raises(InputError, match="exp_typo: holds no result.json"):
        read_pools([tmp_path / "exp", tmp_path / "exp_typo"])
