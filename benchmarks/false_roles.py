"""How often heads that learnt nothing are given roles: models of random weights, profiled.

    python -m benchmarks.false_roles [--models 10] [MODEL …]

Each MODEL lends its shape and the size of its weights; every matrix is drawn anew. A head has a
role when its score crosses a line and exceeds its nulls, which random weights exceed once in 100
times: a table says how often each role is given, of all heads of each shape. Roles on prompts of a
task are measured on IOI where the tokenizer knows its words.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

from acdc_pipeline.heads.model_profile import Amounts, profile_model
from acdc_pipeline.heads.random_weights import random_weights
from acdc_pipeline.heads.roles import assign_roles
from acdc_pipeline.heads.task_profile import profile_task
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import find_task

SHAPES = ("zoo:attn-2l", "zoo:attn-4l", "zoo:gpt2-4l-s0", "zoo:llama-4l", "zoo:neox-4l")

AMOUNTS = Amounts(period=16, sequences=8, tokens=64)
PROMPTS = 8
MEMORY = 1 << 30

# Far from the seeds of the nulls themselves.
_FIRST_SEED = 1_000_000


def false_roles(model: LoadedModel, seed: int) -> Counter[str]:
    """The roles that heads of one random model of the shape are given."""
    assert model.tokenizer is not None, "zoo models have a tokenizer"
    weights = random_weights(model.weights, _FIRST_SEED + seed)
    profile = profile_model(
        weights, model.tokenizer, bos=None, amounts=AMOUNTS, seed=seed, memory=MEMORY
    )
    task = find_task("ioi")
    prompts = make_prompts(task, model.tokenizer, n=PROMPTS, seed=seed)
    on_task = profile_task(weights, task, prompts, None, seed=seed, memory=MEMORY)
    return Counter(role.role for role in assign_roles(on_task.measurements(profile)))


def report(names: Sequence[str], models: int) -> list[str]:
    """A line for each shape: heads, and the share of them with each role that was given."""
    lines = []
    for name in names:
        model = load_model(name, device="cpu")
        given: Counter[str] = Counter()
        for seed in range(models):
            given += false_roles(model, seed)
        heads = models * len(model.weights.blocks) * model.weights.topology.n_heads
        told = ", ".join(f"{role} {100 * n / heads:.2f} %" for role, n in given.most_common())
        lines.append(f"{name}: {models} models, {heads} heads: {told or 'no role'}")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("shapes", nargs="*", default=SHAPES)
    parser.add_argument("--models", type=int, default=10)
    asked = parser.parse_args()
    for line in report(asked.shapes, asked.models):
        print(line, flush=True)
