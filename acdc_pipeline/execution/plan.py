"""From what a person asks for to the run it is, before anything heavy happens."""

from __future__ import annotations

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.describe import ModelDescription, describe_located
from acdc_pipeline.models.location import pin
from acdc_pipeline.specs import Method, ModelRef, RunSpec, TaskSpec, parse


def plan_run(
    task: TaskSpec,
    model: ModelRef | str,
    *,
    method: Method,
    prompts: int,
    seed: int,
    dtype: str,
) -> RunSpec:
    """The run that this request is. Reads the model's files, loads nothing.

    A run has the prompts that it is made on: asking a file of ten pairs for `prompts=64` is the
    same question as asking it for ten.

    Raises:
        UnknownName: no such zoo model.
        UnsupportedModel: the engine does not reproduce the model's architecture.
        SpecError: no run has that many prompts, that seed, or that dtype.
        InvalidInput: the model is not to be found.
    """
    asked = parse(
        {
            "task": task.name,
            "task_hash": task.definition_hash(),
            "model": str(model),
            "model_revision": "",
            "method": method.plain(),
            "prompts": prompts,
            "seed": seed,
            "dtype": dtype,
        },
        RunSpec,
        "discover",
    )
    description = describe_supported(ModelRef.parse(model) if isinstance(model, str) else model)
    return asked.model_copy(
        update={
            "model": description.ref,
            "model_revision": description.revision,
            "prompts": task.prompts_for(prompts),
        }
    )


def describe_supported(ref: ModelRef) -> ModelDescription:
    """A model's shape and revision; of an `hf:` model no more than its config.json is fetched.

    Raises:
        UnknownName: no such zoo model.
        UnsupportedModel: the engine does not reproduce its architecture.
        InvalidInput: the model is not to be found.
    """
    description = describe_located(ref, pin(ref))
    if description.refused is not None:
        raise UnsupportedModel(
            f"architecture '{description.architecture}' is not supported: {description.refused}",
            where=str(ref),
            fix="acdc models list shows what is",
        )
    return description
