"""Backup: what a head does once the main heads of a kind write nothing.

Wang et al. found backups of name movers; the same question is asked here of every kind. The main
heads are those that have the role, and are set to zero. Norms after them stay as they were, so that
a score is what the head itself does differently.
"""

from __future__ import annotations

from typing import Literal

from acdc_pipeline.specs.head_scores.definition import ScoreDefinition
from acdc_pipeline.specs.head_scores.random_tokens import WANG

_SOURCE = f"{WANG}, section 3.4 (backup name movers); McGrath et al. 2023, The Hydra Effect, \
arXiv 2307.15771"


def _of_attention(kind: str, heads: str) -> ScoreDefinition:
    return ScoreDefinition(
        name=f"backup_{kind}",
        version=1,
        title=f"Backup of {heads}",
        family="backup",
        claim=f"How much more attention of the kind the head has while the {heads} write nothing.",
        formula=rf"s_\text{{{heads}}}(h \mid M \leftarrow 0) - s_\text{{{heads}}}(h)",
        source=_SOURCE,
        sign="higher: takes over more; negative: it needed them",
        low=-1.0,
        high=1.0,
        nulls=("other heads",),
    )


def _of_direct_effect(
    kind: str, heads: str, where: str, per: Literal["model", "task"]
) -> ScoreDefinition:
    return ScoreDefinition(
        name=f"backup_{kind}",
        version=1,
        title=f"Backup of {heads}",
        family="backup",
        claim=f"How much more the head adds, directly, to the answer logit {where} while the "
        f"{heads} write nothing.",
        formula=r"\mathrm{DE}(h \mid M \leftarrow 0) - \mathrm{DE}(h)",
        source=_SOURCE,
        sign="higher: takes over more; negative: it needed them",
        low=None,
        high=None,
        nulls=("other heads",),
        per=per,
    )


SCORES = (
    _of_direct_effect("induction", "induction heads", "on repeated random tokens", "model"),
    _of_attention("previous_token", "previous-token heads"),
    _of_attention("duplicate_token", "duplicate-token heads"),
    _of_direct_effect("mover", "movers", "on a task's prompts", "task"),
)
