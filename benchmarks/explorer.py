"""The explorer's page of a large network, in headless Chromium: size, loading, and the time of a frame."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from playwright.sync_api import Page, sync_playwright
from torch import nn

import neurolens as nl
from benchmarks.measuring import Row, save

N_OPERATIONS = 3000
N_STIMULI = 64
REGIONS = ("V1", "V2", "V4", "LOC", "IT")
N_SUBJECTS = 8
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
MEGABYTE = 1e6

# A frame is what passes between two calls of the browser's animation clock while the view moves a little each time.
MOVE = """
async (kind) => {
  const graph = document.getElementById("graph");
  const box = graph.getBoundingClientRect();
  const at = { clientX: box.x + 400, clientY: box.y + 200, bubbles: true, cancelable: true };
  const times = [];
  const view = () => JSON.stringify([graph._cyreg.cy.zoom(), graph._cyreg.cy.pan()]);
  const start = view();
  let moved = false;
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const target = graph.querySelector("canvas");
  if (kind === "pan") target.dispatchEvent(new MouseEvent("mousedown", { ...at, button: 0, buttons: 1 }));
  let last = await frame();
  for (let k = 1; k <= 60; k++) {
    if (kind === "pan") {
      const to = { ...at, clientX: at.clientX + 3 * k, clientY: at.clientY + 2 * k, button: 0, buttons: 1 };
      window.dispatchEvent(new MouseEvent("mousemove", to));
    } else target.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY: k % 20 < 10 ? -40 : 40 }));
    const now = await frame();
    times.push(now - last);
    last = now;
    moved = moved || view() !== start;
  }
  if (!moved) throw new Error(`the view did not ${kind}`);
  if (kind === "pan") window.dispatchEvent(new MouseEvent("mouseup", { ...at, button: 0 }));
  return times;
}
"""


class Block(nn.Module):
    """Ten operations with a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 1)
        self.gate = nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix channels; add what came in."""
        y = torch.relu(self.conv1(self.norm(x)))
        y = self.conv2(y) * torch.sigmoid(self.gate(y))
        return torch.tanh(y + x) * 0.9


def make_network(n_operations: int) -> nn.Module:
    """Return stages of blocks with at least so many operations."""
    n_blocks = -(-n_operations // 10)
    stages = [nn.Sequential(*(Block(4) for _ in range(10))) for _ in range(-(-n_blocks // 10))]
    return nn.Sequential(*stages).eval()


def make_profile(addresses: list[str]) -> xr.Dataset:
    """Return a profile of random scores."""
    rng = np.random.default_rng(0)
    shape = (len(addresses), len(REGIONS), N_SUBJECTS)
    by_subject = rng.normal(0.2, 0.05, shape).cumsum(axis=0) / np.arange(1, len(addresses) + 1)[:, None, None]
    variables = {
        "score": (("op", "region"), by_subject.mean(axis=2)),
        "p": (("op", "region"), rng.random(shape[:2])),
        "p_corrected": (("op", "region"), rng.random(shape[:2])),
        "score_subject": (("op", "region", "subject"), by_subject),
    }
    return xr.Dataset(variables, {"op": addresses, "region": list(REGIONS)}, {"similarity": "random numbers"})


def write_page(folder: Path, n_operations: int) -> tuple[Path, int, float]:
    """Write the page; return its path, the number of operations, and the seconds it took."""
    with torch.no_grad():
        trace = nl.trace(make_network(n_operations), torch.rand(N_STIMULI, 4, 12, 12))
    profile = make_profile(list(trace))
    began = time.perf_counter()
    page = nl.explore(trace, profile=profile, out=folder / "explore.html", progress=False)
    return page, len(trace), time.perf_counter() - began


def load(page: Page, file: Path) -> float:
    """Return the seconds until the graph is there."""
    began = time.perf_counter()
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return time.perf_counter() - began


def measure(file: Path, chromium: str, *, n_runs: int) -> dict[str, float]:
    """Return medians: seconds to load, milliseconds of a frame, folded as it opens and with everything unfolded."""
    found: dict[str, float] = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        found["load"] = statistics.median(load(page, file) for _ in range(n_runs))
        found["pan"] = statistics.median(page.evaluate(MOVE, "pan"))
        found["zoom"] = statistics.median(page.evaluate(MOVE, "zoom"))
        began = time.perf_counter()
        page.evaluate("document.getElementById('unfold-all').click()")
        page.evaluate("document.getElementById('unfold-all').click()")
        page.wait_for_timeout(50)
        found["unfold"] = time.perf_counter() - began
        found["pan all"] = statistics.median(page.evaluate(MOVE, "pan"))
        found["zoom all"] = statistics.median(page.evaluate(MOVE, "zoom"))
        browser.close()
    return found


def main(n_operations: int = N_OPERATIONS, n_runs: int = 5) -> None:
    """Measure and save."""
    named = os.environ.get("NEUROLENS_CHROMIUM")
    chromium = named or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        sys.exit(
            "The explorer is measured in Chromium, and none is installed: make browser, then make bench again."
        )
    with tempfile.TemporaryDirectory() as folder:
        file, count, seconds = write_page(Path(folder), n_operations)
        size = file.stat().st_size / MEGABYTE
        found = measure(file, chromium, n_runs=n_runs)

    def row(task: str, value: float, unit: str, target: float | None, note: str = "") -> Row:
        said = "" if target is None else f"< {target:g} {unit}"
        met = None if target is None else value < target
        return Row(task, f"{value:.3g} {unit}", "", "", said, met, note=note)

    rows = [
        row(f"size of the page, {count:,} operations, {N_STIMULI} stimuli", size, "MB", 25),
        row("write it from a trace", seconds, "s", None),
        row("load it", found["load"], "s", 3, "until the graph is drawn"),
        row("pan, as it opens", found["pan"], "ms", 50, "median frame, rendered by the processor"),
        row("zoom, as it opens", found["zoom"], "ms", 50),
        row("unfold everything", found["unfold"], "s", None),
        row(f"pan, all {count:,} unfolded", found["pan all"], "ms", 50),
        row(f"zoom, all {count:,} unfolded", found["zoom all"], "ms", 50),
    ]
    save("explorer", "The explorer in the browser", "python -m benchmarks.explorer", rows)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
