"""Light and dark in a real browser: before anything is painted, and from page to page."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from tests.browser_tab import Tab

pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_chosen_theme_holds_on_the_next_page_before_anything_is_painted(
    tab: Callable[..., Tab], scheme: str
):
    page = tab(scheme, color_scheme="light")
    page.open("index.html")
    for _ in range(2):
        page.page.locator("button.theme").click()
    assert page.page.locator("button.theme").inner_text() == "Theme: dark"
    # Nothing is painted before there is a body, nor before the style sheet in front of it is there.
    page.page.add_init_script(
        """new MutationObserver((_, watcher) => {
             if (!document.body) return;
             window.atBody = document.documentElement.dataset.theme;
             watcher.disconnect();
           }).observe(document, {childList: true, subtree: true})"""
    )
    page.open("m/zoo-attn-2l/a1.h3.html")
    assert page.page.evaluate("window.atBody") == "dark"
    assert brightness(page) < 60


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_theme_follows_the_system_until_one_is_chosen(
    tab: Callable[..., Tab], scheme: str, dark: bool
):
    page = tab(color_scheme=scheme, java_script_enabled=False)
    page.open("index.html")
    assert (brightness(page) < 60) == dark


def brightness(tab: Tab) -> float:
    """Of the page's ground, 0 to 255."""
    colour = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return float(np.mean([int(number) for number in re.findall(r"\d+", colour)[:3]]))
