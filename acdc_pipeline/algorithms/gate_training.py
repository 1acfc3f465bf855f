"""Hard concrete gates trained by gradient descent until the objective says which are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms.hard_concrete import sample_gates
from acdc_pipeline.algorithms.question import Question
from acdc_pipeline.engine import Bench

# Gates start open more often than not, so that the circuit begins near the whole model.
_START = 2.0


def train_gates(
    question: Question,
    gradient: Callable[[Float[Tensor, " gate"]], Float[Tensor, " gate"]],
    n_gates: int,
    *,
    steps: int,
    learning_rate: float,
    penalty: Callable[[Float[Tensor, " gate"], float], Float[Tensor, ""]],
    ascending: Sequence[Float[Tensor, ""]] = (),
) -> Float[Tensor, " gate"]:
    """log α of every gate after `steps` of Adam on the expected objective plus `penalty`.

    Each step draws every gate once, for all prompts.

    Args:
        question: what is asked; its seed draws the gates.
        gradient: of the objective by the gates, at some values of theirs.
        n_gates: how many there are.
        steps: of the optimiser.
        learning_rate: of Adam, for all that is learnt.
        penalty: of log α and the share of steps done: what gates cost by being open.
        ascending: parameters of the penalty that Adam moves up where it moves gates down.
    """
    bench = question.bench
    generator = torch.Generator().manual_seed(question.seed)
    start = torch.full((n_gates,), _START, dtype=bench.weights.dtype, device=bench.weights.device)
    log_alpha = start.requires_grad_()
    groups: list[dict[str, object]] = [{"params": [log_alpha]}]
    if ascending:
        groups.append({"params": list(ascending), "maximize": True})
    optimiser = torch.optim.Adam(groups, lr=learning_rate)
    with torch.enable_grad():
        for step in range(steps):
            gates = sample_gates(log_alpha, generator)
            slope = gradient(gates.detach())
            loss = (gates * slope).sum() + penalty(log_alpha, step / steps)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            question.advance((step + 1) / steps)
    return log_alpha.detach()


def prompts_whose_tape_fits(bench: Bench, memory: int) -> int:
    """How many prompts can be gone back through at once: all layers of them are held.

    By layer: what each slot of each head reads (raw, normalised, and the sum it came from), its
    queries, keys, values and patterns, what it writes twice, and the hidden units of the MLP.
    """
    block = bench.weights.blocks[0]
    n_heads, d_model, d_head = block.attn.w_q.shape
    d_mlp = 0 if block.mlp is None else block.mlp.w_in.shape[1]
    pos = bench.layout.pos
    layer = n_heads * (11 * d_model + 10 * d_head + 5 * pos) + 6 * d_model + 6 * d_mlp
    per_prompt = pos * len(bench.weights.blocks) * layer * bench.ablated.element_size()
    return max(1, min(bench.layout.batch, memory // per_prompt))
