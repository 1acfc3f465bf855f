"""Runs executed by actors of a Ray cluster.

A driver assigns runs to worker processes; each executes its run, commits it to the store itself and
reports that. Only the run and its task travel to a worker, and only its outcome comes back.
"""

from acdc_pipeline.execution.ray.executor import RayExecutor

__all__ = ["RayExecutor"]
