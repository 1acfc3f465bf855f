"""Runs that profile every head; what runs of a model share is computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acdc_pipeline.errors import PromptError, UnsupportedModel
from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.heads.batches import require_row
from acdc_pipeline.heads.examples import TextRows, text_rows
from acdc_pipeline.heads.model_profile import (
    Amounts,
    ModelProfile,
    Report,
    draw_tokens,
    profile_model,
)
from acdc_pipeline.heads.profile import HeadProfile, assemble_profile
from acdc_pipeline.heads.relations import task_relation
from acdc_pipeline.heads.task_profile import model_metrics, profile_task
from acdc_pipeline.models import LoadedModel
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.prompts.alignment import add_tokenizer
from acdc_pipeline.prompts.tokenization import bos_id
from acdc_pipeline.specs import ProfileMethod, RunSpec, TaskSpec
from acdc_pipeline.specs.names import COUNTING_METRICS

if TYPE_CHECKING:
    from acdc_pipeline.execution.shards.head_jobs import HeadJobs

# Approximate progress, in a model of 270 heads, after the part that is the same for all tasks, and
# after the part of the task; the rest is for examples.
_AFTER_MODEL, _AFTER_TASK = 0.3, 0.99


class Profiler:
    """Profiles heads, and keeps the part of a profile that is the same for all tasks of a model."""

    def __init__(self) -> None:
        self._model_part: ModelProfile | None = None
        self._model_part_key: tuple[object, ...] | None = None

    def profile(
        self,
        model: LoadedModel,
        run: RunSpec,
        method: ProfileMethod,
        task: TaskSpec,
        prompts: PromptSet,
        memory: int,
        progress: Progress,
        jobs: HeadJobs | None = None,
    ) -> tuple[HeadProfile, dict[str, float]]:
        """Return the profile of all heads of `model`, and its metrics on the prompts.

        Args:
            jobs: measurements that other workers make.

        Raises:
            UnsupportedModel: the model has no attention heads.
            PromptError: the model cannot process the prompts.
            OutOfMemoryBudget: `memory` does not hold a single prompt, or row of random tokens.
        """
        weights = model.weights
        prompts = check_profiled(model, prompts).to(weights.device)
        text = _text(model, method)
        heads = weights.topology.n_heads_total
        _check_memory(model, run, method, prompts, memory)
        if jobs is not None:
            jobs.start_layers(weights, prompts, memory)
        progress.start(heads, f"{run.task} on {run.model}")
        try:
            report = _report_heads(progress, heads, 0.0, _AFTER_MODEL)
            shared = self._model_profile(model, run, method, memory, report, jobs)
            own = profile_task(
                weights,
                task,
                prompts,
                task_relation(task, model.tokenizer, weights.w_u.shape[1]),
                seed=run.seed,
                memory=memory,
                report=_report_heads(progress, heads, _AFTER_MODEL, _AFTER_TASK),
                submit=None if jobs is None else jobs.submit_on_task,
                elsewhere=None if jobs is None else jobs.layer_scores,
                queries_elsewhere=None if jobs is None else jobs.queries,
                backups_elsewhere=None if jobs is None else jobs.without_movers,
            )
            profile = assemble_profile(
                run.model,
                weights,
                model.tokenizer,
                prompts,
                shared,
                own,
                text,
                seed=run.seed,
                memory=memory,
            )
            names = dict.fromkeys((*COUNTING_METRICS, task.metrics.discovery, *task.metrics.report))
            return profile, model_metrics(weights, prompts, list(names), memory)
        finally:
            progress.finish()
            if jobs is not None:
                jobs.close()

    def _model_profile(
        self,
        model: LoadedModel,
        run: RunSpec,
        method: ProfileMethod,
        memory: int,
        report: Report,
        jobs: HeadJobs | None,
    ) -> ModelProfile:
        amounts = amounts_of(method)
        key = (run.model_revision, run.dtype, run.seed, amounts)
        if self._model_part is None or self._model_part_key != key:
            self._model_part = profile_model(
                model.weights,
                model.tokenizer,
                bos=bos_of(model),
                amounts=amounts,
                seed=run.seed,
                memory=memory,
                report=report,
                submit=None if jobs is None else jobs.submit_on_model,
                backups_elsewhere=None if jobs is None else jobs.without_heads,
            )
            self._model_part_key = key
        return self._model_part


def amounts_of(method: ProfileMethod) -> Amounts:
    """Return the amounts of data that a method profiles with."""
    return Amounts(method.period, method.sequences, method.tokens)


def bos_of(model: LoadedModel) -> int | None:
    """Return the token that begins a text; None if the tokenizer has none."""
    if model.tokenizer is None:
        return None
    try:
        return bos_id(model.tokenizer)
    except PromptError:
        return None


def _text(model: LoadedModel, method: ProfileMethod) -> TextRows | None:
    """Return the rows of the text. Raises PromptError if the model has no tokenizer."""
    if method.text is None:
        return None
    if model.tokenizer is None:
        raise PromptError(
            "a text cannot be read without a tokenizer, and the model has none",
            where=str(model.ref),
            fix=f"leave out the text, or {add_tokenizer(str(model.ref))}",
        )
    return text_rows(model.weights, model.tokenizer, method.text, bos_of(model))


def check_profiled(model: LoadedModel, prompts: PromptSet) -> PromptSet:
    """Return `prompts`.

    Raises:
        UnsupportedModel: the model has no attention heads.
        PromptError: heads cannot be profiled on these prompts.
    """
    if not model.topology.layers_with_heads:
        raise UnsupportedModel(
            "has no attention heads to profile",
            where=str(model.ref),
            fix="look for its circuits: acdc discover, in which every mixer is a node",
        )
    if prompts.whole is not None or prompts.counterpart is not None:
        unfit = "answers of several tokens" if prompts.whole else "sides of different length"
        raise PromptError(
            f"heads are not profiled on {unfit}",
            allowed="answers of one token, and two sides of as many tokens",
            fix="profile heads on another task",
        )
    sees_padding = model.weights.bidirectional
    if sees_padding and len(set(prompts.lengths.tolist())) > 1:
        raise PromptError(
            "prompts differ in length, and bidirectional attention would see the padding",
            fix="use prompts of one length with this model",
        )
    return prompts


def _check_memory(
    model: LoadedModel, run: RunSpec, method: ProfileMethod, prompts: PromptSet, memory: int
) -> None:
    """Raise OutOfMemoryBudget if no prompt, or no row of random tokens, fits into `memory` bytes.

    Without it, that would be found only after the scores from the weights and of random models.
    """
    drawn = draw_tokens(
        model.weights, model.tokenizer, bos=bos_of(model), amounts=amounts_of(method), seed=run.seed
    )
    rows = [prompts.clean] if drawn.sequences is None else [prompts.clean, drawn.sequences.tokens]
    require_row(model.weights, max(tokens.shape[1] for tokens in rows), memory)


def _report_heads(progress: Progress, heads: int, first: float, last: float) -> Report:
    """Return a listener that converts the progress of one part of the work into heads."""

    def report(what: str, share: float) -> None:  # noqa: ARG001  (part of the signature)
        done = round(heads * (first + (last - first) * share))
        progress.advance(done, 0, heads - done)

    return report
