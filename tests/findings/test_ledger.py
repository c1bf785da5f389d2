import json
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import refuses
from made_ledgers import PAPER, answered, write_run
from scored import decoded_again, edited, recorded_again

from ser.common import InputError
from ser.findings.ledger import build_ledger
from ser.findings.ledger.load import load_ledger, read_summary
from ser.findings.ledger.schema import FILES

CONFIGURATION = ("multi", "lstm", "mu")


def build(exp):
    return build_ledger([exp], exp.parent / "ledger", PAPER.corpora, "command")


def rows_of(folder, name):
    """With the JSON texts read."""
    rows = pq.read_table(folder / f"{name}.parquet").to_pylist()
    kinds = {column: kind for column, (kind, _) in FILES[name].items()}
    return [{c: json.loads(v) if kinds[c] == "json" else v for c, v in row.items()} for row in rows]


@pytest.fixture
def exp(tmp_path):
    """Two folds of R alone, scored on C too, and one of T and R."""
    root = tmp_path / "exp"
    for fold in (1, 2):
        own, other = answered("ravdess", [f"a{fold}"]), answered("customer_ptbr", [f"c{fold}"], wrong=[f"c{fold}"])
        write_run(root, ["ravdess"], CONFIGURATION, fold, 0, {"ravdess": own}, {"customer_ptbr": other})
        write_run(root, ["tess", "ravdess"], CONFIGURATION, fold, 0, {"ravdess": own}, {})
    return root


def test_files_have_the_columns_that_their_description_lists(exp):
    summary = build(exp)
    ledger = exp.parent / "ledger"
    assert (summary["runs"], summary["predictions"], summary["problems"]) == (4, 24, [])
    for name, columns in FILES.items():
        table = pq.read_table(ledger / f"{name}.parquet")
        assert (table.column_names, len(table)) == (list(columns), summary[name])
        for column, (kind, meaning) in columns.items():
            assert f"| {column} | {kind} | {meaning} |" in (ledger / "README.md").read_text()


def test_a_row_has_all_that_the_files_of_its_run_say(exp):
    build(exp)
    first = rows_of(exp.parent / "ledger", "predictions")[4]
    assert first == {
        "run": first["run"],
        "combination": "ravdess",
        "temporal": "lstm",
        "pooling": "mu",
        "task": "multi",
        "seed": 0,
        "fold": 1,
        "target": "customer_ptbr",
        "speaker": "customer_ptbr_c1",
        "text_id": "text_0",
        "utterance": "customer_ptbr_c1-angry-0",
        "truth": "angry",
        "hypothesis": "happy",
        "classes": "angry happy neutral sad",
        "posteriors": pytest.approx([0.1, 0.7, 0.1, 0.1]),
        "zero_shot": True,
    }
    run = rows_of(exp.parent / "ledger", "runs")[0]
    assert run["run"] == first["run"]
    assert run["curves"][1] == {
        "epoch": 2,
        "corpus": "ravdess",
        "train_loss": 1.3,
        "valid_loss": 1.0,
        "valid_wa": 0.5,
        "valid_ua": 0.5,
        "valid_macro_f1": 0.5,
    }
    assert run["configuration"]["temporal"] == "lstm"
    assert run["targets"]["ravdess"]["zero_shot"] is False
    assert run["targets"]["customer_ptbr"]["ua"] == 0
    assert set(run["protocol_hash"]) == {"ravdess", "customer_ptbr"}


def test_cells_share_their_settings_hash_and_others_do_not(exp):
    own = answered("ravdess", ["a1"])
    write_run(exp / "other", ["ravdess"], CONFIGURATION, 1, 0, {"ravdess": own}, training={"patience": 3})
    build(exp)
    hashes = {row["folder"].split("/exp/")[1]: row["settings_hash"] for row in rows_of(exp.parent / "ledger", "runs")}
    other = hashes.pop("other/ravdess/multi_lstm_mu/fold1_seed0")
    assert len(set(hashes.values())) == 1
    assert other not in hashes.values()
    with pytest.raises(InputError, match=f"several settings.*{other} .preset strict, 1 runs"):
        load_ledger(exp.parent / "ledger", PAPER, {})
    ledger, _ = load_ledger(exp.parent / "ledger", PAPER, {"settings_hash": other})
    assert len(ledger.runs) == 1


