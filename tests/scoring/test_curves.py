import json
import subprocess
import sys

import numpy as np
import programs
import pytest
from conftest import ROOT, refuses
from scored import whole_train

from ser.common import InputError
from ser.common.records import write_record
from ser.scoring.curves import curves_of, draw_curves, plot_curves, read_curves
from ser.scoring.files import folders_with
from ser.training import Trainer

# Three epochs of two corpora of which one is not monitored; the second epoch had no batch of "two".
ROWS = [
    {"train_loss": {"one": 1.2, "two": 1.1}, "valid_loss": 1.0, "valid": {"one": {"loss": 1.0, "ua": 0.4}}},
    {"train_loss": {"one": 0.8}, "valid_loss": 0.7, "valid": {"one": {"loss": 0.7, "ua": 0.6}}},
    {"train_loss": {"one": 0.5, "two": 0.6}, "valid_loss": 0.9, "valid": {"one": {"loss": 0.9, "ua": 0.5}}},
]
ROWS = [
    {"epoch": i, "step": 10 * i, **row, "best_epoch": min(i, 2), "num_bad_epochs": 0} for i, row in enumerate(ROWS, 1)
]
# The checkpoint is that of the last epoch, not of the best; "one" has four of five classes of a unified head.
TRAIN = {"epochs": 3, "chosen_epoch": 3, "class_counts": {"one": [5, 0, 5, 5, 5], "two": [5, 5, 5, 5, 5]}}


