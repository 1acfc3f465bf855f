"""A store of made-up results for the wiki: many models, every score, circuits at several cuts.

Everything is drawn from one seed. Numbers look like those of real models (most heads do nothing of
a kind, few do much, deep layers copy), but nobody measured them.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from acdc_pipeline.graph import INPUT, LOGITS, Circuit, Edge, Node, Topology, mixer, mlp
from acdc_pipeline.heads.criteria import Null
from acdc_pipeline.heads.near_misses import near_misses
from acdc_pipeline.heads.roles import TOKENS, Measurements, assign_roles
from acdc_pipeline.specs import AcdcMethod, Method, ProfileMethod, RunSpec, find_task
from acdc_pipeline.specs.head_scores import SCORES, ScoreDefinition, metric_key
from acdc_pipeline.store import HeadScore, RunRecord

THRESHOLDS = (0.1, 0.03, 0.01, 0.003)
TASKS = ("ioi", "induction", "docstring")
PROFILE = ProfileMethod(name="profile", period=50, sequences=32, tokens=512, text=None)
WORDS = [
    "When",
    "Mary",
    "and",
    "John",
    "went",
    "to",
    "the",
    "store",
    ",",
    "gave",
    "a",
    "drink",
    "then",
]


@dataclass(frozen=True)
class Shape:
    """A made-up model."""

    ref: str
    n_layers: int
    n_heads: int
    d_model: int
    has_mlp: bool = True
    parallel: bool = False
    layers: tuple[str, ...] = ()

    @functools.cached_property
    def topology(self) -> Topology:
        return Topology(self.n_layers, self.n_heads, self.has_mlp, self.parallel, self.layers)


SHAPES = (
    Shape("zoo:attn-2l", 2, 8, 64, has_mlp=False),
    Shape("zoo:attn-4l", 4, 8, 128, has_mlp=False),
    Shape("zoo:gpt2-4l-s0", 4, 4, 128),
    Shape("zoo:gpt2-4l-s1", 4, 4, 128),
    Shape("zoo:neox-4l", 4, 4, 128, parallel=True),
    Shape("hf:openai-community/gpt2", 12, 12, 768),
)


def records(
    shapes: Sequence[Shape] = SHAPES,
    tasks: Sequence[str] = TASKS,
    thresholds: Sequence[float] = THRESHOLDS,
    seed: int = 0,
) -> Iterator[RunRecord]:
    """Every run: for each model and task a profile, and a circuit at each threshold."""
    for number, shape in enumerate(shapes):
        draw = np.random.default_rng((seed, number))
        grids = score_grids(shape, tasks, draw)
        for task in tasks:
            yield profile_record(shape, task, grids, draw)
        for task in tasks:
            yield from circuit_records(shape, task, thresholds, draw)


def score_grids(
    shape: Shape, tasks: Sequence[str], draw: np.random.Generator
) -> dict[str, np.ndarray]:
    """A value of every score for every head, by metric."""
    grids: dict[str, np.ndarray] = {}
    for score in SCORES.values():
        for task in tasks if score.per == "task" else [None]:
            # so that what follows stays as it was before there were these
            mine = np.random.default_rng(len(grids)) if score.name in _ADDED else draw
            grid = _grid(score, shape, mine)
            without = set(range(shape.n_layers)) - set(shape.topology.layers_with_heads)
            grid[sorted(without)] = np.nan
            grids[metric_key(score.name, task)] = grid
    return grids


_ADDED = ("attention_to_answer_before", "attention_to_answer_after")
"""Scores that draw numbers of their own."""


def _grid(score: ScoreDefinition, shape: Shape, draw: np.random.Generator) -> np.ndarray:
    size = shape.n_layers, shape.n_heads
    few = draw.random(size) < 0.06
    if score.low == 0 and score.high == 1:
        spread = 0.35 if score.name in ("sink", "normalised_entropy") else 0.06
        values = np.minimum(1.0, draw.gamma(1.0, spread, size))
        return np.where(few, draw.uniform(0.45, 0.98, size), values)
    if score.low == 0:
        return draw.gamma(2.0, 0.5 if "entropy" not in score.name else 1.0, size)
    scale = 1.0 if score.high is None else 0.3
    values = draw.normal(0.0, 0.12 * scale, size) + few * draw.normal(0.0, 2.5 * scale, size)
    return values if score.high is None else np.clip(values, -1.0, 1.0)


def profile_record(
    shape: Shape, task: str, grids: dict[str, np.ndarray], draw: np.random.Generator
) -> RunRecord:
    """A profile run: every score of every head, with roles, examples and tokens."""
    mine = {
        metric: grid for metric, grid in grids.items() if metric.partition(":")[2] in ("", task)
    }
    nulls = {
        metric: [
            Null(metric, kind, -0.05, 0.05, 0.0, 100)
            for kind in SCORES[metric.partition("@")[0]].nulls
        ]
        for metric in mine
    }
    facts = Measurements(mine, nulls, {TOKENS: 6.0, task: 5.0}, ("ioi",))
    roles = assign_roles(facts)
    shown = list(dict.fromkeys(role.node for role in roles))[:16]
    rows = [
        HeadScore(
            shape.ref,
            node.layer or 0,
            node.head or 0,
            metric,
            float(grid[node.layer, node.head]),
            50,
            0,
            float(grid[node.layer, node.head]) - 0.02,
            float(grid[node.layer, node.head]) + 0.02,
        )
        for metric, grid in mine.items()
        for node in _heads(shape)
    ]
    document = {
        "version": 1,
        "task": task,
        "ioi_like": task == "ioi",
        "nulls": {
            metric: [null.plain() for null in found] for metric, found in nulls.items() if found
        },
        "roles": [role.plain() for role in roles],
        "answer_logit": {"random_tokens": 6.0, "task": 5.0},
        "near_misses": [miss.plain() for miss in near_misses(facts, roles)],
        "warnings": [],
        "top_tokens": _top_tokens(shape, draw),
        "attention": _attention(shown, draw),
        "snippets": _snippets(shape, task, draw),
        "typical": _typical(shape, mine, draw),
        "attribution": _attribution(shape),
    }
    return RunRecord(
        spec=run_spec(shape, task, PROFILE),
        circuit=None,
        decisions=(),
        metrics={},
        details={"d_model": shape.d_model},
        wall_seconds=1.0,
        environment={"device": "cpu"},
        heads=tuple(rows),
        profile=document,
    )


def drawn_words(draw: np.random.Generator, count: int) -> list[str]:
    """Tokens with the space in front that most have."""
    return [f" {WORDS[i]}" for i in draw.integers(len(WORDS), size=count)]


def _top_tokens(shape: Shape, draw: np.random.Generator) -> dict[str, Any]:
    def direction() -> dict[str, Any]:
        words = drawn_words(draw, 12)
        return {"share": 0.4, "source": words[:6], "target": words[6:]}

    return {
        str(node): {"ov": [direction(), direction()], "qk": [direction()]} for node in _heads(shape)
    }


def _attention(nodes: Sequence[Node], draw: np.random.Generator) -> dict[str, Any]:
    texts, size = [], 15
    for side in ("clean", "corrupted"):
        words = drawn_words(draw, size)
        texts.append({"side": side, "prompt": 0, "start": 0, "tokens": words})

    def pattern() -> str:
        weights = np.tril(draw.gamma(0.3, 1.0, (size, size))) + np.eye(size) * 1e-3
        weights = weights / weights.sum(1, keepdims=True)
        return base64.b64encode(np.rint(255 * weights).astype(np.uint8).tobytes()).decode()

    return {"texts": texts, "patterns": {str(node): [pattern(), pattern()] for node in nodes}}


def _attribution(shape: Shape) -> Any:
    """Sources that differ between heads, in a text of `_typical`; nothing more is drawn."""
    found = {}
    for node in _heads(shape):
        layer, index = node.layer or 0, node.head or 0
        before = [node for node in _heads(shape) if (node.layer or 0) < layer]
        earlier = [str(node) for node in before[-shape.n_heads :][:3]]
        sources = ["token", "position", *earlier, "bias"]
        values = [
            [round((0.3 + 0.1 * index) * (len(sources) - i - k), 2) for k in range(len(sources))]
            for i in range(len(sources))
        ]
        columns = [round(sum(column), 2) for column in zip(*values, strict=True)]
        by_key = sorted(zip(sources, columns, strict=True), key=lambda part: -abs(part[1]))
        effects = [[f" {word}", 2.5 - i / 2] for i, word in enumerate(WORDS[1:5])]
        found[str(node)] = [
            {
                "metric": "induction@1",
                "query": [20, " drink"],
                "key": [6, " the"],
                "weight": 0.5,
                "score": round(sum(columns), 2),
                "by_query": [[s, round(sum(v), 2)] for s, v in zip(sources, values, strict=True)],
                "by_key": [list(part) for part in by_key],
                "pairs": {"query": sources, "key": sources, "values": values},
                "by_value": [[sources[0], 0.7], [sources[-1], 0.3]],
                "by_token": [[6, " the", 0.8], [0, "<bos>", 0.2]],
                "raises": effects,
                "lowers": [[word, -value] for word, value in effects],
            }
        ]
    return {"version": 1, "heads": found, "left_out": []}


def _typical(shape: Shape, grids: dict[str, np.ndarray], draw: np.random.Generator) -> Any:
    """Three texts of induction for every head, with the score's value at the marked cells."""
    n, found = 15, {}
    cells = [[q, q - (n - 1)] for q in range(n + 1, 2 * n + 1)]
    texts = [
        {
            "from": "random tokens",
            "at": list(range(2 * n + 1)),
            "tokens": ["<bos>", *2 * drawn_words(draw, n)],
            "cells": {"induction@1": cells},
        }
        for _ in range(3)
    ]
    for node in _heads(shape):
        value = float(np.clip(grids["induction@1"][node.layer, node.head], 0, 1))
        pattern = np.zeros((2 * n + 1, 2 * n + 1), np.uint8)
        pattern[:, 0] = round(255 * (1 - value))
        pattern[tuple(np.array(cells).T)] = round(255 * value)
        row, whole = (base64.b64encode(x.tobytes()).decode() for x in (pattern[20], pattern))
        places = [{"text": t, "query": 20, "value": value, "weights": row} for t in range(3)]
        found[str(node)] = [
            {"metric": "induction@1", "places": 120, "range": [value, value], "first": 1 - value}
            | {"texts": places, "pattern": whole}
        ]
    return {"texts": texts, "heads": found}


