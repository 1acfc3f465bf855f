"""The head and the circuit that the home page shows: chosen from the store, the same every time."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

from acdc_pipeline.graph import Node
from acdc_pipeline.heads.habits import lead_place, lead_role
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.plotting.circuit_series import SeriesEdge, draw_series
from acdc_pipeline.store import Store
from acdc_pipeline.wiki.circuits import CircuitSeries, Cut, parse_edge
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name, restore_profiles
from acdc_pipeline.wiki.page import Data
from acdc_pipeline.wiki.pages.circuit import describe_faithfulness
from acdc_pipeline.wiki.pages.head_typical import typical_data
from acdc_pipeline.wiki.pages.plain_names import plain_name
from acdc_pipeline.wiki.pages.statement import (
    Statement,
    example_metric,
    find_typical,
    make_statement,
)
from acdc_pipeline.wiki.runs import read_full_runs
from acdc_pipeline.wiki.site import Site
from acdc_pipeline.wiki.text import pluralize, show_line, show_token, show_words
from acdc_pipeline.wiki.typical import RANDOM_TOKENS

_MODELS_READ = 3
"""Number of models of which profiles are read in search of a head with a stored pattern."""

_CLEAR = 0.5
"""Share of attention that a visitor sees at once."""

_FAITHFUL = 0.1
"""Distance of faithfulness from 1 up to which a circuit may be shown."""

_MOST_EDGES = 60
"""Number of edges of which a small drawing can be read."""

_LEAST_EDGES = 4


@dataclass(frozen=True)
class FeaturedHead:
    """A head with a pattern near the mean of what its sentence says."""

    model: Model
    place: HeadIndex
    statement: Statement


@dataclass(frozen=True)
class FeaturedCircuit:
    """One circuit of a series."""

    model: Model
    series: CircuitSeries
    cut: Cut


def find_head(site: Site, store: Store) -> FeaturedHead | None:
    """Return the head to show; None if no head has a role that stored attention shows.

    Models with a circuit to show come first. Of the heads that give at least half of their
    attention to what their role is about, else of all, those whose role says most (`lead_role`), of
    these the one that the most kinds of evidence show, and then the one with the most attention.
    Its model has full profiles.
    """
    both = {circuit.model.slug for circuit in _faithful(site)}
    ranked = sorted(_candidates(site), key=lambda found: (found[1].slug not in both, *found[0]))
    read: dict[str, Model] = {}
    for _, model, place in ranked:
        if model.slug not in read:
            if len(read) == _MODELS_READ:
                continue
            runs = read_full_runs(store, model.profile_ids)
            read[model.slug] = restore_profiles(model, runs)
        full = read[model.slug]
        statement = make_statement(full, place)
        shown = find_typical(full, place, statement.example)
        if shown is not None and shown.metric == statement.example:
            return FeaturedHead(full, place, statement)
    return None


def _candidates(site: Site) -> Iterator[tuple[tuple[object, ...], Model, HeadIndex]]:
    for model in site.models:
        for place, roles in model.roles.items():
            role = lead_role(roles)
            yield _rank(role, model, place), model, place


def _rank(role: HeadRole, model: Model, place: HeadIndex) -> tuple[object, ...]:
    score = model.scores.get(example_metric(role) or "")
    attention = -1.0 if score is None else float(score.values[place])
    is_weak = not attention >= _CLEAR
    strength = -len(role.evidence), -round(attention, 3)
    return is_weak, lead_place(role.role), *strength, model.title, place


def find_circuit(site: Site, head: FeaturedHead | None) -> FeaturedCircuit | None:
    """Return the smallest circuit that is faithful, those with `head` before others; None without.

    Where the model of `head` has one, it is of that model.
    """

    def rank(found: FeaturedCircuit) -> tuple[object, ...]:
        others = head is None or found.model.slug != head.model.slug
        without = head is None or not _contains(found.model, found.cut, head)
        return others, without, len(found.cut.edges), found.model.title, found.series.task

    return min(_faithful(site), key=rank, default=None)


def _faithful(site: Site) -> list[FeaturedCircuit]:
    """Return the circuits that may be shown.

    Of every task in every model the circuit that its page shows first counts, where that is
    without positions, has 4 to 60 edges and a faithfulness within 0.1 of 1.
    """
    found = []
    for model in site.models:
        for series, *_ in model.circuits.values():
            cut = series.cuts[series.first_shown]
            away = math.inf if cut.faithfulness is None else abs(1 - cut.faithfulness)
            is_small = _LEAST_EDGES <= len(cut.edges) <= _MOST_EDGES
            if not series.by_span and is_small and away <= _FAITHFUL:
                found.append(FeaturedCircuit(model, series, cut))
    return found


def _contains(model: Model, cut: Cut, head: FeaturedHead) -> bool:
    name = head_name(*head.place)
    return model.slug == head.model.slug and any(name in key[:2] for key in cut.edges)


def front_data(site: Site, store: Store) -> Data:
    """Return the head and the circuit of the home page, each None where there is none."""
    head = find_head(site, store)
    circuit = find_circuit(site, head)
    return {
        "head": None if head is None else head_data(head),
        "circuit": None if circuit is None else circuit_data(site, circuit),
    }


def head_data(found: FeaturedHead) -> Data:
    """Return the sentence of a head, and a text with its attention, for the template."""
    model, place = found.model, found.place
    shown = find_typical(model, place, found.statement.example)
    assert shown is not None
    text = shown.texts[0].text
    document = {
        "task": text.source,
        "side": "clean",
        "prompt": 0,
        "start": 0,
        "tokens": [_word(token) for token in text.tokens],
    }
    typical = typical_data(model, place, found.statement)
    assert typical is not None
    return {
        "name": head_name(*place),
        "slug": model.slug,
        "model": plain_name(model),
        "statement": found.statement.text,
        "role": None if found.statement.role is None else found.statement.role.role,
        "is_random": text.source == RANDOM_TOKENS,
        "first": typical["texts"][0],
        "text": json.dumps(document, sort_keys=True, separators=(",", ":")),
        "pattern": base64.b64encode(shown.pattern.tobytes()).decode("ascii"),
        "query": shown.texts[0].query,
    }


def _word(token: str) -> str:
    """Return a token without the space in front of it."""
    return show_words(token).strip() or show_token(token)


def circuit_data(site: Site, found: FeaturedCircuit) -> Data:
    """Return the drawing of a circuit and what is said of it, for the template."""
    model, series, cut = found.model, found.series, found.cut
    task = site.tasks[series.task]
    heads = sorted({n for key in cut.edges for n in key[:2] if n[0] == "a"})
    label = (
        f"{task.title} in {plain_name(model)}: {pluralize(len(cut.edges), 'edge')} between "
        f"{pluralize(len(heads), 'head')} and other parts; the page of the circuit lists them."
    )

    def link(node: Node) -> str | None:
        return f"m/{model.slug}/{node}.html" if node.kind == "head" else None

    edges = [
        SeriesEdge(parse_edge(key), (True,), series.score(key))
        for key in series.edges
        if key in cut.edges
    ]
    total = series.cuts[0].run.edges_total
    return {
        "path": f"t/{task.slug}/{model.slug}.html",
        "task": task,
        "model": plain_name(model),
        "edges": len(cut.edges),
        "total": total,
        "heads": len(heads),
        "of_heads": len(model.places),
        "faithfulness": describe_faithfulness(cut),
        "svg": draw_series(series.shape, edges, shown=0, label=show_line(label), link=link).svg,
    }
