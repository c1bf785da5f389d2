"""Which cells and experiments a grid has."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path

import pytest
from conftest import ROOT, refuses
from stand_ins import grid_of_readings

from ser.common import InputError
from ser.common.run_folder import combination_name
from ser.corpora.splits import write_splits
from ser.grid import Grid, Places, open_grid
from ser.grid.cells import prefixes

PAPER = ("iemocap", "tess", "ravdess", "customer_ptbr")


def write_grid(recipe: Path, **changes: str) -> Path:
    """A recipe's own conf/grids/paper.yaml of a small grid."""
    values = {"corpora": "[tess, ravdess]", "combinations": "all", "task": "[multi]", "temporal": "[lstm]"}
    values |= {"pooling": "[mu]", **changes}
    path = recipe / "conf" / "grids" / "paper.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{key}: {value}\n" for key, value in values.items()))
    return path


def paper_grid(*overrides: str, recipe: Path | None = None, preset: str = "strict", **options) -> Grid:
    return open_grid(Places(recipe, Path("data"), Path("dump"), Path("exp")), preset, overrides, **options)


def refused(*overrides: str, **options) -> str:
    with refuses() as caught:
        paper_grid(*overrides, **options).experiments  # noqa: B018
    return str(caught.value)


def test_the_paper_has_168_cells_of_14_combinations() -> None:
    grid = paper_grid()
    names = [cell.name for cell in grid.cells]
    assert len(names) == len(set(names)) == grid.size == 168
    expected = [c for n in range(1, 5) for c in combinations(PAPER, n) if c != ("tess",)]
    assert grid.combinations == expected
    assert len(expected) == 14
    assert Counter(cell.combination for cell in grid.cells) == {"_".join(c): 12 for c in expected}
    assert names[:2] == ["iemocap/multi_lstm_mu", "iemocap/multi_lstm_mu_sigma2"]
    assert names[-1] == "iemocap_tess_ravdess_customer_ptbr/unified_tdnn_mu_sigma2"


def test_with_zero_shot_there_are_504_evaluations_in_place_of_288() -> None:
    grid = paper_grid(folds=[1])
    assert len(grid.experiments) == 168
    own = sum(corpus != "tess" for e in grid.experiments for corpus in e.corpora)
    unseen = [(e.combination, corpus) for e in grid.experiments for corpus in grid.unseen(e)]
    assert (own, len(unseen)) == (288, 216)
    assert "tess" not in {corpus for _, corpus in unseen}
    assert not any(corpus in combination for combination, corpus in unseen)


def test_with_two_corpora_available_24_cells_remain() -> None:
    grid = paper_grid(only=["ravdess", "tess"])
    assert grid.combinations == [("ravdess",), ("tess", "ravdess")]
    assert (len(grid.cells), grid.size) == (24, 168)
    assert grid.summary == "24 of 168 cells with tess, ravdess: those of ravdess, tess_ravdess"
    assert [grid.unseen(e) for e in grid.experiments[:1]] == [[]]  # TESS is never tested


def test_every_combination_has_as_many_folds_as_the_corpus_with_most() -> None:
    """So that a model of five folds is scored on the sixth of a corpus that it has not seen, too."""
    grid = paper_grid(only=["iemocap", "ravdess"])
    folds = Counter(e.combination for e in grid.experiments)
    assert folds == {"iemocap": 6 * 12, "ravdess": 6 * 12, "iemocap_ravdess": 6 * 12}
    assert Counter(e.combination for e in paper_grid(only=["iemocap"]).experiments) == {"iemocap": 5 * 12}
    sixth = paper_grid(only=["iemocap", "ravdess"], folds=[6], seeds=[3, 1])
    assert [e.seed for e in sixth.experiments] == [3] * 36 + [1] * 36


