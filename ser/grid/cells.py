"""Cells and experiments of a grid: combinations of corpora times factors, times folds and seeds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, combinations, product
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ser.common import InputError, derive_seed, did_you_mean, digest
from ser.common.provenance import code_hash
from ser.common.run_folder import combination_name
from ser.config import Experiment, find, load, result_affecting
from ser.config.registry import POOLING, TEMPORAL
from ser.config.yaml_file import QUOTE, read_yaml, shown
from ser.corpora import Protocol, read_protocol
from ser.corpora.confounding import confounded
from ser.corpora.protocol import corpus_fold
from ser.corpora.splits import with_splits
from ser.grid.saved import read_saved_runs

FACTORS = {"task": get_args(get_type_hints(Experiment)["task"]), "temporal": TEMPORAL, "pooling": POOLING}
KEYS = ("corpora", "combinations", *FACTORS)
# Values of `combinations` beside a list: all sets; each corpus; these and all pairs; all corpora, and all but one; or a
# value such as DRAWN, for sampled Shapley values.
SETS = ("all", "singles", "pairs", "leave_one_out")
MOST_PERMUTATIONS = 10_000
MOST_OF_ALL = 12  # corpora: 4095 sets
DRAWN = "{permutations: 20, seed: 0}"  # see `prefixes`
# Settings in which the experiments of a grid differ; they share all others.
VARIED = {"corpora", *FACTORS, "fold", "seed"}


@dataclass(frozen=True)
class Cell:
    """A cell of the grid: a training set and a configuration."""

    corpora: tuple[str, ...]
    task: str
    temporal: str
    pooling: str

    @property
    def combination(self) -> str:
        return combination_name(self.corpora)

    @property
    def name(self) -> str:
        """Its folder below the root of the experiments."""
        return f"{self.combination}/{self.task}_{self.temporal}_{self.pooling}"


@dataclass(frozen=True)
class Places:
    """Folders that a grid reads and writes.

    Attributes:
        recipe: its conf/ and local/ come first.
        data: output of stage 1.
        dump: root of the feature store.
        exp: experiments of all settings.
        saved: folder of the saved ledgers of all settings, whose runs count as done; None: there is none.
        any_code: whether saved runs of other code count, too.
    """

    recipe: Path | None
    data: Path
    dump: Path
    exp: Path
    saved: Path | None = None
    any_code: bool = False


@dataclass(frozen=True)
class Grid:
    """The requested experiments.

    Attributes:
        settings: shared by all; its corpora are all of the grid, available or not.
        places: folders.
        cells: cells whose corpora are all available.
        size: number of cells if all corpora were available.
        available: corpora, in order.
        protocols: of the available corpora.
        lines: available corpus -> its name and the names of the protocols that it builds on.
        folds: requested folds; (): all.
        seeds: of each cell and fold.
    """

    settings: Experiment
    places: Places
    cells: list[Cell]
    size: int
    available: list[str]
    protocols: dict[str, Protocol]
    lines: dict[str, list[str]]
    folds: tuple[int, ...]
    seeds: tuple[int, ...]

    @cached_property
    def root(self) -> Path:
        """Folder of the experiments; other settings have another folder, so that their results are never mixed.

        Its name ends with a digest of the result-affecting settings that are not in the path of a cell.
        """
        shared = {key: value for key, value in result_affecting(self.settings).items() if key not in VARIED}
        return self.places.exp / f"{self.settings.preset}_{digest(shared)[:8]}"

    @cached_property
    def saved_runs(self) -> dict[str, dict[str, Any]]:
        """config_hash -> hashes of the runs in the saved ledger of these settings."""
        places = self.places
        code = None if places.any_code else code_hash()
        return read_saved_runs(places.saved / self.root.name, code) if places.saved else {}

    def saved_run(self, experiment: Experiment) -> dict[str, Any] | None:
        """Row of an experiment in the saved ledger, if it is scored on all unseen corpora."""
        row = self.saved_runs.get(digest(result_affecting(experiment))) if self.saved_runs else None
        return row if row is not None and row["zero_shot"].keys() >= set(self.unseen(experiment)) else None

    @cached_property
    def resolved(self) -> dict[str, Protocol]:
        """The protocols of the corpora, with the splits that stage 1 has made of rules, where it has run."""
        return {corpus: with_splits(protocol, self.places.data / corpus) for corpus, protocol in self.protocols.items()}

    @property
    def summary(self) -> str:
        """How many cells the grid has with the available corpora."""
        names = ", ".join(map("_".join, self.combinations))
        return f"{len(self.cells)} of {self.size} cells with {', '.join(self.available)}: those of {names}"

    @property
    def arithmetic(self) -> str:
        """How many trainings the grid has."""
        cells, seeds = len(self.cells), len(self.seeds)
        try:
            folds = len(self.folds) or self.most_folds
        except InputError:  # of a split by rule, before stage 1
            return f"{cells} cells x folds (known after stage 1) x {seeds} seeds"
        return f"{cells} cells x {folds} folds x {seeds} seeds = {cells * folds * seeds:,} trainings"

    @property
    def combinations(self) -> list[tuple[str, ...]]:
        return list(dict.fromkeys(cell.corpora for cell in self.cells))

    @cached_property
    def experiments(self) -> list[Experiment]:
        """All experiments, by seed, cell and fold.

        Raises:
            InputError: no corpus has a requested fold, or the folds of a corpus are unknown before stage 1.
        """
        if odd := set(self.folds).difference(range(1, self.most_folds + 1)):
            raise InputError(
                f"split {self.settings.split} of these corpora has folds 1 to {self.most_folds}", f"--folds {max(odd)}"
            )
        return [
            replace(self.settings, **vars(cell) | {"corpora": list(cell.corpora), "fold": fold, "seed": seed})
            for seed in self.seeds
            for cell in self.cells
            for fold in self.folds or range(1, self.most_folds + 1)
        ]

    @property
    def trainings(self) -> list[Experiment]:
        """One experiment for each combination and fold, that is, for each set of training utterances."""
        first: dict[tuple[str, int], Experiment] = {}
        for experiment in self.experiments:
            first.setdefault((experiment.combination, experiment.fold), experiment)
        return list(first.values())

    def folder(self, experiment: Experiment) -> Path:
        return self.root / experiment.folder

    def variables(self) -> dict[str, str]:
        """Available corpus -> the environment variable with its folder: RAVDESS, or that of its base.

        Raises:
            InputError: one is not set.
        """
        candidates = {corpus: [name.upper() for name in line] for corpus, line in self.lines.items()}
        variables = {c: next((n for n in names if os.environ.get(n)), "") for c, names in candidates.items()}
        if missing := [corpus for corpus, name in variables.items() if not name]:
            rest = ",".join(corpus for corpus, name in variables.items() if name) or "and those that you have"
            unset = ", ".join(dict.fromkeys(candidates[corpus][-1] for corpus in missing))
            fix = f"write the folders in db.sh, or go on without these corpora, by --only {rest}"
            raise InputError(f"{unset} not set", ", ".join(missing), fix)
        return variables

    def unseen(self, experiment: Experiment) -> list[str]:
        """Corpora for zero-shot scoring: available, with test speakers and their own labels, and not derived from a
        corpus of the training."""
        split, fold = experiment.split, experiment.fold
        known = {name for corpus in experiment.corpora for name in self.lines[corpus]}
        others = {corpus: p for corpus, p in self.resolved.items() if not known & set(self.lines[corpus])}
        return [c for c, p in others.items() if p.has_test(split, fold) and not p.keep and not p.shuffle_labels]

    def alone(self, experiment: Experiment, corpus: str) -> Experiment:
        """An experiment of one corpus, with the features and the fold of another and without augmented copies.

        Where statistics of a speaker would remove the differences between classes, features are normalised by those
        of the corpus.
        """
        fold = corpus_fold(experiment.fold, self.resolved[corpus].count_folds(experiment.split))
        augment, batches = {**experiment.augment, "copies": 0}, experiment.batches
        if confounded(self.places.data, [corpus], batches.normalisation):
            batches = replace(batches, normalisation="corpus")
        return replace(experiment, corpora=[corpus], task="multi", fold=fold, augment=augment, batches=batches)

    @cached_property
    def most_folds(self) -> int:
        """Number of folds of every cell: that of the corpus with most folds; other corpora start again at their first.

        A cell whose corpora have fewer folds also has this number, so that it is scored on all test speakers of its
        unseen corpora.
        """
        split, numbers = self.settings.split, [1]
        for corpus in dict.fromkeys(chain(*self.combinations)):
            number = self.resolved[corpus].num_folds(split)
            if number is None:
                raise InputError(
                    "its speakers, and so its folds, are unknown", self.places.data / corpus, "run stage 1"
                )
            numbers.append(number)
        return max(numbers)


def open_grid(
    places: Places,
    preset: str,
    overrides: Sequence[str] = (),
    name: str = "paper",
    only: Sequence[str] = (),
    folds: Sequence[int] = (),
    seeds: Sequence[int] = (0,),
) -> Grid:
    """Read conf/grids/<name>.yaml, the recipe's own before the toolkit's, and the settings.

    Args:
        overrides: settings, such as "training.patience=3".
        only: available corpora; those that build on their protocols are available too; (): all of the grid.
        folds: from 1; (): all.
        seeds: at least one.

    Raises:
        InputError: a file or an argument that is wrong, or no cell remains.
    """
    path, values = read_grid_file(name, places.recipe)
    corpora: list[str] = values["corpora"]
    for override in overrides:
        key = override.partition("=")[0]
        if key in VARIED:
            fix = "give --only" if key == "corpora" else f"give --{key}s" if key in ("fold", "seed") else f"edit {path}"
            raise InputError(f"{override}: the grid varies {key}", "command line", fix)
    for corpus in only:
        if corpus not in corpora:
            hint = did_you_mean(corpus, corpora, cutoff=0.6) or f"; {path} has {', '.join(corpora)}"
            raise InputError(f"{corpus} is no corpus of the grid{hint}", f"--only {','.join(only)}")
    for option, numbers, least in (("folds", folds, 1), ("seeds", seeds, 0)):
        if any(number < least for number in numbers) or len(set(numbers)) < len(numbers):
            raise InputError(f"whole numbers from {least}, each once", f"--{option} {' '.join(map(str, numbers))}")
    settings = load(preset, places.recipe, [f"corpora=[{','.join(corpora)}]", *overrides])
    protocols = {corpus: read_protocol(corpus, places.recipe) for corpus in corpora}
    tested = {corpus for corpus, protocol in protocols.items() if protocol.has_test(settings.split, 1)}
    lines = {corpus: _line(protocol, places.recipe) for corpus, protocol in protocols.items()}
    available = [corpus for corpus in corpora if set(only) & set(lines[corpus]) or not only]
    sets, size = _combinations(path, values, tested, available)
    if not sets:
        raise InputError(
            "no combination of these is in the grid or has test speakers",
            f"--only {','.join(available)}" if only else path,
            "add a corpus",
        )
    factors = list(product(*(values[factor] for factor in FACTORS)))
    return Grid(
        settings,
        places,
        [Cell(combination, *factor) for combination in sets for factor in factors],
        size * len(factors),
        available,
        {corpus: protocols[corpus] for corpus in available},
        {corpus: lines[corpus] for corpus in available},
        tuple(sorted(folds)),
        tuple(seeds),
    )


def _line(protocol: Protocol, recipe: Path | None) -> list[str]:
    """The name of a corpus and the names of the protocols that it builds on."""
    names = [protocol.corpus]
    while protocol.base and protocol.base not in names:
        names.append(protocol.base)
        protocol = read_protocol(protocol.base, recipe)
    return names


def _combinations(
    path: Path, values: Mapping[str, Any], tested: set[str], available: Sequence[str]
) -> tuple[list[tuple[str, ...]], int]:
    """The available sets of corpora that can be scored, in the order of tables; and the number of all sets."""
    corpora: list[str] = values["corpora"]
    asked = values["combinations"]
    if asked == "all":
        if len(available) > MOST_OF_ALL:
            raise InputError(
                f"combinations: all of {len(available)} corpora are {2 ** len(available) - 1:,} sets",
                path,
                f"choose {', '.join(SETS[1:])}, or {DRAWN} for sampled Shapley values, or list some, or give "
                f"--only with at most {MOST_OF_ALL} corpora",
            )
        sets = chain.from_iterable(combinations(available, size) for size in range(1, len(available) + 1))
        size = 2 ** len(corpora) - 2 ** len(set(corpora) - tested)
        return [corpora for corpora in sets if tested & set(corpora)], size
    if isinstance(asked, dict):
        return _drawn(available, tested, asked), len(_drawn(corpora, tested, asked))
    every = listed(asked, corpora)
    if isinstance(asked, str):
        every = [combination for combination in every if tested & set(combination)]
    for combination in every:
        if unknown := sorted(set(combination) - set(corpora)):
            raise InputError(f"combinations: {unknown[0]} is not among its corpora", path)
        if not tested & set(combination) or len(set(combination)) < len(combination):
            raise InputError(
                f"combinations: {', '.join(combination)}: must name each corpus once, and one that is tested", path
            )
    if len(set(map(frozenset, every))) < len(every):
        raise InputError("combinations: one appears twice", path)
    return [combination for combination in every if set(combination) <= set(available)], len(every)


def listed(asked: str | Sequence[Sequence[str]], corpora: Sequence[str]) -> list[tuple[str, ...]]:
    """The sets of corpora of a grid that has neither all of them nor draws them.

    Args:
        asked: a value of `combinations`: singles, pairs, leave_one_out, or lists.
        corpora: all of the grid, in order.
    """
    if not isinstance(asked, str):
        return [tuple(combination) for combination in asked]
    sizes = {"singles": (1,), "pairs": (1, 2), "leave_one_out": (len(corpora) - 1, len(corpora))}[asked]
    return [combination for size in sizes if size for combination in combinations(corpora, size)]


def _drawn(corpora: Sequence[str], tested: set[str], asked: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Each tested corpus with each prefix of its permutations, smaller sets first."""
    targets = [corpus for corpus in corpora if corpus in tested]
    sets = {source_set | {t} for t in targets for source_set in prefixes(t, corpora, **asked)}
    rows = sorted((len(s), [i for i, corpus in enumerate(corpora) if corpus in s]) for s in sets)
    return [tuple(corpora[i] for i in row) for _, row in rows]


