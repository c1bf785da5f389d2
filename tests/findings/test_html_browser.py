"""The page in a real browser: on a phone and on a desk, by day and by night, printed, with nothing loaded."""

import base64
import re

import pytest
from browser import CONTRAST, SIZES
from made_ledgers import PAPER, RUN, drawn_grid
from test_html import made_page

from ser.findings.html import write_report
from ser.findings.ledger.load import Ledger
from ser.findings.report.results import Results
from ser.findings.report.write import write_findings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return made_page(tmp_path_factory.mktemp("page"))


def test_nothing_is_loaded_and_nothing_is_complained_of(page, path):
    assert page.requested() == [path.as_uri()]
    assert page.complaints() == []
    assert page.evaluate("document.scripts.length") == 0
    assert page.evaluate("document.compatMode") == "CSS1Compat"


@pytest.mark.parametrize("size", ["phone", "desk"])
@pytest.mark.parametrize("unfolded", [False, True])
def test_the_page_is_no_wider_than_the_screen(page, size, unfolded):
    page.resize(size)
    page.evaluate(f"document.querySelectorAll('details').forEach(d => d.open = {str(unfolded).lower()})")
    width = SIZES[size][0]
    assert page.evaluate("innerWidth") == width
    assert page.call("Page.getLayoutMetrics")["cssContentSize"]["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    # only tables may be wider than their place, each in a container that scrolls
    wide = f"""[...document.body.querySelectorAll('*')].filter(e => !e.closest('.scroll > *') && !e.closest('svg > *')
        && e.checkVisibility() && e.getBoundingClientRect().right > {width}).map(e => e.outerHTML.slice(0, 80))"""
    assert page.evaluate(wide) == []


def test_wide_tables_scroll_in_their_own_place_on_a_phone(page):
    page.resize("phone")
    table3 = "document.querySelector('#table3').parentElement.querySelector('.scroll')"
    assert page.evaluate(f"{table3}.scrollWidth > {table3}.clientWidth")
    assert page.evaluate(f"{table3}.scrollLeft = 100, {table3}.scrollLeft") == 100


@pytest.mark.parametrize("size", ["phone", "desk"])
def test_every_text_can_be_read_by_day_and_by_night(page, size):
    grounds = {}
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    for scheme in ("light", "dark"):
        page.resize(size, scheme)
        grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        ratio, text = page.evaluate(CONTRAST)
        assert ratio >= 4.5, (scheme, text)
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 28)"}


def test_drawings_are_seen(page):
    page.resize("desk")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    small = "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width < 60).length"
    assert page.evaluate("document.querySelectorAll('svg.chart').length") > 0
    assert page.evaluate(small) == 0


def test_it_is_printed_without_what_is_folded(page):
    table = "document.querySelector('#cells').parentElement.querySelector('table').checkVisibility()"
    page.call("Emulation.setEmulatedMedia", media="print")
    shown = {}
    for unfolded in (True, False):
        page.evaluate(f"document.querySelectorAll('details').forEach(d => d.open = {str(unfolded).lower()})")
        assert page.evaluate("document.body.offsetHeight") > 0  # lays the page out again
        shown[unfolded] = page.evaluate(table)
    assert shown == {True: True, False: False}
    page.resize("paper")
    page.call("Emulation.setEmulatedMedia", media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["paper"][0]
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    page.call("Emulation.setEmulatedMedia", media="")


def test_the_paper_s_grid_is_printed_on_twelve_pages_at_most(page, tmp_path):
    """168 cells of three targets."""
    ledger = Ledger([RUN], drawn_grid(zero_shot=True, per_class=4), {"problems": [], "command": "x"}, [])
    write_findings(Results(ledger, PAPER, "x", 100), tmp_path / "findings")
    write_report(tmp_path / "findings", tmp_path / "page.html")
    page.open(tmp_path / "page.html")
    pdf = base64.b64decode(page.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])
    assert 4 <= len(re.findall(rb"/Type */Page\b", pdf)) <= 12
