"""The page on architectures names exactly those that are supported."""

from __future__ import annotations

import re

from acdc_pipeline.models import SUPPORTED
from tests.support import REPOSITORY


def test_architectures_page_has_one_row_for_each_supported_class():
    page = (REPOSITORY / "docs" / "architectures.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \|", page, flags=re.M)
    assert sorted(rows) == sorted(SUPPORTED)
