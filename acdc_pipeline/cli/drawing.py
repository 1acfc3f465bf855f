"""The drawing of a run's circuit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.words import number, percent

if TYPE_CHECKING:
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.store import RunRecord


def draw(record: RunRecord, circuit: Circuit) -> str:
    """The circuit of `record` as a standalone SVG that says what it is."""
    from acdc_pipeline.cli.views.run_names import method_name
    from acdc_pipeline.graph.draw import circuit_svg
    from acdc_pipeline.specs import circuit_method

    spec, metrics = record.spec, record.metrics
    return circuit_svg(
        circuit,
        title=f"{spec.task} in {spec.model}",
        subtitle=f"{method_name(spec.method)}, {circuit_method(spec.method).ablation} ablation. "
        f"KL to the whole model {number(metrics.get('kl'))}, "
        f"accuracy {percent(metrics.get('accuracy'))} "
        f"(whole model {percent(metrics.get('model_accuracy'))}), "
        f"forced choice {percent(metrics.get('forced_choice'))} "
        f"(whole model {percent(metrics.get('model_forced_choice'))}). Run {spec.run_id()[:8]}.",
    )