def test_utterances_without_text_id_have_none(exp):
    for path in exp.rglob("*.tsv"):
        path.write_text("".join(line.rsplit("\t", 1)[0] + "\t\n" for line in path.read_text().splitlines()))
    for name in ("result", "zero_shot"):
        for path in exp.rglob(f"{name}.json"):
            recorded_again(path)
    assert build(exp)["problems"] == []
    assert {row["text_id"] for row in rows_of(exp.parent / "ledger", "predictions")} == {None}


def changed(name, change):
    """What replaces the content of a file, bytes, by another."""

    def damage(folder):
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return damage


def replaced(name, old, new):
    return changed(name, lambda data: data.replace(old, new, 1 if name.endswith("ark") else -1))


def rewritten(**values):
    """What changes result.json and its record."""
    return lambda folder: recorded_again(folder / "result.json", **values)


def rescored(change):
    """What changes the scores of RAVDESS, and the record."""

    def damage(folder):
        result = json.loads((folder / "result.json").read_text())
        change(result["targets"]["ravdess"])
        recorded_again(folder / "result.json", **result)

    return damage


def other_answers(folder):
    replaced("result.tsv", b"angry\tangry", b"angry\tsad")(folder)
    recorded_again(folder / "result.json")


def other_archive(folder):
    replaced("decode_test/post.ark", b"\0BFV ", b"PKL   ")(folder)
    decoded_again(folder, "ravdess", "test")


