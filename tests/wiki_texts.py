"""A made-up run on ordinary text for the wiki: every head looks somewhere, nobody measured it."""

from __future__ import annotations

from typing import Any

import numpy as np

from acdc_pipeline.specs import TextMethod
from acdc_pipeline.specs.methods.text import DECILES, KEY_KINDS
from acdc_pipeline.store import RunRecord
from tests.wiki_store import Shape, drawn_words, run_spec

CONTEXTS, WIDTH = 6, 30


def text_record(shape: Shape, name: str = "novel.txt") -> RunRecord:
    """What the heads of a model do on six contexts."""
    draw = np.random.default_rng(5)

    def example() -> list[Any]:
        query = int(draw.integers(1, WIDTH))
        return [int(draw.integers(CONTEXTS)), query, [[0, 120], [query - 1, 60], [query, 20]]]

    def some(n: int) -> list[Any]:
        return [example() for _ in range(n)]

    def head() -> dict[str, Any]:
        shares = draw.dirichlet(np.ones(len(KEY_KINDS))).round(4)
        return {
            "attention": shares.tolist(),
            "interval": [(shares * 0.9).tolist(), (shares * 1.1).tolist()],
            "output": shares[::-1].tolist(),
            "activation": 0.2,
            "edges": np.linspace(0.05, 0.9, DECILES + 1).tolist(),
            "deciles": [some(3) for _ in range(DECILES)],
            "largest": some(5),
            "spectrum": [0.4, 0.2, 0.1],
            "components": [
                {"share": 0.4, "raises": drawn_words(draw, 6), "lowers": drawn_words(draw, 6)}
                | {"high": some(3), "low": some(3)}
            ],
        }

    document = {
        "version": 1,
        "tokens": CONTEXTS * (WIDTH - 1),
        "width": WIDTH,
        "bos": "<bos>",
        "unknown": 0.0,
        "sources": [{"name": name, "tokens": CONTEXTS * (WIDTH - 1)}],
        "kinds": list(KEY_KINDS),
        "having": [1.0, 1.0, 0.98, 0.6, 0.6, 0.9],
        "uniform": [0.1, 0.1, 0.1, 0.05, 0.05, 0.6],
        "contexts": [
            {"source": 0, "tokens": ["<bos>", *drawn_words(draw, WIDTH - 1)]}
            for _ in range(CONTEXTS)
        ],
        "heads": {
            f"a{layer}.h{index}": head()
            for layer in range(shape.n_layers)
            for index in range(shape.n_heads)
        },
    }
    method = TextMethod(name="text", tokens=20_000, context=WIDTH)
    spec = run_spec(shape, "ioi", method).model_copy(update={"task": name, "task_hash": "0" * 64})
    return RunRecord(
        spec=spec,
        circuit=None,
        decisions=(),
        metrics={},
        details={"d_model": shape.d_model},
        wall_seconds=1.0,
        environment={"device": "cpu"},
        text=document,
    )
