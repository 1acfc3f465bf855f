"""Faithfulness in every metric that a run was measured in, from the numbers that are stored."""

from __future__ import annotations

from collections.abc import Mapping

from acdc_pipeline.specs.names import COUNTED

_BESIDE = ("model_", "ablated_")
"""What stands before the name of a metric that is not the circuit's."""


def faithfulness_of(metrics: Mapping[str, float], metric: str | None) -> float | None:
    """(m(C) - m(∅)) / (m(G) - m(∅)): 1 does what the model does, 0 as little as nothing.

    None where a number is missing or the model is no better than nothing. KL to the model itself
    is 0 and is not stored. As in `evaluation.faithfulness`.

    Args:
        metrics: of a run: `logit_diff`, `model_logit_diff`, `ablated_logit_diff`, ….
        metric: which of them; None, of a run that searched nothing, has no faithfulness.
    """
    if metric is None:
        return None
    circuit, nothing = metrics.get(metric), metrics.get(f"ablated_{metric}")
    whole = 0.0 if metric == "kl" else metrics.get(f"model_{metric}")
    if circuit is None or nothing is None or whole is None or whole == nothing:
        return None
    return (circuit - nothing) / (whole - nothing) + 0.0  # 0, never -0


def faithfulness_by_metric(metrics: Mapping[str, float], first: str) -> dict[str, float]:
    """Faithfulness in every metric that is not a count of answers, `first` before the others.

    Args:
        metrics: as above.
        first: the metric that was searched by.
    """
    names = [name for name in metrics if not name.startswith(_BESIDE) and name not in COUNTED]
    found = {
        name: faithfulness_of(metrics, name)
        for name in sorted(names, key=lambda name: (name != first, name != "kl"))
    }
    return {name: value for name, value in found.items() if value is not None}