def test_the_public_grid_has_168_cells_and_six_folds_and_scores_all_on_urdu() -> None:
    recipe = ROOT / "egs" / "public"
    grid = paper_grid(recipe=recipe, name="public", preset="public")
    corpora = ("tess", "ravdess", "emodb", "nemo")
    expected = [c for n in range(1, 5) for c in combinations(corpora, n) if c != ("tess",)]
    assert grid.combinations == expected
    assert (len(grid.cells), len(grid.experiments)) == (168, 168 * 6)
    for e in grid.experiments:
        assert grid.unseen(e) == [c for c in ("ravdess", "emodb", "nemo", "urdu") if c not in e.corpora]
    seeds = paper_grid(recipe=recipe, name="blstm", preset="public", seeds=[0, 1, 2, 3, 4])
    assert len(seeds.experiments) == 56 * 6 * 5
    assert seeds.root == grid.root
    without = paper_grid(recipe=recipe, name="public", preset="public", only=["emodb", "nemo"])
    assert (len(without.cells), without.unseen(without.experiments[0])) == (36, ["nemo"])


def test_all_that_an_experiment_does_not_vary_is_as_the_settings_say() -> None:
    grid = paper_grid("training.patience=3", only=["tess", "ravdess"], folds=[2], seeds=[4])
    e = grid.experiments[-1]
    assert (e.corpora, e.task, e.temporal) == (["tess", "ravdess"], "unified", "tdnn")
    assert (e.pooling, e.fold, e.seed) == ("mu_sigma2", 2, 4)
    assert e.training.patience == 3
    assert grid.folder(e) == grid.root / "tess_ravdess" / "unified_tdnn_mu_sigma2" / "fold2_seed4"


def test_settings_that_decide_a_result_name_the_folder_of_the_experiments() -> None:
    root = paper_grid().root
    assert root.parent == Path("exp")
    assert root.name.startswith("strict_")
    for same in (
        paper_grid(only=["tess", "ravdess"], folds=[2], seeds=[7]),
        paper_grid("training.threads=1", "training.checkpoint_seconds=5"),
    ):
        assert same.root == root
    others = [
        paper_grid("training.patience=3"),
        paper_grid("augment.volume.decibels=[-3,3]"),
        paper_grid(preset="paper"),
    ]
    assert len({root, *(grid.root for grid in others)}) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"only": ["tess", "ravdes"]}, "--only tess,ravdes: ravdes is no corpus of the grid; did you mean ravdess?"),
        ({"only": ["emodb"]}, "emodb is no corpus of the grid; "),
        ({"only": ["tess_ravdess"]}, "tess_ravdess is no corpus of the grid; did you mean ravdess?"),
        ({"only": ["tess"]}, "--only tess: no combination of these is in the grid or has test speakers; add a corpus"),
        ({"folds": [7]}, "--folds 7: split strict of these corpora has folds 1 to 6"),
        ({"folds": [0]}, "--folds 0: whole numbers from 1, each once"),
        ({"seeds": [1, 1]}, "--seeds 1 1: whole numbers from 0, each once"),
        ({"preset": "strikt"}, "strikt.yaml: no such file"),
        ({"name": "papr"}, "conf/grids/papr.yaml: no such file below "),
    ],
)
def test_a_wrong_argument_is_named(options: dict, words: str) -> None:
    assert words in refused(**options)


@pytest.mark.parametrize(
    ("override", "fix"),
    [("fold=2", "give --folds"), ("corpora=[tess]", "give --only"), ("temporal=lstm", "grids/paper.yaml")],
)
def test_what_the_grid_varies_is_no_setting(override: str, fix: str) -> None:
    assert fix in refused(override)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"poolings": "[mu]"}, "key poolings is unknown; a grid has: corpora, combinations, task, temporal, pooling"),
        ({"pooling": "[mu, median]"}, "key pooling: median is unknown; there is: mu, mu_sigma2"),
        ({"task": "[multi, multi]"}, "key task must list names, each once"),
        ({"temporal": "lstm"}, "key temporal must list names, each once, not 'lstm'"),
        ({"corpora": "[]"}, "key corpora must list names"),
        ({"corpora": "[ravdess, nobody]"}, "conf/corpora/nobody.yaml: no such file"),
        ({"combinations": "[[ravdess, savee]]"}, "combinations: savee is not among its corpora"),
        ({"combinations": "[[tess]]"}, "combinations: tess: must name each corpus once, and one that is tested"),
        ({"combinations": "[[ravdess], [ravdess]]"}, "combinations: one appears twice"),
        (
            {"combinations": "some"},
            "key combinations must be all, singles, pairs, leave_one_out, {permutations: 20, seed: 0}, or list lists "
            "of corpora, not 'some'",
        ),
        ({"combinations": "{permutations: 0}"}, "key combinations must be all, "),
        ({"combinations": "{permutations: 2, seeds: 1}"}, "key combinations must be all, "),
        ({"combinations": "{seed: 1}"}, "key combinations must be all, "),
    ],
)
def test_a_wrong_grid_file_names_itself_and_its_key(tmp_path: Path, change: dict[str, str], words: str) -> None:
    path = write_grid(tmp_path, **change)
    message = refused(recipe=tmp_path)
    assert words in message
    assert str(path) in message or "nobody" in message


