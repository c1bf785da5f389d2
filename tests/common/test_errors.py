import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ser.common import InputError, guarded
from ser.common.errors import as_input_error, listed, typed_line


def raising(error):
    def main():
        raise error

    return guarded(main)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (pickle.loads(pickle.dumps(InputError("bad", "a.wav", "fix it"))), 1, "error: a.wav: bad; fix it\n"),
        (PermissionError(13, "Permission denied", "a.wav"), 1, "error: a.wav: Permission denied; fix that"),
        (OSError("odd"), 1, "error: odd"),
        (KeyboardInterrupt(), 130, "error: interrupted. Rerun the same command to resume.\n"),
    ],
)
def test_a_user_error_is_one_line_and_an_exit_code(capsys, error, code, line):
    assert raising(error)() == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_errors_of_a_block_are_reported_with_their_reason():
    with pytest.raises(InputError) as caught, as_input_error("no row", "a.json", "fix it", ValueError):
        raise ValueError("two\nlines")
    assert str(caught.value) == "a.json: no row (two lines); fix it"
    with pytest.raises(InputError) as caught, as_input_error("no row", None, "fix it", KeyError, reason=typed_line):
        {}["rows"]
    assert str(caught.value) == "no row (KeyError: 'rows'); fix it"


def test_other_errors_pass():
    own = InputError("own", "b.json", "do that")
    with pytest.raises(InputError) as caught, as_input_error("no row", "a.json", "fix it", ValueError):
        raise own
    assert caught.value is own
    with pytest.raises(ZeroDivisionError), as_input_error("no row", "a.json", "fix it", ValueError):
        raise ZeroDivisionError


def test_a_warning_is_one_line():
    code = (
        "import sys, warnings\nfrom ser.common import guarded\n"
        "sys.exit(guarded(lambda: warnings.warn('a.wav: odd') or 0)())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "warning: a.wav: odd\n")


def test_an_error_of_the_code_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())()


def test_the_return_value_of_main_is_the_exit_code():
    assert guarded(lambda code: code)(0) == 0
    assert guarded(lambda code: code)(code=7) == 7


def test_a_closed_pipe_gives_no_traceback():
    code = (
        "import sys\nfrom ser.common import guarded\n"
        "def main():\n    for _ in range(100000): print('x' * 100)\n    return 0\n"
        "sys.exit(guarded(main)())"
    )
    job = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert job.stdout.readline() == b"x" * 100 + b"\n"
    job.stdout.close()
    assert job.stderr.read() == b""
    job.stderr.close()
    assert job.wait() == 1


def test_a_long_list_is_cut():
    assert listed(["a"]) == "a"
    assert listed(list("abcde")).split() == list("abcde")
    assert listed(list("abcdefg")).splitlines()[-1].strip() == "... and 2 more"


def test_an_interrupt_during_the_imports_of_a_step_is_one_line(tmp_path):
    # A shell has its background jobs ignore SIGINT.
    handler = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    (tmp_path / "yaml.py").write_text(f"import os, signal\n{handler}\nos.kill(os.getpid(), signal.SIGINT)\n")
    step = Path(__file__).resolve().parents[2] / "steps" / "configure.py"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, step, "exp"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (-signal.SIGINT, 130)
    assert done.stderr == "error: interrupted. Rerun the same command to resume.\n"


def test_closed_streams_are_no_error():
    program = "from ser.common import guarded; import sys; guarded(lambda: print(1, file=sys.stderr) or print(1))()"
    done = subprocess.run(["bash", "-c", '"$0" -c "$1" >&- 2>&-', sys.executable, program])
    assert done.returncode == 0
