"""A run: the unit that is dispatched, stored, resumed and compared."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from acdc_pipeline.specs.base import Spec, sha256_of
from acdc_pipeline.specs.methods.registry import Method
from acdc_pipeline.specs.names import Dtype, Seed

SCHEMA_VERSION = 1
"""Version of what a run directory holds."""

MOST_PROMPTS = 1_000_000
"""Of one run: more would take days to make, and no computer holds them."""

RUN_ID_LENGTH = 20


class RunSpec(Spec):
    """Everything that decides a result, and the names people know it by.

    Args:
        task: name of the task, for people.
        task_hash: `TaskSpec.definition_hash()`.
        model: reference as given, for people.
        model_revision: what pins the weights: a commit, or a hash of their files.
        method: the method with all its parameters.
        prompts: how many prompt pairs.
        seed: seed of everything that is drawn.
        dtype: precision of the computation.
        schema_version: version of the stored form.
    """

    task: str
    task_hash: str
    model: str
    model_revision: str
    method: Method = Field(discriminator="name")
    prompts: int = Field(ge=1, le=MOST_PROMPTS)
    seed: Seed
    dtype: Dtype
    schema_version: Literal[1] = SCHEMA_VERSION

    def run_id(self) -> str:
        """First 20 hex digits of sha256 over what decides the result, and nothing else.

        The names of task and model do not decide it: their hash and revision do.
        """
        deciding = self.model_dump(mode="json", exclude={"task", "model"})
        deciding["method_version"] = self.method.VERSION
        return sha256_of(deciding)[:RUN_ID_LENGTH]
