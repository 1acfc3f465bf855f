"""Metrics: one small file each, and one registry line."""

from acdc_pipeline.metrics.registry import METRICS, Metric, Reading

__all__ = ["METRICS", "Metric", "Reading"]
