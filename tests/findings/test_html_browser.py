"""The page in a real browser: on a phone and on a desk, by day and by night, printed, with nothing loaded."""

import base64
import fcntl
import json
import os
import re
import select
import shutil
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest
from made_ledgers import PAPER, drawn_target
from test_html import made_page

from ser.findings.html import write_page
from ser.findings.ledger.load import Ledger
from ser.findings.report.found import Found
from ser.findings.report.write import write_findings

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIZES = {"phone": (390, 844, True), "desk": (1280, 900, False), "paper": (1032, 700, False)}  # A4 across
# Of every text that is seen: its colour against what lies below it, as WCAG 2 has it; returns the least of them.
CONTRAST = """
(() => {
  const parts = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3]));
  const ground = e => {
    if (!e) return matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255];
    return over(parts(getComputedStyle(e).backgroundColor), ground(e.parentElement));
  };
  const light = c => {
    const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let worst = [99, ''];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; (n = walk.nextNode());) {
    const e = n.parentElement;
    if (!n.data.trim() || !e.checkVisibility()) continue;
    const style = getComputedStyle(e), back = ground(e);
    const colour = parts(e.closest('svg') ? style.fill : style.color);
    const [a, b] = [light(over(colour, back)), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < worst[0]) worst = [ratio, n.data.trim()];
  }
  return worst;
})()
"""


class Page:
    """DevTools over a pipe, which needs no port and no library."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.number, self.session = reader, writer, 0, None
        self.events = []
        self.rest = b""

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        while True:
            found = self.receive()
            if found.get("id") == self.number:
                assert "error" not in found, found["error"]
                return found["result"]
            self.events.append(found)

    def receive(self):
        while b"\0" not in self.rest:
            assert select.select([self.reader], [], [], 300)[0], "the browser does not answer"
            data = os.read(self.reader, 1 << 16)
            assert data, "the browser has ended"
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\0")
        return json.loads(line)

    def wait(self, method):
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.receive())

    def evaluate(self, expression):
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, path):
        """Load a file, and give back all that was asked for, and what the console said."""
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        self.wait("Page.loadEventFired")

    def requested(self):
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    def complaints(self):
        return [e["params"] for e in self.events if e.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")]

    def resize(self, size, scheme="light"):
        width, height, mobile = SIZES[size]
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


@contextmanager
def opened(folder):
    command = next(filter(None, map(shutil.which, BROWSERS)), None)
    if command is None:
        pytest.skip(
            "THE PAGE IS NOT CHECKED IN A BROWSER: none found; "
            "apt-get update && apt-get install -y --no-install-recommends chromium"
        )
    pipes = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for pair in (os.pipe(), os.pipe()) for end in pair]
    theirs_in, ours_out, ours_in, theirs_out = pipes

    def place():
        os.dup2(theirs_in, 3)
        os.dup2(theirs_out, 4)

    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    browser = subprocess.Popen(
        [command, *options, "--remote-debugging-pipe", f"--user-data-dir={folder}"],
        preexec_fn=place,
        pass_fds=(3, 4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Page(ours_in, ours_out)
    finally:
        browser.kill()
        browser.wait()
        os.close(ours_in)
        os.close(ours_out)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return made_page(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page(path, tmp_path_factory):
    with opened(tmp_path_factory.mktemp("browser")) as page:
        page.open(path)
        yield page


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
    table = "document.querySelector('#scores').parentElement.querySelector('table').checkVisibility()"
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
    rng = np.random.default_rng(0)
    sizes = {"iemocap": (10, 5), "ravdess": (24, 6), "customer_ptbr": (8, 4)}
    targets = {
        name: drawn_target(rng, name, speakers=n, folds=f, seeds=2, zero_shot=True, per_class=4)
        for name, (n, f) in sizes.items()
    }
    run = {"settings_hash": "s", "comparable_hash": "c", "preset": "strict", "precision": "float32"}
    run |= {"git_revision": "r", "normalisation": "global", "notes": [], "folds": "{}", "counts": "{}"}
    ledger = Ledger([run | {"protocol_hash": "{}"}], targets, {"problems": [], "command": "x"}, [])
    write_findings(Found(ledger, PAPER, "x", 100), tmp_path / "findings")
    write_page(tmp_path / "findings", tmp_path / "page.html")
    page.open(tmp_path / "page.html")
    pdf = base64.b64decode(page.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])
    assert 4 <= len(re.findall(rb"/Type */Page\b", pdf)) <= 12
