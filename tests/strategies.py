"""Hypothesis strategies for graphs, circuits and what a run records."""

from __future__ import annotations

from hypothesis import strategies as st

from acdc_pipeline.graph import Circuit, Decision, Edge, Topology


def topologies() -> st.SearchStrategy[Topology]:
    """Small graphs of every kind: with and without MLPs, sequential and parallel."""
    return st.builds(
        Topology,
        n_layers=st.integers(1, 3),
        n_heads=st.integers(1, 3),
        has_mlp=st.booleans(),
        parallel=st.booleans(),
    )


def scores() -> st.SearchStrategy[float]:
    """Finite numbers that 32 bits hold exactly, as scores are kept."""
    return st.floats(allow_nan=False, allow_infinity=False, width=32)


@st.composite
def circuits(draw: st.DrawFn) -> Circuit:
    """Any subset of a small graph's edges, with scores for any other subset."""
    topology = draw(topologies())
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
