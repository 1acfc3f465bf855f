"""What a circuit is worth."""

from acdc_pipeline.evaluation.measure import circuit_logprobs, measure, objective_for

__all__ = ["circuit_logprobs", "measure", "objective_for"]