def _snippets(shape: Shape, task: str, draw: np.random.Generator) -> dict[str, Any]:
    texts = [{"from": task, "tokens": drawn_words(draw, 18)} for _ in range(6)]
    return {
        "texts": texts,
        "heads": {
            str(node): [
                {"text": t, "query": 12, "key": int(draw.integers(12)), "weight": 0.6, "norm": 2.0}
                for t in draw.permutation(6)[:2].tolist()
            ]
            for node in _heads(shape)
        },
    }


def _heads(shape: Shape) -> list[Node]:
    return [node for node in shape.topology.sources if node.kind == "head"]


def circuit_records(
    shape: Shape, task: str, thresholds: Sequence[float], draw: np.random.Generator
) -> Iterator[RunRecord]:
    """Circuits of one task, each inside the one of the next smaller threshold."""
    scored = scored_paths(shape, draw, 10 + 2 * shape.n_layers)
    for threshold in thresholds:
        kept = {edge: score for edge, score in scored.items() if score >= threshold}
        share = min(1.0, len(kept) / max(1, len(scored)))
        yield RunRecord(
            spec=run_spec(shape, task, acdc(threshold)),
            circuit=Circuit(shape.topology, frozenset(kept), kept),
            decisions=(),
            metrics=metrics_at(share),
            details={
                "d_model": shape.d_model,
                "warnings": [],
                "prompts_clean": ["When Mary and John went to the store, John gave a drink to"],
                "prompts_corrupted": ["When Anna and Paul went to the store, Kate gave a drink to"],
            },
            wall_seconds=2.0,
            environment={"device": "cpu"},
            parity_error=1e-6,
        )


