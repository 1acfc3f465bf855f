"""Planning a run: from a request to its specification, without loading a model."""

from __future__ import annotations

from collections.abc import Sequence

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.describe import ModelDescription, describe_located, no_mixture
from acdc_pipeline.models.directory import SHOW_SUPPORTED
from acdc_pipeline.models.location import pin
from acdc_pipeline.models.memory.held import HeldModel
from acdc_pipeline.specs import Method, ModelRef, RunSpec, TaskSpec, TextMethod, parse
from acdc_pipeline.specs.run import require_positional
from acdc_pipeline.specs.text_files import NamedText, hash_texts


def plan_run(
    task: TaskSpec,
    model: ModelRef | HeldModel | str,
    *,
    method: Method,
    prompts: int,
    seed: int,
    dtype: str,
    experts: str = "layer",
    positions: str = "none",
) -> RunSpec:
    """Return the run for a request. Reads files of the model, but loads no weights.

    The number of prompts is limited to what the task has: for a file of ten pairs, `prompts=64` and
    `prompts=10` give the same run.

    Raises SpecError for an invalid number of prompts, seed, dtype or form of experts, or positions
    that the method does not have, what `describe_supported` raises, and UnsupportedModel for
    experts of a model without any.
    """
    requested = parse(
        {
            "task": task.name,
            "task_hash": task.definition_hash(),
            "model": str(model),
            "model_revision": "",
            "method": method.plain(),
            "prompts": prompts,
            "seed": seed,
            "dtype": dtype,
            "experts": experts,
            "positions": positions,
            "spans_hash": task.spans_hash() if positions == "spans" else "",
        },
        RunSpec,
        "discover",
    )
    require_positional(requested)
    if isinstance(model, HeldModel):
        ref, revision = str(model.ref), model.revision
    else:
        found = describe_supported(ModelRef.parse(model) if isinstance(model, str) else model)
        ref, revision = found.ref, found.revision
        if experts != "layer" and found.experts is None:
            raise no_mixture().at(ref)
    return requested.model_copy(
        update={
            "model": ref,
            "model_revision": revision,
            "prompts": task.prompts_for(prompts),
        }
    )


def plan_text_run(
    texts: Sequence[NamedText],
    model: ModelRef | HeldModel | str,
    *,
    method: TextMethod,
    seed: int,
    dtype: str,
) -> RunSpec:
    """Return the run for texts. Reads files of the model, but loads no weights.

    The names of the texts do not decide the run's id, their contents do.

    Raises SpecError for an invalid seed or dtype, and what `describe_supported` raises.
    """
    if isinstance(model, HeldModel):
        ref, revision = str(model.ref), model.revision
    else:
        found = describe_supported(ModelRef.parse(model) if isinstance(model, str) else model)
        ref, revision = found.ref, found.revision
    return parse(
        {
            "task": ", ".join(text.name for text in texts),
            "task_hash": hash_texts(texts),
            "model": ref,
            "model_revision": revision,
            "method": method.plain(),
            "prompts": sum(len(text.documents) for text in texts),
            "seed": seed,
            "dtype": dtype,
        },
        RunSpec,
        "heads",
    )


def describe_supported(ref: ModelRef) -> ModelDescription:
    """Return shape and revision of a model; of an `hf:` model only its config.json is fetched.

    Raises:
        UnknownName: no such zoo model.
        UnsupportedModel: the engine does not reproduce its architecture.
        InvalidInput: the model cannot be found.
    """
    description = describe_located(ref, pin(ref))
    if description.refused is not None:
        raise UnsupportedModel(
            f"architecture '{description.architecture}' is not supported: {description.refused}",
            where=str(ref),
            fix=SHOW_SUPPORTED,
        )
    return description
