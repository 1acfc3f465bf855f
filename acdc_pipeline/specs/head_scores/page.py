"""The page about scores and roles of heads, from their definitions.

`python -m acdc_pipeline.specs.head_scores.page docs/head-scores.md` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from acdc_pipeline.specs.head_scores import (
    EVIDENCE,
    NULLS,
    ROLES,
    SCORES,
    Criterion,
    RoleDefinition,
    ScoreDefinition,
)

_BEGINNING = """\
# What heads do: scores and roles

`acdc heads MODEL` and the method `profile` of sweeps score every attention head of a model, and
say as what each behaves. This page is made from the definitions in
`acdc_pipeline/specs/head_scores/` (`python -m acdc_pipeline.specs.head_scores.page
docs/head-scores.md`).

Row vectors; $A$ is the attention after softmax, $W_{OV} = W_V W_O$, $W_{QK} = W_Q W_K^\\top$,
with the linear part of the norms folded in; $E'$ is the token embedding after the first MLP, $W_E
+ \\mathrm{MLP}_0(W_E)$, and $W_E$ itself for heads of layer 0. Under grouped-query attention a
query head has its own copy of its group's key and value. Where a norm stands behind attention
(Gemma 2 and 3, OLMo 2), what a head writes is its share of the normalised sum. Random tokens are
a beginning-of-text token and then $r_1 \\dots r_n$ twice, all $r$ different, $n = 50$ unless half
of the model's context is shorter than both copies. The *answer logit* of an output is its logit
of the correct answers less that of the incorrect ones, before any soft cap; where a prompt has no
incorrect answers, the mean over the vocabulary takes their place. Direct effects keep the scale
of the final norm frozen.

A score that a head does not have is missing, not zero: a head that writes nothing copies nothing
and suppresses nothing. Means have a 95 % bootstrap interval over their samples. Everything that
is drawn comes from the run's seed.

## Nulls

"""

_ROLES = """\
## Roles

A head has a role when its score crosses a line *and* exceeds the 99th percentile of each of the
score's nulls, those that it names above. Roles are not exclusive. They say "behaves as … on …",
never "is". The evidence is {evidence}, weakest first. *Share* stands for the score divided by the
whole model's answer logit on the same prompts; a model that does not answer has none.

| role | needs | also evidence | why there |
|---|---|---|---|
"""


def page_text() -> str:
    """The whole page, in Markdown."""
    parts = [_BEGINNING]
    parts += [f"- **{kind}**: {meaning}.\n" for kind, meaning in NULLS.items()]
    for family in dict.fromkeys(score.family for score in SCORES.values()):
        parts.append(f"\n## Scores: {family}\n")
        parts += [_score(score) for score in SCORES.values() if score.family == family]
    parts.append("\n" + _ROLES.format(evidence=", ".join(EVIDENCE)))
    parts += [_role(role) for role in ROLES.values()]
    return "".join(parts)


def _score(score: ScoreDefinition) -> str:
    nulls = ", ".join(score.nulls) or "none"
    reach = f"{_end(score.low, '−∞')} to {_end(score.high, '∞')}"
    return (
        f"\n### `{score.key}`: {score.title}\n\n"
        f"{score.claim}\n\n"
        f"$${score.formula}$$\n\n"
        f"Sign: {score.sign}. Range: {reach}. Null: {nulls}. "
        f"One for each {score.per}. Source: {score.source}.\n"
    )


def _end(value: float | None, endless: str) -> str:
    return endless if value is None else f"{value:g}".replace("-", "−")


def _role(role: RoleDefinition) -> str:
    name = f"{role.title}{' (IOI-like tasks)' if role.tasks != 'every task' else ''}"
    return f"| {name} | {_lines(role.required)} | {_lines(role.supporting)} | {role.reason} |\n"


def _lines(criteria: Iterable[Criterion]) -> str:
    return "; ".join(
        f"{_sign(criterion)}`{criterion.score}` ≥ {criterion.least:g}"
        f"{' share' if 'share' in criterion.of else ''} ({criterion.evidence})"
        for criterion in criteria
    )


def _sign(criterion: Criterion) -> str:
    return "−" if criterion.of.startswith("minus") else ""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page_text(), encoding="utf-8")
