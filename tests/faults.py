#!/usr/bin/env python3
"""The fault matrix: inject every fault into every stage, run it again, and compare with an undisturbed run.

    python tests/faults.py                              # print the table
    python tests/faults.py --out docs/reliability.md    # and write it there
    python tests/faults.py --only "train:kill -9"       # a cell, or all of a stage or of a fault

The full disk needs root, and as root the read-only folder needs mount. Without these, the cells are skipped with a
message.
"""

from __future__ import annotations

import argparse
import errno
import functools
import gzip
import hashlib
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

BEGIN, END = "<!-- faults -->", "<!-- end of faults -->"
HEADER = "| Stage | Fault | Expected | Seen | |"
SETTINGS = ["corpora=[one,two]", "network.prep_size=16", "network.lstm.hidden_size=8", "batches.batch_size=8"]
SETTINGS += ["training.steps_per_epoch=4", "training.max_epochs=3", "training.precision=float32", "training.threads=1"]
SETTINGS += ["training.checkpoint_seconds=1e-9", "augment.copies=1", "augment.kinds=[volume]"]
CELL = "exp/one_two/multi_blstm_mu_sigma2/fold1_seed0"
COMMITS = ("replace", "rename")  # functions of the module os that give a written file its final name

# Not compared: durations, and digests that depend on times (of corpus files, gzip files, files with durations).
TIMES = re.compile(rb'"(seconds_per_epoch|fingerprint|source|values)": [^\n{]*')


@dataclass(frozen=True)
class Stage:
    """A stage of the recipe.

    Attributes:
        scripts: arguments of steps/*.py, from the folder of the recipe.
        place: the folder that it writes to.
        output: a pattern of a file that it writes and that the next stage reads.
    """

    scripts: Callable[[Path], list[list[str]]]
    place: str
    output: str


def _where(root: Path) -> list[str]:
    return ["--recipe", "recipe", "--data", "data", "--dump", "dump", CELL]


def _features(root: Path) -> list[list[str]]:
    copied = sorted(str(path.relative_to(root)) for path in (root / "data").glob("*/strict_fold1/train_*"))
    found = []
    for folder in ("data/one", "data/two", *copied):
        for options in ([], ["--job", "1", "--nj", "1"], ["--finish", "true"]):
            found.append(["extract_features.py", *options, f"{CELL}/config.yaml", folder, "dump"])
    return [*found, ["compute_cmvn_stats.py", *_where(root)]]


def _prepare(root: Path) -> list[list[str]]:
    return [["prepare.py", "--recipe", "recipe", corpus, corpus, f"data/{corpus}"] for corpus in ("one", "two")]


STAGES = {
    "prepare": Stage(_prepare, "data", "data/one/cuts.jsonl.gz"),
    "augment": Stage(lambda root: [["augment.py", *_where(root)]], "data", "data/two/*/train_*/cuts.jsonl.gz"),
    "features": Stage(_features, "dump", "dump/one/archives/*/feats.*.ark"),
    "train": Stage(lambda root: [["train.py", *_where(root)]], CELL, f"{CELL}/model.safetensors"),
    "decode": Stage(lambda root: [["decode.py", *_where(root)]], CELL, f"{CELL}/decode_test/post.ark"),
    "score": Stage(lambda root: [["score.py", *_where(root)]], CELL, f"{CELL}/result.json"),
    "tables": Stage(lambda root: [["tables.py", "exp"]], "exp", "exp/RESULTS.md"),
}


@dataclass
class Ended:
    """A process that has ended: its exit code (negative: a signal) and its output."""

    code: int
    text: str

    @property
    def line(self) -> str:
        lines = self.text.strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def is_clean(self) -> bool:
        """Whether the process failed with an error of one line, without a traceback."""
        return self.code == 1 and "Traceback" not in self.text and self.line.startswith("error: ")


@dataclass
class Seen:
    """The result of a cell: words for the table, and whether it is as expected."""

    words: list[str] = field(default_factory=list)
    right: bool = True

    def note(self, right: bool, word: str, otherwise: str) -> None:
        self.words.append(word if right else f"**{otherwise}**")
        self.right &= right


class Skipped(Exception):
    """The cell cannot be run here, for the reason given."""


