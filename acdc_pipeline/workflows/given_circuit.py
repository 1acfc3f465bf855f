"""A circuit that somebody names, as if a method of its size had found it."""

from __future__ import annotations

from collections.abc import Callable

from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs import ModelRef, RunSpec, TaskSpec, method_for


def run_of_circuit(
    circuit: Circuit,
    task: TaskSpec,
    model: ModelRef | str,
    *,
    metric: str | None,
    ablation: str | None,
    prompts: int,
    seed: int,
    dtype: str,
    written: Callable[[str], str] = str,
) -> RunSpec:
    """The run under which `circuit` is measured: its prompts, metric and ablation.

    Args:
        circuit: a circuit of the model's graph; no search is said to have found it.
        task: gives the prompts, and the metric where None is asked for.
        model: what it is a circuit of.
        metric: what is measured; None means the task's.
        ablation: what a removed edge carries; None means `corrupted`.
        prompts: how many prompt pairs.
        seed: of everything that is drawn.
        dtype: precision of the weights.
        written: how a parameter is written where it was asked for, for errors.

    Raises:
        SpecError: a value that is not valid.
        UnsupportedModel, UnknownName, InvalidInput: as `plan_run`.
    """
    asked = {"metric": metric, "ablation": ablation, "edges": max(1, len(circuit))}
    values = {name: value for name, value in asked.items() if value is not None}
    method = method_for("exact", values, task, where="evaluate", written=written)
    return plan_run(task, model, method=method, prompts=prompts, seed=seed, dtype=dtype)
