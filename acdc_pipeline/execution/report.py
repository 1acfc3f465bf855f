"""The metrics of a circuit, of the whole model, and of the empty circuit."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine import Bench
from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.evaluation import Scale, circuit_logprobs, measure
from acdc_pipeline.execution.methods import MethodResult
from acdc_pipeline.metrics import METRICS
from acdc_pipeline.specs import RunSpec, TaskSpec, circuit_method
from acdc_pipeline.specs.names import COUNTING_METRICS, MetricName

# Tolerance, in units of the metric, between the last value of a method and a fresh forward pass of
# its circuit: float32 sums in another order differ by about 1e-6.
RECHECK_TOLERANCE = 1e-3


def report(
    run: RunSpec,
    task: TaskSpec,
    bench: Bench,
    empty_logprobs: Float[Tensor, "answer vocab"],
    found: MethodResult,
) -> tuple[dict[str, float], dict[str, float]]:
    """Return metrics by name, and details about them, such as the faithfulness of the circuit.

    Metrics of the circuit have plain names; `model_…` are those of the whole model, `ablated_…`
    those with every edge removed.

    Args:
        run: the run.
        task: its task.
        bench: model and prompts to measure on.
        empty_logprobs: log-probabilities with every edge removed.
        found: result of the method.

    Raises:
        ExecutionFailed: the method and a fresh forward pass disagree about its circuit.
    """
    metric = circuit_method(run.method).metric
    names: list[MetricName] = list(
        dict.fromkeys(["kl", *COUNTING_METRICS, metric, *task.metrics.report])
    )
    metrics = measure(bench, circuit_logprobs(bench, found.measured), names)
    whole = measure(bench, bench.logprobs, names)
    ablated = measure(bench, empty_logprobs, names)
    details = {}
    if found.last_value is not None:
        details["recheck_error"] = _recheck(metric, found.last_value, metrics[metric])
    if metric in ablated and whole[metric] != ablated[metric]:
        scale = Scale(metric, whole[metric], ablated[metric])
        details["faithfulness"] = scale.faithfulness(metrics[metric])
    metrics |= {f"model_{name}": value for name, value in whole.items() if name != "kl"}
    metrics |= {f"ablated_{name}": value for name, value in ablated.items()}
    return metrics, details


def _recheck(metric: MetricName, oriented: float, fresh: float) -> float:
    """Return the error of the last value of the method against a fresh forward pass."""
    error = abs(oriented - METRICS[metric].sign * fresh)
    if not error <= RECHECK_TOLERANCE * max(1.0, abs(fresh)):
        raise ExecutionFailed(
            f"the search ended {error:.1e} away from the {metric} of {fresh:.6g} that a fresh "
            "forward of its circuit gives",
            fix="run again with --dtype float64, and report the model",
        )
    return error