def metrics_at(share: float) -> dict[str, float]:
    """Metrics of a circuit with such a share of the edges of the largest."""
    kl = 3.0 * (1 - share) ** 2
    return {
        "kl": kl,
        "ablated_kl": 3.0,
        "accuracy": 0.5 + 0.5 * share,
        "model_accuracy": 1.0,
    }


def scored_paths(shape: Shape, draw: np.random.Generator, paths: int) -> dict[Edge, float]:
    """Edges of random paths from input to logits, those of early paths with higher scores."""
    scored: dict[Edge, float] = {}
    favourites = _heads(shape)
    chosen = [favourites[i] for i in draw.permutation(len(favourites))[: 4 + len(favourites) // 6]]
    for path in range(paths):
        score = float(np.float32(0.25 * 0.86**path * draw.uniform(0.6, 1.4)))
        count = int(draw.integers(1, min(4, shape.n_layers) + 1))
        steps = {chosen[i] for i in draw.integers(len(chosen), size=count)}
        if shape.has_mlp and draw.random() < 0.6:
            steps.add(mlp(int(draw.integers(shape.n_layers))))
        if shape.layers:
            steps.add(mixer(int(draw.integers(shape.n_layers))))
        nodes = sorted(steps, key=lambda n: (n.layer or 0, n.kind == "mlp", n.head or 0))
        last = INPUT
        for node in (*nodes, LOGITS):
            slot = ("q", "k", "v")[int(draw.integers(3))] if node.kind == "head" else None
            edge = Edge(last, node, slot)
            if edge in shape.topology.edge_set:
                scored[edge] = max(score, scored.get(edge, 0.0))
                last = node
    return scored


def acdc(threshold: float) -> AcdcMethod:
    """ACDC as usual."""
    return AcdcMethod(
        name="acdc",
        threshold=threshold,
        metric="kl",
        ablation="corrupted",
        order="reverse-heads",
        difference="signed",
    )


def run_spec(shape: Shape, task: str, method: Method) -> RunSpec:
    """What such a run is."""
    return RunSpec(
        task=task,
        task_hash=find_task(task).definition_hash(),
        model=shape.ref,
        model_revision=hashlib.sha1(shape.ref.encode()).hexdigest(),
        method=method,
        prompts=64,
        seed=0,
        dtype="float32",
    )
