"""The drawing of a run's circuit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.store import RunRecord


def draw(record: RunRecord, circuit: Circuit) -> str:
    """The circuit of `record` as a standalone SVG."""
    from acdc_pipeline.graph.draw import circuit_svg

    spec = record.spec
    return circuit_svg(circuit, f"{spec.task} in {spec.model}, threshold {spec.method.threshold:g}")