def write_training(folder, rows=ROWS, train=None):
    folder.mkdir(parents=True)
    (folder / "epochs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if train:
        write_record(folder / "train.json", whole_train(**train), [folder / "epochs.jsonl"])
    return folder


def lines_of(axes):
    """label -> x and y of every line drawn."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_series_of_a_training_that_is_done():
    curves = curves_of(ROWS, TRAIN)
    assert curves.epochs.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(curves.train_loss["one"], [1.2, 0.8, 0.5])
    np.testing.assert_array_equal(curves.train_loss["two"], [1.1, np.nan, 0.6])
    assert {c: v.tolist() for c, v in curves.valid_loss.items()} == {"one": [1.0, 0.7, 0.9]}
    assert {c: v.tolist() for c, v in curves.ua.items()} == {"one": [0.4, 0.6, 0.5]}
    assert curves.monitored.tolist() == [1.0, 0.7, 0.9]
    assert (curves.done, curves.best_epoch, curves.classes) == (True, 3, {"one": 4, "two": 5})
    assert curves.status == "best checkpoint: epoch 3 of 3"


@pytest.mark.parametrize("train", [None, {**TRAIN, "epochs": 7, "chosen_epoch": 1}], ids=["none", "of an earlier one"])
def test_a_training_runs_until_train_json_is_of_its_epochs(train):
    curves = curves_of(ROWS, train)
    assert (curves.done, curves.best_epoch, curves.classes) == (False, 2, {})
    assert curves.status == "running, epoch 3, best so far 2"


def test_a_corpus_that_comes_late_is_drawn():
    first = {**ROWS[0], "train_loss": {"two": 1.1}}
    curves = curves_of([first, *ROWS[1:2]])
    np.testing.assert_array_equal(curves.train_loss["one"], [np.nan, 0.8])
    np.testing.assert_array_equal(curves.train_loss["two"], [1.1, np.nan])


def test_one_training_has_losses_left_and_ua_right():
    figure = draw_curves("exp/c/cell/fold1_seed0", {".": curves_of(ROWS, TRAIN)})
    loss, ua = figure.axes
    found = lines_of(loss)
    np.testing.assert_array_equal(found.pop("train two")[1], [1.1, np.nan, 0.6])
    assert found == {
        "train one": ([1, 2, 3], [1.2, 0.8, 0.5]),
        "valid one": ([1, 2, 3], [1.0, 0.7, 0.9]),
        "best valid one": ([3], [0.9]),
        "best checkpoint": ([3, 3], [0, 1]),
    }
    assert lines_of(ua) == {
        "valid one": ([1, 2, 3], [0.4, 0.6, 0.5]),
        "best valid one": ([3], [0.5]),
        "chance, 4 classes": ([0, 1], [0.25, 0.25]),
        "best checkpoint": ([3, 3], [0, 1]),
    }
    colours = {line.get_label(): line.get_color() for axes in (loss, ua) for line in axes.lines}
    assert colours["train one"] == colours["valid one"] != colours["train two"]
    assert figure.get_suptitle() == "exp/c/cell/fold1_seed0"
    assert loss.get_title("left") == "best checkpoint: epoch 3 of 3"
    assert legend_of(figure) == ["one", "two", "training", "validation", "best checkpoint"]


def test_a_running_training_has_a_ring_at_the_best_so_far():
    figure = draw_curves("", {".": curves_of(ROWS)})
    loss, ua = figure.axes
    assert lines_of(loss)["best valid one"] == ([2], [0.7])
    assert lines_of(loss)["best checkpoint"][0] == [2, 2]
    assert not any("chance" in label for label in lines_of(ua))
    (ring,) = [line for line in loss.lines if line.get_label() == "best valid one"]
    assert ring.get_markerfacecolor() == "white"
    assert loss.get_title("left") == "running, epoch 3, best so far 2"
    assert legend_of(figure)[-1] == "best so far"


def test_one_epoch_is_seen():
    """A line through one point has no length; only its marker shows."""
    loss, ua = draw_curves("", {".": curves_of(ROWS[:1])}).axes
    assert all(line.get_marker() == "." for line in (*loss.lines, *ua.lines) if line.get_label().startswith("train"))
    assert all(tick % 1 == 0 for tick in loss.get_xticks())


def test_the_monitored_loss_is_drawn_where_it_is_of_several_corpora():
    rows = [{**ROWS[0], "valid_loss": 1.5, "valid": {c: {"loss": v, "ua": 0.5} for c, v in (("one", 1), ("two", 2))}}]
    figure = draw_curves("", {".": curves_of(rows)})
    assert lines_of(figure.axes[0])["monitored"] == ([1], [1.5])
    assert "mean of validation" in legend_of(figure)


def test_several_trainings_are_laid_over_one_another_by_corpus():
    figure = draw_curves("exp/c", {"a": curves_of(ROWS, TRAIN), "b": curves_of(ROWS[:2])})
    panels = {(axes.get_title(), axes.get_ylabel()): axes for axes in figure.axes}
    assert len(panels) == 6
    assert lines_of(panels["one", "training loss"]) == {"a": ([1, 2, 3], [1.2, 0.8, 0.5]), "b": ([1, 2], [1.2, 0.8])}
    assert lines_of(panels["one", "validation loss"]) == {
        "a": ([1, 2, 3], [1.0, 0.7, 0.9]),
        "best a": ([3], [0.9]),
        "b": ([1, 2], [1.0, 0.7]),
        "best b": ([2], [0.7]),
    }
    assert lines_of(panels["one", "validation UA"]) == {
        "a": ([1, 2, 3], [0.4, 0.6, 0.5]),
        "best a": ([3], [0.5]),
        "chance, 4 classes": ([0, 1], [0.25, 0.25]),
        "b": ([1, 2], [0.4, 0.6]),
        "best b": ([2], [0.6]),
    }
    assert [panels["two", what].get_visible() for what in ("training loss", "validation UA")] == [True, False]
    (a, b) = panels["one", "training loss"].lines
    assert a.get_color() != b.get_color()
    assert legend_of(figure) == [
        "a: best checkpoint: epoch 3 of 3",
        "b: running, epoch 2, best so far 2",
        "best checkpoint",
        "best so far",
    ]


def test_eight_are_laid_over_one_another_and_nine_are_not():
    of = {str(i): curves_of(ROWS, TRAIN) for i in range(9)}
    eight = draw_curves("", {name: of[name] for name in list(of)[:8]})
    assert len({line.get_color() for line in eight.axes[0].lines}) == 8
    assert [text.get_text() for text in eight.axes[2].texts] == ["chance, 4 classes"]  # once for all
    nine = draw_curves("", of)
    assert len(nine.axes) == 18
    assert [axes.get_title("left") for axes in nine.axes[::2]] == [f"{n}\n{of[n].status}" for n in of]


def test_many_trainings_share_scales_that_hold_all_of_them():
    high = [{**row, "valid_loss": 9.0, "valid": {"one": {"loss": 9.0, "ua": 0.95}}} for row in ROWS]
    figure = draw_curves("", {str(i): curves_of(high if i == 7 else ROWS) for i in range(10)})
    figure.canvas.draw()
    assert len(figure.axes) == 20
    for panels, low, top in ((figure.axes[::2], 0.5, 9.0), (figure.axes[1::2], 0.4, 0.95)):
        (limits,) = {axes.get_ylim() for axes in panels}
        assert limits[0] <= low < top <= limits[1]


def test_more_corpora_than_the_palette_has_keep_apart():
    names = [f"c{i}" for i in range(12)]
    row = {**ROWS[0], "train_loss": dict.fromkeys(names, 1.0)}
    loss, _ = draw_curves("", {".": curves_of([row])}).axes
    assert len({line.get_color() for line in loss.lines if line.get_label().startswith("train")}) == 12


def test_reads_what_a_training_writes(made, tmp_path):
    experiment = made.experiment("training.max_epochs=2")
    data = made.open(experiment)
    trainer = Trainer(experiment, tmp_path, data.heads, data.parts("train"), data.parts("valid"), data.hashes())
    trainer.run()
    curves = read_curves(tmp_path)
    assert (curves.done, curves.best_epoch) == (True, json.loads((tmp_path / "train.json").read_text())["chosen_epoch"])
    assert curves.ua["one"].tolist() == [row["valid"]["one"]["ua"] for row in trainer.history]
    assert curves.classes["one"] == 4


def test_trainings_are_found_below_folders_once_each(tmp_path):
    a, b = (write_training(tmp_path / "exp" / "c" / cell / "fold1_seed0") for cell in ("a", "b"))
    assert folders_with("epochs.jsonl", [tmp_path / "exp" / "c" / "b", tmp_path], "none") == [b, a]
    assert folders_with("epochs.jsonl", [a], "none") == [a]


def test_trainings_are_found_behind_links_and_no_folder_is_left_out_unread(tmp_path, unlisted):
    elsewhere = write_training(tmp_path / "elsewhere" / "fold1_seed0")
    exp = tmp_path / "exp" / "c"
    exp.mkdir(parents=True)
    (exp / "cell").symlink_to(elsewhere.parent)
    (exp / "loop").symlink_to(exp)
    assert folders_with("epochs.jsonl", [exp], "none") == [exp / "cell" / "fold1_seed0"]
    unlisted(exp / "cell")
    with refuses("cannot be read (Permission denied)", exp / "cell"):
        folders_with("epochs.jsonl", [exp], "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"epoch": 1', r"epochs.jsonl:2: no epoch of a training"),
        ("\xff", r"epochs.jsonl:2: no epoch of a training"),
        ("3", r"epochs.jsonl:2: .*= 3, expected an object"),
        (json.dumps({k: v for k, v in ROWS[1].items() if k != "valid"}), r"epochs.jsonl:2: .*valid is missing"),
        (json.dumps({**ROWS[1], "valid_loss": float("nan")}), r"epochs.jsonl:2: .*valid_loss = nan, expected a finite"),
    ],
)
def test_a_broken_line_is_named(tmp_path, text, message):
    folder = write_training(tmp_path / "run", ROWS[:1])
    with (folder / "epochs.jsonl").open("a", encoding="latin-1") as file:
        file.write(text + "\n")
    with pytest.raises(InputError, match=message):
        plot_curves([folder], folder / "curves.png")
    assert [path.name for path in folder.iterdir()] == ["epochs.jsonl"]


def test_what_cannot_be_drawn_is_an_error(tmp_path):
    folder = write_training(tmp_path / "run")
    with refuses("unknown ending; a picture ends in .png, .pdf, .svg", where="a.jpg"):
        plot_curves([folder], tmp_path / "a.jpg")
    with refuses("no room for 101 trainings"):
        plot_curves([folder] * 101, tmp_path / "a.png")
    empty = write_training(tmp_path / "empty", [])
    with refuses("holds no epoch", where="epochs.jsonl"):
        read_curves(empty)


@pytest.mark.parametrize(
    ("ending", "start", "absent"),
    [("png", b"\x89PNG", b"Software"), ("pdf", b"%PDF", b"CreationDate"), ("SVG", b"<?xml", b"<dc:date>")],
)
def test_the_same_curves_are_the_same_bytes(tmp_path, ending, start, absent):
    folders = [write_training(tmp_path / "exp" / "c" / cell / "fold1_seed0") for cell in ("a", "b")]
    first, second = tmp_path / f"first.{ending}", tmp_path / f"second.{ending}"
    plot_curves(folders, first)
    plot_curves(folders, second)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(start)
    assert absent not in first.read_bytes()


@pytest.fixture
def step(tmp_path):
    """steps/plot_curves.py as a user runs it, in a folder with two trainings of which one runs."""
    for cell, train in (("multi_blstm_mu", TRAIN), ("unified_lstm_mu", None)):
        write_training(tmp_path / "my exp" / "one_two" / cell / "fold1_seed0", train=train)

    def run(*options):
        variables = {"PYTHONPATH": "", "MPLBACKEND": "not installed"}
        return programs.run(ROOT / "steps" / "plot_curves.py", *options, cwd=tmp_path, **variables)

    return run


def test_step_draws_each_training_in_its_folder(step, tmp_path):
    done = step("my exp")
    wanted = [f"my exp/one_two/{cell}/fold1_seed0/curves.png" for cell in ("multi_blstm_mu", "unified_lstm_mu")]
    assert (done.returncode, done.stderr, done.stdout.splitlines()) == (0, "", wanted)
    for name in wanted:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_step_draws_all_into_one_picture_with_their_names(step, tmp_path):
    done = step("my exp", "--out", "new/all.svg")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "new/all.svg\n")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["all.svg"]
    assert not list(tmp_path.rglob("curves.png"))
    text = (tmp_path / "new" / "all.svg").read_text()
    for line in (
        "my exp/one_two",
        "multi_blstm_mu/fold1_seed0: best checkpoint: epoch 3 of 3",
        "unified_lstm_mu/fold1_seed0: running, epoch 3, best so far 2",
    ):
        assert f"<!-- {line} -->" in text


def test_step_reports_what_is_wrong_in_one_line(step, one_line):
    assert one_line(step("nowhere")).startswith("error: nowhere: no epochs.jsonl in or below it")
    assert one_line(step("my exp", "--out", "all.txt")).startswith("error: all.txt: unknown ending")


def test_help_imports_nothing_heavy():
    command = [sys.executable, "-X", "importtime", ROOT / "steps" / "plot_curves.py", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "argparse" in done.stderr
    assert not {"numpy", "matplotlib", "torch"} & {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
