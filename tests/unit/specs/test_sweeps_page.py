"""The sweep that docs/sweeps.md shows is valid, and names every field."""

from __future__ import annotations

import re
from pathlib import Path

from acdc_pipeline.specs import SweepSpec, load_yaml
from tests.support import REPOSITORY

PAGE = (REPOSITORY / "docs" / "sweeps.md").read_text(encoding="utf-8")


def test_sweep_on_the_page_is_valid_and_names_every_field(tmp_path: Path):
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "both.yaml").write_text(text)
    sweep = load_yaml(tmp_path / "both.yaml", SweepSpec)
    assert sweep.model_fields_set == set(SweepSpec.model_fields)


def test_links_of_the_page_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", PAGE)
    assert [link for link in links if not (REPOSITORY / "docs" / link).exists()] == []
