"""Of which heads a profile stores patterns."""

from __future__ import annotations

import numpy as np

from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.examples import MOST_HEADS
from acdc_pipeline.heads.profile import shown_heads
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.heads.values import HeadValues


def test_patterns_are_of_heads_with_a_role_and_then_of_the_largest_effects_in_any_layer():
    generator = np.random.default_rng(0)
    names = ("direct_effect", "corrupted_ablation", "query_effect", "mean_ablation")
    means = {name: generator.normal(size=(9, 12)) for name in names}
    means["query_effect"][6:] = np.nan  # of the heads before the last that contribute directly
    means["mean_ablation"] *= 100  # is none of the effects
    values = [HeadValues(name, mean, task="ioi") for name, mean in means.items()]
    having = generator.choice(108, 60, replace=False).tolist()

    def effect(index: int) -> float:
        place = divmod(index, 12)
        return max(abs(means[n][place]) for n in names[:3] if not np.isnan(means[n][place]))

    for held in (having, having[:20]):
        others = sorted(set(range(108)) - set(held), key=effect, reverse=True)
        wanted = [*sorted(held, key=effect, reverse=True), *others][:MOST_HEADS]
        roles = [a_role(head(*divmod(index, 12))) for index in held for _ in range(2)]
        found = shown_heads(roles, values)
        assert found == [head(*divmod(index, 12)) for index in sorted(wanted)]


def a_role(node: Node) -> HeadRole:
    return HeadRole(node, "induction", None, ("attention",), "induction@1", 1.0, 1, 108)
