"""Headless Chromium, controlled by DevTools over a pipe."""

import fcntl
import json
import os
import select
import shutil
import subprocess
from contextlib import contextmanager

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIZES = {"phone": (390, 844, True), "desk": (1280, 900, False), "paper": (1032, 700, False)}  # A4 across
# Contrast of every visible text against its background (WCAG 2); returns the lowest.
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
        """Load a file; returns all requests and the messages of the console."""
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
def page(path, tmp_path_factory):
    """The opened page of the module's fixture `path`."""
    with opened(tmp_path_factory.mktemp("browser")) as page:
        page.open(path)
        yield page
