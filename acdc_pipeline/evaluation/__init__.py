"""What a circuit is worth."""

from acdc_pipeline.evaluation.measure import (
    circuit_logprobs,
    differentiable_objective_for,
    measure,
    objective_for,
)

__all__ = ["circuit_logprobs", "differentiable_objective_for", "measure", "objective_for"]
