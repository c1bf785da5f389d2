"""utils/parse_options.sh: valid options set variables, and others are errors."""

import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

SCRIPT = """set -euo pipefail
stage=0
nj_decode=4
resume=true
name=
locked=1; readonly locked
{config}
help_message="usage: x [options]"
. "$PARSE_OPTIONS"
echo "stage=$stage nj_decode=$nj_decode resume=$resume name=<$name> path=${{PATH:+kept}}"
printf '<%s>' ${{config_options[@]+"${{config_options[@]}}"}}
echo
printf '<%s>' "$@"
"""


def parse(*options: str, config: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a script with these options."""
    script = SCRIPT.format(config="declare -a config_options=()" if config else "")
    return subprocess.run(
        ["bash", "-c", script, "x.sh", *options],
        env={"PATH": "/usr/bin:/bin", "PARSE_OPTIONS": str(ROOT / "utils" / "parse_options.sh")},
        capture_output=True,
        text=True,
    )


def test_values_are_set_in_both_forms_and_the_rest_is_positional() -> None:
    done = parse("--stage", "2", "--nj-decode=8", "--name", "two words", "data dir", "--stage", "9")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "stage=2 nj_decode=8 resume=true name=<two words> path=kept"
    assert lines[2] == "<data dir><--stage><9>"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", ""), ("a=b", "a=b"), ("$(touch x)`id`", "$(touch x)`id`"), ("-1", "-1"), ("*", "*")],
)
def test_a_value_is_taken_as_it_is(value: str, expected: str) -> None:
    for options in (["--name", value], [f"--name={value}"]):
        assert f"name=<{expected}>" in parse(*options).stdout


def test_two_dashes_end_the_options() -> None:
    done = parse("--stage", "1", "--", "--stage", "2")
    assert "stage=1 " in done.stdout
    assert done.stdout.endswith("<--stage><2>")


def test_dotted_options_go_to_the_configuration() -> None:
    done = parse("--training.learning_rate", "1e-3", "--network.lstm.hidden-size=64", "--stage", "3", "x")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "<--training.learning_rate=1e-3><--network.lstm.hidden_size=64>"
    assert "stage=3 " in done.stdout


@pytest.mark.parametrize("options", [["--training.learning_rate", "1"], ["--a.b=1"]])
def test_dotted_options_need_a_script_that_takes_them(options: list[str]) -> None:
    done = parse(*options, config=False)
    assert done.returncode == 1
    assert f"x.sh: unknown option {options[0].split('=')[0]};" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stge", "1"], "x.sh: unknown option --stge (did you mean --stage?); --help lists the options"),
        (["--nj", "1"], "x.sh: unknown option --nj (did you mean --nj-decode?); --help lists the options"),
        (["--qqq"], "x.sh: unknown option --qqq; --help lists the options"),
        (["--PATH", "/tmp"], "x.sh: unknown option --PATH; --help lists the options"),
        (["--path", "/tmp"], "x.sh: unknown option --path; --help lists the options"),
        (["---x", "1"], "x.sh: unknown option ---x; --help lists the options"),
        (["--locked", "2"], "x.sh: option --locked cannot be set; --help lists the options"),
        (["--config-options", "2"], "x.sh: option --config-options cannot be set; --help lists the options"),
        (["--stage"], "x.sh: option --stage needs a value; --help lists the options"),
        (["--stage", "--resume", "true"], "x.sh: option --stage needs a value; --help lists the options"),
        (["--a.b"], "x.sh: option --a.b needs a value; --help lists the options"),
        (["--resume", "yes"], "x.sh: option --resume is true or false, not 'yes'; --help lists the options"),
    ],
)
def test_a_wrong_option_ends_the_script_with_one_line(options: list[str], message: str) -> None:
    done = parse(*options)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {message}\n")


def test_an_option_is_never_evaluated(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for option in (f"--a[$(touch {trap})]", f"--stage[$(touch {trap})]=1", f"--$(touch {trap}).b=1"):
        done = parse(option, "1")
        assert done.returncode == 1
        assert "unknown option" in done.stderr
    assert not trap.exists()


def test_booleans_take_true_and_false() -> None:
    assert "resume=false" in parse("--resume", "false").stdout
    assert "resume=true" in parse("--resume=true").stdout


def test_help_prints_the_message() -> None:
    done = parse("--stage", "1", "--help")
    assert (done.returncode, done.stdout) == (0, "usage: x [options]\n")


def test_help_prefers_the_function() -> None:
    script = 'help() { echo "from the function"; }; help_message=no; f=$1; set -- --help; . "$f"; echo not reached'
    command = ["bash", "-c", script, "x", ROOT / "utils/parse_options.sh"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "from the function\n")


def test_variables_of_a_calling_function_are_seen() -> None:
    script = 'set -eu; f() { local depth=1; . "$0"; echo "$depth $*"; }; f --depth 2 a b'
    done = subprocess.run(["bash", "-c", script, ROOT / "utils/parse_options.sh"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "2 a b\n"), done.stderr
