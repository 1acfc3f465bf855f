"""Fresh circuits against committed baselines: what drifted, what failed, and why."""

LEAST_SEEDS = 5
"""Minimum number of further prompt samples from which the tolerances of a baseline are measured."""
