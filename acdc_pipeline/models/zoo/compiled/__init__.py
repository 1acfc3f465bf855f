"""Models whose circuit is known by construction: weights set by hand, not trained.

`python -m acdc_pipeline.models.zoo.compiled --out DIR` writes their directories again.
"""

from acdc_pipeline.models.zoo.compiled.truth import (
    found_by_acdc,
    list_compiled,
    task_of,
    true_circuit,
    truth,
)

__all__ = ["found_by_acdc", "list_compiled", "task_of", "true_circuit", "truth"]
