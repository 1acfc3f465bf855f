"""A converted model: what was inferred, assumed, filled in and left out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal import output
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.text import list_first, pluralize

if TYPE_CHECKING:
    from acdc_pipeline.workflows.model_conversion import Conversion

_SETTINGS = (Column("setting"), Column("value"), Column("from", "prose"))
_MOST_NAMED = 20


def conversion_document(done: Conversion) -> dict[str, Any]:
    """Return the JSON document of a conversion."""
    built = done.built
    model = None if built is None else built.model
    return {
        "model": f"dir:{done.directory}",
        "layout": None if built is None else built.layout.name,
        "settings": {}
        if model is None
        else {n: {"value": f.value, "from": f.source} for n, f in model.facts.items()},
        "filled": [] if model is None else list(model.filled),
        "changed": [] if model is None else list(model.changed),
        "dropped": [] if built is None else list(built.dropped),
        "dtype": done.dtype,
        "n_layers": done.check.description.n_layers,
        "n_heads": done.check.description.n_heads,
        "n_edges": done.check.description.n_edges,
        "features": list(done.check.features),
        "parity_error": done.check.parity_error,
        "tolerance": done.check.tolerance,
    }


def print_conversion(done: Conversion) -> None:
    """Print where every setting comes from, what was done to tensors, and the check."""
    built = done.built
    facts = {"model": f"dir:{done.directory}"}
    if built is not None:
        model = built.model
        rows = [
            {"setting": name, "value": _value_text(fact.value), "from": fact.source}
            for name, fact in model.facts.items()
        ]
        print_table(_SETTINGS, rows)
        output.print_line("")
        facts["layout"] = f"{built.layout.name}: {built.layout.title}"
        if model.filled:
            facts["filled with zeros"] = _name_some(model.filled)
        if model.changed:
            facts["changed"] = "; ".join(model.changed)
        if built.dropped:
            facts["left out"] = _name_some(built.dropped)
    facts |= {
        "stored as": done.dtype,
        "edges": str(done.check.description.n_edges),
        "reproduced": ", ".join(done.check.features),
        "parity error": f"{done.check.parity_error:.2g} relative on {done.check.tokens} tokens "
        f"(at most {done.check.tolerance:g} passes)",
    }
    output.print_facts(facts)


def _value_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.8g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _name_some(names: tuple[str, ...]) -> str:
    """`4 tensors: blocks.*.attn.b_Q, ln_final.b`: tensors that layers share are one of a kind."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(re.sub(r"\.\d+\.", ".*.", name), []).append(name)
    shown = [kind if len(of_kind) > 1 else of_kind[0] for kind, of_kind in kinds.items()]
    return f"{pluralize(len(names), 'tensor')}: {list_first(shown, _MOST_NAMED)}"
