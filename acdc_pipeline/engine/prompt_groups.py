"""Prompts in groups of a fixed size, each of which is computed alone.

The rounding of a matrix product depends on its size. A value summed over groups that are computed
one by one, in their order, is the same to the bit wherever the groups are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from acdc_pipeline.engine.bench import (
    Bench,
    check_attention,
    layout_of,
    mean_outputs,
    plan_memory,
    set_up,
    with_spans,
)
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts.prompt_set import PromptSet, pick_prompts
from acdc_pipeline.specs.names import Ablation

PROMPTS_PER_GROUP = 8
"""Prompts of a group; the last one of a run may have fewer. Another number rounds otherwise."""


def count_groups(n_prompts: int) -> int:
    """The number of groups that `n_prompts` prompts are divided into."""
    return -(-n_prompts // PROMPTS_PER_GROUP)


def groups_of_worker(n_groups: int, worker: int, workers: int) -> range:
    """The groups of one of `workers`, which differ in their number by at most one."""
    return range(n_groups * worker // workers, n_groups * (worker + 1) // workers)


def set_up_groups(
    weights: TransformerWeights,
    prompts: PromptSet,
    ablation: Ablation,
    wanted: Sequence[int],
    memory: int | None = None,
) -> list[Bench]:
    """Set up the `wanted` groups of `prompts`, as `set_up` does for all prompts together.

    Mean ablation averages over all prompts, those of other groups included.

    Args:
        memory: if the outputs of all `wanted` groups take more bytes, they are kept in a `Spill`;
            None never does that.

    Raises:
        PromptError: the model cannot process the prompts.
    """
    check_attention(weights, prompts)
    parts = split_groups(prompts)
    if memory is not None:
        graph = with_spans(weights, prompts)
        held = sum(plan_memory(graph, layout_of(parts[number])).sources for number in wanted)
        memory = 0 if held > memory else None
    if ablation != "mean":
        return [set_up(weights, parts[n], ablation, memory=memory) for n in wanted]
    mean = mean_outputs(weights, parts)
    benches = []
    for number in wanted:
        bench = set_up(weights, parts[number], "zero", memory=memory)
        benches.append(replace(bench, ablated=mean.expand_as(bench.ablated)))
    return benches


def split_groups(prompts: PromptSet) -> list[PromptSet]:
    """Divide `prompts` into groups, in their order. With whole answers, a prompt has all its rows.

    All groups are padded to the same length.
    """
    numbers = range(prompts.n_prompts)
    return [
        pick_prompts(prompts, numbers[start : start + PROMPTS_PER_GROUP])
        for start in range(0, len(numbers), PROMPTS_PER_GROUP)
    ]
