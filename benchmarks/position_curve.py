"""Faithfulness with and without positions: `python -m benchmarks.position_curve docs/images`.

IOI in two models: ACDC at many thresholds in one of the zoo, EAP-IG-inputs cut at many sizes in a
real one. Each circuit has two sizes: the number of pairs of nodes that it connects, and the share
that it keeps of what all edges carry, where an edge without a span counts once in each span. Prints
the table of all circuits, and writes `positions-curve.svg`: faithfulness in KL against either size.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation import measure_circuits, objective_for
from acdc_pipeline.graph import LOGITS, Circuit, Topology
from acdc_pipeline.graph.cut import cut_masks, score_array
from acdc_pipeline.models import load_model
from acdc_pipeline.specs.names import Positions
from benchmarks.position_figure import Curve, Panel, Point, draw
from benchmarks.positions import bench_of, edge_scores
from benchmarks.real_model import fetch_model

MEMORY = 2 * 2**30
KINDS: tuple[Positions, ...] = ("none", "spans")
THRESHOLDS = (0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003, 0.001)
SIZES = (30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
FIGURE = "positions-curve.svg"


@dataclass(frozen=True)
class Case:
    """A model with its prompts, and the method that finds circuits in it."""

    title: str
    model: str
    prompts: int
    method: str


def circuits_of(bench: Bench, method: str) -> Iterator[tuple[str, Circuit]]:
    """Circuits from small to large, each with the setting that gave it."""
    topology = bench.weights.topology
    if method == "acdc":
        for threshold in THRESHOLDS:
            with torch.no_grad():
                search = bench.search(objective_for(bench, "kl"), memory=MEMORY)
                found = acdc(
                    search,
                    topology,
                    threshold=threshold,
                    order="reverse-heads",
                    difference="signed",
                )
            yield f"τ {threshold:g}", found.circuit
        return
    scores = score_array(topology, edge_scores(bench, method))
    sizes = [size for size in SIZES if size <= topology.n_edges]
    for size, mask in zip(sizes, cut_masks(topology, scores, sizes, "magnitude"), strict=True):
        yield f"{size:,} edges", Circuit(topology, frozenset(topology.edges_in(mask)))


def carried(circuit: Circuit, spans: Topology) -> int:
    """How many edges a circuit has in a graph with spans."""
    if circuit.topology.spans:
        return len(circuit)
    ends = sum(edge.dst == LOGITS for edge in circuit.edges)
    return ends * len(spans.answer_spans) + (len(circuit) - ends) * len(spans.spans)


def measured(case: Case) -> Panel:
    """The curves of a case, and the table of its circuits on standard output."""
    model = load_model(case.model, device="cpu")
    benches = {kind: bench_of(model, "ioi", case.prompts, kind) for kind in KINDS}
    spans = benches["spans"].weights.topology
    print(f"{case.title}, {case.prompts} prompts, {len(spans.spans)} spans")
    print(
        f"{'positions':9}  {'setting':>14}  {'edges':>7}  {'pairs':>6}  {'share':>7}  faithfulness"
    )
    curves = []
    for kind, bench in benches.items():
        found = list(circuits_of(bench, case.method))
        points = []
        for (setting, circuit), faithfulness in zip(found, faithful(bench, found), strict=True):
            pairs = len({(edge.src, edge.dst) for edge in circuit.edges})
            share = carried(circuit, spans) / spans.n_edges
            print(
                f"{kind:9}  {setting:>14}  {len(circuit):7,}  {pairs:6,}  {share:7.2%}  "
                f"{faithfulness:12.3f}",
                flush=True,
            )
            if pairs:
                points.append(Point(pairs, share, faithfulness))
        curves.append(Curve("by span" if kind == "spans" else "without positions", points))
    return Panel(case.title, curves)


def faithful(bench: Bench, found: Sequence[tuple[str, Circuit]]) -> list[float]:
    """1 - KL(model ‖ circuit) / KL(model ‖ empty circuit) of each circuit."""
    topology = bench.weights.topology
    masks: list[Any] = [np.zeros(topology.n_edges, dtype=bool)]
    masks += [topology.edge_mask(circuit.edges) for _, circuit in found]
    empty, *values = (figures["kl"] for figures in measure_circuits(bench, masks, ["kl"]))
    return [1 - value / empty for value in values]


def main() -> None:
    """Print the tables, and write the figure into the folder given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--real-prompts", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases = (
        Case("zoo:gpt2-4l-s0, ACDC", "zoo:gpt2-4l-s0", 64, "acdc"),
        Case(
            "SmolLM2-135M-Instruct, EAP-IG",
            f"gguf:{fetch_model()}",
            arguments.real_prompts,
            "eap-ig-inputs",
        ),
    )
    panels = [measured(case) for case in cases]
    svg = draw(
        panels,
        title="IOI: faithfulness of circuits with and without positions",
    )
    (arguments.folder / FIGURE).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
