"""Hypothesis strategies for graphs, circuits and what a run records."""

from __future__ import annotations

from hypothesis import strategies as st

from acdc_pipeline.graph import Circuit, Decision, Edge, Topology
from acdc_pipeline.specs import AcdcMethod, RunSpec
from acdc_pipeline.specs.methods.scored import RandomMethod
from acdc_pipeline.store import HeadScore, RunRecord


def topologies() -> st.SearchStrategy[Topology]:
    """Small graphs of every kind: with and without MLPs, sequential and parallel."""
    return st.builds(
        Topology,
        n_layers=st.integers(1, 3),
        n_heads=st.integers(1, 3),
        has_mlp=st.booleans(),
        parallel=st.booleans(),
    )


@st.composite
def layered_topologies(draw: st.DrawFn) -> Topology:
    """Small graphs whose layers have parts of their own, and experts in some of them."""
    parts = ("a", "r", "m", "ar", "am", "rm", "arm")
    layers = draw(st.lists(st.sampled_from(parts), min_size=1, max_size=4))
    experts = [draw(st.integers(0, 3)) if "m" in layer else 0 for layer in layers]
    shared = [index for index, count in enumerate(experts) if count and draw(st.booleans())]
    return Topology.of_layers(
        layers,
        draw(st.integers(1, 3)) if any("a" in layer for layer in layers) else 0,
        parallel=draw(st.booleans()),
        experts=experts,
        shared=shared,
    )


def scores() -> st.SearchStrategy[float]:
    """Finite numbers that 32 bits hold exactly, as scores are kept."""
    return st.floats(allow_nan=False, allow_infinity=False, width=32)


@st.composite
def circuits(draw: st.DrawFn, graphs: st.SearchStrategy[Topology] | None = None) -> Circuit:
    """Any subset of a small graph's edges, with scores for any other subset."""
    topology = draw(topologies() if graphs is None else graphs)
    edges = st.sampled_from(topology.edges)
    return Circuit(
        topology,
        draw(st.frozensets(edges, max_size=30)),
        draw(st.dictionaries(edges, scores(), max_size=30)),
    )


@st.composite
def decision_logs(draw: st.DrawFn, edges: tuple[Edge, ...]) -> tuple[Decision, ...]:
    """A decision log over some of `edges`, steps counted from 0."""
    metric = st.floats(allow_nan=False, allow_infinity=False)
    order = draw(st.lists(st.sampled_from(edges), unique=True, max_size=20))
    return tuple(
        Decision(step, edge, draw(metric), draw(metric), draw(st.booleans()))
        for step, edge in enumerate(order)
    )


def json_data() -> st.SearchStrategy[object]:
    """Any JSON value with finite numbers."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text()
    )
    return st.recursive(
        leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
    )


def methods() -> st.SearchStrategy[AcdcMethod | RandomMethod]:
    """A method that searches, or one that scores and then cuts."""
    shared = {
        "metric": st.sampled_from(("kl", "logit_diff")),
        "ablation": st.sampled_from(("corrupted", "zero", "mean")),
    }
    searching = st.builds(
        AcdcMethod,
        name=st.just("acdc"),
        threshold=st.floats(0, exclude_min=True, allow_infinity=False),
        order=st.sampled_from(("reverse-heads", "natural")),
        difference=st.sampled_from(("signed", "abs")),
        **shared,
    )
    scoring = st.builds(
        RandomMethod,
        name=st.just("random"),
        share=st.none(),
        edges=st.integers(1, 2**40),
        **shared,
    )
    return searching | scoring


def run_specs() -> st.SearchStrategy[RunSpec]:
    """Any run."""
    return st.builds(
        RunSpec,
        task=st.text(),
        task_hash=st.text("0123456789abcdef", min_size=64, max_size=64),
        model=st.text(),
        model_revision=st.text(),
        method=methods(),
        prompts=st.integers(1, 10_000),
        seed=st.integers(0, 2**53 - 1),
        dtype=st.sampled_from(("float32", "float64", "bfloat16", "float16")),
    )


@st.composite
def run_records(draw: st.DrawFn) -> RunRecord:
    """Any record the store can be given, with and without a circuit, a log and head scores."""
    finite = st.floats(allow_nan=False, allow_infinity=False)
    circuit = draw(st.none() | circuits(topologies() | layered_topologies()))
    head_scores = st.builds(
        HeadScore,
        model=st.text(),
        layer=st.integers(0, 200),
        head=st.integers(0, 200),
        metric=st.text(),
        value=finite,
        n=st.integers(0, 1000),
        seed=st.integers(0, 2**63 - 1),
        ci_low=st.none() | finite,
        ci_high=st.none() | finite,
    )
    return RunRecord(
        spec=draw(run_specs()),
        circuit=circuit,
        decisions=draw(decision_logs(circuit.topology.edges)) if circuit else (),
        metrics=draw(st.dictionaries(st.text(), finite, max_size=4)),
        details=draw(st.dictionaries(st.text(), json_data(), max_size=4)),
        wall_seconds=draw(st.floats(0, 1e6)),
        environment=draw(st.dictionaries(st.text(), st.text(), max_size=4)),
        parity_error=draw(st.none() | st.floats(0, 1)),
        heads=tuple(draw(st.lists(head_scores, max_size=4))),
        profile=draw(st.none() | st.dictionaries(st.text(), json_data(), max_size=4)),
    )
