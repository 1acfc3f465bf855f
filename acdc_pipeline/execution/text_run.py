"""Runs that measure heads on ordinary text, executed by a worker."""

from __future__ import annotations

import time
from collections.abc import Sequence

from acdc_pipeline.engine import check_parity
from acdc_pipeline.errors import PromptError, UnsupportedModel
from acdc_pipeline.execution.environment import environment
from acdc_pipeline.execution.profile_run import bos_of
from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.heads.natural.contexts import draw_contexts
from acdc_pipeline.heads.natural.profile import profile_text
from acdc_pipeline.prompts.alignment import add_tokenizer
from acdc_pipeline.specs import RunSpec, TextMethod
from acdc_pipeline.specs.text_files import MAX_CHARACTERS, NamedText
from acdc_pipeline.store import RunRecord
from acdc_pipeline.text import format_percent

_CHECKED = 8
"""Contexts on which the engine is compared with the model."""

_UNKNOWN = 0.01
"""The share of unknown tokens from which a warning says so."""


def execute_text_run(
    worker: Worker, run: RunSpec, texts: Sequence[NamedText], progress: Progress
) -> RunRecord:
    """Return the result of a run that `plan_text_run` made of `texts`.

    Raises:
        UnsupportedModel: the model has no attention heads.
        PromptError: the model has no tokenizer, or the texts have too few tokens for it.
        ParityError: the engine does not reproduce the model.
        OutOfMemoryBudget: the worker's budget does not hold the contexts.
    """
    method = run.method
    assert isinstance(method, TextMethod)
    model = worker.model(run)
    started = time.perf_counter()
    weights, topology = model.weights, model.topology
    if not topology.layers_with_heads:
        raise UnsupportedModel("has no attention heads to profile", where=str(model.ref))
    if model.tokenizer is None:
        raise PromptError(
            "a text cannot be read without a tokenizer, and the model has none",
            where=str(model.ref),
            fix=f"leave out the text, or {add_tokenizer(str(model.ref))}",
        )
    contexts = draw_contexts(
        weights,
        model.tokenizer,
        texts,
        bos=bos_of(model),
        tokens=method.tokens,
        context=method.context,
        seed=run.seed,
    )
    parity = check_parity(model, contexts.tokens[:_CHECKED], contexts.lengths[:_CHECKED])
    heads = topology.n_heads_total
    progress.start(heads, f"{run.task} in {run.model}")

    def report(layers: int) -> None:
        done = heads * layers // topology.n_layers
        progress.advance(done, 0, heads - done)

    try:
        found = profile_text(
            weights,
            model.tokenizer,
            texts,
            contexts,
            seed=run.seed,
            memory=worker.budget,
            report=report,
        )
    finally:
        progress.finish()
    return RunRecord(
        spec=run,
        circuit=None,
        decisions=(),
        metrics={},
        details={
            "warnings": _warnings(texts, contexts.unknown),
            "n_layers": topology.n_layers,
            "n_heads": topology.n_heads,
            **({"layers": list(layers)} if (layers := topology.layers) else {}),
            "d_model": weights.d_model,
        },
        wall_seconds=time.perf_counter() - started,
        environment=environment(worker.device, run.dtype),
        parity_error=parity,
        text=found,
    )


def _warnings(texts: Sequence[NamedText], unknown: float) -> list[str]:
    read = [
        f"of {text.name} the first {MAX_CHARACTERS:,} characters were read"
        for text in texts
        if text.cut
    ]
    if unknown < _UNKNOWN:
        return read
    share = format_percent(unknown)
    return [*read, f"the tokenizer does not know {share} of the tokens, which all look alike to it"]
