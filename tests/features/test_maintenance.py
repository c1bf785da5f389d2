"""steps/store.py: list, verify, prune."""

import os
import re
import shutil
import time
from subprocess import CompletedProcess

import programs
import pytest
from conftest import ROOT, refuses
from made import Made
from test_store import archives, computed, overwrite

from ser.common import InputError, read_json
from ser.features import maintenance

DAY = 86400


def command(*arguments) -> CompletedProcess:
    return programs.run(ROOT / "steps" / "store.py", *arguments)


def age(made: Made, days: float = 2) -> None:
    """Set the modification time of all files of the store to some days ago."""
    for path in [made.dump, *made.dump.rglob("*")]:
        os.utime(path, (time.time() - days * DAY,) * 2, follow_symlinks=False)


@pytest.fixture
def two(two):
    computed(two)
    return two


@pytest.fixture
def changed(two):
    """One utterance is not what it was when the first archive was made; a second archive has it as it is."""
    overwrite(two, "two1_sad_00.wav", 5)
    two.prepare("two")
    computed(two)
    (first,) = [path for path in archives(two) if len(read_json(path.with_suffix(".json"))["entries"]) == 24]
    (second,) = [path for path in archives(two) if path != first]
    return two, first, second


def test_list_counts_archives_and_entries_by_corpus_and_settings(made):
    run = command("list", "--dump", made.dump)
    assert run.returncode == 0, run.stderr
    header, _, one, two = run.stdout.splitlines()
    assert header.split() == ["corpus", "settings", "archives", "originals", "copies", "MB", "made", "used"]
    settings = made.store().archives.folder.name
    size = sum(path.stat().st_size for path in archives(made) if path.parts[-4] == "two")
    assert one.split()[:2] == ["one", settings]
    assert two.split()[:2] == ["two", settings]
    assert "sampling_rate 8000, frame_length 512, frame_shift 128, window hann, floor 1e-10, storage int16" in two
    assert two.split("int16")[1].split()[:4] == ["1", "24", "0", f"{size / 1e6:.1f}"]


def test_verify_of_an_intact_store_changes_nothing(two):
    (path,) = archives(two)
    killed = path.with_name("feats.00.0123456789abcdef.ark")
    killed.write_bytes(b"half")
    before = {path: path.stat().st_mtime_ns for path in two.dump.rglob("*") if path.is_file()}
    run = command("verify", "--dump", two.dump)
    assert (run.returncode, run.stdout) == (0, "1 of 1 archives are as they were written\n")
    assert {path: path.stat().st_mtime_ns for path in two.dump.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda data: data[:-1], r"\d+ of \d+ bytes"),
        (lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], "not the bytes that were written"),
        (lambda data: b"", r"0 of \d+ bytes"),
    ],
)
def test_verify_removes_damaged_archives_and_stage_3_makes_them_again(two, damage, what):
    (path,) = archives(two)
    right = path.read_bytes()
    path.write_bytes(damage(right))
    run = command("verify", "--dump", two.dump)
    assert run.returncode == 1
    assert run.stderr == ""
    first, last = run.stdout.splitlines()
    assert re.fullmatch(f"{path}: {what}; removed, and stage 3 makes it again", first)
    assert last == "0 of 1 archives are as they were written"
    assert not path.exists()
    assert not path.with_suffix(".json").exists()
    store = two.store()
    assert not store.finished
    assert store.compute(1, 1) == (24, 0)
    assert store.finish() == 24
    assert archives(two)[0].read_bytes() == right
    assert maintenance.verify_archives(two.dump) == ([], 1)


def test_verify_keeps_intact_archives(changed):
    made, first, second = changed
    second.write_bytes(b"x" + second.read_bytes()[1:])
    damaged, count = maintenance.verify_archives(made.dump)
    assert damaged == [f"{second}: not the bytes that were written"]
    assert count == 2
    assert archives(made) == [first]
    assert made.store().compute(1, 1) == (1, 23)


NO_FRAMES = '{"size": 1, "checksum": 1, "features": {}, "entries": {"ab": {"offset": 0, "frames": 0}}}'
NAN = '{"size": 1, "checksum": 1, "features": {"floor": NaN}, "entries": {}}'


@pytest.mark.parametrize(
    "text", ["", "{}", NO_FRAMES, NAN, '{"size": 1, "checksum": "a", "features": {}, "entries": {"ab": []}}']
)
def test_verify_removes_a_damaged_index_with_its_archive(two, text):
    (path,) = archives(two)
    path.with_suffix(".json").write_text(text)
    assert maintenance.verify_archives(two.dump)[0] == [f"{path}: its index is damaged"]
    assert archives(two) == []
    assert two.store().compute(1, 1) == (24, 0)


def test_verify_reports_an_index_without_archive(changed):
    made, _, second = changed
    second.unlink()
    assert maintenance.verify_archives(made.dump)[0] == [f"{second}: is not there, and its index is"]
    assert not second.with_suffix(".json").exists()


def test_prune_keeps_what_data_dirs_name_and_sets_that_are_whole(changed):
    made, first, second = changed
    age(made)
    newer = made.store().folder
    sets = [path.parent for path in made.dump.glob("two/*/feats.scp")]
    assert len(sets) == 2
    assert maintenance.find_unused(made.dump, [made.data_root], 1) == []  # 23 of 24 utterances are in the first archive
    shutil.rmtree(made.data_root / "two")
    other = made.root / "elsewhere" / "data" / "lab" / "feats.scp"
    other.parent.mkdir(parents=True)
    other.write_text(f"a-1 {second}:17\n")
    assert maintenance.find_unused(made.dump, [made.root / "elsewhere"], 1) == sorted([first, *sets])
    other.write_text(f"a-1 {first}:17\n")
    assert maintenance.find_unused(made.dump, [made.root / "elsewhere"], 1) == sorted([second, newer])
    assert maintenance.find_unused(made.dump, [made.root / "elsewhere"], 3) == []


