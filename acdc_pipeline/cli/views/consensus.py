"""A consensus: what many searches agree on, as facts and as columns of a table of edges."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, get_args

from acdc_pipeline.text import format_number, list_first, pluralize

if TYPE_CHECKING:
    from acdc_pipeline.graph import Edge
    from acdc_pipeline.graph.consensus import Consensus, OrGroup

MAX_EDGES_NAMED = 8
"""Edges of an alternative that are named in a line."""


def consensus_facts(consensus: Consensus, details: Mapping[str, Any]) -> dict[str, str]:
    """Describe what the searches agree on.

    Args:
        details: the part of a record's details about the consensus.
    """
    from acdc_pipeline.graph.consensus import Role

    sizes = details.get("sizes") or [0]
    counted = [f"{len(consensus.having(role))} {role}" for role in get_args(Role)]
    facts = {
        "consensus": f"{consensus.searches} searches kept {min(sizes)} to {max(sizes)} edges each, "
        f"mean Jaccard {format_number(details.get('jaccard'))}; the circuit has what more than "
        f"{100 * consensus.line:g}% of them kept",
        "edges": ", ".join(counted),
    }
    for number, group in enumerate(consensus.groups):
        facts[f"OR group {number + 1}"] = _group_text(group, consensus)
    if missed := details.get("stand_ins_not_looked_for"):
        facts["stand-ins"] = (
            f"not looked for {pluralize(missed, 'more edge')} that all searches kept though the "
            "whole model can do without: their role is not sure; a larger consensus looks for more"
        )
    return facts


def edge_columns(consensus: Consensus, edge: Edge) -> dict[str, str]:
    """Return `kept` (`18 of 20`), `interval` (`0.70 to 0.97`) and `role` of an edge."""
    low, high = consensus.interval(edge)
    group = consensus.group_of(edge)
    role = str(consensus.roles.get(edge, "")) if group is None else f"OR group {group[0] + 1}"
    return {
        "kept": f"{consensus.kept.get(edge, 0)} of {consensus.searches}",
        "interval": f"{low:.2f} to {high:.2f}",
        "role": role,
    }


def _kept_text(edges: Collection[Edge], consensus: Consensus) -> str:
    """Return how many searches kept the edges of an alternative: `kept by 2 to 4 of 6`."""
    kept = [consensus.kept.get(edge, 0) for edge in edges]
    least, most = min(kept), max(kept)
    return f"kept by {least if least == most else f'{least} to {most}'} of {consensus.searches}"


def _group_text(group: OrGroup, consensus: Consensus) -> str:
    sets = " or ".join(
        f"{{{list_first(list(map(str, edges)), MAX_EDGES_NAMED)}}} ({_kept_text(edges, consensus)})"
        for edges in group.alternatives
    )
    # Rounding may leave a cost of nothing below 0.
    alone = format_number(max(0.0, *group.others_removed))
    together = format_number(group.all_removed)
    return f"{sets}; removing all but one costs up to {alone}, removing all {together}"
