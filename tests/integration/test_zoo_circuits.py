"""What the trained zoo is for: circuits that are small and faithful."""

from __future__ import annotations

from acdc_pipeline import discover


def test_ioi_circuit_is_sparse_and_as_accurate_as_the_model():
    record = discover("ioi", "zoo:gpt2-4l-s0", threshold=0.01)
    assert record.circuit is not None
    assert len(record.circuit) <= 0.15 * record.circuit.topology.n_edges
    assert record.metrics["accuracy"] >= record.metrics["model_accuracy"] - 0.05
