"""A metric of one's own in the form of the built-in ones, with its results checked."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.metrics import Metric, MetricAnswers, MetricInputs
from acdc_pipeline.specs.own_metric import Metric as OwnMetric

_GRADIENT_FREE = "a method without gradients: acdc, exact, node-exact"


def built_in_form(own: OwnMetric) -> Metric:
    """Return `own` as a metric of many circuits, whose function is called once for each.

    Its score raises InvalidInput where the function returns something else than one finite number
    per prompt, or, where a gradient is taken, something that does not depend on its input
    differentiably.
    """
    return Metric(
        score=partial(_score, own),
        higher_is="worse" if own.lower_is_better else "better",
        needs_incorrect=False,
        reads=own.uses,
    )


def _score(own: OwnMetric, inputs: MetricInputs) -> Float[Tensor, "*state answer"]:
    outputs = inputs.circuit
    states = outputs.reshape(-1, *outputs.shape[-2:])
    values = [_values(own, _call(own, state, inputs), state) for state in states]
    found = torch.stack(values).reshape(outputs.shape[:-1])
    if not bool(found.isfinite().all()):
        prompt = int((~found.isfinite()).nonzero()[0, -1])
        value = float(found.reshape(-1, found.shape[-1])[:, prompt].sum())
        raise _refused(own, f"is {value} for prompt {prompt + 1}", "a finite number per prompt")
    if outputs.requires_grad:
        if not found.requires_grad:
            raise _refused(
                own,
                "has no gradient, which this method needs",
                f"a value that is differentiable by the {own.uses}",
                f"write it without argmax, detach or comparisons, or choose {_GRADIENT_FREE}",
            )
        outputs.register_hook(partial(_check_gradient, own))
    return found


def _call(own: OwnMetric, outputs: Float[Tensor, "answer vocab"], inputs: MetricInputs) -> Any:
    """Call the function with copies: what it writes into them must not change what others read."""
    answers = MetricAnswers(inputs.correct.clone(), inputs.incorrect.clone(), inputs.model.clone())
    return own.function(outputs.clone(), answers)


def _values(
    own: OwnMetric, returned: Any, outputs: Float[Tensor, "answer vocab"]
) -> Float[Tensor, " answer"]:
    """Return what the function returned as numbers of the precision of its input."""
    allowed = f"a tensor of shape ({len(outputs)},): one number per prompt"
    if not isinstance(returned, Tensor):
        raise _refused(own, f"returned a {type(returned).__name__}", allowed)
    if returned.shape != outputs.shape[:1]:
        raise _refused(own, f"returned a tensor of shape {tuple(returned.shape)}", allowed)
    if returned.is_complex():
        raise _refused(own, "returned complex numbers", allowed)
    return returned.to(outputs.device, outputs.dtype)


def _check_gradient(own: OwnMetric, gradient: Float[Tensor, "*shape"]) -> None:
    if not bool(gradient.isfinite().all()):
        raise _refused(
            own,
            "has a gradient that is not finite",
            "finite gradients",
            f"keep away from points such as sqrt(0) and log(0), or choose {_GRADIENT_FREE}",
        )


def no_gradient_anywhere(metric: str) -> InvalidInput:
    """The error for a metric whose gradient was 0 wherever a method took it."""
    return InvalidInput(
        f"'{metric}' has gradient 0 wherever this method takes it, so that no edge gets a score",
        field="metric",
        fix=f"choose another metric, or {_GRADIENT_FREE}",
    )


def _refused(own: OwnMetric, problem: str, allowed: str, fix: str | None = None) -> InvalidInput:
    return InvalidInput(
        f"'{own.key}' {problem}", where="metric", field=own.name, allowed=allowed, fix=fix
    )
