import csv
import io
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser.common import InputError, guarded
from ser.common.errors import listed
from ser.common.output import csv_cell, csv_text, json_line, line, lines, markdown, markdown_code, markdown_table


def test_what_moves_a_cursor_or_ends_a_line_is_written_out():
    assert line("a\x1b[31mb\nc\td\x9b2J\u2028e\u202ef\udcff") == r"a\x1b[31mb\nc\td\x9b2J\u2028e\u202ef\udcff"
    assert lines("a\x1b\nb\tc\rd") == "a\\x1b\nb\tc\\rd"


@given(st.text())
def test_a_line_is_one_line_without_control_characters_and_stays_if_it_was(text):
    escaped = line(text)
    assert len(escaped.splitlines()) <= 1
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in escaped)
    escaped.encode()
    assert line(escaped) == escaped


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "= 1", "＝1+1"])
def test_a_formula_becomes_text(text):
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["\t=1+1", "\r=1+1", "\n=1"])
def test_a_cell_does_not_begin_with_white_space_that_hides_a_formula(text):
    assert csv_cell(text)[0] == "\\"


@pytest.mark.parametrize("value", ["-", "-0.5", "+1e-5", "angry", "a=b", "", 0.5, -0.5, None, 3])
def test_other_cells_stay(value):
    assert csv_cell(value) == value


@given(st.lists(st.text(), min_size=1))
def test_a_row_of_cells_is_a_line_of_csv(cells):
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow(map(csv_cell, cells))
    assert file.getvalue().count("\n") == 1
    assert next(csv.reader([file.getvalue()])) == [csv_cell(cell) for cell in cells]


def test_csv_has_decimal_commas_between_semicolons():
    assert csv_text([["a", "b;"], [0.5, "=x"], [None, 'q"']]) == """a,b;\n0.5,'=x\n,"q""\"\n"""
    assert csv_text([["1.5", "b;"], [-0.5, 3]], comma=True) == '1.5;"b;"\n-0,5;3\n'


@given(st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False)))
def test_json_lines_hold_the_value_and_no_control_characters(value):
    written = json_line(value)
    assert json.loads(written) == value
    assert line(written) == written


def test_names_mean_nothing_in_markdown():
    assert markdown("<b>x&y</b>") == "&lt;b&gt;x&amp;y&lt;/b&gt;"
    assert markdown("a|b\n![p](u) `c` mu_sigma2 _i_") == r"a\|b\\n!\[p\](u) \`c\` mu_sigma2 \_i\_"
    assert markdown_code("a`b") == "``a`b``"
    assert markdown_code("`") == "`` ` ``"
    table = markdown_table(["a|b"], [["c\nd|e"]])
    assert [row.count("|") - row.count("\\|") for row in table.splitlines()] == [2, 2, 2]


def test_an_error_that_quotes_a_name_stays_one_line(capsys):
    @guarded
    def main():
        print("to \x1b[2J standard output")
        raise InputError("a\nb\x1b[31m.wav: damaged")

    @guarded
    def several():
        raise InputError(listed(["one\nfile", "two"]))

    assert main() == several() == 1
    assert capsys.readouterr() == (
        "to \\x1b[2J standard output\n",
        "error: a\\nb\\x1b[31m.wav: damaged\nerror: one\\nfile\n       two\n",
    )


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
def test_a_system_error_names_its_file_in_one_line(tmp_path):
    code = (
        "import sys\nfrom ser.common import guarded\n"
        "@guarded\ndef main():\n    open(sys.argv[1])\n    return 0\nsys.exit(main())\n"
    )
    name = os.fsencode(tmp_path) + b"/a\n\x1b[31m\xff"
    done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert rb"a\n\x1b[31m\udcff: No such file" in done.stderr
