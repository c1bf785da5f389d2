"""Links in the READMEs are valid, and both languages have the same commands and figures."""

import re

import pytest
from conftest import ROOT

READMES = ("README.md", "README.pt.md")


def commands(text):
    """Lines of code blocks, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line.split("  #")[0].split(" # ")[0].rstrip() for block in blocks for line in block.splitlines()]


def test_both_languages_have_the_same_commands_and_figures():
    english, portuguese = ((ROOT / name).read_text(encoding="utf-8") for name in READMES)
    assert commands(english) == commands(portuguese)
    assert len(commands(english)) > 15
    figures = [re.findall(r"\| (\d\d\.\d) \| (\d\d\.\d) \|", text) for text in (english, portuguese)]
    assert figures[0] == figures[1]
    assert len(figures[0]) == 7


PAGES = [*READMES, "CONTRIBUTING.md", "egs/README.md", "egs/public/README.md", "egs/interaffection/README.md"]
PAGES += [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    missing = [t for t in targets if not (ROOT / page).parent.joinpath(t.partition("#")[0]).exists()]
    assert missing == []
