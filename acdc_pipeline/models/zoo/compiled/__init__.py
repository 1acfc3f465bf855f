"""Models whose circuit is known by construction: their weights were set by hand.

In a checkout, `python -m benchmarks.zoo.compiled --out DIR` writes their directories.
"""

from acdc_pipeline.models.zoo.compiled.reference import reference_with_spans
from acdc_pipeline.models.zoo.compiled.truth import (
    alternatives,
    found_by_acdc,
    head_kinds,
    list_compiled,
    task_of,
    true_circuit,
    truth,
    truth_with_spans,
)

__all__ = [
    "alternatives",
    "found_by_acdc",
    "head_kinds",
    "list_compiled",
    "reference_with_spans",
    "task_of",
    "true_circuit",
    "truth",
    "truth_with_spans",
]
