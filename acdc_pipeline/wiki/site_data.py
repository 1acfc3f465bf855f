"""The data of the site: list of models, search index, score columns, schema."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import numpy as np

from acdc_pipeline.graph import Node
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.model_data import FORMAT, FORMAT_VERSION, encode_json, encode_script, pick
from acdc_pipeline.wiki.models import HeadIndex, Model, head_index, head_name
from acdc_pipeline.wiki.page import PACKAGE
from acdc_pipeline.wiki.pages.removal import telling_heads
from acdc_pipeline.wiki.pages.search_words import kind_words, near_kinds
from acdc_pipeline.wiki.score_tables import percentile_document
from acdc_pipeline.wiki.site import Site, SiteScore
from acdc_pipeline.wiki.text import show_name


def site_files(site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every data file that is not about one model or score."""
    schema = json.loads((files(PACKAGE) / "model.schema.json").read_bytes())
    yield "data/schema.json", encode_json(schema)
    yield "data/index.json", encode_json(index_document(site))
    for file, document in (("search", search_document(site)), ("build", build_document(site))):
        yield f"data/{file}.json", encode_json(document)
        yield f"data/{file}.js", encode_script(file, document)


def score_files(site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield a script for each score: all heads as 32-bit numbers, little endian, in base64; and one
    with the percentiles of all scores.

    `nulls` are the null values by model, `lines` the thresholds of roles on the score.
    """
    # no score has this name
    bounds = "scores/index"
    yield f"data/{bounds}.js", encode_script(bounds, percentile_document(site.scores.values()))
    for metric, score in site.scores.items():
        parts = [
            model.scores[metric].values.ravel()
            if metric in model.scores
            else np.full(model.total_heads, np.nan)
            for model in site.models
        ]
        column = np.concatenate(parts).astype("<f4")
        encoded = base64.b64encode(column.tobytes()).decode("ascii")
        file = _score_file(site, score)
        document = {
            "metric": metric,
            "float32": encoded,
            "nulls": [model.nulls.get(metric) for model in site.models],
            "lines": role_lines(score.definition.name),
        }
        yield f"data/{file}.js", encode_script(file, document)


def role_lines(score: str) -> list[tuple[float, str]]:
    """Return the values of a score that are thresholds of roles, with the titles of the roles.

    Criteria on a share of the answer logit, which differs between models, have none.
    """
    return [
        (-criterion.least if criterion.of == "minus score" else criterion.least, role.title)
        for role in ROLES.values()
        for criterion in role.required
        if criterion.score == score and criterion.of in ("score", "minus score")
    ]


def index_document(site: Site) -> dict[str, Any]:
    """Return the models with their files, and the definitions of the scores."""
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "data_version": site.version,
        "models": [
            {
                "model": model.title,
                **pick(model, "ref", "revision", "slug", "n_layers", "n_heads", "data_version"),
                "document": f"{model.slug}.json",
                "scores": f"{model.slug}.scores.parquet",
                "edges": f"{model.slug}.edges.parquet",
            }
            for model in site.models
        ],
        "scores": [
            {
                "metric": score.metric,
                **pick(score.definition, "title", "claim", "formula", "sign", "source"),
            }
            for score in site.scores.values()
        ],
    }


def search_document(site: Site) -> dict[str, Any]:
    """Return all models, roles, tasks and scores, and which heads have which roles and circuits.

    Heads are numbered over all models, layer by layer. `roles` is a flat list of triples of head,
    role and task (-1 for none), `circuits` one of head, task and the threshold or number of edges
    of the smallest circuit that contains the head. `telling` names the heads that say most of a
    model, at most two.
    """
    kinds = list(ROLES)
    tasks = list(site.tasks)
    roles: list[int] = []
    circuits: list[float] = []
    first = 0
    for model in site.models:
        for place, held in sorted(model.roles.items()):
            for role in held:
                task = tasks.index(role.on) if role.on in tasks else -1
                roles += [first + _number(model, place), kinds.index(role.role), task]
        for task, (series, *_) in model.circuits.items():
            for head, inside in sorted(series.heads.items()):
                number = first + _number(model, head_index(Node.parse(head)))
                cut = series.cuts[inside.index(True)]
                circuits += [number, tasks.index(task), float(cut.size)]
        first += model.total_heads
    return {
        "version": site.version,
        "models": [
            {
                "slug": model.slug,
                "title": show_name(model.title),
                "family": show_name(model.family, 32),
                "layers": model.n_layers,
                "heads": model.n_heads,
                **_with_heads(model),
                "telling": [head_name(*place) for place in telling_heads(model)[:2]],
            }
            for model in site.models
        ],
        "kinds": [
            {
                **pick(role, "name", "title", "claim"),
                "score": role.required[0].score,
                "words": kind_words(role.name),
                "near": [kinds.index(other) for other in near_kinds(role.name)],
            }
            for role in ROLES.values()
        ],
        "tasks": [pick(task, "name", "slug", "title") for task in site.tasks.values()],
        "scores": [
            {
                **pick(score, "metric", "task"),
                **pick(score.definition, "name", "title"),
                **pick(score.scale, "low", "high"),
                "file": _score_file(site, score),
            }
            for score in site.scores.values()
        ],
        "roles": roles,
        "circuits": circuits,
    }


def _with_heads(model: Model) -> dict[str, Any]:
    """Return the layers that have heads, where some have none; their numbers stay unused."""
    some = len(model.layers_with_heads) < model.n_layers
    return {"with_heads": list(model.layers_with_heads)} if some else {}


def build_document(site: Site) -> dict[str, Any]:
    """Return what the footer of every page says about the site."""
    return {
        **pick(site, "version", "profiled", "heads"),
        "newest": None if site.newest is None else site.newest.isoformat(),
        "models": len(site.models),
    }


def _number(model: Model, place: HeadIndex) -> int:
    return place[0] * model.n_heads + place[1]


def _score_file(site: Site, score: SiteScore) -> str:
    suffix = "" if score.task is None else f".{site.tasks[score.task].slug}"
    return f"scores/{score.slug}{suffix}"
