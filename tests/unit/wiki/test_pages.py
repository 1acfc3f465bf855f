"""What the pages of a site say, and that they hold together."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from humanize import ordinal

from acdc_pipeline.graph import Circuit, Node
from acdc_pipeline.heads.habits import lead_role
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs.head_scores import ROLES, metric_key
from acdc_pipeline.store import Store, open_store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.pages.removal import is_compensated
from acdc_pipeline.wiki.pages.task import task_rows
from acdc_pipeline.wiki.runs import read_store
from acdc_pipeline.wiki.scores import Score, evidence_word
from acdc_pipeline.wiki.site import Site, make_site
from acdc_pipeline.wiki.text import format_fixed
from tests import wiki_store
from tests.wiki_pages import LARGEST_HEAD_PAGE, Page, broken_links


@pytest.fixture(scope="module")
def site(small_store: Store) -> Site:
    return make_site(read_store(small_store))


def test_every_head_of_every_model_has_a_page(small_pages: dict[str, Page], site: Site):
    heads = {name for name in small_pages if re.fullmatch(r"m/[^/]+/a\d+\.h\d+\.html", name)}
    assert len(heads) == site.heads == 16 + 16 + 16


def test_list_of_tasks_counts_the_circuits_of_every_series(tmp_path: Path):
    store = open_store(tmp_path, mode="write")
    tiny = wiki_store.Shape("zoo:attn-2l", 2, 2, 64, has_mlp=False)
    for record in wiki_store.records([tiny], ("ioi",), (0.1,)):
        store.commit(record)
        if record.circuit is not None:
            other = record.spec.model_copy(update={"seed": record.spec.seed + 1})
            store.commit(replace(record, spec=other))
    site = make_site(read_store(store))
    assert [row["circuits"] for row in task_rows(site)] == [2]
    assert [row["models"] for row in task_rows(site)] == [1]
    assert site.circuits == 2


def test_pages_of_a_model_at_chance_carry_the_warning_of_its_circuit(tmp_path: Path):
    store = open_store(tmp_path / "store", mode="write")
    tiny = wiki_store.Shape("zoo:attn-2l", 2, 2, 64, has_mlp=False)
    for record in wiki_store.records([tiny], ("ioi", "docstring"), (0.1,)):
        fails = {"warnings": [f"the whole model fails on {record.spec.task}"]}
        if record.circuit is None:
            store.commit(record)
        elif record.spec.task == "ioi":
            store.commit(replace(record, details={**record.details, **fails}))
    rows = {row["task"].name: row for row in task_rows(make_site(read_store(store)))}
    assert (rows["docstring"]["models"], rows["docstring"]["circuits"]) == (1, 0)
    build(store, tmp_path / "site", jobs=1)
    folder = tmp_path / "site" / "m" / "zoo-attn-2l"
    for page in folder.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        inside = page.name == "index.html" or 'id="circuits"' in text
        assert (": the whole model fails on ioi" in text) == inside


def test_no_link_of_the_whole_site_is_broken(small_site: Path, small_pages: dict[str, Page]):
    assert broken_links(small_site, small_pages) == []


def test_pages_load_nothing_from_anywhere_else(small_pages: dict[str, Page], small_site: Path):
    loaded = {
        address
        for page in small_pages.values()
        for tag, _, address in page.addresses
        if tag not in ("a", "form")
    }
    assert loaded
    assert [address for address in loaded if "//" in address] == []
    for asset in (small_site / "assets").iterdir():
        text = asset.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.", re.sub(r"^\s*//.*$", "", text, flags=re.M))


def test_pages_hold_no_script_of_their_own_and_no_handler(small_pages: dict[str, Page]):
    for name, page in small_pages.items():
        assert page.scripts == "", name
        handlers = [a for e in page.elements for a in e.attributes if a.startswith("on")]
        assert handlers == [], name


def test_pages_have_one_title_one_heading_and_no_id_twice(small_pages: dict[str, Page]):
    for name, page in small_pages.items():
        assert len(page.all("h1")) == 1, name
        # drawings have titles of their own parts
        assert [e for e in page.elements[:6] if e.tag == "title"], name
        assert len(page.ids) == len(set(page.ids)), name
        assert page.all("html")[0].attributes["lang"] == "en"


def test_head_pages_stay_small(small_site: Path):
    sizes = {path: path.stat().st_size for path in small_site.glob("m/*/a*.html")}
    assert [path.name for path, size in sizes.items() if size > LARGEST_HEAD_PAGE] == []


def test_head_page_tells_roles_ranks_and_circuits(small_pages: dict[str, Page], site: Site):
    model = site.models[0]
    place, held = next((p, h) for p, h in model.roles.items() if h[0].role == "induction")
    page = small_pages[f"m/{model.slug}/a{place[0]}.h{place[1]}.html"]
    assert "It looks at the token that followed the current one before; seen on" in page.text
    assert re.search(r"Behaves as\s+an induction head", page.text)
    assert f"{ordinal(held[0].rank)} of 16" in page.text
    order = [i for i in page.ids if i in ("attention", "snippets", "reads", "circuits", "scores")]
    assert order == ["reads", "attention", "snippets", "circuits", "scores"]
    assert ("a", "href", "../../k/induction.html") in page.addresses
    for series, *_ in model.circuits.values():
        inside = f"a{place[0]}.h{place[1]}" in series.heads
        assert (f"../../t/{series.task}/{model.slug}.html" in str(page.addresses)) >= inside


def test_sentence_on_a_task_says_what_removing_the_head_costs(
    small_pages: dict[str, Page], site: Site
):
    seen = set()
    for model in site.models:
        for (layer, head), roles in model.roles.items():
            whole = small_pages[f"m/{model.slug}/a{layer}.h{head}.html"].text
            text = whole.partition("What feeds it")[0]
            role = lead_role(roles)
            if role.on is None:
                assert " by its mean costs" not in text
                continue
            lost = {
                how: float(model.scores[metric_key(score, role.on)].values[layer, head])
                for how, score in (
                    ("Replacing its output by its mean", "mean_ablation"),
                    ("Setting its output to zero", "zero_ablation"),
                )
            }
            largest = max(map(abs, lost.values()))
            is_direct = role.metric.startswith("direct_effect")
            is_small = is_direct and largest + 0.02 < abs(role.value) / 2
            assert is_small == ("the rest of the model makes up for most of that" in text)
            only, whole_logit = "only " if is_small else "", "the answer logit of 5.0"
            assert any(
                f"{how} costs {only}{format_fixed(value)} ± 0.02 of {whole_logit}" in text
                or f"{how} adds {only}{format_fixed(-value)} ± 0.02 to {whole_logit}" in text
                for how, value in lost.items()
                if how.startswith("Rep") or (is_small and abs(value) == largest)
            )
            seen.add(is_small)
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("ends", "is_small"), [((0.1, 0.4), True), ((0.1, 0.6), False), ((-0.6, 0.4), False)]
)
def test_rest_of_a_model_makes_up_for_a_head_if_both_ends_are_below_half_of_its_effect(
    site: Site, ends: tuple[float, float], is_small: bool
):
    model, place = site.models[0], (0, 0)
    scores = {}
    for name, value, low, high in (
        ("direct_effect", 1.0, 0.9, 1.1),
        ("mean_ablation", 0.0, -0.1, 0.1),
        ("zero_ablation", 0.2, *ends),
    ):
        metric = metric_key(name, "ioi")
        grids = [np.full((model.n_layers, model.n_heads), x) for x in (value, low, high)]
        scores[metric] = Score(metric, *grids, n=32, seed=0)
    role = HeadRole(
        Node.parse("a0.h0"),
        "direct_contributor",
        "ioi",
        ("causal",),
        metric_key("direct_effect", "ioi"),
        value=1.0,
        rank=1,
        of=16,
    )
    assert is_compensated(replace(model, scores=scores), place, role) is is_small


def test_model_page_has_the_faithfulness_of_a_circuit_in_both_metrics(tmp_path: Path):
    store = open_store(tmp_path / "store", mode="write")
    tiny = wiki_store.Shape("zoo:attn-2l", 2, 2, 64, has_mlp=False)
    (*_, record) = wiki_store.records([tiny], ("ioi",), (0.1,))
    assert record.circuit is not None
    by_kl = {"kl": 1.0, "ablated_kl": 4.0}
    of_task = {"logit_diff": -1.0, "ablated_logit_diff": 0.0, "model_logit_diff": 5.0}
    store.commit(replace(record, metrics={**record.metrics, **by_kl, **of_task}))
    build(store, tmp_path / "site", jobs=1)
    page = (tmp_path / "site/m/zoo-attn-2l/index.html").read_text(encoding="utf-8")
    assert ">75\u202f% <small>−20\u202f% by logit_diff</small>" in page


def test_only_evidence_by_direct_logit_attribution_has_its_own_word():
    direct = {role for role in ROLES if evidence_word("causal", role) == "direct effect"}
    movers = {"direct_contributor", "name_mover", "copy_suppression"}
    assert direct == {*movers, "anti_induction", "induction"}
    assert evidence_word("attention", "name_mover") == "attention"


def test_head_page_shows_the_note_about_it_above_its_scores(small_pages: dict[str, Page]):
    text = small_pages["m/zoo-attn-2l/a1.h3.html"].text
    assert "Seen often in the paper." in text
    assert text.index("Seen often") < text.index("Beyond chance")
    assert "Seen often" not in small_pages["m/zoo-attn-2l/a1.h2.html"].text
    assert "Two layers are enough." in small_pages["m/zoo-attn-2l/index.html"].text


def test_head_pages_are_chained_from_the_first_head_to_the_last(small_pages: dict[str, Page]):
    name, seen = "a0.h0", []
    while name:
        seen.append(name)
        links = small_pages[f"m/zoo-attn-2l/{name}.html"].all("link")
        following = [e.attributes["href"] for e in links if e.attributes.get("rel") == "next"]
        name = (following[0] or "").removesuffix(".html") if following else ""
    assert len(seen) == 16
    assert seen[-1] == "a1.h7"


def test_model_page_has_a_mosaic_of_every_score_with_a_sentence_and_links(
    small_pages: dict[str, Page], site: Site
):
    model = site.models[0]
    page = small_pages[f"m/{model.slug}/index.html"]
    pictures = [e for e in page.all("span") if "pic" in str(e.attributes.get("class"))]
    assert len(pictures) == len(model.scores)
    for picture in pictures:
        assert picture.attributes["role"] == "img"
        assert "2 layers by 8 heads: highest" in str(picture.attributes["aria-label"])
    cells = [e for e in page.all("a") if e.attributes.get("tabindex") == "-1"]
    assert len(cells) == model.total_heads


def test_circuit_page_draws_every_edge_and_marks_which_cut_has_it(
    small_pages: dict[str, Page], site: Site
):
    model = site.models[1]
    series = model.circuits["ioi"][0]
    page = small_pages[f"t/ioi/{model.slug}.html"]
    drawn = [e.attributes for e in page.all("g") if "data-s" in e.attributes]
    assert {(e["data-s"], e["data-d"], e["data-at"]) for e in drawn} == {
        (src, dst, "".join("01"[x] for x in at)) for (src, dst, _), at in series.edges.items()
    }
    off = [e for e in drawn if "off" in str(e["class"]).split()]
    assert all(str(e["data-at"])[series.first_shown] == "0" for e in off)
    assert len(drawn) - len(off) == len(series.cuts[series.first_shown].edges)
    rows = [e for e in page.all("tr") if "data-first" in e.attributes]
    assert len(rows) == len(series.edges) + len(series.heads)


@pytest.mark.parametrize(("threshold", "fewer"), [(0.1, 0), (0.01, 0), (0.1, 1), (0.01, 1)])
def test_circuit_page_says_how_many_searches_with_its_settings_kept_an_edge(
    tmp_path: Path, threshold: float, fewer: int
):
    store = open_store(tmp_path / "store", mode="write")
    tiny = wiki_store.Shape("zoo:attn-2l", 2, 2, 64, has_mlp=False)
    kept = 0
    for record in wiki_store.records([tiny], ("ioi",), (0.1, 0.01)):
        store.commit(record)
        if record.circuit is not None and record.spec.method.plain()["threshold"] == threshold:
            kept = len(record.circuit)
            method = record.spec.method.model_copy(update={"consensus": 20})
            more = {"method": method, "prompts": record.spec.prompts - fewer}
            found = Circuit.of(
                record.circuit.topology,
                record.circuit.edges,
                dict.fromkeys(record.circuit.edges, 0.9),
            )
            details = {"necessary": 0, "or_groups": ["{input->a0.h0<v>} or {m0->logits}"]}
            store.commit(
                replace(
                    record,
                    spec=record.spec.model_copy(update=more),
                    circuit=found,
                    details={**record.details, "consensus": details},
                )
            )
    build(store, tmp_path / "site", jobs=1)
    (page,) = (tmp_path / "site" / "t" / "ioi").glob("zoo*.html")
    text = page.read_text(encoding="utf-8")
    (shown,) = map(int, re.findall(r'data-shown="(\d)"', text))
    alike = not fewer and threshold == (0.1, 0.01)[shown]
    assert text.count("18 of 20") == (kept if alike else 0)
    assert (f"Of 20 searches at τ = {threshold:g} " in text) == alike
    assert ("{input-&gt;a0.h0&lt;v&gt;} or {m0-&gt;logits}" in text) == alike
    assert kept > 0


def test_kind_page_lists_its_heads_best_first(small_pages: dict[str, Page], site: Site):
    page = small_pages["k/previous_token.html"]
    held = sorted(
        (-role.value, model.slug, str(role.node))
        for model in site.models
        for roles in model.roles.values()
        for role in roles
        if role.role == "previous_token"
    )
    listed = [
        match.groups()
        for _, _, address in page.addresses
        if (match := re.fullmatch(r"\.\./m/([^/]+)/(a\d+\.h\d+)\.html", address))
    ]
    wanted = [(slug, node) for _, slug, node in held]
    places = [listed.index(one) for one in wanted]
    assert len(wanted) > 2
    # links of the mosaic come first; in the table the order is that of the scores
    tail = listed[-len(wanted) :]
    assert tail == wanted, places


def test_score_page_holds_formula_source_and_null(small_pages: dict[str, Page]):
    page = small_pages["s/induction.html"]
    assert page.all("math")
    assert "shuffled tokens" in page.text
    assert "Olsson et al. 2022" in page.text
    assert ("a", "href", "https://arxiv.org/abs/2209.11895") in page.addresses


def test_every_page_says_where_it_is_and_leads_home(small_pages: dict[str, Page]):
    for name, page in small_pages.items():
        root = "../" * name.count("/")
        assert page.all("html")[0].attributes["data-root"] == root
        assert ("a", "href", f"{root}index.html") in page.addresses


def test_head_page_without_a_role_tells_what_came_nearest(small_pages: dict[str, Page], site: Site):
    model = site.models[0]
    assert model.near_misses, "the drawn scores come near some lines"
    assert not model.near_misses.keys() & model.roles.keys()
    for (layer, head), miss in model.near_misses.items():
        page = small_pages[f"m/{model.slug}/a{layer}.h{head}.html"]
        assert "No clear habit" in page.text
        title = ROLES[miss.role].title
        assert re.search(f"{title} (on .*: .*, where {title} )?has .* or more", page.text) or (
            f", where {title} has " in page.text
        )


def test_lists_of_scores_name_the_task_of_each(small_site: Path, site: Site):
    for name in ("index.html", f"m/{site.models[0].slug}/index.html"):
        options = re.findall("<option [^>]*>([^<]*)", (small_site / name).read_text())
        assert len(options) == len(set(options)) > 9, name
        assert any(option.endswith(" on ioi") for option in options)


def test_texts_of_kinds_use_the_words_of_the_evidence_they_have():
    for name, role in ROLES.items():
        levels = [c.evidence for c in (*role.required, *role.supporting)]
        if "causal" not in {evidence_word(level, name) for level in levels}:
            assert "causal" not in role.reason, name


def test_page_of_a_kind_says_where_a_head_has_several_rows(
    small_pages: dict[str, Page], site: Site
):
    for name, held in site.holders.items():
        heads = {(model.slug, role.node) for model, role in held}
        says = (
            "with a row for each task on which one behaves so" in small_pages[f"k/{name}.html"].text
        )
        assert says == (len(held) > len(heads)), name
