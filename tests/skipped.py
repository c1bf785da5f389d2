#!/usr/bin/env python3
"""List the tests that all of several pytest runs skipped, a line for each reason, from their --junitxml files."""

from __future__ import annotations

import sys
from ast import literal_eval
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree


def skipped(reports: Sequence[Path]) -> Counter[str]:
    """Count, by reason, the tests that no run has executed."""
    reasons: dict[tuple[str, str], str] = {}
    ran = set()
    for report in reports:
        for case in ElementTree.parse(report).iter("testcase"):
            name, skip = (case.get("classname", ""), case.get("name", "")), case.find("skipped")
            if skip is None:
                ran.add(name)
            elif skip.get("type") != "pytest.xfail":
                reasons[name] = _reason(skip)
    return Counter(reason for name, reason in reasons.items() if name not in ran)


def _reason(skip: ElementTree.Element) -> str:
    """Read the reason; for a file that is skipped completely, pytest gives (file, line, reason) as text."""
    reason = skip.get("message", "")
    if reason == "collection skipped":
        reason = literal_eval(skip.text or "")[2].removeprefix("Skipped: ") + " (a whole file)"
    return " ".join(reason.split())


if __name__ == "__main__":
    found = skipped([Path(name) for name in sys.argv[1:]])
    for reason, count in found.most_common():
        print(f"{count} x {reason}")
    if not found:
        print("nothing")
