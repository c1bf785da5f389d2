import logging

import pytest

from ser.common import write_json
from ser.common.cli import Parser


@pytest.mark.parametrize(
    ("given", "value"),
    [([], False), (["--x"], True), (["--x", "true"], True), (["--x", "false"], False), (["--x=false"], False)],
)
@pytest.mark.parametrize("command", [[], ["part"]])
def test_a_switch_has_a_value_or_is_true(given, value, command):
    parser = Parser()
    command_parser = parser.add_subparsers().add_parser(*command) if command else parser
    command_parser.add_switch("--x", help="so")
    command_parser.add_argument("file")
    assert vars(parser.parse_args([*command, *given, "a.wav"])) == {"x": value, "file": "a.wav"}
    for wrong in (["--x=yes"], ["--x", "yes"], ["--x", "True"]):
        with pytest.raises(SystemExit):
            parser.parse_args([*command, *wrong, "a.wav"])


@pytest.fixture
def quiet_again():
    logger = logging.getLogger("ser")
    before = logger.handlers, logger.level
    yield
    logger.handlers, logger.level = before


@pytest.mark.parametrize(("given", "logged"), [(["--verbose"], True), (["--verbose", "false"], False), ([], False)])
@pytest.mark.parametrize("command", [[], ["part"]])
def test_verbose_logs_what_is_written(given, logged, command, tmp_path, capsys, quiet_again):
    parser = Parser()
    if command:
        parser.add_subparsers().add_parser(*command)
    assert vars(parser.parse_args([*command, *given])) == {}
    write_json(tmp_path / "a.json", 1)
    assert (f"DEBUG ser.common.files: wrote {tmp_path / 'a.json'}" in capsys.readouterr().err) == logged
