import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import refuses
from scored import archive, whole_result

from ser.config import write_experiment
from ser.scoring import pooled
from ser.scoring import posteriors as decoded
from ser.scoring.pooled import Pool, draws, percentiles, pooled_table, read_pools, ua_samples


def write_run(exp, cell, fold, seed, rows, normalisation="global"):
    """A scored run: rows are (speaker, truth, hypothesis)."""
    folder = exp / "c" / cell / f"fold{fold}_seed{seed}"
    folder.mkdir(parents=True)
    lines = [f"c\t{s}-{i}\t{s}\t{t}\t{h}\t\n" for i, (s, t, h) in enumerate(rows)]
    (folder / "result.tsv").write_text("".join(lines))
    confusion = [[sum(row[1:] == (t, h) for row in rows) for h in "ab"] for t in "ab"]
    result = whole_result(confusion, "ab", fold, seed=seed, preset="p", normalisation=normalisation)
    (folder / "result.json").write_text(json.dumps(result))


@pytest.fixture
def intervals_of_two(monkeypatch):
    """Intervals of two speakers, which can be computed by hand."""
    monkeypatch.setattr(pooled, "LEAST_SPEAKERS", 2)


def test_fewer_than_five_speakers_have_no_interval(tmp_path):
    for fold, speaker in enumerate("vwxy", 1):
        for cell, right in (("net", "b"), ("other", "a")):
            write_run(tmp_path, cell, fold, 0, [(speaker, "a", "a"), (speaker, "b", right)])
    pools = read_pools([tmp_path])
    text = pooled_table(pools, "x")
    assert [pool.ua for pool in pools] == [100.0, 50.0]
    assert "| 100.0 " in text
    assert "| -50.0 " in text
    assert " to " not in text.partition("\n\n")[2].partition("\n\n")[0]
    assert "Fewer than 5 speakers, too few for an interval: rows 1, 2." in text
    for cell in ("net", "other"):
        write_run(tmp_path, cell, 5, 0, [("z", "a", "a"), ("z", "b", "b")])
    assert "100.0 (100.0 to 100.0)" in pooled_table(read_pools([tmp_path]), "x")


def test_notes_of_the_data_are_those_of_all_runs(tmp_path):
    write_run(tmp_path, "net", 1, 0, [("x", "a", "a"), ("x", "b", "b")])
    path = tmp_path / "c" / "net" / "fold1_seed0" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": ["c: an incomplete copy"]}))
    write_run(tmp_path, "net", 2, 0, [("y", "a", "b"), ("y", "b", "b")])
    assert "- c: an incomplete copy\n" in pooled_table(read_pools([tmp_path]), "x")


@pytest.mark.usefixtures("intervals_of_two")
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


def test_an_utterance_that_several_folds_test_counts_once(tmp_path):
    """A corpus of two folds beside one of three is tested on its first fold twice."""
    for seed in (0, 1):
        write_posteriors(tmp_path, "net", 1, seed, [("x", "a", 0.9), ("x", "b", 0.8)])
        write_posteriors(tmp_path, "net", 2, seed, [("y", "a", 0.9), ("y", "b", 0.2)])
        write_posteriors(tmp_path, "net", 3, seed, [("x", "a", 0.9), ("x", "b", 0.1)])
    for pool in read_pools([tmp_path], ensembles=True):
        assert pool.confusions.tolist() == [[[1, 0], [0.5, 0.5]], [[1, 0], [0, 1]]]
        assert pool.ua == 87.5


def test_copies_of_an_experiment_are_left_out_with_a_warning(tmp_path):
    write_run(tmp_path, "net", 1, 0, [("x", "a", "a"), ("x", "b", "b")])
    run = tmp_path / "c" / "net" / "fold1_seed0"
    for name in ("fold1_seed0.bak", ".fold1_seed0", "fold1_seed0 copy", "old_fold1_seed0"):
        shutil.copytree(run, run.with_name(name))
    shutil.copytree(run.parent, tmp_path / "c" / ".net")
    with pytest.warns(UserWarning, match=r"left out: 9 results in folders .* such as .*c/\.net/\.fold1_seed0"):
        (pool,) = read_pools([tmp_path])
    assert pool.confusions.sum() == 2


