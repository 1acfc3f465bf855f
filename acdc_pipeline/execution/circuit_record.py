"""The record of a run that finds a circuit, from the problem it works on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from acdc_pipeline.execution.methods import PreparedRun, run_method
from acdc_pipeline.execution.own_metric import own_metric_details
from acdc_pipeline.execution.report import agreement, report
from acdc_pipeline.execution.result_warnings import circuit_warnings
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.specs import ReferenceCircuit, TaskSpec
from acdc_pipeline.specs.own_metric import Metric
from acdc_pipeline.store import RunRecord


@dataclass(frozen=True)
class RunFacts:
    """What a record says of a run beside its result.

    Args:
        warnings: about the prompts.
        parity_error: between the engine and the model on the prompts.
        environment: versions, device and dtype.
        started: the start of the run, in seconds of `time.perf_counter`.
    """

    prompts: PromptSet
    warnings: list[str]
    parity_error: float
    d_model: int
    environment: Mapping[str, str]
    started: float


def circuit_record(
    prepared: PreparedRun,
    task: TaskSpec,
    facts: RunFacts,
    reference: ReferenceCircuit | None,
    own_metric: Metric | None = None,
) -> RunRecord:
    """Run the method of a run, and return its record.

    Args:
        reference: the published circuit to compare with, if there is one.
        own_metric: the metric of one's own that the run may name.

    Raises:
        ExecutionFailed: the search and its recheck disagree.
        InvalidInput: the size of the circuit does not fit the graph.
    """
    run = prepared.run
    found = run_method(prepared)
    metrics, details = report(run, task, prepared.problem, found)
    circuit = found.circuit
    own, own_warnings = own_metric_details(run, own_metric, metrics)
    return RunRecord(
        spec=run,
        circuit=circuit,
        decisions=found.decisions,
        metrics=metrics,
        details={
            **found.details,
            **details,
            "edges_on_a_path": len(circuit.live_edges),
            **own,
            "warnings": facts.warnings
            + circuit_warnings(run, circuit, facts.prompts, metrics)
            + own_warnings,
            "reference": None if reference is None else agreement(circuit, reference),
            "d_model": facts.d_model,
            "prompts_clean": list(facts.prompts.clean_text[:4]),
            "prompts_corrupted": list(facts.prompts.corrupted_text[:4]),
        },
        wall_seconds=time.perf_counter() - facts.started,
        environment=dict(facts.environment),
        parity_error=facts.parity_error,
        consensus=found.consensus,
    )
