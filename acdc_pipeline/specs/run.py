"""A run: the unit that is dispatched, stored, resumed and compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, model_serializer

from acdc_pipeline.specs.base import Spec, sha256_of
from acdc_pipeline.specs.methods.registry import Method
from acdc_pipeline.specs.names import Dtype, Experts, Seed

SCHEMA_VERSION = 1
"""Version of the contents of a run directory."""

MAX_PROMPTS = 1_000_000
"""The maximum of one run: generating more would take days and exceed any memory."""

RUN_ID_LENGTH = 20


class RunSpec(Spec):
    """Everything that determines a result, and the names of its task and model.

    Args:
        task: name of the task, for display.
        task_hash: `TaskSpec.definition_hash()`.
        model: reference of the model as given, for display.
        model_revision: identifies the weights: a commit, or a hash of their files.
        method: the method with all its parameters.
        prompts: number of prompt pairs.
        seed: seed of every random draw.
        dtype: precision of the computation.
        experts: what a mixture of experts is in the graph: `layer`, one node as any MLP; `nodes`, a
            node for each expert, a router, and what the MLP adds to them. Left out of the stored
            form where it is `layer`.
        schema_version: version of the stored form.
    """

    task: str
    task_hash: str
    model: str
    model_revision: str
    method: Method = Field(discriminator="name")
    prompts: int = Field(ge=1, le=MAX_PROMPTS)
    seed: Seed
    dtype: Dtype
    experts: Experts = "layer"
    schema_version: Literal[1] = SCHEMA_VERSION

    @model_serializer(mode="wrap")
    def _without_default(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        written = write(self)
        return written if self.experts != "layer" else _without(written, "experts")

    def run_id(self) -> str:
        """First 20 hex digits of sha256 over everything that determines the result.

        The task counts by its hash and the model by its revision, not by their names.
        """
        deciding = self.model_dump(mode="json", exclude={"task", "model"})
        deciding["method_version"] = self.method.VERSION
        return sha256_of(deciding)[:RUN_ID_LENGTH]


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}
