"""What the search, the comparison and the mosaics of the home page read."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np

from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.model_data import FORMAT, FORMAT_VERSION
from acdc_pipeline.wiki.scores import definition_of, task_of
from acdc_pipeline.wiki.site import Site
from acdc_pipeline.wiki.text import name


def index_document(site: Site) -> dict[str, Any]:
    """`data/index.json`: the models with their files, and what the scores mean."""
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "data_version": site.version,
        "models": [
            {
                "model": model.title,
                "ref": model.ref,
                "revision": model.revision,
                "slug": model.slug,
                "n_layers": model.n_layers,
                "n_heads": model.n_heads,
                "document": f"{model.slug}.json",
                "scores": f"{model.slug}.scores.parquet",
                "edges": f"{model.slug}.edges.parquet",
            }
            for model in site.models
        ],
        "scores": [
            {
                "metric": metric,
                "title": definition.title,
                "claim": definition.claim,
                "formula": definition.formula,
                "sign": definition.sign,
                "source": definition.source,
            }
            for metric in site.metrics
            for definition in (definition_of(metric),)
        ],
    }


def search_document(site: Site) -> dict[str, Any]:
    """`data/search.json`: every model, kind and task, and which heads are of which.

    Heads are counted over all models, layer by layer: a model's first head has the number of all
    heads of the models before it. `roles` holds triples of head, kind and task (-1 for none),
    `circuits` triples of head, task and the cut up to which the head survives.
    """
    kinds = sorted({held.role for m in site.models for r in m.roles.values() for held in r})
    tasks = list(site.tasks)
    roles: list[int] = []
    circuits: list[float] = []
    first = 0
    for model in site.models:
        for (layer, head), held in sorted(model.roles.items()):
            number = first + layer * model.n_heads + head
            for role in held:
                task = tasks.index(role.on) if role.on in tasks else -1
                roles += [number, kinds.index(role.role), task]
        for task, (question, *_) in model.questions.items():
            for node, at in sorted(question.heads.items()):
                cut = question.survives(at)
                if cut is not None:
                    layer, head = (int(part) for part in node[1:].split(".h"))
                    number = first + layer * model.n_heads + head
                    value = cut.threshold if cut.threshold is not None else float(len(cut.edges))
                    circuits += [number, tasks.index(task), value]
        first += model.total_heads
    return {
        "version": site.version,
        "models": [
            {
                "slug": model.slug,
                # shown in lists, where a name of kilobytes helps nobody
                "title": name(model.title),
                "family": name(model.family, 32),
                "layers": model.n_layers,
                "heads": model.n_heads,
            }
            for model in site.models
        ],
        "kinds": [{"name": kind, "title": ROLES[kind].title} for kind in kinds],
        "tasks": [{"name": task.name, "slug": task.slug} for task in site.tasks.values()],
        "scores": [
            {
                "metric": metric,
                "name": definition_of(metric).name,
                "title": definition_of(metric).title,
                "task": task_of(metric),
                "file": score_file(site, metric),
                "low": site.rulers[metric].low,
                "high": site.rulers[metric].high,
            }
            for metric in site.metrics
        ],
        "roles": roles,
        "circuits": circuits,
    }


def score_columns(site: Site) -> Iterator[tuple[str, dict[str, Any]]]:
    """One score of all heads as 32-bit numbers in base64, little endian, NaN where missing."""
    for metric in site.metrics:
        parts = [
            model.scores[metric].values.ravel()
            if metric in model.scores
            else np.full(model.total_heads, np.nan)
            for model in site.models
        ]
        column = np.concatenate(parts).astype("<f4")
        encoded = base64.b64encode(column.tobytes()).decode("ascii")
        yield score_file(site, metric), {"metric": metric, "float32": encoded}


def score_file(site: Site, metric: str) -> str:
    """Where in `data/` a score's column is, without the ending."""
    slug, task = site.score_slugs[definition_of(metric).name], task_of(metric)
    return f"scores/{slug}" if task is None else f"scores/{slug}.{site.tasks[task].slug}"


def build_document(site: Site) -> dict[str, Any]:
    """`data/build.json`: what the foot of every page says of the whole site."""
    return {
        "version": site.version,
        "newest": None if site.newest is None else site.newest.isoformat(),
        "models": len(site.models),
        "profiled": sum(bool(model.scores) for model in site.models),
        "heads": site.heads,
    }


def schema_document() -> dict[str, Any]:
    """The JSON Schema of `data/<model>.json`."""
    column = {"type": ["array", "null"], "items": {"type": ["number", "null"]}}
    text, whole, some = {"type": "string"}, {"type": "integer"}, {"type": ["number", "null"]}
    score = {
        "type": "object",
        "properties": {
            "values": column,
            "low": column,
            "high": column,
            "n": whole,
            "seed": whole,
            "null": some,
        },
        "required": ["values", "low", "high", "n", "seed", "null"],
        "additionalProperties": False,
    }
    role = {
        "type": "object",
        "properties": {
            "head": {"type": "string", "pattern": r"^a\d+\.h\d+$"},
            "role": text,
            "on": {"type": ["string", "null"]},
            "evidence": {"type": "array", "items": {"enum": ["weights", "attention", "causal"]}},
            "metric": text,
            "value": {"type": "number"},
            "rank": whole,
            "of": whole,
            "below_line": {"type": ["number", "null"]},
        },
        "required": [
            *("head", "role", "on", "evidence", "metric", "value", "rank", "of", "below_line")
        ],
    }
    cut = {
        "type": "object",
        "properties": {
            "run": text,
            "threshold": some,
            "edges": whole,
            "edges_total": {"type": ["integer", "null"]},
            "faithfulness": some,
            "metrics": {"type": "object", "additionalProperties": {"type": "number"}},
            "evaluation": {"type": ["object", "null"], "additionalProperties": some},
        },
        "required": [
            *("run", "threshold", "edges", "edges_total", "faithfulness", "metrics", "evaluation")
        ],
    }
    circuits = {
        "type": "object",
        "properties": {
            "task": text,
            "method": {"type": "object"},
            "prompts": whole,
            "seed": whole,
            "dtype": text,
            "cuts": {"type": "array", "items": cut},
            "heads": {"type": "object", "additionalProperties": {"type": "number"}},
        },
        "required": ["task", "method", "prompts", "seed", "dtype", "cuts", "heads"],
    }
    properties = {
        "format": {"const": FORMAT},
        "version": {"const": FORMAT_VERSION},
        **dict.fromkeys(("model", "ref", "revision", "slug", "family", "data_version"), text),
        "n_layers": whole,
        "n_heads": whole,
        "d_model": {"type": ["integer", "null"]},
        "runs": {"type": "array", "items": text},
        "scores": {"type": "object", "additionalProperties": score},
        "roles": {"type": "array", "items": role},
        "circuits": {"type": "array", "items": circuits},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A model of the head wiki",
        "description": "Columns of scores hold one value a head, layer by layer.",
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }
