"""Which models belong together, which of their heads do the same, and how common a kind is."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from acdc_pipeline.errors import AcdcError
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.store import RunRecord, Store, open_store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.families.find import Family, find_families, group_related
from acdc_pipeline.wiki.families.matching import assign, match_heads
from acdc_pipeline.wiki.families.universality import universality
from acdc_pipeline.wiki.runs import read_store
from acdc_pipeline.wiki.site import Site, make_site
from tests import wiki_families as made
from tests.wiki_pages import Page, broken_links, pages_of

INDUCTION = {"induction@1": {made.HEAD: 0.9}}


def stored(folder: Path, records: list[RunRecord]) -> Store:
    store = open_store(folder, mode="write")
    for record in records:
        store.commit(record)
    return store


def site_of(folder: Path, records: list[RunRecord], notes: Path | None = None) -> Site:
    return make_site(read_store(stored(folder, records)), notes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of checkpoints with shared keys, and of two seeds."""
    folder = tmp_path_factory.mktemp("families")
    records = made.checkpoints(heads_per_key=[2, 2, 2])
    records += [made.profile(f"zoo:two-s{seed}", INDUCTION) for seed in (0, 1)]
    build(stored(folder / "store", records), folder / "site", jobs=1)
    return folder / "site"


@pytest.fixture(scope="module")
def pages(trained: Path) -> dict[str, Page]:
    return pages_of(trained)


def test_assignment_costs_as_little_as_the_best_of_all_permutations():
    draw = np.random.default_rng(0)
    for number in range(60):
        rows = int(draw.integers(1, 6))
        columns = rows + int(draw.integers(0, 3))
        costs = (
            draw.normal(size=(rows, columns))
            if number % 2
            else draw.integers(0, 3, (rows, columns)) * 1.0
        )
        found = assign(costs)
        assert len(set(found.tolist())) == rows
        best = min(
            costs[range(rows), list(chosen)].sum()
            for chosen in itertools.permutations(range(columns), rows)
        )
        assert costs[range(rows), found].sum() == pytest.approx(best)
    with pytest.raises(ValueError, match="cannot have 1 different"):
        assign(np.zeros((2, 1)))


def test_heads_that_changed_places_are_found_by_what_they_do(tmp_path: Path):
    kinds = ("induction@1", "previous_token@1", "duplicate_token@1", "copy_at_5@1")
    here = [(0, 0), (1, 1), (1, 3), (2, 2)]
    there = [(2, 0), (0, 3), (1, 1), (2, 1)]
    records = [
        made.profile(f"zoo:two-s{seed}", {m: {p: 0.9} for m, p in zip(kinds, places, strict=True)})
        for seed, places in enumerate((here, there))
    ]
    site = site_of(tmp_path, records)
    (family,) = site.families
    assert (family.kind, family.labels) == ("seeds", ("seed 0", "seed 1"))
    one, two = family.members
    found = match_heads(one, here, two, two.places)
    assert {place: match for place, (match, _) in found.items()} == dict(
        zip(here, there, strict=True)
    )
    assert all(similarity > 0.8 for _, similarity in found.values())
    assert match_heads(one, [], two, two.places) == {}


def test_models_are_a_family_by_step_seed_and_similar_weights(tmp_path: Path):
    near, far = (np.random.default_rng(seed).normal(size=(3, 4, 128)) for seed in (1, 2))
    plain = [
        ("hf:a/b@step10", near),
        ("hf:a/b@step2", near),
        ("hf:a/b@step3", near),
        ("zoo:x", near),
        ("zoo:x-tuned", near + 0.3 * far),
        ("zoo:x-deduped", far),
        ("zoo:y-s1", far),
        ("hf:me/writer1", near),
        ("hf:me/writer2", far),
        ("hf:me/sautéstep1", near),
        ("hf:me/sautéstep2", far),
        ("hf:c/run/ITER_1", near),
        ("hf:c/run/ITER_2", far),
    ]
    records = [
        made.with_facts(made.profile(ref, {}), sketches=made.sketches(vectors))
        for ref, vectors in plain
    ]
    site = site_of(tmp_path, records)
    found = {(f.name, f.kind): [m.ref for m in f.members] for f in site.families}
    assert found == {
        ("hf:a/b", "checkpoints"): ["hf:a/b@step2", "hf:a/b@step3", "hf:a/b@step10"],
        ("hf:c/run", "checkpoints"): ["hf:c/run/ITER_1", "hf:c/run/ITER_2"],
        ("zoo:x", "finetunes"): ["zoo:x", "zoo:x-tuned"],
    }
    groups = group_related(site.models, site.families)
    assert sorted(map(len, groups)) == [1, 1, 1, 1, 1, 1, 2, 2, 3]