def prefixes(target: str, corpora: Sequence[str], permutations: int, seed: int = 0) -> set[frozenset[str]]:
    """All prefixes of drawn permutations of the source corpora of a target, from none to all.

    They are the training sets of a sampled Shapley value. Each target has its own permutations, since a permutation of
    all corpora would hold the target only from some position on. Without some corpora, the others keep their order.

    Args:
        target: a corpus that is tested.
        corpora: all, the target among them.
        permutations: how many are drawn.
        seed: of the draw.
    """
    others, sets = [corpus for corpus in corpora if corpus != target], set()
    for number in range(permutations):
        order = sorted(others, key=lambda c: (derive_seed("permutation", seed, target, number, c), c))
        sets |= {frozenset(order[:size]) for size in range(len(order) + 1)}
    return sets


def read_grid_file(name: str, recipe: Path | None) -> tuple[Path, dict[str, Any]]:
    """Read and check conf/grids/<name>.yaml, the recipe's own before the toolkit's; returns its path and values.

    Args:
        name: of the grid.
        recipe: folder whose conf/ comes first.

    Raises:
        InputError: there is no such file, or a key of it is missing, unknown or wrong.
    """
    path = find(f"conf/grids/{name}.yaml", recipe)
    values = read_yaml(path)
    for key in sorted(values.keys() ^ set(KEYS)):
        wrong = "missing" if key in KEYS else "unknown"
        raise InputError(f"key {key} is {wrong}; a grid has: {', '.join(KEYS)}", path)
    for key, value in values.items():
        if key == "combinations":
            listed = _is_list(value, list) and all(_is_list(names, str) for names in value)
            if not (listed or is_draw(value) or (isinstance(value, str) and value in SETS)):
                forms = f"{', '.join(SETS)}, {DRAWN}, or list lists of corpora"
                raise InputError(f"key combinations must be {forms}, not {shown(value)}", path)
        elif not _is_list(value, str) or len(set(value)) < len(value):
            raise InputError(f"key {key} must list names, each once, not {shown(value)}{QUOTE}", path)
    for factor, known in FACTORS.items():
        for name in values[factor]:
            if name not in known:
                raise InputError(f"key {factor}: {name} is unknown; there is: {', '.join(known)}", path)
    return path, values


def is_draw(value: Any) -> bool:
    """Whether a value of `combinations` has the form of DRAWN; the seed may be left out."""
    if not isinstance(value, dict) or not {"permutations"} <= value.keys() <= {"permutations", "seed"}:
        return False
    if not all(type(number) is int for number in value.values()):
        return False
    return 0 < value["permutations"] <= MOST_PERMUTATIONS and value.get("seed", 0) >= 0


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, kind) for item in value)
