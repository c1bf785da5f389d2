import pytest

from ser.common.cli import Parser


@pytest.mark.parametrize(
    ("given", "value"),
    [([], False), (["--x"], True), (["--x", "true"], True), (["--x", "false"], False), (["--x=false"], False)],
)
@pytest.mark.parametrize("command", [[], ["part"]])
def test_a_switch_has_a_value_or_is_true(given, value, command):
    parser = Parser()
    own = parser.add_subparsers().add_parser(*command) if command else parser
    own.add_switch("--x", help="so")
    own.add_argument("file")
    assert vars(parser.parse_args([*command, *given, "a.wav"])) == {"x": value, "file": "a.wav"}
    for wrong in (["--x=yes"], ["--x", "yes"], ["--x", "True"]):
        with pytest.raises(SystemExit):
            parser.parse_args([*command, *wrong, "a.wav"])