def test_page_of_checkpoints_says_when_a_kind_appears_and_traces_its_head(pages: dict[str, Page]):
    page = pages["f/dir-run-checkpoints.html"]
    assert "4 checkpoints of 3 layers of 4 heads, width 64." in page.text
    row = page.text[page.text.index("an induction head") :].split("\n")[0]
    assert row == "an induction head0011step 1,000"
    assert "a1.h2" in page.ids
    links = [value for _, _, value in page.addresses if value.endswith("/a1.h2.html")]
    assert links == [f"../m/dir-run-step{step}/a1.h2.html" for step in made.STEPS]
    plots = [e for e in page.all("svg") if "traces" in str(e.attributes.get("class"))]
    assert any("a1.h2" in str(e.attributes["aria-label"]) for e in plots)


def test_heads_of_checkpoints_link_to_their_neighbours_in_training(pages: dict[str, Page]):
    page = pages["m/dir-run-step100/a1.h2.html"]
    places = [value for _, _, value in page.addresses]
    assert "../dir-run-step0/a1.h2.html" in places
    assert "../dir-run-step1000/a1.h2.html" in places
    assert "../dir-run-step20000/a1.h2.html" not in places
    assert "../../f/dir-run-checkpoints.html#heads" in places
    # of mixtures of two directions: (0, 1), (1/3, 2/3) and (2/3, 1/3)
    found = [float(value) for value in re.findall(r"OV (0\.\d\d)", page.text)]
    assert found == pytest.approx([2 / 5**0.5, 0.8], abs=0.03)
    assert "two-seeds" in str(pages["m/zoo-two-s0/a1.h2.html"].addresses)


def test_heads_that_share_keys_stand_side_by_side(pages: dict[str, Page]):
    head = pages["m/dir-run-step1000/a1.h3.html"]
    assert "Shares its keys with a1.h2 induction: side by side" in " ".join(head.text.split())
    groups = pages["m/dir-run-step1000/groups.html"]
    assert {"a0.h0", "a0.h2", "a1.h0", "a1.h2"} <= set(groups.ids)
    assert "m/zoo-two-s0/groups.html" not in pages
    model = pages["m/dir-run-step1000/index.html"]
    (lines,) = [e for e in model.all("path") if e.attributes["d"] == "M0 2h1M1 2h1M2 2h1"]
    assert lines


def test_no_link_of_a_site_with_families_is_broken(trained: Path, pages: dict[str, Page]):
    assert broken_links(trained, pages) == []


def test_a_kind_is_counted_in_models_and_in_groups_of_related_ones(tmp_path: Path):
    records = made.checkpoints()
    records += [made.profile(f"zoo:two-s{seed}", INDUCTION) for seed in (0, 1)]
    records += [made.profile("zoo:two-s2", {}), made.profile("zoo:alone", {})]
    unknown = made.profile("zoo:unknown", INDUCTION)
    kept = tuple(row for row in unknown.heads if row.metric != "induction@1")
    records.append(made.with_facts(dataclasses.replace(unknown, heads=kept), roles=[]))
    site = site_of(tmp_path, records)
    found = universality(ROLES["induction"], site.models, site.families)
    assert [m.ref for m in found.having] == ["dir:run-step20000", "zoo:two-s0", "zoo:two-s1"]
    assert [m.ref for m in found.lacking] == ["zoo:alone", "zoo:two-s2"]
    assert [m.ref for m in found.unmeasured] == ["zoo:unknown"]
    # checkpoints, seeds (two of three), and the one alone
    assert (found.groups_having, found.groups) == (2, 3)
    for interval, (k, n) in ((found.interval, (3, 5)), (found.group_interval, (2, 3))):
        expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
        assert interval == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_a_kind_is_not_missing_where_chance_gives_nearly_all_there_is(tmp_path: Path):
    site = site_of(tmp_path, [made.profile("zoo:alone", {})])
    (model,) = site.models
    for null, is_told in ((0.5, True), (0.96, False)):
        known = dataclasses.replace(model, nulls={**model.nulls, "induction@1": null})
        found = universality(ROLES["induction"], [known], ())
        assert (found.lacking == (known,), found.unmeasured == (known,)) == (is_told, not is_told)