OTHER = {"combination": "ravdess_emodb", "corpora": ["ravdess", "emodb"]}
DAMAGES = {
    "edit": (
        lambda folder: edited(folder / "result.json", notes=["all is well"]),
        "result.json: changed since it was written",
    ),
    "answers": (other_answers, "ravdess: confusion does not follow from result.tsv"),
    "entry": (other_archive, "post.ark: customer_ptbr/customer_ptbr_c1"),
    "cut": (changed("result.json", lambda data: data[:100]), "result.json: not readable as JSON"),
    "scores": (
        rescored(lambda scores: scores.update(ua=scores["ua"] + 0.05)),
        "targets.ravdess: ua does not follow from confusion",
    ),
    "confusion": (
        rescored(lambda scores: scores["confusion"].__setitem__(0, [0, 1, 0, 0])),
        "targets.ravdess: wa does not follow from confusion",
    ),
    "hypothesis": (
        replaced("result.tsv", b"angry\tangry", b"angry\tsad"),
        "result.tsv: changed since it was written",
    ),
    "target": (rewritten(targets={}), "names no corpora or no targets"),
    "combination": (rewritten(**OTHER), "unknown combination ravdess_emodb"),
    "epoch": (rewritten(chosen_epoch=1), "chosen_epoch is not as in train.json"),
    "config": (
        replaced("config.yaml", b"learning_rate: 0.0003", b"learning_rate: 0.001"),
        "config.yaml: not the settings of result.json",
    ),
    "seed": (replaced("config.yaml", b"seed: 0", b"seed: 1"), "config.yaml: not the settings of result.json"),
    "posteriors": (
        changed("decode_test/post.ark", lambda data: data[:-7]),
        "post.ark: changed since it was written",
    ),
    "curves": (changed("epochs.jsonl", lambda data: data[:-30]), "epochs.jsonl: changed since it was written"),
    "kind": (rewritten(counts={"ravdess": "many"}), "counts.ravdess = 'many', expected an object"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_damaged_is_named_and_left_out_and_a_rerun_fixes_it(exp, name):
    damage, message = DAMAGES[name]
    folder = exp / "ravdess" / "multi_lstm_mu" / "fold1_seed0"
    shutil.copytree(folder, exp.parent / "rerun")
    damage(folder)
    summary = build(exp)
    (problem,) = summary["problems"]
    assert problem["folder"] == str(folder)
    assert str(folder) in problem["problem"]
    assert message in problem["problem"]
    assert (summary["runs"], summary["predictions"]) == (3, 16)
    assert read_summary(exp.parent / "ledger", ["runs.parquet", "predictions.parquet"]) == summary
    shutil.rmtree(folder)
    shutil.copytree(exp.parent / "rerun", folder)
    assert build(exp)["problems"] == []


def test_a_copied_cell_is_named(exp):
    shutil.copytree(exp / "ravdess" / "multi_lstm_mu", exp / "ravdess" / "unified_lstm_mu")
    summary = build(exp)
    assert summary["runs"] == 4
    assert all("of ravdess/multi_lstm_mu/fold" in p["problem"] for p in summary["problems"])
    assert len(summary["problems"]) == 2


def test_runs_behind_a_link_count(exp):
    (exp / "ravdess").rename(exp.parent / "elsewhere")
    (exp / "ravdess").symlink_to(exp.parent / "elsewhere")
    (exp / "best").symlink_to(exp / "ravdess" / "multi_lstm_mu" / "fold1_seed0")
    with pytest.warns(UserWarning, match="left out: 1 results"):
        summary = build(exp)
    assert (summary["runs"], summary["problems"]) == (4, [])


def test_one_hash_twice_counts_once(exp):
    run = Path("ravdess", "multi_lstm_mu", "fold1_seed0")
    shutil.copytree(exp / run, exp / "again" / run)
    (problem,) = build(exp)["problems"]
    assert str(exp / "again" / run) in problem["problem"]
    assert problem["folder"] == str(exp / run)


def test_damaged_zero_shot_scores_cost_no_more_than_themselves(exp):
    folder = exp / "ravdess" / "multi_lstm_mu" / "fold1_seed0"
    recorded_again(folder / "zero_shot.json", config_hash="another")
    summary = build(exp)
    (problem,) = summary["problems"]
    assert "config_hash is not as in result.json" in problem["problem"]
    assert "only zero-shot scores are left out" in problem["problem"]
    assert (summary["runs"], summary["predictions"]) == (4, 20)


def test_a_baseline_has_a_row_and_no_posteriors(exp):
    folder = exp / "ravdess" / "svm_logmel_global" / "fold1_seed0"
    shutil.copytree(exp / "ravdess" / "multi_lstm_mu" / "fold1_seed0", folder)
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("result."):
            path.unlink()
    values = {"task": "unified", "temporal": "svm", "pooling": "logmel", "config_hash": "svm"}
    recorded_again(folder / "result.json", **values, epochs=0, chosen_epoch=0)
    assert build(exp)["problems"] == []
    rows = [row for row in rows_of(exp.parent / "ledger", "predictions") if row["temporal"] == "svm"]
    assert [row["posteriors"] for row in rows] == [None] * 4
    ledger, _ = load_ledger(exp.parent / "ledger", PAPER, {})
    assert ledger.notes == ["1 runs are no part of the grid, such as baselines"]


def test_nothing_to_read_is_an_error(tmp_path):
    with refuses("no experiment with a result.json"):
        build(tmp_path)


def test_a_folder_that_is_no_ledger_is_not_replaced(exp):
    (exp.parent / "ledger").mkdir()
    (exp.parent / "ledger" / "thesis.tex").write_text("")
    with refuses("is not a ledger"):
        build(exp)
    assert (exp.parent / "ledger" / "thesis.tex").is_file()


def test_no_run_that_can_be_used_is_an_error_and_leaves_no_ledger(exp):
    for path in exp.rglob("result.json"):
        path.write_text("{")
    with pytest.raises(InputError, match=r"none of 4 runs can be used.*not readable as JSON"):
        build(exp)
    assert [path.name for path in exp.parent.iterdir()] == ["exp"]


def test_confusion_matrices_are_by_speaker_over_all_folds(exp):
    build(exp)
    ledger, design = load_ledger(exp.parent / "ledger", PAPER, {})
    assert design.corpora == ("tess", "ravdess")
    target = ledger.targets["ravdess"]
    assert target.speakers == ["ravdess_a1", "ravdess_a2"]
    assert target.folds.tolist() == [1, 2]
    assert [cell.combination for cell in target.cells] == ["ravdess", "tess_ravdess"]
    assert target.confusion.shape == (2, 1, 2, 4, 4)
    assert target.confusion[0, 0, 0].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_a_zero_shot_target_is_one_without_the_corpus_in_its_cell(exp):
    own = answered("customer_ptbr", ["c1", "c2"])
    write_run(exp, ["customer_ptbr"], CONFIGURATION, 1, 0, {"customer_ptbr": own})
    build(exp)
    ledger, _ = load_ledger(exp.parent / "ledger", PAPER, {})
    target = ledger.targets["customer_ptbr"]
    assert [cell.combination for cell in target.cells] == ["customer_ptbr", "ravdess"]
    assert target.hits.sum((1, 2, 3)).tolist() == [8, 0]


def test_an_utterance_that_two_folds_test_counts_once(exp):
    """A corpus with fewer folds than another starts again at its first."""
    write_run(exp, ["ravdess"], CONFIGURATION, 3, 0, {"ravdess": answered("ravdess", ["a1"], wrong=["a1"])})
    build(exp)
    target = load_ledger(exp.parent / "ledger", PAPER, {})[0].targets["ravdess"]
    assert target.utterances == 8
    assert target.folds.tolist() == [1, 2]
    assert target.confusion[0, 0, 0, 0].tolist() == [0.5, 0.5, 0, 0]


def test_a_cell_that_lacks_a_fold_does_not_count(exp):
    shutil.rmtree(exp / "tess_ravdess" / "multi_lstm_mu" / "fold2_seed0")
    build(exp)
    target = load_ledger(exp.parent / "ledger", PAPER, {})[0].targets["ravdess"]
    assert [cell.combination for cell in target.cells] == ["ravdess"]
    assert target.notes == [
        "1 times a cell and seed does not count, for not all folds that test ravdess are there: "
        "tess_ravdess/multi_lstm_mu"
    ]


def test_a_ledger_without_any_whole_test_set_is_an_error(exp):
    shutil.rmtree(exp / "tess_ravdess" / "multi_lstm_mu" / "fold2_seed0")
    shutil.rmtree(exp / "ravdess" / "multi_lstm_mu" / "fold1_seed0")
    build(exp)
    with refuses("no test set has been scored whole (target ravdess: 2 times"):
        load_ledger(exp.parent / "ledger", PAPER, {})


def test_a_target_that_no_run_was_tested_on_is_not_there(exp):
    """iemocap is trained on, and its own scores are missing from the ledger."""
    write_run(exp, ["iemocap", "ravdess"], CONFIGURATION, 1, 0, {"ravdess": answered("ravdess", ["a1"])})
    build(exp)
    ledger, design = load_ledger(exp.parent / "ledger", PAPER, {})
    assert design.corpora == ("iemocap", "tess", "ravdess")
    assert list(ledger.targets) == ["ravdess"]


def test_a_seed_that_one_cell_lacks_does_not_count(exp):
    own = {fold: answered("ravdess", [f"a{fold}"]) for fold in (1, 2)}
    for fold in (1, 2):
        write_run(exp, ["ravdess"], CONFIGURATION, fold, 1, {"ravdess": own[fold]})
    build(exp)
    target = load_ledger(exp.parent / "ledger", PAPER, {})[0].targets["ravdess"]
    assert (target.seeds, len(target.cells)) == ([0], 2)
    assert target.notes == ["seeds 1 do not count, for some cells lack them"]


def test_two_protocols_of_a_target_are_an_error(exp):
    folder = exp / "ravdess" / "multi_lstm_mu" / "fold1_seed0"
    recorded_again(folder / "result.json", protocol_hash={"ravdess": "older"})
    build(exp)
    with pytest.raises(InputError, match=r"prepared in several ways.*older \(1 runs\)"):
        load_ledger(exp.parent / "ledger", PAPER, {})


def test_a_ledger_without_a_run_of_the_grid_is_an_error(exp):
    build(exp)
    with refuses("none of its runs is of this grid"):
        load_ledger(exp.parent / "ledger", PAPER.narrowed({"temporal": ["tdnn"]}), {})
    with refuses("has no such column"):
        load_ledger(exp.parent / "ledger", PAPER, {"colour": "red"})
    row = rows_of(exp.parent / "ledger", "runs")[0]
    ledger, _ = load_ledger(exp.parent / "ledger", PAPER, {"versions": json.dumps(row["versions"])})
    assert len(ledger.runs) == 4


def test_a_cut_ledger_is_an_error(exp):
    build(exp)
    path = exp.parent / "ledger" / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:200])
    with refuses("changed since it was written", where="predictions.parquet"):
        load_ledger(exp.parent / "ledger", PAPER, {})
    recorded_again(exp.parent / "ledger" / "ledger.json")
    with refuses("not readable", where="predictions.parquet", fix="run steps/ledger.py again"):
        load_ledger(exp.parent / "ledger", PAPER, {})