def test_listed_combinations_are_those_of_the_grid(tmp_path: Path) -> None:
    write_grid(tmp_path, corpora="[tess, ravdess, iemocap]", combinations="[[tess, ravdess], [ravdess]]")
    grid = paper_grid(recipe=tmp_path)
    assert [cell.name for cell in grid.cells] == ["tess_ravdess/multi_lstm_mu", "ravdess/multi_lstm_mu"]


def test_controls_come_with_the_corpus_that_they_are_made_of() -> None:
    recipe = ROOT / "egs" / "interaffection" / "controls"
    grid = paper_grid(recipe=recipe, name="controls", only=["tess", "ravdess"], preset="strong")
    kinds = ["tess", "tess_25", "tess_50", "tess_shuffled"]
    assert grid.combinations == [("ravdess",), *((kind, "ravdess") for kind in kinds)]
    assert (len(grid.cells), grid.size) == (10, 30)
    protocols = {corpus: (p.keep, p.shuffle_labels) for corpus, p in grid.protocols.items()}
    assert protocols == {
        "tess": (None, False),
        "tess_25": (0.25, False),
        "tess_50": (0.5, False),
        "tess_shuffled": (None, True),
        "ravdess": (None, False),
    }
    copies = paper_grid("augment.copies=3", recipe=recipe, name="copies", only=["tess", "ravdess"], preset="strong")
    assert [cell.name for cell in copies.cells] == ["ravdess/multi_blstm_mu_sigma2"]
    assert copies.root != grid.root


def test_a_corpus_whose_own_split_has_no_test_part_is_not_unseen(tmp_path: Path) -> None:
    grid_of_readings(tmp_path, ["one", "two"], "[[one]]")
    protocol = tmp_path / "conf" / "corpora" / "two.yaml"
    protocol.write_text("base: emodb\nname: two\nsplits: {strict: {given: true}}\n")
    (tmp_path / "data" / "two").mkdir(parents=True)
    for test, unseen in ((["s3"], ["two"]), ([], [])):
        parts = {"train": ["s1"], "valid": ["s2"], "test": test}
        write_splits(tmp_path / "data" / "two" / "splits.json", {"strict": {"rule": {"given": True}, "folds": [parts]}})
        grid = open_grid(Places(tmp_path, tmp_path / "data", tmp_path, tmp_path), "strict", (), "made")
        assert grid.unseen(grid.experiments[0]) == unseen


def test_a_control_is_no_target_and_a_reading_of_a_corpus_is_not_unseen_where_the_corpus_is_known() -> None:
    recipe = ROOT / "egs" / "interaffection" / "controls"
    grid = paper_grid(recipe=recipe, name="controls", preset="strong", folds=[1])
    unseen = {e.combination: grid.unseen(e) for e in grid.experiments}
    assert unseen["ravdess"] == ["iemocap", "customer_ptbr"]
    assert unseen["iemocap_25_ravdess"] == ["customer_ptbr"]
    assert unseen["tess_shuffled_ravdess"] == ["iemocap", "customer_ptbr"]
    assert unseen["ravdess_customer_ptbr_equal"] == ["iemocap"]


def test_the_stand_ins_of_the_demonstration_have_the_whole_grid() -> None:
    grid = paper_grid(recipe=ROOT / "egs" / "interaffection" / "mini", preset="mini", folds=[1])
    assert (len(grid.cells), len(grid.experiments)) == (168, 168)
    assert all("measure nothing about people" in protocol.note for protocol in grid.protocols.values())