def test_prune_removes_only_when_asked_and_reports_bytes(changed):
    made, first, second = changed
    age(made)
    scp = made.root / "kept" / "feats.scp"
    scp.parent.mkdir()
    scp.write_text(f"a-1 {second}:17\n")
    size = first.stat().st_size
    run = command("prune", "--dump", made.dump, scp.parent)
    assert run.returncode == 0, run.stderr
    assert f"{first}: {size} bytes\n" in run.stdout
    total = int(run.stdout.splitlines()[-1].split()[0])
    assert run.stdout.splitlines()[-1] == f"{total} bytes can be removed: --yes does it"
    assert first.is_file()
    run = command("prune", "--dump", made.dump, "--yes", scp.parent)
    assert run.stdout.splitlines()[-1] == f"{total} bytes removed"
    assert archives(made) == [second]
    assert not first.with_suffix(".json").exists()
    assert list(made.dump.glob("two/*/feats.scp")) == []  # no set is whole without the first archive
    assert command("prune", "--dump", made.dump, scp.parent).stdout == "0 bytes can be removed: --yes does it\n"


def test_prune_keeps_the_whole_set_of_a_data_dir(two):
    """An archive may hold no utterance of the data dir, and others of its set."""
    store = two.store()
    train = two.data_root / "two" / "strict_fold1" / "train"
    lines = (store.folder / "feats.scp").read_text().splitlines()
    away = archives(two)[0].with_name("feats.63.0123456789abcdef.ark")
    shutil.copy(archives(two)[0], away)
    shutil.copy(archives(two)[0].with_suffix(".json"), away.with_suffix(".json"))
    lines = [line.replace(archives(two)[0].name, away.name) if "two2" in line else line for line in lines]
    (store.folder / "feats.scp").write_text("\n".join(lines) + "\n")
    age(two)
    assert away.name not in (train / "feats.scp").read_text()
    assert maintenance.find_unused(two.dump, [train], 1) == []


def test_prune_removes_files_of_killed_jobs(two):
    folder = archives(two)[0].parent
    left = [
        folder / "feats.00.0123456789abcdef.ark",
        folder / ".tmp.0123.feats.00.ab.ark",
        two.dump / "two" / ".tmp.1.x",
    ]
    unfinished = two.dump / "two" / "0123456789abcdef" / "log"
    unfinished.mkdir(parents=True)
    (unfinished / "extract_features.1.log").write_text("killed\n")
    for path in left:
        path.write_bytes(b"half")
    assert maintenance.find_unused(two.dump, [two.data_root], 1) == []  # they may be at work
    age(two)
    assert maintenance.find_unused(two.dump, [two.data_root], 1) == sorted([*left, unfinished.parent])


def test_prune_works_after_a_move_of_the_store(two, tmp_path):
    two.dump.rename(tmp_path / "elsewhere")
    assert maintenance.find_unused(tmp_path / "elsewhere", [two.data_root], 0) == []


def test_prune_follows_links_to_data_but_not_into_the_store(two, tmp_path):
    age(two)
    recipe = tmp_path / "egs" / "mine"
    recipe.mkdir(parents=True)
    (recipe / "data").symlink_to(two.data_root)
    (recipe / "loop").symlink_to(recipe)
    assert maintenance.find_unused(two.dump, [tmp_path / "egs"], 1) == []
    with pytest.raises(InputError, match="no data dir with features in it"):
        maintenance.find_unused(two.dump, [two.dump], 1)


def test_prune_stops_at_data_that_it_cannot_read(two, unlisted):
    age(two)
    folder = next(two.data_root.iterdir())
    unlisted(folder)
    with refuses("cannot be read (Permission denied)", folder):
        maintenance.find_unused(two.dump, [two.data_root], 1)


def test_archives_that_stage_3_uses_are_not_old(two):
    age(two)
    shutil.copytree(two.data_root, two.root / "data without features")
    for scp in (two.root / "data without features").rglob("feats.scp"):
        scp.write_text("a-1 elsewhere.ark:4\n")
    folders = [two.root / "data without features"]
    assert len(maintenance.find_unused(two.dump, folders, 1)) == 2
    two.store().compute(1, 1)
    assert archives(two)[0] not in maintenance.find_unused(two.dump, folders, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--dump", "nowhere"], "nowhere: no such folder; give with --dump"),
        (["verify", "--dump", "."], ".: holds no features; give with --dump"),
        (["prune", "--dump", "STORE", "nowhere"], "nowhere: no such folder; give folders of prepared data"),
        (["prune", "--dump", "STORE", "."], ".: no data dir with features in it; give folders of prepared data"),
        (["prune", "--dump", "STORE", "--days", "-1", "."], "--days -1: a number of days from 0"),
    ],
)
def test_a_wrong_path_is_one_line(made, tmp_path, monkeypatch, one_line, arguments, message):
    monkeypatch.chdir(tmp_path)
    line = one_line(command(*(str(made.dump) if word == "STORE" else word for word in arguments)))
    assert line.startswith(f"error: {message}")
