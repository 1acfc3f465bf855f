"""The true circuit of a compiled model with its spans, as the published circuit of its task."""

from __future__ import annotations

from acdc_pipeline.graph import Topology
from acdc_pipeline.models.zoo.compiled.truth import list_compiled, task_of, truth_with_spans
from acdc_pipeline.specs.circuit_reference import ReferenceCircuit
from acdc_pipeline.specs.names import Ablation


def reference_with_spans(
    model: str, task: str, ablation: Ablation, topology: Topology
) -> ReferenceCircuit | None:
    """Return `truth_with_spans` as the circuit to compare with.

    None unless `model` is a compiled model, `task` is its task, `ablation` is the one that the
    truth holds under, and `topology` has every span of it.

    Args:
        model: reference of the model, as `zoo:compiled-cancel`.
        task: name of the task.
        topology: graph of the run.
    """
    name = model.removeprefix("zoo:")
    if not model.startswith("zoo:") or name not in list_compiled():
        return None
    if task != task_of(name) or ablation != "corrupted":
        return None
    reference = ReferenceCircuit(
        model=model,
        source="known by construction: the weights were set by hand",
        ablation=ablation,
        edges=tuple(sorted(map(str, truth_with_spans(name)))),
    )
    return reference if reference.fits_spans(topology) else None
