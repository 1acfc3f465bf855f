"""What makes a result mean little: said beside it, for nothing else would show it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from acdc_pipeline.errors import PromptError
from acdc_pipeline.graph import Circuit
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.specs import RunSpec, SearchMethod, circuit_method

# At or below this share of right answers, there is hardly a behaviour to find a circuit of.
RARELY_RIGHT = 0.1

DEVIATIONS = 2.0
"""Standard deviations of the binomial by which a forced choice has to exceed that of guessing."""


def doubts_about_prompts(run: RunSpec, prompts: PromptSet) -> list[str]:
    """That some pairs have two equal sides, where the second side is what removed edges carry.

    Raises:
        PromptError: all have, so that removing edges would change nothing.
    """
    equal = prompts.rows_with_equal_sides
    if not equal or circuit_method(run.method).ablation != "corrupted":
        return []
    if len(equal) == len(prompts):
        raise PromptError(
            "the clean and the corrupted side are equal in every pair",
            where=f"task '{run.task}'",
            fix="change on the corrupted side what the answer depends on, or use --ablation zero",
        )
    return [
        f"clean and corrupted side are equal in {len(equal)} of {len(prompts)} pairs "
        f"(the first: pair {equal[0] + 1}); no edge matters there"
    ]


def doubts_about_result(
    run: RunSpec, circuit: Circuit, prompts: PromptSet, metrics: Mapping[str, float]
) -> list[str]:
    """That the model itself fails at the task, or that nothing of the circuit is left."""
    out = _doubts_about_model(prompts, metrics, "for this circuit to explain")
    if not circuit.live_edges:
        method = circuit_method(run.method)
        if isinstance(method, SearchMethod):
            cause, advice = f"at threshold {method.threshold:g} no", "try a lower --threshold"
        else:
            cause, advice = "so small that no", "try a larger --share"
        out.append(f"the circuit is empty: {cause} path from input to logits is left; {advice}")
    return out


def doubts_about_profile(prompts: PromptSet, metrics: Mapping[str, float]) -> list[str]:
    """That corrupted ablation does nothing on some pairs, or that the model fails at the task."""
    equal = prompts.rows_with_equal_sides
    out = []
    if equal:
        out.append(
            f"clean and corrupted side are equal in {len(equal)} of {len(prompts)} pairs "
            f"(the first: pair {equal[0] + 1}); ablation by the corrupted side does nothing there"
        )
    return out + _doubts_about_model(prompts, metrics, "that heads could be part of")


def guessing(prompts: PromptSet) -> float:
    """The forced choice of a model that guesses, 0 to 1: correct answers among those that count.

    Of one correct and one incorrect answer it is 0.5. It says nothing where there are no incorrect
    ones.
    """
    shares = [
        len(correct) / (len(correct) + len(incorrect))
        for correct, incorrect in zip(prompts.correct, prompts.incorrect, strict=True)
    ]
    return sum(shares) / len(shares)


def _doubts_about_model(
    prompts: PromptSet, metrics: Mapping[str, float], for_what: str
) -> list[str]:
    """That the whole model fails: by forced choice, or by first tokens where that does not exist.

    A model that prefers " the" to every name may still know the right name, so first tokens say
    little where there are incorrect answers to compare with.
    """
    chosen = metrics.get("model_forced_choice")
    if chosen is None:
        accuracy = metrics["model_accuracy"]
        if accuracy > RARELY_RIGHT:
            return []
        fails = f"answers only {accuracy:.1%} of the prompts right"
    else:
        chance = guessing(prompts)
        spread = math.sqrt(chance * (1 - chance) / len(prompts.correct))
        if chosen >= min(1.0, chance + DEVIATIONS * spread):
            return []
        fails = (
            f"puts a correct answer above every incorrect one in only {chosen:.1%} of the prompts, "
            f"where guessing gives {chance:.1%} (its first token is right in "
            f"{metrics['model_accuracy']:.1%})"
        )
    return [f"the whole model {fails}; there is hardly a behaviour {for_what}"]