class Bench:
    """The undisturbed recipe before and after each stage, and the folder in which all runs happen.

    Args:
        folder: for everything.
    """

    def __init__(self, folder: Path) -> None:
        self.root, self.kept = folder / "work", folder / "kept"
        self.commits: dict[str, int] = {}
        self.right: dict[str, dict[str, str]] = {}
        _make_recipe(self.root)
        for name in STAGES:
            self.save(name)
            with self.counted() as count:
                ended = self.run(name, count)
            if ended.code:
                raise SystemExit(f"{name}, undisturbed: exit code {ended.code}\n{ended.text}")
            self.commits[name] = int((folder / "count").read_text())
            self.right[name] = fingerprint(self.root)
        self.save("")

    @contextmanager
    def counted(self) -> Iterator[Callable[[], None]]:
        """Count, for `run`, the steps in which a stage gives files their final names."""
        place = self.root.parent / "count"
        place.write_text("0")

        def before() -> None:
            at_commits(lambda number: place.write_text(str(number)))

        yield before

    def save(self, name: str) -> None:
        """Save the tree as it is before a stage; "": at the end."""
        shutil.copytree(self.root, self.kept / f"before {name}", symlinks=True)

    def restore(self, name: str) -> None:
        """Restore the tree as it was before a stage."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.kept / f"before {name}", self.root, symlinks=True, dirs_exist_ok=True)

    def start(self, name: str, before: Callable[[], object] = lambda: None) -> tuple[int, Path]:
        """Start a stage in a process of its own; returns its process id and the file of its output."""
        output = Path(tempfile.mkstemp(dir=self.root.parent)[1])
        child = os.fork()
        if child == 0:
            _child(self.root, STAGES[name].scripts, output, before)
        return child, output

    def run(self, name: str, before: Callable[[], object] = lambda: None) -> Ended:
        """Run a stage to its end.

        Args:
            before: what the process does first.
        """
        return wait(*self.start(name, before))

    def again(self, name: str, seen: Seen) -> None:
        """Run a stage once more, and compare with the undisturbed one."""
        ended = self.run(name)
        seen.note(ended.code == 0, "again: 0", f"again: {ended.code}: {ended.line[:100]}")
        self.compare(name, seen)

    def compare(self, name: str, seen: Seen) -> None:
        """Compare the tree with the undisturbed one."""
        found, right = fingerprint(self.root), self.right[name]
        odd = sorted(key for key in found.keys() | right.keys() if found.get(key) != right.get(key))
        seen.note(not odd, "files equal", f"{len(odd)} files differ: {', '.join(odd[:3])}")


def wait(child: int, output: Path) -> Ended:
    """Wait for a process for at most a minute."""
    end = time.monotonic() + 120
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return Ended(os.waitstatus_to_exitcode(status), output.read_text(errors="replace"))
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Ended(-1, "hangs")
        time.sleep(0.005)


def _child(root: Path, scripts: Callable[[Path], list[list[str]]], output: Path, before: Callable[[], object]) -> None:
    """Run the scripts of a stage one after the other, until one fails."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for number in (1, 2):
            os.dup2(os.open(output, os.O_WRONLY | os.O_APPEND), number)
        os.chdir(root)
        before()
        for script, *arguments in scripts(root):
            sys.argv = [str(ROOT / "steps" / script), *arguments]
            try:
                runpy.run_path(sys.argv[0], run_name="__main__")
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if code:
                break
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def at_commits(act: Callable[[int], object]) -> None:
    """Call `act` before each step that gives a written file its final name, with the step's number, from 1."""
    number = 0
    for name in COMMITS:
        real = getattr(os, name)

        @functools.wraps(real)
        def commit(*args: object, _real: Callable[..., object] = real, **kwargs: object) -> object:
            nonlocal number
            number += 1
            act(number)
            return _real(*args, **kwargs)

        setattr(os, name, commit)


def signalled(number: int, at: int) -> Callable[[], None]:
    """Make a function for `Bench.run` that sends the process a signal before one of its steps."""

    def before() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        at_commits(lambda step: os.kill(os.getpid(), number) if step == at else None)

    return before