def test_an_experiment_that_appears_twice_is_named(tmp_path):
    write_run(tmp_path, "net", 1, 0, [("x", "a", "a"), ("x", "b", "b")])
    shutil.copytree(tmp_path / "c", tmp_path / "c of May")
    run = Path("net", "fold1_seed0")
    with refuses(f"is the same experiment as {tmp_path / 'c' / run}", tmp_path / "c of May" / run):
        read_pools([tmp_path])


def test_a_seed_that_lacks_a_fold_is_named(tmp_path):
    write_run(tmp_path, "net", 1, 0, [("x", "a", "a"), ("x", "b", "b")])
    write_run(tmp_path, "net", 2, 0, [("y", "a", "b"), ("y", "b", "b")])
    write_run(tmp_path, "net", 1, 1, [("x", "a", "a"), ("x", "b", "b")])
    with refuses("seed 1 fold 2 is missing"):
        read_pools([tmp_path])


def test_a_cell_of_two_settings_is_refused(made, tmp_path):
    """Fold and seed differ; the budget of one corpus decides nothing, and that of two does."""
    for fold, budget in ((1, "total"), (2, "per_corpus")):
        write_run(tmp_path, "net", fold, 0, [("x", "a", "a"), ("x", "b", "b")])
        folder = tmp_path / "c" / "net" / f"fold{fold}_seed0"
        write_experiment(
            made.experiment(f"fold={fold}", f"training.budget={budget}", corpora="one"), folder / "config.yaml"
        )
    assert len(read_pools([tmp_path])) == 1
    for fold, budget in ((1, "total"), (2, "per_corpus")):
        folder = tmp_path / "c" / "net" / f"fold{fold}_seed0"
        write_experiment(made.experiment(f"fold={fold}", f"training.budget={budget}"), folder / "config.yaml")
    with refuses("training.budget", where="fold2_seed0"):
        read_pools([tmp_path])


@pytest.mark.usefixtures("intervals_of_two")
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


@pytest.mark.usefixtures("intervals_of_two")
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
        "-16.7 (-50.0 to +0.0)",
        "+0.0 (+0.0 to +0.0)",
    ]
    assert cells["net_b"][-4] == "83.3, 83.3"
    assert "Within noise of the first, for their interval holds 0: rows 2, 3." in text


@pytest.mark.usefixtures("intervals_of_two")
def test_rows_that_are_no_better_than_chance_are_named(tmp_path):
    for name, answers in (("net_a", "ab"), ("net_b", "aa"), ("net_c", "ba")):
        write_run(tmp_path, name, 1, 0, [(s, t, h) for s in "xyz" for t, h in zip("ab", answers, strict=True)])
    text = pooled_table(read_pools([tmp_path]), "x")
    assert "rows 2 (one answer for all utterances), 3." in text


def test_intervals_cover_what_they_say():
    """Speakers with an own chance of being right: the interval holds the mean of all speakers in 95 % of corpora."""
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
        low, high = percentiles(ua_samples(pool, draws(24)))
        held += low <= 60 <= high
    assert held / 300 == pytest.approx(0.95, abs=0.03)


def test_a_folder_without_results_is_named(tmp_path):
    write_run(tmp_path / "exp", "net", 1, 0, [("x", "a", "a"), ("x", "b", "b")])
    with refuses("holds no result.json", where="exp_typo", fix="run stages 4 to 6"):
        read_pools([tmp_path / "exp", tmp_path / "exp_typo"])


def write_posteriors(exp, cell, fold, seed, rows):
    """A run of hand-made posteriors: rows are (speaker, truth, probability of a), the hypothesis is the greater."""
    write_run(exp, cell, fold, seed, [(s, t, "a" if p > 0.5 else "b") for s, t, p in rows])
    about = {"classes": ["a", "b"], "utterances": len(rows), "model": f"seed {seed}"}
    posteriors = [(f"{speaker}-{i}", np.array([p, 1 - p], np.float32)) for i, (speaker, _, p) in enumerate(rows)]
    folder = exp / "c" / cell / f"fold{fold}_seed{seed}"
    decoded.write_posteriors(folder, "test", {"c": (about, posteriors)})
    return folder


