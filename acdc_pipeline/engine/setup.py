"""From a model and its prompts to a search that is ready to remove edges."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.ablation import ablated_outputs
from acdc_pipeline.engine.coupled_search import CoupledSearch
from acdc_pipeline.engine.forward import SourceOutputs, logits_of, run_sources
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.objective import Objective
from acdc_pipeline.engine.search import Search
from acdc_pipeline.errors import OutOfMemoryBudget, PromptError
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.specs.names import Ablation


@dataclass(frozen=True)
class Bench:
    """A model at work on one set of prompts: everything a method measures against.

    Args:
        weights: the model.
        prompts: the prompts, on the model's device.
        layout: how they are flattened.
        clean: the sources' outputs on the clean prompts.
        ablated: what removed edges carry.
        logprobs: the whole model's log-probabilities at the answers.
    """

    weights: TransformerWeights
    prompts: PromptSet
    layout: Layout
    clean: SourceOutputs
    ablated: Float[Tensor, "src batch pos d_model"]
    logprobs: Float[Tensor, "answer vocab"]

    def search(self, objective: Objective, *, memory: int) -> Search | CoupledSearch:
        """A search that starts from the whole model. `memory` bounds its state batches, in bytes.

        Raises:
            OutOfMemoryBudget: what the search always holds is larger than `memory` alone.
        """
        held = 3 * self.ablated.nbytes
        if held > memory:
            raise OutOfMemoryBudget(
                f"{len(self.prompts)} prompts need {held} bytes before the first edge is tried, "
                f"the budget is {memory}",
                fix="use fewer prompts or a larger memory budget",
            )
        kind = CoupledSearch if self.weights.coupled else Search
        return kind(self.weights, self.clean, self.ablated, self.layout, objective, memory - held)


def set_up(weights: TransformerWeights, prompts: PromptSet, ablation: Ablation) -> Bench:
    """Run the model on clean and corrupted prompts, and keep what every method needs.

    Raises:
        PromptError: prompts the model cannot take.
    """
    if (
        weights.blocks[0].attn.direction == "bidirectional"
        and len(set(prompts.lengths.tolist())) > 1
    ):
        raise PromptError(
            "prompts differ in length, and bidirectional attention would see the padding",
            fix="use prompts of one length with this model",
        )
    prompts = prompts.to(weights.device)
    layout = Layout(
        batch=len(prompts),
        pos=prompts.clean.shape[1],
        answer_row=prompts.answer_row,
        answer_pos=prompts.answer_pos,
    )
    with torch.no_grad():
        clean = run_sources(weights, prompts.clean)
        ablated = ablated_outputs(weights, prompts.corrupted, prompts.lengths, ablation)
        final = layout.at_answers(clean.final.flatten(0, 1))
        logprobs = logits_of(weights, final).log_softmax(-1)
    return Bench(weights, prompts, layout, clean, ablated, logprobs)