def fingerprint(root: Path) -> dict[str, str]:
    """Hash the files of a run, path -> digest, without logs, hidden files (locks, remains of killed runs) and times."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if not path.is_file() or name.parts[0] not in ("data", "dump", "exp"):
            continue
        if any(part.startswith(".") for part in name.parts) or "log" in name.parts or path.suffix == ".log":
            continue
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if path.suffix == ".json":
            data = TIMES.sub(b"", data)
        found[str(name)] = hashlib.sha256(data).hexdigest()
    return found


def _make_recipe(root: Path) -> None:
    import made

    from ser.config import load, write_experiment

    (root / "recipe" / "local").mkdir(parents=True)
    (root / "recipe" / "conf" / "corpora").mkdir(parents=True)
    for seed, (corpus, split) in enumerate(made.SPLITS.items()):
        (root / "recipe" / "local" / f"prepare_{corpus}.py").write_text(made.PREPARER)
        protocol = made.PROTOCOL.format(corpus=corpus, split=split)
        (root / "recipe" / "conf" / "corpora" / f"{corpus}.yaml").write_text(protocol)
        speakers = 4 if corpus == "one" else 2
        made.write_corpus(root / corpus, [f"{corpus}{i}" for i in range(1, speakers + 1)], 3, seed)
    (root / CELL).mkdir(parents=True)
    write_experiment(load("strict", root / "recipe", SETTINGS), root / CELL / "config.yaml")


# Faults: each gets the bench, in the state before the stage, and the name of the stage.


def nothing(bench: Bench, stage: str) -> Seen:
    """Inject no fault, as a control: the files are equal."""
    seen = Seen()
    ended = bench.run(stage)
    seen.note(ended.code == 0, "0", f"{ended.code}: {ended.line[:100]}")
    bench.again(stage, seen)
    return seen


def kill(bench: Bench, stage: str) -> Seen:
    """Kill the stage before the first step that gives a file its final name, one in the middle, and the last."""
    seen, steps = Seen(), bench.commits[stage]
    for at in sorted({1, (steps + 1) // 2}):
        ended = bench.run(stage, signalled(signal.SIGKILL, at))
        seen.note(ended.code == -signal.SIGKILL, f"{ended.code}", f"{ended.code}: {ended.line[:100]}")
    bench.again(stage, seen)
    return seen


def _stop(number: int, codes: Sequence[int]) -> Callable[[Bench, str], Seen]:
    def fault(bench: Bench, stage: str) -> Seen:
        seen = Seen()
        ended = bench.run(stage, signalled(number, (bench.commits[stage] + 1) // 2))
        right = ended.code in codes and "Traceback" not in ended.text
        seen.note(right, f"{ended.code}", f"{ended.code}: {ended.line[:100]}")
        bench.again(stage, seen)
        return seen

    return fault


def _refusal(ended: Ended, places: Sequence[Path | str], seen: Seen) -> None:
    """Check for an error of one line that names one of the places."""
    named = any(str(place) in ended.line for place in places)
    seen.note(ended.is_clean, "1, one line", f"{ended.code}: {ended.line[:100]}")
    if ended.is_clean:
        seen.note(named, "names the file", f"names no file: {ended.line[:100]}")


@contextmanager
def _mounted(*command: str | Path) -> Iterator[None]:
    """Mount a file system for the duration of the block."""
    run = subprocess.run(["mount", *command], capture_output=True, text=True)
    if run.returncode:
        raise Skipped(f"mount does not work here ({run.stderr.strip()[:80]})")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", command[-1]], check=True)


def full_disk(bench: Bench, stage: str) -> Seen:
    """Run with a full disk, then with free space again."""
    if os.geteuid() != 0:
        raise Skipped("needs root")
    seen = Seen()
    shutil.rmtree(bench.root)
    bench.root.mkdir()
    with _mounted("-t", "tmpfs", "-o", "size=64m", "tmpfs", bench.root):
        bench.restore(stage)
        filler = bench.root / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        ended = bench.run(stage)
        _refusal(ended, (bench.root, "data/", "dump/", "exp/"), seen)
        filler.unlink()
        bench.again(stage, seen)
    return seen


def read_only(bench: Bench, stage: str) -> Seen:
    """Run with an output folder that cannot be written."""
    seen, place = Seen(), bench.root / STAGES[stage].place
    place.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:  # permissions do not apply to root
        with _mounted("--bind", place, place):
            subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
            ended = bench.run(stage)
    else:
        modes = {path: path.stat().st_mode for path in (place, *place.rglob("*")) if path.is_dir()}
        for path, mode in modes.items():
            path.chmod(mode & ~0o222)
        try:
            ended = bench.run(stage)
        finally:
            for path, mode in modes.items():
                path.chmod(mode)
    _refusal(ended, (bench.root, "data/", "dump/", "exp/"), seen)
    bench.again(stage, seen)
    return seen


def corrupt(bench: Bench, stage: str) -> Seen:
    """Change one bit of an output: the next stage names the file; after its removal, it is made again."""
    seen, names = Seen(), list(STAGES)
    after = names[names.index(stage) + 1] if stage != names[-1] else ""
    bench.restore(after)
    path = sorted(bench.root.glob(STAGES[stage].output))[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    if after:
        _refusal(bench.run(after), (path.relative_to(bench.root), path.parent.relative_to(bench.root)), seen)
        path.unlink()
        first = bench.run(stage)
        seen.note(first.code == 0, "made again: 0", f"made again: {first.code}: {first.line[:100]}")
    bench.again(after or stage, seen)
    return seen


def at_once(bench: Bench, stage: str) -> Seen:
    """Run two processes at once: both succeed, or one reports that the other is running."""
    seen = Seen()
    both = [wait(*started) for started in [bench.start(stage), bench.start(stage)]]
    codes = sorted(ended.code for ended in both)
    right = 0 in codes and all(ended.code == 0 or ended.is_clean for ended in both)
    odd = next((ended.line[:100] for ended in both if ended.code), "")
    seen.note(right, f"{codes[0]} and {codes[1]}", f"{codes[0]} and {codes[1]}: {odd}")
    bench.again(stage, seen)
    return seen


def clock(bench: Bench, stage: str) -> Seen:
    """Set the times of all files ten years ahead, as after a clock was set back; then set them to 1980."""
    seen = Seen()

    def date(when: float) -> None:
        for path in bench.root.rglob("*"):
            os.utime(path, (when, when), follow_symlinks=False)

    date(time.time() + 10 * 365 * 86400)
    ended = bench.run(stage)
    seen.note(ended.code == 0, "0", f"{ended.code}: {ended.line[:100]}")
    date(315532800)
    bench.again(stage, seen)
    return seen


RERUN = "again: 0, files equal"
FAULTS: dict[str, tuple[Callable[[Bench, str], Seen], str]] = {
    "none": (nothing, f"0; {RERUN}"),
    "kill -9": (kill, f"-9; {RERUN}"),
    "SIGTERM": (_stop(signal.SIGTERM, (-signal.SIGTERM, 143, 75)), f"-15 or 143, or 75 where it can go on; {RERUN}"),
    "SIGINT": (_stop(signal.SIGINT, (130, 75)), f"130 or 75; {RERUN}"),
    "full disk": (full_disk, f"1, one line that names the file; {RERUN}"),
    "read-only folder": (read_only, f"1, one line that names the file; {RERUN}"),
    "corrupt output": (corrupt, f"1 of the next stage, one line that names it; made again; {RERUN}"),
    "two at once": (at_once, f"0 and 0, or 1 and one line; {RERUN}"),
    "clock set back": (clock, f"0; {RERUN}"),
}
# No stage reads the output of the last one.
EXPECTED = {("tables", "corrupt output"): RERUN}
CELLS = [(stage, fault) for stage in STAGES for fault in FAULTS]


def chosen(only: str) -> list[tuple[str, str]]:
    """List the cells of --only: stage:fault, a stage or a fault, separated by commas; all if empty."""
    words = [word.strip() for word in only.split(",") if word.strip()]
    found = [cell for cell in CELLS if not words or {cell[0], cell[1], ":".join(cell)} & set(words)]
    if not found:
        raise SystemExit(f"--only {only}: no cell; stages are {', '.join(STAGES)}; faults are {', '.join(FAULTS)}")
    return found


def row(bench: Bench, stage: str, fault: str) -> tuple[str, bool]:
    """Run a cell; returns its row, and whether everything is as expected."""
    run, expected = FAULTS[fault]
    bench.restore(stage)
    try:
        seen = run(bench, stage)
        words, verdict = ", ".join(dict.fromkeys(seen.words)), "yes" if seen.right else "**no**"
    except Skipped as why:
        seen, words, verdict = Seen(), f"skipped: {why}", "skipped"
    words = words.replace(str(bench.root), "...").replace("|", "\\|")
    return f"| {stage} | {fault} | {EXPECTED.get((stage, fault), expected)} | {words} | {verdict} |", seen.right


def write_between(path: Path, text: str) -> None:
    """Replace the text between the markers of a file."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def _own_mounts() -> None:
    """As root, enter a mount namespace of this process, so that no mount is left when it ends."""
    if os.geteuid() == 0 and "SER_FAULTS" not in os.environ and shutil.which("unshare"):
        os.environ["SER_FAULTS"] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])


def main() -> int:
    """Print the table, and write it if asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="stage:fault, a stage or a fault, with commas between several")
    parser.add_argument("--out", type=Path, help="Markdown file with the markers, to write the table to")
    options = parser.parse_args()
    cells = chosen(options.only)
    _own_mounts()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder is removed
    import lhotse  # noqa: F401  loaded once, before processes are forked
    import matplotlib.pyplot  # noqa: F401
    import torch  # noqa: F401

    from ser.common.provenance import provenance

    started, rows, right = time.monotonic(), [HEADER, "|---|---|---|---|---|"], 0
    print("\n".join(rows))
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        bench = Bench(Path(folder))
        for stage, fault in cells:
            line, good = row(bench, stage, fault)
            rows.append(line)
            right += good
            print(line, flush=True)
    code = provenance()["code_hash"]
    command = f"python tests/faults.py{f' --only {options.only!r}' if options.only else ''}"
    rows += ["", f"{right} of {len(cells)} as expected. Printed by `{command}` with the code {code}."]
    print(rows[-1], f"{time.monotonic() - started:.0f} s")
    if options.out:
        write_between(options.out, "\n".join(rows))
    return 0 if right == len(cells) else 1


if __name__ == "__main__":
    sys.exit(main())
