import pickle

import pytest

from ser.common import InputError
from ser.corpora.issues import RAISE_ALL, Issue, Issues, raise_issues

ISSUE = Issue("table", "3 fields, but 4 columns", "calls.csv:7", "fix the line")
OTHER = Issue("missing files", "no such file", "calls.csv:9")


def test_issues_are_collected_or_raised_by_kind():
    every, tables = Issues(), Issues(["table"])
    for issue in (ISSUE, OTHER):
        every.add(issue)
    assert every == [ISSUE, OTHER]
    tables.add(ISSUE)
    with pytest.raises(Issue, match="no such file") as raised:
        tables.add(OTHER)
    assert (raised.value.kind, raised.value.where) == ("missing files", "calls.csv:9")
    assert tables == [ISSUE]
    with pytest.raises(Issue, match="4 columns"):
        RAISE_ALL.add(ISSUE)
    assert RAISE_ALL == []


def test_an_issue_can_be_pickled():
    copy = pickle.loads(pickle.dumps(ISSUE))
    assert (copy.kind, copy.what, copy.where, copy.fix, str(copy)) == (*ISSUE.args, str(ISSUE))


def test_several_issues_are_one_error_at_the_first():
    raise_issues([])
    with pytest.raises(InputError) as one:
        raise_issues([ISSUE, ISSUE])
    assert one.value is ISSUE
    with pytest.raises(InputError) as several:
        raise_issues([ISSUE, OTHER, ISSUE], " (or go on)")
    assert several.value.where == "calls.csv:7"
    assert str(several.value).split("\n") == [
        "calls.csv:7: 3 fields, but 4 columns; fix the line",
        "       calls.csv:9: no such file (or go on)",
    ]