LISTENING = []
sys.addaudithook(lambda event, args: LISTENING and event == "open" and LISTENING[-1].append(str(args[0])))


def opened(exp, call):
    """Folders of runs below `exp` of which a call opens a file."""
    LISTENING.append([])
    try:
        call()
    finally:
        paths = [Path(path) for path in LISTENING.pop()]
    return sorted({"/".join(p.relative_to(exp).parts[:3]) for p in paths if p.is_relative_to(exp) and p.is_file()})


def tables(exp):
    return [pq.read_table(exp.parent / "ledger" / f"{name}.parquet").to_pylist() for name in FILES]


@pytest.mark.parametrize("group", [1, 10, 200_000])
def test_a_second_ledger_opens_files_of_new_and_changed_runs_alone(exp, monkeypatch, group):
    monkeypatch.setattr("ser.findings.ledger.tables.GROUP", group)
    everything = opened(exp, lambda: build(exp))
    assert len(everything) == 4
    assert opened(exp, lambda: build(exp)) == []
    own = answered("ravdess", ["a3"])
    write_run(exp, ["ravdess"], CONFIGURATION, 3, 0, {"ravdess": own})
    assert opened(exp, lambda: build(exp)) == ["ravdess/multi_lstm_mu/fold3_seed0"]
    changed = exp / "ravdess" / "multi_lstm_mu" / "fold2_seed0"
    recorded_again(changed / "result.json", notes=["changed"])
    assert opened(exp, lambda: build(exp)) == ["ravdess/multi_lstm_mu/fold2_seed0"]
    assert [row["notes"] for row in rows_of(exp.parent / "ledger", "runs")].count(["changed"]) == 1
    shutil.rmtree(exp / "ravdess" / "multi_lstm_mu" / "fold1_seed0")
    assert opened(exp, lambda: build(exp)) == []
    found = tables(exp)
    shutil.rmtree(exp.parent / "ledger")
    assert build(exp)["runs"] == 4
    assert tables(exp) == found


