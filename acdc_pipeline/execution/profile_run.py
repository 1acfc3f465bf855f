"""A run that profiles every head; what runs of one model share is computed once."""

from __future__ import annotations

from dataclasses import dataclass

from acdc_pipeline.errors import PromptError
from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.heads.examples import TextRows, text_rows
from acdc_pipeline.heads.model_profile import Amounts, ModelProfile, Report, profile_model
from acdc_pipeline.heads.profile import HeadProfile, assemble_profile
from acdc_pipeline.heads.relations import task_relation
from acdc_pipeline.heads.task_profile import model_metrics, profile_task
from acdc_pipeline.models import LoadedModel
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.prompts.tokenization import bos_id
from acdc_pipeline.specs import ProfileMethod, RunSpec, TaskSpec
from acdc_pipeline.specs.names import COUNTING_METRICS

# How far the work is, roughly, in a model of 270 heads: after what no task decides, and after what
# the task does; examples are the rest.
_MODEL, _TASK = 0.3, 0.99


@dataclass(frozen=True)
class ProfiledHeads:
    """What a profile run found, and how the whole model does on its prompts."""

    profile: HeadProfile
    metrics: dict[str, float]

    @property
    def warnings(self) -> list[str]:
        """What keeps its scores from telling heads apart."""
        return list(self.profile.document["warnings"])


class Profiler:
    """Profiles heads; keeps what no task decides from one task of a model to the next."""

    def __init__(self) -> None:
        self._kept: ModelProfile | None = None
        self._kept_for: tuple[object, ...] | None = None

    def profile(
        self,
        model: LoadedModel,
        run: RunSpec,
        method: ProfileMethod,
        task: TaskSpec,
        prompts: PromptSet,
        memory: int,
        progress: Progress,
    ) -> ProfiledHeads:
        """The profile that `run` asks for.

        Args:
            model: loaded, of the run's revision and dtype.
            run: what to do.
            method: with which amounts.
            task: what the prompts are from.
            prompts: aligned for the model.
            memory: bytes for activations.
            progress: counts heads, as far as the work done goes.

        Raises:
            PromptError: prompts the model cannot take.
            OutOfMemoryBudget: `memory` does not hold a single prompt.
        """
        weights = model.weights
        prompts = _checked(model, prompts).to(weights.device)
        text = _text(model, method)
        heads = weights.topology.n_heads * weights.topology.n_layers
        progress.start(heads, f"{run.task} on {run.model}")
        try:
            shared = self._model_profile(
                model, run, method, memory, _between(progress, heads, 0.0, _MODEL)
            )
            own = profile_task(
                weights,
                task,
                prompts,
                task_relation(task, model.tokenizer, weights.w_u.shape[1]),
                seed=run.seed,
                memory=memory,
                report=_between(progress, heads, _MODEL, _TASK),
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
            return ProfiledHeads(profile, model_metrics(weights, prompts, list(names), memory))
        finally:
            progress.finish()

    def _model_profile(
        self, model: LoadedModel, run: RunSpec, method: ProfileMethod, memory: int, report: Report
    ) -> ModelProfile:
        amounts = Amounts(method.period, method.sequences, method.tokens)
        key = (run.model_revision, run.dtype, run.seed, amounts)
        if self._kept is None or self._kept_for != key:
            self._kept = profile_model(
                model.weights,
                model.tokenizer,
                bos=_bos(model),
                amounts=amounts,
                seed=run.seed,
                memory=memory,
                report=report,
            )
            self._kept_for = key
        return self._kept


def _bos(model: LoadedModel) -> int | None:
    """The token that begins a text; None where the model knows none."""
    if model.tokenizer is None:
        return None
    try:
        return bos_id(model.tokenizer)
    except PromptError:
        return None


def _text(model: LoadedModel, method: ProfileMethod) -> TextRows | None:
    """Raises PromptError where there is a text and nothing to read it with."""
    if method.text is None:
        return None
    if model.tokenizer is None:
        raise PromptError(
            "a text cannot be read without a tokenizer, and the model's directory has none",
            where=str(model.ref),
            fix="leave out --text, or save the tokenizer there",
        )
    return text_rows(model.weights, model.tokenizer, method.text, _bos(model))


def _checked(model: LoadedModel, prompts: PromptSet) -> PromptSet:
    """Raises PromptError where padding would be seen."""
    sees_padding = model.weights.blocks[0].attn.direction == "bidirectional"
    if sees_padding and len(set(prompts.lengths.tolist())) > 1:
        raise PromptError(
            "prompts differ in length, and bidirectional attention would see the padding",
            fix="use prompts of one length with this model",
        )
    return prompts


def _between(progress: Progress, heads: int, first: float, last: float) -> Report:
    """Turns a share of one part of the work into heads."""

    def report(what: str, share: float) -> None:  # noqa: ARG001  (for listeners that say it)
        done = round(heads * (first + (last - first) * share))
        progress.advance(done, 0, heads - done)

    return report
