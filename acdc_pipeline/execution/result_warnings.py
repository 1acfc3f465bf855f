"""Warnings stored with a result: reasons why it may mean little."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import torch

from acdc_pipeline.errors import PromptError
from acdc_pipeline.graph import Circuit
from acdc_pipeline.graph.selection import Selection
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.prompts.span_tokens import UNDECLARED
from acdc_pipeline.specs import RunSpec, SearchMethod, circuit_method
from acdc_pipeline.text import format_number

# Below or at this accuracy the model hardly has the behaviour.
RARELY_RIGHT = 0.1

DEVIATIONS = 2.0
"""Binomial standard deviations by which a forced choice must exceed that of guessing."""


def prompt_warnings(run: RunSpec, prompts: PromptSet) -> list[str]:
    """Warn of pairs with equal sides, where removed edges carry those, and of pairs without spans.

    Raises:
        PromptError: all sides are equal, so that removing edges would change nothing.
    """
    spanless = _without_spans(prompts) if run.positions == "spans" else []
    equal = prompts.prompts_with_equal_sides
    if not equal or circuit_method(run.method).ablation != "corrupted":
        return spanless
    if len(equal) == prompts.n_prompts:
        raise PromptError(
            "the clean and the corrupted side are equal in every pair",
            where=f"task '{run.task}'",
            fix="change on the corrupted side what the answer depends on, or use ablation zero",
        )
    return _equal_sides(prompts, "no edge matters there") + spanless


def circuit_warnings(
    run: RunSpec, circuit: Circuit, prompts: PromptSet, metrics: Mapping[str, float]
) -> list[str]:
    """Warn if the model itself fails at the task, or if the circuit is empty."""
    warnings = _model_warnings(prompts, metrics, "for this circuit to explain")
    if not circuit.live_edges:
        method = circuit_method(run.method)
        if isinstance(method, SearchMethod):
            cause, advice = f"at threshold {method.threshold:g} no", _lower(method, metrics)
        else:
            cause, advice = "so small that no", _larger_size(circuit, method.selection)
        warnings.append(
            f"the circuit is empty: {cause} path from input to logits is left; {advice}"
        )
    return warnings


def _lower(method: SearchMethod, metrics: Mapping[str, float]) -> str:
    """Return the advice to lower the threshold, after what removing every edge costs."""
    advice, name = "try a lower --threshold, or --faithful 0.9", method.metric
    whole = 0.0 if name == "kl" else metrics.get(f"model_{name}")
    ablated = metrics.get(f"ablated_{name}")
    if whole is None or ablated is None:
        return advice
    cost = abs(ablated - whole)
    below = ", less than the threshold" if cost < method.threshold else ""
    return f"removing every edge changes {name} by {format_number(cost)}{below}; {advice}"


def _larger_size(circuit: Circuit, selection: Selection) -> str:
    """Return the advice that names the size from which on the scores give a circuit."""
    least = selection.least_size(circuit.topology, circuit.scores)
    if least is None:
        return "try a larger --share"
    share = math.ceil(1e4 * least / circuit.topology.n_edges) / 1e4
    return f"with these scores it has edges from --edges {least} (--share {share:g}) on"


def profile_warnings(prompts: PromptSet, metrics: Mapping[str, float]) -> list[str]:
    """Warn if corrupted ablation has no effect on some pairs, or if the model fails at the task."""
    warnings = _equal_sides(prompts, "ablation by the corrupted side does nothing there")
    return warnings + _model_warnings(prompts, metrics, "that heads could be part of")


def guessing(prompts: PromptSet) -> float:
    """Return the forced choice of a model that guesses: the share of correct answers, 0 to 1.

    With one correct and one incorrect answer it is 0.5.
    """
    if prompts.whole is not None:
        every = Counter(prompts.whole.question)
        correct = Counter(
            q
            for q, right in zip(prompts.whole.question, prompts.whole.correct, strict=True)
            if right
        )
        return sum(correct[question] / n for question, n in every.items()) / len(every)
    shares = [
        len(correct) / (len(correct) + len(incorrect))
        for correct, incorrect in zip(prompts.correct, prompts.incorrect, strict=True)
    ]
    return sum(shares) / len(shares)


def _equal_sides(prompts: PromptSet, consequence: str) -> list[str]:
    if not (equal := prompts.prompts_with_equal_sides):
        return []
    return [
        f"clean and corrupted side are equal in {len(equal)} of {prompts.n_prompts} pairs "
        f"(the first: pair {equal[0] + 1}); {consequence}"
    ]


def _without_spans(prompts: PromptSet) -> list[str]:
    """Warn of pairs in which no token has a name, where others have some."""
    if (spans := prompts.spans) is None:
        return []
    numbers = [i for i, name in enumerate(spans.names) if name not in UNDECLARED]
    named = torch.isin(spans.index, torch.tensor(numbers, device=spans.index.device)).any(1)
    rows = range(len(named)) if prompts.whole is None else prompts.whole.question
    bare = sorted({pair for pair, has in zip(rows, named.tolist(), strict=True) if not has})
    if not bare or len(bare) == prompts.n_prompts:
        return []
    return [
        f"{len(bare)} of {prompts.n_prompts} pairs name no spans, which others do (the first: pair "
        f"{bare[0] + 1}); `acdc tasks spans FILE` proposes some for every pair"
    ]


def _model_warnings(prompts: PromptSet, metrics: Mapping[str, float], for_what: str) -> list[str]:
    """Warn if the whole model fails, by forced choice, or by accuracy where that does not exist.

    Forced choice is preferred, since a model that puts " the" above every name may still know the
    right name.
    """
    chosen = metrics.get("model_forced_choice")
    if chosen is None:
        accuracy = metrics["model_accuracy"]
        if accuracy > RARELY_RIGHT:
            return []
        fails = f"answers only {accuracy:.1%} of the prompts right"
    else:
        chance = guessing(prompts)
        spread = math.sqrt(chance * (1 - chance) / prompts.n_prompts)
        if chosen >= min(1.0, chance + DEVIATIONS * spread):
            return []
        fails = (
            f"puts a correct answer above every incorrect one in only {chosen:.1%} of the prompts, "
            f"where guessing gives {chance:.1%} (its first token is right in "
            f"{metrics['model_accuracy']:.1%})"
        )
    return [f"the whole model {fails}; there is hardly a behaviour {for_what}"]
