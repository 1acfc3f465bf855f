"""The first page, plain names of models, words of the search, and published claims."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from acdc_pipeline.heads.habits import lead_place, lead_role
from acdc_pipeline.specs import ReferenceCircuit
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.store import Store
from acdc_pipeline.wiki.models import head_name
from acdc_pipeline.wiki.page import show_prose
from acdc_pipeline.wiki.pages.featured import find_circuit, find_head
from acdc_pipeline.wiki.pages.mosaics import telling_metric
from acdc_pipeline.wiki.pages.plain_names import plain_name
from acdc_pipeline.wiki.pages.published import group_rows, role_claims
from acdc_pipeline.wiki.pages.search_words import example_queries, kind_words, near_kinds
from acdc_pipeline.wiki.runs import read_store
from acdc_pipeline.wiki.site import Site, make_site
from acdc_pipeline.wiki.typical import Typical
from tests.wiki_pages import Page


@pytest.fixture(scope="module")
def site(small_store: Store) -> Site:
    return make_site(read_store(small_store))


def test_first_page_shows_a_head_whose_stored_pattern_is_what_its_sentence_says(
    site: Site, small_store: Store, small_pages: dict[str, Page]
):
    found = find_head(site, small_store)
    assert found is not None
    name = head_name(*found.place)
    stored = [one for profile in found.model.profiles for one in profile.typical(name)]
    shown = next(one for one in stored if isinstance(one, Typical))
    assert shown.metric == found.statement.example
    # of its kind and evidence none has more of its attention there, and half of it or more is
    role = lead_role(found.model.roles[found.place])
    same = [held for _, held in site.holders[role.role] if len(held.evidence) == len(role.evidence)]
    assert role.value == max(held.value for held in same) >= 0.5
    text = small_pages["index.html"].text
    assert found.statement.text in text
    assert plain_name(found.model) in text


def test_first_page_shows_the_smallest_faithful_circuit_as_its_own_page_does(
    site: Site, small_store: Store, small_pages: dict[str, Page]
):
    head = find_head(site, small_store)
    assert head is not None
    found = find_circuit(site, head)
    assert found is not None
    assert found.cut is found.series.cuts[found.series.first_shown]
    name = head_name(*head.place)
    for model in site.models:
        for series, *_ in model.circuits.values():
            cut = series.cuts[series.first_shown]
            is_good = cut.faithfulness is not None and abs(1 - cut.faithfulness) <= 0.1
            has_head = model.slug == head.model.slug and any(name in key[:2] for key in cut.edges)
            if is_good and has_head and 4 <= len(cut.edges) <= 60:
                assert len(found.cut.edges) <= len(cut.edges)
    drawn = [e for e in small_pages["index.html"].all("g") if "data-s" in e.attributes]
    assert len(drawn) == len(found.cut.edges)


def test_mosaic_shows_the_score_of_the_most_telling_role_of_a_quarter_of_the_models(site: Site):
    metric = telling_metric(site.models)
    counts: dict[tuple[int, str], set[str]] = {}
    for model in site.models:
        for roles in model.roles.values():
            for held in roles:
                if held.role not in ("sink", "current_token"):
                    key = lead_place(held.role), held.metric
                    counts.setdefault(key, set()).add(model.slug)
    enough = [key for key, owners in counts.items() if 4 * len(owners) >= len(site.models)]
    best = min(place for place, _ in enough)
    assert metric in [name for place, name in enough if place == best]
    assert telling_metric([]) is None


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("zoo:gpt2-4l-s0", "GPT-2-shaped, 4 layers (trained here, seed 0)"),
        ("zoo:attn-2l", "attention only, 4 layers (trained here)"),
        ("zoo:neox-4l-words", "GPT-NeoX-shaped, 4 layers (trained here, words)"),
        ("zoo:compiled-lookback", "lookback program, 4 layers (weights set by hand)"),
        ("hf:openai-community/gpt2@main", "gpt2, 4 layers (from Hugging Face)"),
        ("dir:models/mine", "mine, 4 layers"),
    ],
)
def test_models_have_names_that_need_no_explanation(site: Site, ref: str, name: str):
    model = next(m for m in site.models if m.n_layers == 4)
    assert plain_name(dataclasses.replace(model, ref=ref)) == name


def test_search_knows_titles_and_published_names_of_every_kind():
    words = {role: kind_words(role) for role in ROLES}
    assert words["name_mover"] == ["name mover"]
    assert words["s_inhibition"][0] == "s inhibition"
    assert "negative name mover" in words["copy_suppression"]
    every = [word for found in words.values() for word in found]
    assert len(every) == len(set(every))


def test_text_of_tasks_has_arrows_and_code_for_markup():
    assert show_prose('"a" -> `x<y`') == "&#34;a&#34; → <code>x&lt;y</code>"
    assert show_prose("one ` alone") == "one ` alone"
    assert show_prose("`a` and ` <b>") == "<code>a</code> and ` &lt;b&gt;"


def test_published_heads_stand_beside_those_found(site: Site):
    task = next(task for task in site.tasks.values() if task.name == "ioi")
    model = next(
        model
        for model in site.models
        if "ioi" in model.circuits
        and any(held.role == "previous_token" for roles in model.roles.values() for held in roles)
    )
    held = [p for p, roles in model.roles.items() if any(r.role == "previous_token" for r in roles)]
    other = next(p for p in model.places if p not in held)
    reference = ReferenceCircuit.model_validate(
        {
            "model": model.ref,
            "source": "Somebody 2022, arXiv 2211.00593",
            "groups": {"previous_token": {"heads": [list(held[0]), list(other)]}},
        }
    )
    ours = dataclasses.replace(
        site, tasks={**site.tasks, "ioi": dataclasses.replace(task, reference=reference)}
    )
    (row,) = group_rows(ours, ours.tasks["ioi"])
    told = {h["name"]: j["verdict"] for j in row["judged"] for h in j["heads"]}
    in_circuit = model.circuits["ioi"][0].heads
    for place, behaves in ((held[0], True), (other, False)):
        agrees = behaves and head_name(*place) in in_circuit
        assert told[head_name(*place)] == ("agrees" if agrees else "disagrees")
    (found,) = (one for one in row["found"] if one["model"] and one["model"].slug == model.slug)
    assert found["heads"]
    assert set(found["heads"]) <= {head_name(*place) for place in held}
    assert row["is_measured"]
    bare = dataclasses.replace(
        ours, models=tuple(dataclasses.replace(model, scores={}) for model in ours.models)
    )
    assert [row["is_measured"] for row in group_rows(bare, ours.tasks["ioi"])] == [False]
    (claim,) = [c for c in role_claims(ours, "previous_token") if c["task"].name == "ioi"]
    told = {h["name"]: j["verdict"] for j in claim["judged"] for h in j["heads"]}
    assert told == {head_name(*held[0]): "agrees", head_name(*other): "disagrees"}


def test_kind_says_from_where_a_head_that_stands_out_has_the_role(small_pages: dict[str, Page]):
    says = "at least 0.4; 0.24 is enough if it stands out among the model’s heads"
    assert says in small_pages["k/induction.html"].text
    assert "is enough" not in small_pages["k/sink.html"].text


def test_depth_is_plotted_from_five_models_on(small_pages: dict[str, Page], small_site: Path):
    page = small_pages["k/previous_token.html"]
    assert not [e for e in page.all("svg") if "plot" in str(e.attributes.get("class"))]
    assert "In which models" in page.text
    assert '-&gt; "' not in (small_site / "t/ioi/index.html").read_text()


def test_examples_of_the_search_find_heads_and_kinds_without_heads_lead_to_near_ones(site: Site):
    kind, *rest, score = example_queries(site)
    held = {role for role in site.holders if kind in kind_words(role)}
    assert len(held) == 1
    assert rest[0] in site.tasks
    assert any(rest[-1].startswith(f"{model.slug} ") for model in site.models)
    assert score.endswith(">0.5")
    assert near_kinds("name_mover")[:2] == ["mover", "direct_contributor"]
    assert "name_mover" not in near_kinds("name_mover")
