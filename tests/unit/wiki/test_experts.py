"""The use of experts on the page of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.errors import DamagedRun
from acdc_pipeline.wiki.experts import ExpertUse, effective_experts, expert_sections
from acdc_pipeline.wiki.profile import parse_profile

PLAIN: dict[str, Any] = {
    "tokens": 8,
    "layers": {
        "1": {"share": [1.0, 1.0, 0.0, 0.0], "weight": [0.7, 0.3, 0.0, 0.0]},
        "2": {"share": [0.5, 0.5], "weight": [0.4, 0.6]},
    },
}


def document(**changes: Any) -> bytes:
    plain = {"version": 1, "task": "ioi", "roles": [], "nulls": {}, **changes}
    return json.dumps(plain).encode()


def test_effective_experts_is_the_number_of_experts_used_evenly():
    assert effective_experts([1.0, 1.0, 0.0, 0.0]) == pytest.approx(2)
    assert effective_experts([0.25] * 4) == pytest.approx(4)
    assert effective_experts([1.0, 0.0]) == pytest.approx(1)
    # exp(-(0.75 ln 0.75 + 0.25 ln 0.25))
    assert effective_experts([0.75, 0.25]) == pytest.approx(1.7547654)


def test_page_names_the_busiest_experts_and_counts_those_never_chosen():
    (section,) = expert_sections([("ioi", ExpertUse.of(PLAIN))])
    first, second = section["layers"]
    assert (section["columns"], section["rows"], section["tokens"]) == (2, 4, "8")
    assert (first["layer"], first["chosen"], first["effective"], first["unused"]) == (
        1, "2", "2.0", 2,
    )  # fmt: skip
    assert [(e["name"], e["share"]) for e in first["busiest"]] == [
        ("e0", "100\u202f%"), ("e1", "100\u202f%"),
    ]  # fmt: skip
    assert second["even"] == "50\u202f%"
    assert "on ioi: 2 layers" in section["picture"].label


def test_profiles_say_how_experts_are_used_only_where_there_are_any():
    assert parse_profile(document()).experts is None
    used = parse_profile(document(experts=PLAIN)).experts
    assert used is not None
    assert json.loads(json.dumps(used.plain())) == PLAIN


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"tokens": 8, "layers": {"x": {"share": [1.0], "weight": [1.0]}}},
        {"tokens": 8, "layers": {"-1": {"share": [1.0], "weight": [1.0]}}},
        {"tokens": 8, "layers": {"0": {"share": [1.0], "weight": [1.0, 0.0]}}},
        {"tokens": 8, "layers": {"0": {"share": [2.0], "weight": [1.0]}}},
        {"tokens": 8, "layers": {"0": {"share": [], "weight": []}}},
        {"tokens": 8, "layers": {"0": {"share": [float("nan")], "weight": [1.0]}}},
    ],
)
def test_profiles_with_a_malformed_use_of_experts_are_damaged(broken: dict[str, Any]):
    with pytest.raises(DamagedRun):
        parse_profile(document(experts=broken))


def test_page_of_a_model_shows_its_experts_also_from_the_cache(tmp_path: Path):
    from acdc_pipeline import profile_heads
    from acdc_pipeline.store import open_store
    from acdc_pipeline.wiki.build import build
    from tests.unit.workflows.test_experts import PAIRS, folder_of

    model = folder_of("GraniteMoeSharedForCausalLM", tmp_path / "model")
    store = open_store(tmp_path / "store", mode="write")
    profile_heads(model, [PAIRS], store=store)
    out = tmp_path / "site"
    build(store, out, jobs=1)
    (page,) = (path for path in (out / "m").glob("dir-*/index.html"))
    text = page.read_text()
    assert '<h2 id="experts">Experts</h2>' in text
    page.unlink()
    build(store, out, jobs=1)
    assert page.read_text() == text