def test_a_folder_that_is_not_set_is_named_with_what_can_be_run_without(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PAPER:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("TESS", "/tess")
    monkeypatch.setenv("RAVDESS", "/ravdess")
    with pytest.raises(
        InputError, match="iemocap, customer_ptbr: IEMOCAP, CUSTOMER_PTBR not set; .*--only tess,ravdess"
    ):
        paper_grid().variables()
    assert paper_grid(only=["tess", "ravdess"]).variables() == {"tess": "TESS", "ravdess": "RAVDESS"}


def test_a_combination_of_many_corpora_has_a_short_name(tmp_path: Path) -> None:
    names = [f"corpus_{number:02d}" for number in range(32)]
    assert combination_name(names[:3]) == "corpus_00_corpus_01_corpus_02"
    found = {combination_name([n for n in names if n != left]) for left in names} | {combination_name(names)}
    assert len(found) == 33
    assert all(len(name.encode()) <= 100 for name in found)
    (tmp_path / combination_name(names)).mkdir()


@pytest.fixture
def many(tmp_path: Path) -> Callable[..., Grid]:
    """A grid of 32 corpora, each a reading of RAVDESS."""
    return partial(grid_of_readings, tmp_path, [f"ravdess_{number:02d}" for number in range(32)])


@pytest.mark.parametrize(("asked", "number"), [("singles", 32), ("pairs", 32 + 496), ("leave_one_out", 33)])
def test_sets_of_many_corpora(many: Callable[..., Grid], asked: str, number: int) -> None:
    grid = many(asked)
    assert len(grid.cells) == grid.size == number
    assert len({cell.name for cell in grid.cells}) == number
    assert grid.arithmetic == f"{number} cells x 6 folds x 1 seeds = {6 * number:,} trainings"


def test_all_sets_of_many_corpora_are_refused_and_of_some_of_them_made(many: Callable[..., Grid]) -> None:
    with refuses(
        "all of 32 corpora are 4,294,967,295 sets", fix="{permutations: 20, seed: 0} for sampled Shapley values"
    ):
        many("all")
    some = many("all", [f"ravdess_{number:02d}" for number in range(4)])
    assert (len(some.cells), some.size) == (15, 2**32 - 1)


def test_drawn_permutations_of_many_corpora_begin_with_each_of_them(many: Callable[..., Grid]) -> None:
    grid, again, other = (many(f"{{permutations: 3, seed: {seed}}}") for seed in (1, 1, 2))
    every = [f"ravdess_{number:02d}" for number in range(32)]
    sets = [frozenset(cell.corpora) for cell in grid.cells]
    assert len(set(sets)) == len(sets) == grid.size
    assert {len(found) for found in sets} == set(range(1, 33))
    assert sets.count(frozenset(every)) == 1
    for target in every:
        of_target = {mix | {target} for mix in prefixes(target, every, 3, 1)}
        assert of_target <= set(sets)
        assert 32 + 31 <= len(of_target) <= 2 + 3 * 30  # one chain, and of the others at least some
    assert grid.cells == again.cells != other.cells
    assert all(list(cell.corpora) == sorted(cell.corpora) for cell in grid.cells)


def test_without_some_corpora_the_others_keep_their_order(many: Callable[..., Grid]) -> None:
    every = [f"ravdess_{number:02d}" for number in range(32)]
    some = many("{permutations: 2}", every[:5])
    assert {frozenset(cell.corpora) for cell in some.cells} == {
        (mix | {target}) & set(every[:5]) for target in every[:5] for mix in prefixes(target, every, 2)
    }
    assert some.size == many("{permutations: 2}").size


def test_permutations_are_drawn_for_tested_corpora_alone(tmp_path: Path) -> None:
    write_grid(tmp_path, corpora="[tess, ravdess, iemocap]", combinations="{permutations: 9}")
    grid = paper_grid(recipe=tmp_path)
    assert [cell.corpora for cell in grid.cells] == [
        ("ravdess",),
        ("iemocap",),
        ("tess", "ravdess"),
        ("tess", "iemocap"),
        ("ravdess", "iemocap"),
        ("tess", "ravdess", "iemocap"),
    ]
