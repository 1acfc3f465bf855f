"""`acdc heads`: scores and roles of every attention head of a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.cli.options.parsers import FEWEST_TOKENS, MAX_PROMPTS, MOST_TOKENS, integer
from acdc_pipeline.cli.terminal.output import print_facts, print_json, print_line, print_note
from acdc_pipeline.cli.terminal.progress import show_progress
from acdc_pipeline.cli.terminal.text import relative_path
from acdc_pipeline.cli.views.run import run_document
from acdc_pipeline.errors import InvalidInput, UnknownName
from acdc_pipeline.text import format_percent, pluralize

if TYPE_CHECKING:
    from acdc_pipeline.store import RunRecord

DEFAULT_SCORE = "induction"


def heads(
    context: typer.Context,
    model: shared.ModelName,
    tasks: Annotated[
        str | None,
        typer.Option(
            metavar="TASK,…",
            help="Tasks whose prompts are used: names, folders or .jsonl files, separated by "
            "commas. Default: the tasks that a zoo model has learnt, else induction.",
        ),
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Ordinary text on which to measure where each head looks and what it writes; a "
            '.jsonl has a document under "text" in each line. May be given several times.',
        ),
    ] = None,
    text_tokens: Annotated[
        int | None,
        typer.Option(
            **integer("--text-tokens", FEWEST_TOKENS, MOST_TOKENS),
            help=f"Number of tokens of the texts to measure, at most {MOST_TOKENS:,}. "
            "Default: 20,000.",
        ),
    ] = None,
    text_context: Annotated[
        int | None,
        typer.Option(
            **integer("--text-context", 8, 1024),
            help="Number of tokens that heads see at once in a text. Default: 128.",
        ),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.scores,
            help=f"The score to show as a mosaic, as in --score {DEFAULT_SCORE}; an unknown name "
            "lists all.",
        ),
    ] = None,
    prompts: Annotated[
        int,
        typer.Option(
            **integer("--prompts", 2, MAX_PROMPTS),
            help="Number of prompt pairs per task; of a file of pairs, at most all.",
        ),
    ] = 64,
    seed: shared.Seed = 0,
    dtype: shared.Dtype = "float32",
    device: shared.Device = "auto",
    memory: shared.Memory = None,
    threads: shared.Threads = None,
    shards: shared.Helpers = None,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """Score every attention head of MODEL, name the roles of heads, and store the results.

    The same command again reads them from the store.

    \b
    Examples:
      acdc heads zoo:attn-2l
      acdc heads hf:openai-community/gpt2 --tasks ioi,induction --text novel.txt
      acdc heads zoo:gpt2-4l-s0 --score direct_effect --json
      acdc heads hf:openai-community/gpt2 --shards 4
    """
    memory_budget, thread_count = shared.read_memory(context), shared.read_threads(context)
    from acdc_pipeline.specs import ProfileMethod, TextMethod, find_task
    from acdc_pipeline.specs.head_scores import SCORES
    from acdc_pipeline.specs.text_files import read_texts

    amounts = {"tokens": text_tokens, "context": text_context}
    given = {name: value for name, value in amounts.items() if value is not None}
    if given and not text:
        option = f"--text-{next(iter(given))}"
        raise InvalidInput("there is no text", field=option, fix="name one: --text FILE")
    texts = read_texts(text or [], "--text")
    method = ProfileMethod.with_defaults()
    if score is not None and score not in SCORES:
        raise UnknownName.among("score", score, SCORES, where="heads", field="--score")
    with show_progress() as progress:
        progress.unit = "heads"
        progress.status(f"loading {model}")
        specs = [find_task(name) for name in _tasks(model, tasks)]
        from acdc_pipeline.execution.plan import plan_run, plan_text_run
        from acdc_pipeline.store import open_store
        from acdc_pipeline.workflows.discovery import discover_into, worker_factory
        from acdc_pipeline.workflows.text_profile import profile_text_into

        def report(message: str) -> None:
            print_note(f"note: {message}")

        make_worker = worker_factory(
            device,
            memory_budget,
            thread_count,
            shards=shards,
            report=report,
        )
        results = open_store(store)
        runs = [
            plan_run(spec, model, method=method, prompts=prompts, seed=seed, dtype=dtype)
            for spec in specs
        ]
        on_text = None
        if texts:  # first, so that a text with too few tokens is refused before the profiles
            how = TextMethod(**{"name": "text", **TextMethod.defaults(), **given})
            run = plan_text_run(texts, model, method=how, seed=seed, dtype=dtype)
            on_text = profile_text_into(results, run, texts, make_worker, progress, report)
        records, cached = [], []
        for run, spec in zip(runs, specs, strict=True):
            record, was_there = discover_into(
                results, run, spec, make_worker, progress, report=report
            )
            records.append(record)
            cached.append(was_there)
    paths = [results.path(record.spec.run_id()) for record in records]
    if json:
        documents = [
            _document(record) | {"cached": was_there, "path": path}
            for record, was_there, path in zip(records, cached, paths, strict=True)
        ]
        document = {"model": records[0].spec.model, "store": results.url, "profiles": documents}
        if on_text is not None:
            record, was_there = on_text
            path = results.path(record.spec.run_id())
            facts = run_document(record) | {"cached": was_there, "path": path}
            document["text"] = facts | {"text": record.text}
        print_json(document)
        return
    _show(records, cached, paths, score)
    if on_text is not None:
        from acdc_pipeline.cli.views.text_profile import print_text_profile

        print_text_profile(on_text[0], records)


def _tasks(model: str, named: str | None) -> list[str]:
    """Return the tasks to profile on, each once."""
    if named is not None:
        found = [name.strip() for name in named.split(",") if name.strip()]
        if not found:
            raise InvalidInput("names no task", field="--tasks", fix="acdc tasks list")
        return list(dict.fromkeys(found))
    from acdc_pipeline.workflows.discovery import profile_tasks

    return profile_tasks(model)


def _document(record: RunRecord) -> dict[str, Any]:
    """Return a profile as JSON data: the run, the scores, roles and near misses."""
    from dataclasses import asdict

    rows = (asdict(row) for row in record.heads)
    scores = [{name: row[name] for name in row if name != "model"} for row in rows]
    return {**run_document(record), "scores": scores, "profile": record.profile}


def _describe_size(details: Mapping[str, Any]) -> str:
    """Return the number of layers and of heads, which some layers may lack."""
    layers, heads = pluralize(details["n_layers"], "layer"), pluralize(details["n_heads"], "head")
    with_heads = sum("a" in parts for parts in details.get("layers", ()))
    if not with_heads or with_heads == details["n_layers"]:
        return f"{layers} of {heads}"
    return f"{layers}, of which {with_heads} {'has' if with_heads == 1 else 'have'} {heads}"


def _show(
    records: list[RunRecord], cached: list[bool], paths: list[str], score: str | None
) -> None:
    from acdc_pipeline.cli.views.heads import print_heads, print_mosaic

    first = records[0]
    size = _describe_size(first.details)
    tasks = {
        f"on {record.spec.task}": f"{pluralize(record.spec.prompts, 'prompt')}, whole model "
        f"{format_percent(record.metrics.get('model_accuracy'))} right, "
        f"forced choice {format_percent(record.metrics.get('model_forced_choice'))}; "
        + relative_path(path)
        + (" (was there already)" if was_there else f", {record.wall_seconds:.1f} s")
        for record, was_there, path in zip(records, cached, paths, strict=True)
    }
    model = {"model": f"{first.spec.model} ({first.spec.dtype}), {size}"}
    period = (first.profile or {}).get("period")
    random = "none: the context or the vocabulary is too small"
    if period is not None:
        random = f"n = {pluralize(period, 'token')}, then the same n again: {1 + 2 * period} "
        random += "positions with the first"
    print_facts({**model, "random tokens": random, **tasks})
    for record in records:
        for warning in record.details.get("warnings", ()):
            print_note(f"note: {record.spec.task}: {warning}")
    print_line("")
    print_mosaic(records, score or DEFAULT_SCORE)
    print_line("")
    print_heads(records)
