"""Runs executed by actors of a Ray cluster. The one place, with job submission, that imports Ray.

A driver hands runs to worker processes; each executes a run, commits it to the store itself and
says so. Nothing but the run and its task travels to a worker, and nothing but how it ended comes
back.
"""

from acdc_pipeline.execution.ray.driver import RayExecutor

__all__ = ["RayExecutor"]
