"""What every step costs on a model of real size: `python -m benchmarks.real`.

Each step's floor is what its definition makes it compute, counted from shapes, at the matrix rate
that this machine reaches in the same process: a forward, a backward of twice that, two operations
per edge and number for sums over edges, the unembedding at the answers. `factor` is how far above
the floor the step is. `fetch s` is how long it takes to read once, at the measured rate, what some
steps cannot do without: the weights they use and the outputs of all nodes. Peak memory is that of
the process during the step. A step whose floor alone is longer than `--longest`, or that needs more
memory than `--memory`, is named with the reason.

    python -m benchmarks.real                       the real model that `make real` fetches
    python -m benchmarks.real --model dir:PATH
    python -m benchmarks.real --shape gpt2          random weights of a known shape
    python -m benchmarks.real --shape llama-3.2-1b --prompts 4
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acdc_pipeline.algorithms import ScoringProblem, acdc, score_edges
from acdc_pipeline.engine import Bench, check_parity, set_up
from acdc_pipeline.engine.gradients.gates import edge_gate_gradient, node_gate_gradient
from acdc_pipeline.engine.shared_outputs import needed_sources
from acdc_pipeline.engine.single_removals import SingleRemovals
from acdc_pipeline.errors import AcdcError
from acdc_pipeline.evaluation import (
    causal_scrubbing,
    completeness,
    differentiable_objective_for,
    measure_circuits,
    measure_scale,
    minimality,
    objective_for,
    parts_by_node,
    random_masks,
    worst_knockouts,
)
from acdc_pipeline.graph import LOGITS, Circuit, Edge, Receiver
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.specs import SCORED_METHODS, find_task
from benchmarks.gradients import scored_method
from benchmarks.measurement import machine
from benchmarks.real_model import fetch_model
from benchmarks.shapes import SHAPES, Shape, random_weights
from benchmarks.step_table import (
    GIB,
    Table,
    fetch_rate,
    is_out_of_memory,
    limit_memory,
    matrix_rate,
)
from benchmarks.step_work import Work

PARTS = ("evaluation", "methods", "search", "heads")
"""What is measured after the forwards."""

MEMORY = 2**30
"""The budget of a method beside the weights and the outputs of all sources."""
SEARCH_MEMORY = 3 * 2**30
"""For the states of a search at the logits, which keeps every prompt's logits for a batch of them.
"""


def measure_evaluation(table: Table, bench: Bench, work: Work, share: float) -> None:
    """Circuits, the null, and every part of an evaluation."""
    topology = bench.weights.topology
    full = np.ones(topology.n_edges, dtype=bool)
    size = max(2, round(share * topology.n_edges))
    null = list(random_masks(topology, edges=size, n=20, seed=0))
    mask = null[0]

    def measured(*masks: np.ndarray) -> Callable[[], Any]:
        return lambda: measure_circuits(bench, masks, ["kl", "logit_diff", "accuracy"])

    for name, one, repeats in (
        ("all edges", full, 3),
        (f"{share:.1%}", mask, 5),
        ("none", ~full, 9),
    ):
        operations, fetched = work.circuit(bench, one), work.circuit_bytes(bench, one)
        table.measure(f"circuit: {name}", operations, measured(one), repeats, fetched)
    drawn = lambda: list(random_masks(topology, edges=size, n=20, seed=1))  # noqa: E731
    table.measure("null: drawing 20 circuits", 0, drawn)
    each = sum(work.circuit(bench, other) for other in null)
    table.measure("null: measuring 20 circuits", each, measured(*null))
    circuit = Circuit(topology, frozenset(topology.edges_in(mask)))
    parts = dict(list(parts_by_node(circuit).items())[:8])
    scale = measure_scale(bench, "logit_diff")
    own, whole = work.circuit(bench, mask), work.forward + work.unembedding
    table.measure(
        f"completeness: {len(parts) + 1} knockouts",
        (len(parts) + 1) * (own + whole),
        lambda: completeness(bench, scale, circuit, parts, draws=0, seed=0),
    )
    table.measure(
        "worst knockouts: 1 search of 8 nodes",
        37 * (own + whole),
        lambda: worst_knockouts(bench, scale, circuit, parts, restarts=1, seed=0),
    )
    table.measure(
        f"minimality: {len(parts) + 1} circuits",
        (len(parts) + 1) * own,
        lambda: minimality(bench, scale, circuit, parts, draws=0, seed=0),
    )
    needed = needed_sources(bench.weights, mask)[1:].mean()
    scrubbed = needed * (work.forward + work.sums) + work.unembedding
    table.measure(
        "causal scrubbing: 1 draw",
        scrubbed,
        lambda: causal_scrubbing(bench, "logit_diff", circuit, draws=1, seed=0),
        3,
        needed * work.layers_bytes + work.outputs_bytes + work.logits_bytes,
    )


def measure_methods(table: Table, bench: Bench, work: Work, names: list[str]) -> None:
    """Scores of every edge, one step of gates, and single removals."""
    objective = differentiable_objective_for(bench, "kl")
    step = 4 * work.forward + work.sums + 3 * work.unembedding
    operations = {
        "eap": 3 * work.forward + work.sums + 3 * work.unembedding,
        "eap-ig-inputs": 5 * step,
        "eap-ig-activations": 5 * (2 * len(bench.weights.blocks) + 1) * step / 2,
        "hisp": 3 * work.forward,
    }
    for name in names:
        method = scored_method(name)
        problem = ScoringProblem(
            bench=bench,
            objective=objective_for(bench, method.metric),
            differentiable=differentiable_objective_for(bench, method.metric),
            seed=0,
            memory=MEMORY,
            advance=lambda share: None,
        )
        table.measure(name, operations.get(name, 0), lambda p=problem, m=method: score_edges(p, m))
    gates = bench.ablated.new_full((bench.weights.topology.n_edges,), 0.5)
    table.measure(
        "edge gates: 1 step",
        4 * work.forward + 4 * work.sums + 3 * work.unembedding,
        lambda: edge_gate_gradient(bench, objective, gates, MEMORY),
    )
    by_node = bench.ablated.new_full((len(bench.weights.topology.sources),), 0.5)
    table.measure(
        "node gates: 1 step",
        4 * work.forward + 3 * work.unembedding,
        lambda: node_gate_gradient(bench, objective, by_node, 8),
    )
    middle = Receiver(bench.weights.topology.heads(len(bench.weights.blocks) // 2)[0], "q")
    n = bench.weights.topology.n_sources_of(middle)

    def removals() -> int:
        with torch.no_grad():
            single = SingleRemovals(bench, objective_for(bench, "kl"), MEMORY)
            return sum(1 for _, _ in zip(single.without_edges(middle), range(32), strict=False))

    table.measure(
        f"exact: 32 of {n} edges, middle layer",
        32 * (work.forward / 2 + work.unembedding),
        removals,
    )


def measure_search(table: Table, bench: Bench, threshold: float | None) -> None:
    """ACDC at the logits, and a whole search where a threshold is given."""
    receiver = Receiver(LOGITS)
    sources = list(reversed(bench.weights.topology.sources_of(receiver)))
    unembedding = Work.of(bench).unembedding
    memory = bench.memory_plan().sources + SEARCH_MEMORY

    def at_logits() -> int:
        with torch.no_grad():
            search = bench.search(objective_for(bench, "kl"), memory=memory)
            search.visit(receiver, sources)
            for source in sources:
                edge = Edge.into(source, receiver)
                before = search.metric()
                if search.metric_without(edge) - before < 0.02:
                    search.remove(edge)
            return search.states_evaluated

    states = table.measure(
        f"acdc: {len(sources)} edges at the logits", len(sources) * unembedding, at_logits
    )
    if states is not None:
        print(f"  {states} states evaluated")
    if threshold is None:
        return

    def whole() -> Any:
        with torch.no_grad():
            search = bench.search(objective_for(bench, "kl"), memory=memory)
            return acdc(
                search,
                bench.weights.topology,
                threshold=threshold,
                order="reverse-heads",
                difference="signed",
            )

    found = table.measure(f"acdc: whole search, τ = {threshold:g}", 0, whole)
    if found is None:
        return
    tested, kept = len(found.decisions), len(found.circuit)
    print(f"  {tested:,} edges tested, {kept:,} kept ({kept / bench.weights.topology.n_edges:.2%})")


def measure_heads(table: Table, reference: str, task: str, bench: Bench) -> None:
    """A head profile, loading included.

    Counted are the ablations alone: every head in three ways, from its layer on, over the tokens
    that are no padding, and the logits at the answers. Nulls, backups and path patching come on
    top.
    """
    from acdc_pipeline.execution.plan import plan_run
    from acdc_pipeline.execution.worker import Worker
    from acdc_pipeline.specs import ProfileMethod

    spec, work, layout = find_task(task), Work.of(bench), bench.layout
    layers, heads = len(bench.weights.blocks), bench.weights.topology.n_heads
    tokens = float(bench.prompts.lengths.sum()) / (layout.batch * layout.pos)
    suffixes = 3 * heads * (layers + 1) / 2
    method = ProfileMethod.with_defaults()
    run = plan_run(spec, reference, method=method, prompts=layout.batch, seed=0, dtype="float32")
    table.measure(
        f"head profile: {layers * heads} heads",
        suffixes * tokens * work.forward + 3 * layers * heads * work.unembedding,
        lambda: Worker().execute(run, spec),
    )


def random_prompts(shape: Shape, prompts: int, tokens: int) -> PromptSet:
    """Random clean and corrupted tokens; the answer is read at the last position."""
    from benchmarks.case import Case

    case = Case(shape.layers, shape.heads, shape.d_model, shape.vocab, prompts, tokens)
    return case.make_prompts()


def read_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a model reference; default: the model of `make real`")
    parser.add_argument("--shape", choices=SHAPES, help="random weights of this shape instead")
    parser.add_argument("--task", default="ioi")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--share", type=float, default=0.01, help="of the edges, in circuits")
    parser.add_argument(
        "--methods", nargs="*", choices=SCORED_METHODS, default=["eap", "eap-ig-inputs"]
    )
    parser.add_argument("--threshold", type=float, help="also run a whole search of ACDC")
    parser.add_argument("--heads", action="store_true", help="also profile all heads")
    parser.add_argument("--only", choices=PARTS, nargs="+", help="instead of all but heads")
    parser.add_argument("--longest", type=float, default=120, help="seconds of a step's floor")
    parser.add_argument("--memory", type=float, default=24, help="GiB that the process may take")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = read_options()
    torch.set_num_threads(options.threads)
    limit_memory(round(options.memory * GIB))
    rate, bandwidth = matrix_rate(), fetch_rate()
    print(
        f"{machine(torch.device('cpu'))}; matrix rate {rate / 1e9:,.0f} GFLOP/s, "
        f"memory {bandwidth / 1e9:,.0f} GB/s"
    )
    if options.shape:
        shape = SHAPES[options.shape]
        prompts = random_prompts(shape, options.prompts, 16)
        weights = random_weights(shape)
        model = reference = None
    else:
        try:
            reference = options.model or f"gguf:{fetch_model()}"
        except AcdcError as error:
            print(f"skipped: {error}")
            return
        started = time.perf_counter()
        model = load_model(reference)
        kind, _, place = reference.partition(":")
        print(f"{kind}:{Path(place).name} loaded in {time.perf_counter() - started:.1f} s")
        assert model.tokenizer is not None
        prompts = make_prompts(find_task(options.task), model.tokenizer, n=options.prompts, seed=0)
        weights = model.weights
    try:
        bench = set_up(weights, prompts, "corrupted")
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        print(f"the outputs of all nodes do not fit: {error}; give fewer --prompts")
        return
    work = Work.of(bench)
    topology, layout = weights.topology, bench.layout
    print(f"{topology.n_edges:,} edges, {layout.batch} prompts of {layout.pos} tokens")
    table = Table(rate, bandwidth, options.longest)
    if model is not None:
        table.measure(
            "parity gate",
            2 * (work.forward + work.all_logits),
            lambda: check_parity(model, prompts.clean, prompts.lengths),
        )
    table.measure(
        "clean and ablated forwards",
        2 * work.forward + work.unembedding,
        lambda: set_up(weights, prompts, "corrupted"),
        3,
        2 * (work.layers_bytes + work.outputs_bytes) + work.logits_bytes,
    )
    parts = options.only or [part for part in PARTS if part != "heads" or options.heads]
    if "evaluation" in parts:
        measure_evaluation(table, bench, work, options.share)
    if "methods" in parts:
        measure_methods(table, bench, work, options.methods)
    if "search" in parts:
        measure_search(table, bench, options.threshold)
    if "heads" in parts and reference is not None:
        measure_heads(table, reference, options.task, bench)


if __name__ == "__main__":
    main()