@pytest.mark.parametrize("rows", [{"runs": 1}, {"predictions": 5}, {"runs": 2, "predictions": 12}])
def test_a_ledger_of_other_row_groups_is_read_again_from_its_runs(exp, rows):
    build(exp)
    before, folder = tables(exp), exp.parent / "ledger"
    for name, size in rows.items():
        path = folder / f"{name}.parquet"
        pq.write_table(pq.read_table(path), path, row_group_size=size)
    recorded_again(folder / "ledger.json")
    recorded_again(folder / ".sources.json")
    assert len(opened(exp, lambda: build(exp))) == 4
    assert tables(exp) == before


def test_a_ledger_whose_parts_are_not_of_each_other_is_refused(exp):
    build(exp)
    folder = exp.parent / "ledger"
    path = folder / "predictions.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(8), path)
    recorded_again(folder / "ledger.json")
    with refuses(
        "has 16 rows, and ledger.json counts 24", where="predictions.parquet", fix="run steps/ledger.py again"
    ):
        load_ledger(folder, PAPER, {})
    recorded_again(folder / "ledger.json", predictions=16)
    with refuses("has no prediction of", where="predictions.parquet"):
        load_ledger(folder, PAPER, {})
    (folder / "ledger.json").write_text("{")
    with refuses("not readable as JSON", where="ledger.json", fix="run steps/ledger.py again"):
        load_ledger(folder, PAPER, {})
    (folder / "ledger.json").unlink()
    assert build(exp)["predictions"] == 24


def test_a_damaged_run_is_named_by_every_ledger_and_a_damaged_ledger_is_not_read(exp):
    folder = exp / "ravdess" / "multi_lstm_mu" / "fold1_seed0"
    recorded_again(folder / "zero_shot.json", config_hash="another")
    build(exp)
    assert len(build(exp)["problems"]) == 1
    path = exp.parent / "ledger" / "runs.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    assert len(opened(exp, lambda: build(exp))) == 4


def test_a_saved_ledger_opens_files_of_new_runs_alone_unless_it_was_changed(exp, tmp_path):
    saved = tmp_path / "saved"

    def save():
        build_ledger([exp], tmp_path / "ledger", PAPER.corpora, "command", [saved])

    assert len(opened(exp, save)) == 4
    assert opened(exp, save) == []
    write_run(exp, ["ravdess"], CONFIGURATION, 3, 0, {"ravdess": answered("ravdess", ["a3"])}, {})
    assert opened(exp, save) == ["ravdess/multi_lstm_mu/fold3_seed0"]
    assert opened(exp, save) == []
    shutil.rmtree(saved / "ravdess")
    assert len(opened(exp, save)) == 5
    assert len(rows_of(tmp_path / "ledger", "runs")) == 5
