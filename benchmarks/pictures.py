"""The pictures of README and docs: `python -m benchmarks.pictures docs/images`.

Finds a circuit, profiles the heads of its model, builds a wiki of both in a temporary folder, and
writes `circuit.svg` and `wiki-head.png`. The latter needs chromium.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright

from acdc_pipeline import FoundCircuit, discover
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import ProfileMethod, find_task
from acdc_pipeline.store import Store, open_store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.workflows.discovery import discover_into

TASKS = ("ioi", "induction")
MODEL = "zoo:gpt2-4l-s0"
HEAD = "a2.h1"
THRESHOLDS = (0.1, 0.03, 0.01)
WINDOW: ViewportSize = {"width": 1100, "height": 860}


def find_circuit(store: Store) -> FoundCircuit:
    """Search the first task at every threshold, and return the circuit of the lowest."""
    found = [discover(TASKS[0], MODEL, threshold=tau, store=store) for tau in THRESHOLDS]
    return found[-1]


def profile_heads(store: Store) -> None:
    """Score every head on the prompts of every task."""
    worker = Worker()
    for name in TASKS:
        task = find_task(name)
        method = ProfileMethod.with_defaults()
        run = plan_run(task, MODEL, method=method, prompts=64, seed=0, dtype="float32")
        discover_into(store, run, task, lambda: worker)


def take_screenshot(page_file: Path, picture: Path) -> None:
    """Write what a browser shows of `page_file` as a PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport=WINDOW, color_scheme="light")
        page.goto(page_file.as_uri(), wait_until="load")
        page.screenshot(path=picture)
        browser.close()


def main() -> None:
    """Write the pictures into the folder given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        store = open_store(Path(scratch) / "store", mode="write")
        find_circuit(store).draw().save(folder / "circuit.svg")
        profile_heads(store)
        site = Path(scratch) / "wiki"
        build(store, site)
        [page] = site.rglob(f"{HEAD}.html")
        take_screenshot(page, folder / "wiki-head.png")


if __name__ == "__main__":
    main()
