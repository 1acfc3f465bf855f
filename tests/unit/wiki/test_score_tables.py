"""Every score of a head: in the table of its model, and in those that its page opens."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acdc_pipeline.store import Store
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.runs import read_store
from acdc_pipeline.wiki.site import Site, make_site
from acdc_pipeline.wiki.text import format_aligned
from tests.browser_tab import Tab

SLUG, NAME, PLACE = "zoo-gpt2-4l-s0", "a1.h2", (1, 2)
"""A model with two tasks."""


@pytest.fixture(scope="module")
def site(small_store: Store) -> Site:
    return make_site(read_store(small_store))


@pytest.fixture(scope="module")
def model(site: Site) -> Model:
    return next(model for model in site.models if model.slug == SLUG)


def number(shown: str) -> float:
    return float("nan") if shown == "–" else float(re.sub("[≈,]", "", shown).replace("−", "-"))


def is_shown(shown: str, value: float) -> bool:
    """Whether a text is a number with three digits, or four decimals; the last may be rounded."""
    return bool(np.isclose(number(shown), value, rtol=0.005, atol=0.0001, equal_nan=True))


def test_table_of_a_model_has_every_score_of_every_head(small_site: Path, site: Site, model: Model):
    page = (small_site / "m" / SLUG / "scores.html").read_text(encoding="utf-8")
    titles = re.findall(r'<th scope="col" class="n">([^<]*)', page)
    metrics = {site.scores[metric].title: metric for metric in model.scores}
    columns = [model.scores[metrics[html.unescape(title.strip())]].values for title in titles]
    assert len(columns) == len(metrics) == len(model.scores)
    rows = re.findall(r"<tr id=(\S+)><th[^>]*><a[^>]*>.*?</a>(.*)", page)
    assert len(rows) == 16
    for index, (name, cells) in enumerate(rows):
        place = divmod(index, 4)
        assert name == f"a{place[0]}.h{place[1]}"
        expected = [format_aligned(float(values[place])) for values in columns]
        assert cells.split("<td>")[1:] == expected


@pytest.mark.browser
@pytest.mark.slow
def test_opened_tables_have_every_score_with_interval_rank_and_place_among_all(
    tab: Callable[..., Tab], site: Site, model: Model
):
    page = tab("file")
    page.open(f"m/{SLUG}/{NAME}.html")
    page.page.locator("details[data-tasks] summary").click()
    page.page.locator("details[data-tasks] table").first.wait_for()
    found: list[list[str]] = page.page.locator("table.scores tbody tr").evaluate_all(
        "rows => rows.map(row => Array.from(row.cells, cell => cell.innerText))"
    )
    shown = {row[0].replace("\n", " "): row[2:] for row in found}
    assert len(shown) == len(found)
    for metric, score in model.scores.items():
        about = site.scores[metric]
        if about.task is not None:
            continue
        value, interval, rank, among = shown[about.title]
        values = score.values
        assert is_shown(value, float(values[PLACE]))
        low, high = map(number, interval.split("…"))
        # two digits, and four decimals
        assert low == pytest.approx(float(score.low[PLACE]), rel=0.06, abs=0.0001)
        assert high == pytest.approx(float(score.high[PLACE]), rel=0.06, abs=0.0001)
        assert int(rank) == 1 + int((values > values[PLACE]).sum())
        assert among == about.percentiles.label(float(values[PLACE]))
    cells: list[Any] = page.page.locator(".matrix tr").evaluate_all(
        "rows => rows.map(row => Array.from(row.cells, cell => cell.innerText))"
    )
    assert cells[0] == ["Score", "induction", "ioi"]
    for title, *values in cells[1:]:
        for task, value in zip(cells[0][1:], values, strict=True):
            of = [s for s in site.scores.values() if s.task == task and s.definition.title == title]
            assert is_shown(value, float(model.scores[of[0].metric].values[PLACE]))
    assert len(cells) - 1 == len({s.slug for s in site.scores.values() if s.task})
