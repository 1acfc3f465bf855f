"""The tables of the page on architectures are made from their definitions."""

from __future__ import annotations

import re

import pytest

from acdc_pipeline.models import SUPPORTED
from acdc_pipeline.models.architectures import ALIASES
from acdc_pipeline.models.architectures.refused import REFUSED
from benchmarks.docs_pages.architectures import page_text
from tests.support import REPOSITORY

PAGE = (REPOSITORY / "docs" / "architectures.md").read_text(encoding="utf-8")


def test_architectures_page_is_up_to_date():
    assert page_text(PAGE) == PAGE, (
        "run: python -m benchmarks.docs_pages.architectures docs/architectures.md"
    )


def test_architectures_page_has_one_row_for_each_supported_class_and_names_each_refused_one():
    reproduced, refused = PAGE.split("## Refused")
    table, _ = reproduced.split("Settings in")
    rows = re.findall(r"^\| [^|]+ \| `([A-Z]\w+)`[^|]* \| ([^|]+) \|$", table, flags=re.M)
    assert sorted(name for name, _ in rows) == sorted(SUPPORTED)
    assert all(len(peculiarity) > 10 for _, peculiarity in rows)
    assert sorted(re.findall(r"`(\w+)`", refused)) == sorted(
        REFUSED.keys() - SUPPORTED.keys() - ALIASES.keys()
    )


def test_architectures_page_without_a_place_for_a_table_is_refused():
    with pytest.raises(ValueError, match="0 places for the table settings"):
        page_text(PAGE.replace("<!-- table: settings -->\n", ""))
