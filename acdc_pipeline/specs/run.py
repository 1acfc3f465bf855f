"""A run: the unit that is dispatched, stored, resumed and compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, model_serializer

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs.base import Spec, sha256_of
from acdc_pipeline.specs.methods.registry import Method
from acdc_pipeline.specs.names import Dtype, Experts, Positions, Seed

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
        positions: the spans that edges live in: those of the task (`spans`), or one for each
            absolute position (`tokens`). Left out of the stored form where it is `none`.
        spans_hash: `TaskSpec.spans_hash()` where edges live in the spans of the task; else empty,
            and left out of the stored form.
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
    positions: Positions = "none"
    spans_hash: str = ""
    schema_version: Literal[1] = SCHEMA_VERSION

    @model_serializer(mode="wrap")
    def _without_default(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return without_defaults(self, write(self))

    def run_id(self) -> str:
        """First 20 hex digits of sha256 over everything that determines the result.

        The task counts by its hash and the model by its revision, not by their names.
        """
        deciding = self.model_dump(mode="json", exclude={"task", "model"})
        deciding["method_version"] = self.method.VERSION
        return sha256_of(deciding)[:RUN_ID_LENGTH]


def require_positional(run: RunSpec) -> None:
    """Raise SpecError if a run has positions and its method finds no circuits with them."""
    if run.positions == "none":
        return
    if not run.method.POSITIONAL:
        raise SpecError(
            f"method '{run.method.name}' finds no circuits with positions",
            field="positions",
            allowed="none, or another method such as acdc, eap-ig-inputs, exact",
        )


def without_defaults(spec: Spec, written: dict[str, Any]) -> dict[str, Any]:
    """Leave out fields that were added later where they have their default, so that ids stay."""
    fields = type(spec).model_fields
    later = ("experts", "positions", "spans_hash")
    same = {n for n in later if n in fields and getattr(spec, n) == fields[n].default}
    return {name: value for name, value in written.items() if name not in same}
