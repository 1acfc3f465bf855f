"""The page of a consensus: its drawing, its label, and the roles of its edges."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from acdc_pipeline.graph import Circuit
from acdc_pipeline.graph.consensus import Consensus, OrGroup
from acdc_pipeline.store import open_store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.cache import read_cache, write_cache
from acdc_pipeline.wiki.runs import read_store
from tests import wiki_store


def test_circuit_page_draws_the_alternatives_of_a_consensus_and_names_roles(tmp_path: Path):
    store = open_store(tmp_path / "store", mode="write")
    tiny = wiki_store.Shape("zoo:attn-2l", 2, 2, 64, has_mlp=False)
    (record,) = (
        record
        for record in wiki_store.records([tiny], ("ioi",), (0.1,))
        if record.circuit is not None
    )
    assert record.circuit is not None
    graph = record.circuit.topology
    from_head_to_head = next(e for e in graph.edges if e.src.kind == e.dst.kind == "head")
    edges = sorted({*record.circuit.edges, from_head_to_head}, key=str)
    # Without one of them, another is on no path, as in a consensus counted edge by edge.
    edges = next(
        rest
        for rest in ([e for e in edges if e != left_out] for left_out in edges)
        if from_head_to_head in rest and 1 < len(Circuit.of(graph, rest).live_edges) < len(rest)
    )
    outside = min(set(graph.edges) - {*edges}, key=str)
    agreed = Consensus(
        searches=20,
        line=0.5,
        kept={**dict.fromkeys(edges, 18), outside: 2},
        roles={
            **dict.fromkeys(edges, "necessary"),
            edges[0]: "alternative",
            outside: "alternative",
        },
        groups=(OrGroup(((edges[0],), (outside,)), (0.0, 0.0), 1.0),),
    )
    method = record.spec.method.model_copy(update={"consensus": 20})
    run = replace(
        record,
        spec=record.spec.model_copy(update={"method": method}),
        circuit=Circuit.of(graph, edges, dict.fromkeys(edges, 0.9)),
        consensus=agreed,
    )
    store.commit(run)
    build(store, tmp_path / "site", jobs=1)
    (page,) = (tmp_path / "site" / "t" / "ioi").glob("zoo*.html")
    text = page.read_text(encoding="utf-8")
    dashed = re.findall(r'<title>([^<]*)</title><path [^>]*stroke-dasharray="8 3"', text)
    of_group = {f"{edges[0]}  in 18 of 20 circuits", f"{outside}  in 2 of 20 circuits"}
    assert {line.replace("&lt;", "<").replace("&gt;", ">") for line in dashed} == of_group
    assert run.circuit is not None
    dead = re.findall(r'<title>(\S*)  in 18[^<]*</title><path class="dead"', text)
    off_path = set(map(str, run.circuit.edges - run.circuit.live_edges - {edges[0]}))
    assert {name.replace("&lt;", "<").replace("&gt;", ">") for name in dead} == off_path != set()
    assert 'class="dead">on no path from input to logits</span>' in text
    assert text.count("18 of 20 circuits") == text.count("18 of 20<td>") == len(edges)
    assert text.count("<td>OR group 1") == 2
    assert text.count("<td>necessary") == len(edges) - 1
    assert "<b>τ = 0.1 x 20</b>" in text
    with_heads = [edge for edge in edges if edge.src.kind == edge.dst.kind == "head"]
    for edge in with_heads:
        for node in (edge.src, edge.dst):
            (head,) = (tmp_path / "site" / "m").glob(f"*/{node}.html")
            shown = head.read_text(encoding="utf-8")
            assert "(in 18 of 20 circuits)" in shown
            assert '<span class="yes">τ = 0.1 x 20</span>' in shown
    assert with_heads
    task = (tmp_path / "site" / "t" / "ioi" / "index.html").read_text(encoding="utf-8")
    assert '<th scope="col" class="n">τ 0.1 x 20' in task
    assert "show the share of searches" in text
    write_cache(tmp_path, "program", read_store(store).cached)
    (cached,) = read_cache(tmp_path, "program").values()
    assert cached.run.consensus == agreed
