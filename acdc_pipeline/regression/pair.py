"""Compare the circuits of two models, two revisions of a model, or two runs, by edge and role."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product

from acdc_pipeline.errors import UnknownName
from acdc_pipeline.graph import Circuit, Node
from acdc_pipeline.graph.comparison import Overlap, overlap
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.regression.cell import CellSpec, cell_of
from acdc_pipeline.specs import RunSpec, canonical_json
from acdc_pipeline.specs.names import Positions
from acdc_pipeline.store import RunRecord, RunSummary

NO_ROLE = "head without a role"

Roles = Mapping[Node, frozenset[str]]
"""The roles of each head that has any, from head profiles."""


@dataclass(frozen=True)
class Pair:
    """The circuits of two models for the same task and method, or of two given runs.

    Args:
        cell: task, model and method of the first run.
        label: task and method in a line; those of both runs where they differ.
        edges: overlap of the edges; None where the models differ in shape, so that names of edges
            mean different things.
        node_pairs: overlap of the (source, destination) nodes of the edges, slots and spans counted
            once; None likewise.
        roles: overlap of the roles of heads, such as `name mover (ioi)`; None where a model has no
            profile.
        role_edges: overlap of the edges with heads named by their roles and MLPs without their
            layer; None where a model has no profile.
        positions: positions of the edges of the first run.
        without_positions: whether edges were compared without their spans, since the runs have
            edges in different ones.
        spans: by span, the overlap of the edges there, or of those by role where the models differ
            in shape; empty where no spans are compared.
    """

    cell: CellSpec
    label: str
    runs: tuple[str, str]
    edges: Overlap[str] | None
    node_pairs: Overlap[str] | None
    roles: Overlap[str] | None
    role_edges: Overlap[str] | None
    positions: Positions = "none"
    without_positions: bool = False
    spans: Mapping[str, Overlap[str]] = field(default_factory=dict)


def runs_of(summaries: Iterable[RunSummary], text: str, known: Collection[str]) -> list[RunSummary]:
    """Return the runs of one model at one revision.

    Args:
        summaries: at least all runs of the model.
        known: the models of the store.
        text: the model's reference, also followed by `@` and the first digits of a revision.

    Raises:
        UnknownName: the store has no such model, or several revisions of it.
    """
    summaries = list(summaries)
    found = [s for s in summaries if s.spec.model == text]
    if not found:
        ref, _, digits = text.rpartition("@")
        found = [
            s
            for s in summaries
            if s.spec.model == ref and digits and s.spec.model_revision.startswith(digits)
        ]
    if not found:
        raise UnknownName.among("model of this store", text, known, fix="acdc runs list")
    revisions = sorted({s.spec.model_revision for s in found})
    if len(revisions) > 1:
        raise UnknownName(
            f"{text} is {len(revisions)} revisions in this store",
            allowed=", ".join(f"{found[0].spec.model}@{revision[:8]}" for revision in revisions),
            fix="say which",
        )
    return found


def runs_by_settings(summaries: Iterable[RunSummary]) -> dict[str, RunSummary]:
    """Return the runs that found a circuit, by task, method, prompts and seed."""
    return {_settings_key(s): s for s in summaries if s.edges_kept is not None}


def roles_in(profiles: Iterable[RunRecord]) -> Roles | None:
    """Return the roles of each head by its profiles; None where there is no profile."""
    found: dict[Node, set[str]] = {}
    documents = [record.profile for record in profiles if record.profile is not None]
    for document in documents:
        for plain in document["roles"]:
            role = HeadRole.from_plain(plain)
            found.setdefault(role.node, set()).add(
                role.role if role.on is None else f"{role.role} ({role.on})"
            )
    return {node: frozenset(names) for node, names in found.items()} if documents else None


def pair_runs(a: RunRecord, b: RunRecord, roles_a: Roles | None, roles_b: Roles | None) -> Pair:
    """Compare the circuits of two runs, each of which has one.

    Edges in spans are compared by the names of these, such as S1: models may divide their prompts
    into tokens in different ways. If the runs have no span of one name, edges are compared as those
    between components.

    Args:
        roles_a, roles_b: roles of the heads of each model; None without a profile.
    """
    assert a.circuit is not None
    assert b.circuit is not None
    one, other = a.circuit, b.circuit
    positions = a.spec.positions
    names = tuple(dict.fromkeys((*one.topology.spans, *other.topology.spans)))
    if without := bool(names) and set(one.topology.spans).isdisjoint(other.topology.spans):
        one, other, names = one.collapse(), other.collapse(), ()
    roles = role_edges = None
    if roles_a is not None and roles_b is not None:
        roles = overlap(_roles_of(one, roles_a), _roles_of(other, roles_b))
        role_edges = overlap(_role_edges(one, roles_a), _role_edges(other, roles_b))
    alike = one.topology.collapsed == other.topology.collapsed
    edges = overlap(map(str, one.edges), map(str, other.edges)) if alike else None
    pairs = overlap(_node_pairs(one), _node_pairs(other)) if alike else None
    runs = a.spec.run_id(), b.spec.run_id()
    cell = cell_of(a.spec, a.spec.model)
    label = " and ".join(dict.fromkeys(_label(record.spec) for record in (a, b)))
    whole = edges if alike else role_edges
    spans = {} if whole is None else {name: _in_span(whole, name) for name in names}
    return Pair(cell, label, runs, edges, pairs, roles, role_edges, positions, without, spans)


def _node_pairs(circuit: Circuit) -> list[str]:
    return [f"{edge.src}->{edge.dst}" for edge in circuit.edges]


def _in_span(edges: Overlap[str], span: str) -> Overlap[str]:
    """The edges in one span, by the end of their names."""
    parts = (edges.only_a, edges.both, edges.only_b)
    return Overlap(*(tuple(e for e in part if e.endswith(f"@{span}")) for part in parts))


def _label(run: RunSpec) -> str:
    positions = "" if run.positions == "none" else f", positions {run.positions}"
    return f"{run.task}, {cell_of(run, run.model).method_text}{positions}"


def _settings_key(summary: RunSummary) -> str:
    spec = summary.spec.plain()
    names = ("task_hash", "method", "prompts", "seed", "dtype", "experts", "positions")
    names += ("spans_hash",)
    return canonical_json({name: spec[name] for name in names if name in spec})


def _roles_of(circuit: Circuit, roles: Roles) -> Collection[str]:
    return {name for node in circuit.nodes for name in roles.get(node, ())}


def _role_edges(circuit: Circuit, roles: Roles) -> Collection[str]:
    found = set()
    for edge in circuit.edges:
        slot = f"<{edge.slot}>" if edge.slot else ""
        slot += "" if edge.span is None else f"@{edge.span}"
        for src, dst in product(_node_labels(edge.src, roles), _node_labels(edge.dst, roles)):
            found.add(f"{src} -> {dst}{slot}")
    return found


def _node_labels(node: Node, roles: Roles) -> Collection[str]:
    if node.kind == "head":
        return roles.get(node) or {NO_ROLE}
    return {"MLP" if node.kind == "mlp" else node.kind}
