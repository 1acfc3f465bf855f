"""Scores by prompt for the bootstrap filter of a method whose scores are means over prompts."""

from __future__ import annotations

from collections.abc import Callable

import torch

from acdc_pipeline.algorithms import ScoringProblem, score_edges
from acdc_pipeline.algorithms.scoring import EdgeScores
from acdc_pipeline.algorithms.sign_filter import SignFilter, rows_held
from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.resample import can_take_rows, take_rows
from acdc_pipeline.errors import InvalidInput, OutOfMemoryBudget
from acdc_pipeline.evaluation import differentiable_objective_for, objective_for
from acdc_pipeline.specs.methods.scored import EdgeMeanMethod


def filtered_scores(
    bench: Bench,
    method: EdgeMeanMethod,
    seed: int,
    memory: int,
    advance: Callable[[float], None],
) -> EdgeScores:
    """The score of every edge by `method`, and 0 where its sign is not certain.

    Each prompt is scored alone, under the ablation that all of them share.

    Raises:
        InvalidInput: prompts cannot be scored one by one.
        OutOfMemoryBudget: their scores do not fit into `memory`.
    """
    topology, n_prompts = bench.weights.topology, bench.layout.batch
    if not can_take_rows(bench):
        raise InvalidInput(
            "prompts are scored one by one, which needs their activations in memory and answers "
            "of one token",
            field="sign_filter",
            fix="leave it out, or give a larger --memory",
        )
    held = 4 * rows_held(n_prompts, method.sign_filter) * topology.n_edges
    if held > memory:
        raise OutOfMemoryBudget(
            f"the scores of {n_prompts} prompts need {held / 1e6:,.1f} MB, the budget is "
            f"{memory / 1e6:,.1f} MB",
            fix="use fewer prompts or resamples (--sign-filter), or a larger memory budget "
            "(--memory, or memory of the profile)",
        )
    signs = SignFilter(n_prompts, topology.n_edges, method.sign_filter, seed)
    for prompt in range(n_prompts):
        part = take_rows(bench, [prompt])
        problem = ScoringProblem(
            bench=part,
            objective=objective_for(part, method.metric),
            differentiable=differentiable_objective_for(part, method.metric),
            seed=seed,
            memory=memory - held,
            advance=lambda _: None,
        )
        scores = torch.tensor(list(score_edges(problem, method).values()), dtype=torch.float64)
        signs.add(prompt, scores, float(len(part.layout.answer_row)))
        advance((prompt + 1) / n_prompts)
    return dict(zip(topology.edges, signs.certain().tolist(), strict=True))