def test_declared_family_comes_before_those_that_names_suggest(tmp_path: Path):
    notes = tmp_path / "notes"
    notes.mkdir()
    text = made.declared(
        "mine", "checkpoints", ["dir:run-step0", "dir:run-step1000"], "    steps: [1, 7.5]\n"
    )
    (notes / "families.yaml").write_text(text)
    site = site_of(tmp_path / "store", made.checkpoints(), notes)
    first, *others = site.families
    assert (first.slug, first.labels, first.steps) == (
        "mine-checkpoints",
        ("step 1", "step 7.5"),
        (1, 7.5),
    )
    assert [m.ref for f in others for m in f.members] == ["dir:run-step100", "dir:run-step20000"]


@pytest.mark.parametrize(
    ("members", "kind", "steps", "message"),
    [
        (["dir:run-step0"], "seeds", "", "at least 2 long"),
        (["dir:run-step0", "dir:run-step10"], "seeds", "", "did you mean 'dir:run-step100'"),
        (["dir:run-step0", "dir:run-step0"], "seeds", "", "is there twice"),
        (["dir:run-step0", "zoo:attn-2l"], "seeds", "", "has 2 layers of 2 heads, width 64, but"),
        (["dir:run-step0", "dir:run-step100"], "twins", "", "checkpoints, seeds, finetunes"),
        (["dir:run-step0", "dir:run-step100"], "checkpoints", "    steps: [3, 1]\n", "rising"),
        (["dir:run-step0", "dir:run-step100"], "seeds", "    steps: [1, 3]\n", "only checkpoints"),
    ],
)
def test_declaration_that_cannot_be_meant_is_refused_with_its_place(
    members: list[str], kind: str, steps: str, message: str, declared_models, tmp_path: Path
):
    (tmp_path / "families.yaml").write_text(made.declared("mine", kind, members, steps))
    with pytest.raises(AcdcError) as error:
        find_families(declared_models, tmp_path)
    assert message in str(error.value)
    assert "families.yaml" in str(error.value)


@pytest.mark.parametrize("kinds", [("seeds", "seeds"), ("seeds", "finetunes")])
def test_two_declared_families_of_one_kind_have_different_names(
    kinds: tuple[str, str], declared_models, tmp_path: Path
):
    members = [["dir:run-step0", "dir:run-step100"], ["dir:run-step1000", "dir:run-step20000"]]
    first, second = (
        made.declared("a", kind, some) for kind, some in zip(kinds, members, strict=True)
    )
    text = first + second.removeprefix("families:\n")
    (tmp_path / "families.yaml").write_text(text)
    if len(set(kinds)) == 2:
        declared = find_families(declared_models, tmp_path)[:2]
        assert [family.slug for family in declared] == ["a-seeds", "a-finetunes"]
        return
    with pytest.raises(AcdcError, match="'a' is there twice") as error:
        find_families(declared_models, tmp_path)
    assert "must differ" in str(error.value)


@pytest.fixture(scope="module")
def declared_models(tmp_path_factory: pytest.TempPathFactory):
    small = made.wiki_store.Shape("zoo:attn-2l", 2, 2, 64, has_mlp=False)
    draw = np.random.default_rng(0)
    grids = made.wiki_store.score_grids(small, (made.TASK,), draw)
    other = made.wiki_store.profile_record(small, made.TASK, grids, draw)
    store = stored(tmp_path_factory.mktemp("declared"), [*made.checkpoints(), other])
    return make_site(read_store(store)).models


def test_families_are_kept_by_the_cache_and_follow_what_is_declared(tmp_path: Path):
    store, out, notes = stored(tmp_path / "store", made.checkpoints()), tmp_path / "site", tmp_path
    first = build(store, out, notes=notes, jobs=1)
    assert build(store, out, notes=notes, jobs=1).written == 0
    (notes / "families.yaml").write_text(
        made.declared("mine", "checkpoints", [f"dir:run-step{s}" for s in made.STEPS])
    )
    again = build(store, out, notes=notes, jobs=1)
    assert again.written > 0
    assert not (out / "f" / "dir-run-checkpoints.html").exists()
    assert (out / "f" / "mine-checkpoints.html").exists()
    fresh = build(store, tmp_path / "fresh", notes=notes, jobs=1)
    assert (fresh.files, fresh.bytes) == (again.files, again.bytes)
    assert first.files == fresh.files
    assert isinstance(again.site.families[0], Family)
