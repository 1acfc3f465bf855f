"""A tab of a real browser that remembers what went wrong in it."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# No lookups of updates, components or hosts of the browser's own.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium_at(drive: Any) -> str | None:
    """The system's chromium, else the one that Playwright has downloaded, else None."""
    own = str(drive.chromium.executable_path)
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    return found or (own if Path(own).is_file() else None)


@dataclass
class Tab:
    """A page of the browser, and everything that went wrong or elsewhere in it."""

    page: Any
    root: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Opens a page of the site and waits until it has nothing left to do."""
        self.open_address(self.root + path)

    def open_address(self, address: str) -> None:
        """Opens a page by its whole address, in the same way."""
        self.page.goto(address)
        self.settle()

    def settle(self) -> None:
        """Waits until the page has loaded the data it needs."""
        self.page.wait_for_selector("html:not([aria-busy])", state="attached")

    def wait_for_heading(self, text: str) -> None:
        """Waits until a link or button has led to the page with this heading."""
        heading = re.compile(f"^{re.escape(text)}$")
        self.page.locator("h1").filter(has_text=heading).wait_for()

    def wait_for_frame(self) -> None:
        """Waits until the page has drawn what it was going to draw at its next frame."""
        self.page.evaluate("new Promise(requestAnimationFrame)")


def watch(tab: Tab) -> None:
    """Notes every error of a page and every request to anything but the site."""

    def console(message: Any) -> None:
        if message.type in ("error", "warning"):
            tab.complaints.append(message.text)

    def request(asked: Any) -> None:
        if not asked.url.startswith((tab.root, "data:", "blob:")):
            tab.complaints.append(f"asked for {asked.url}")

    def failed(asked: Any) -> None:
        # what was still loading when the page was left
        if asked.failure != "net::ERR_ABORTED":
            tab.complaints.append(f"failed: {asked.url} ({asked.failure})")

    tab.page.on("console", console)
    tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.page.on("request", request)
    tab.page.on("requestfailed", failed)