@pytest.fixture
def seeds(tmp_path):
    """Two folds of two seeds: x and y, each an utterance of a and one of b.

    Seed 0 is wrong in x's a, by little, and seed 1 in y's b, by little: the mean has both right. Of x's b the mean is
    wrong, though seed 0 is right.
    """
    write_posteriors(tmp_path, "net", 1, 0, [("x", "a", 0.4), ("x", "b", 0.4)])
    write_posteriors(tmp_path, "net", 1, 1, [("x", "a", 0.9), ("x", "b", 0.8)])
    write_posteriors(tmp_path, "net", 2, 0, [("y", "a", 0.7), ("y", "b", 0.1)])
    write_posteriors(tmp_path, "net", 2, 1, [("y", "a", 0.8), ("y", "b", 0.6)])
    return tmp_path


def test_an_ensemble_is_the_mean_of_the_posteriors_of_its_seeds(seeds):
    single, ensemble = read_pools([seeds], ensembles=True)
    assert single.confusions.tolist() == [[[0.5, 0.5], [0.5, 0.5]], [[1, 0], [0.5, 0.5]]]
    assert (ensemble.seeds, ensemble.folds, ensemble.speakers) == ([0, 1], [1, 2], ["x", "y"])
    # x: a 0.65 (right), b 0.60 (taken for a); y: a 0.75 and b 0.35 (both right)
    assert ensemble.by_seed.tolist() == [[[[1, 0], [1, 0]], [[1, 0], [0, 1]]]]
    assert (single.ua, ensemble.ua) == (62.5, 75.0)


@pytest.mark.usefixtures("intervals_of_two")
def test_the_row_of_an_ensemble_and_its_difference(seeds):
    write_run(seeds, "svm_x", 1, 0, [("x", "a", "a"), ("x", "b", "a")])
    write_run(seeds, "svm_x", 2, 0, [("y", "a", "a"), ("y", "b", "a")])
    text = pooled_table(read_pools([seeds], ensembles=True), "x")
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("|")]
    named = {row[rows[0].index("cell")]: dict(zip(rows[0], row, strict=True)) for row in rows[2:]}
    own = named["net, mean of posteriors"]
    # Resamples of x alone have UA 50, as the single seeds' have, and of y alone 100 against 75.
    assert own["UA %"] == "75.0 (50.0 to 100.0)"
    assert own["UA minus first"] == "+12.5 (+0.0 to +25.0)"
    assert own["UA minus SVM"] == "+25.0 (+0.0 to +50.0)"
    assert own["n"] == "4"
    assert "None of rows 3," in text
    assert "Mean of posteriors" not in pooled_table(read_pools([seeds]), "x")


def test_without_the_option_and_with_one_seed_there_is_no_ensemble(seeds):
    assert [pool.cell for pool in read_pools([seeds])] == ["net"]
    for fold in (1, 2):
        shutil.rmtree(seeds / "c" / "net" / f"fold{fold}_seed1")
    with refuses(str(seeds)):
        read_pools([seeds], ensembles=True)


def test_posteriors_that_are_not_those_of_the_results_are_refused(seeds, tmp_path_factory):
    folder = seeds / "c" / "net" / "fold2_seed1"
    archive(folder).write_bytes(archive(folder.parent / "fold2_seed0").read_bytes())
    with refuses("changed since", where="fold2_seed1/decode_test/post.ark"):
        read_pools([seeds], ensembles=True)
    shutil.rmtree(folder)
    write_posteriors(seeds, "net", 2, 1, [("y", "a", 0.8), ("y", "b", 0.6)])
    table = folder / "result.tsv"
    table.write_text(table.read_text().replace("y-1\ty\tb\ta", "y-1\ty\tb\tb"))
    with refuses("result.tsv", where="result.json"):
        read_pools([seeds])
    shutil.rmtree(folder)
    write_posteriors(seeds, "net", 2, 1, [("y", "a", 0.8), ("y", "b", 0.4)])
    other = tmp_path_factory.mktemp("other")
    write_run(other, "net", 2, 1, [("y", "a", "a"), ("y", "b", "a")])
    shutil.copytree(other / "c" / "net" / "fold2_seed1", folder, dirs_exist_ok=True)
    with refuses("y-1", where="result.tsv"):
        read_pools([seeds], ensembles=True)


def test_seeds_of_other_utterances_are_refused(seeds):
    shutil.rmtree(seeds / "c" / "net" / "fold2_seed1")
    write_posteriors(seeds, "net", 2, 1, [("y", "a", 0.8), ("y", "a", 0.6)])
    with refuses("y-1", where="fold2_seed1"):
        read_pools([seeds], ensembles=True)
