"""A real browser: Debian's Chromium, installed where continuous integration lacks it, driven by playwright."""

import os
import shutil
import subprocess

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = ("-q", "-y", "-o", "DPkg::Lock::Timeout=300")


def find_chromium():
    """The path that NEUROLENS_CHROMIUM names, else the first of the usual names that is installed."""
    return os.environ.get("NEUROLENS_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def install_chromium():
    """Install Debian's package; say why it can't be, or return ''."""
    if os.environ.get("CI", "").lower() not in ("1", "true"):
        return (
            "no Chromium is installed, and only continuous integration installs one (CI=true): make browser"
        )
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return "no Chromium is installed, and it takes apt-get and root to install one"
    for command in (["update"], ["install", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(
            ["apt-get", *OPTIONS, *command], capture_output=True, text=True, timeout=600, env=environment
        )
        if done.returncode:
            return f"apt-get {command[0]} failed: {done.stderr.strip()[-300:]}"
    return ""


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium, one for all tests of a process."""
    reason = "" if find_chromium() else install_chromium()
    path = find_chromium()
    if path is None:
        pytest.skip(reason)
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: group dev")
    with sync_api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


class Watch:
    """What a page must not do: report errors, ask a network for anything, open dialogs."""

    def __init__(self, page):
        self.found = []
        page.on("console", lambda message: self._note(message.type in ("error", "warning"), message.text))
        page.on("pageerror", lambda error: self._note(True, str(error)))
        page.on(
            "request", lambda request: self._note(not request.url.startswith(("file:", "data:")), request.url)
        )
        page.on("dialog", lambda dialog: (self._note(True, f"dialog: {dialog.message}"), dialog.dismiss()))

    def _note(self, is_wrong, text):
        if is_wrong:
            self.found.append(text)


@pytest.fixture
def show(browser):
    """Open pages at 1280 x 720, and hold at the end that none did what it must not."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme="light")
    watches = []

    def open_page(path, fragment=""):
        page = context.new_page()
        watches.append(Watch(page))
        page.goto(f"{path.as_uri()}{fragment}")
        page.wait_for_selector("html[data-ready]", timeout=30_000)
        return page

    yield open_page
    context.close()
    assert [text for watch in watches for text in watch.found] == []
