"""The page on architectures is the one made from their definitions."""

from __future__ import annotations

import re

from acdc_pipeline.models import SUPPORTED
from acdc_pipeline.models.architectures import ALIASES
from acdc_pipeline.models.architectures.refused import REFUSED
from benchmarks.docs_pages.architectures import page_text
from tests.support import REPOSITORY

PAGE = (REPOSITORY / "docs" / "architectures.md").read_text(encoding="utf-8")


def test_architectures_page_is_up_to_date():
    assert page_text() == PAGE, (
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
