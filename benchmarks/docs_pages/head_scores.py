"""The page about scores and roles of heads, from their definitions.

`python -m benchmarks.docs_pages.head_scores docs/head-scores.md` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from acdc_pipeline.specs.head_scores import (
    EVIDENCE,
    NULLS,
    OUTLIER,
    ROLES,
    SATURATED,
    SCORES,
    TELLING_PERIOD,
    Criterion,
    RoleDefinition,
    ScoreDefinition,
)
from benchmarks.docs_pages.ordinary_text import text_section

_BEGINNING = """\
# What heads do: scores and roles

`acdc heads MODEL` and the method `profile` of sweeps score every attention head of a model, and
say as what each behaves. This page is made from the definitions in
`acdc_pipeline/specs/head_scores/` (`python -m benchmarks.docs_pages.head_scores
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

With attention sinks the weights of a query sum to less than 1; entropy and mean distance are those
of the weights divided by their sum. In differential attention (DiffLlama) the attention of a head
is the difference of its two patterns, whose weights may be negative: scores of attention are of
these weights with their signs, entropy and mean distance of the absolute weights divided by their
sum, and pictures of patterns show negative weights as 0.

$W_{OV}$ and $W_{QK}$ leave out what only scales an output (norms of values, a gate of a whole head)
and what depends on positions alone (rotation, ALiBi), so that QK circuits compare contents. Where
projections are clipped, where values have a gate for every dimension, and where queries, keys or
values are computed from a latent, these matrices do not exist; nor does $W_{QK}$ where a head has
two queries and two keys. Scores of such a circuit are missing, and a warning of the profile gives
the reason.

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
whole model's answer logit on the same prompts; a model that does not answer has none, and one does
not whose mean answer logit is within three standard errors of zero.

**Heads that stand out.** Where a role has a second number, that lower line is enough for a head
that stands out from the other heads of its model: its robust z-score, (value − median) / (1.4826 ·
MAD) over the heads that are below the lower line or near the nulls, is above {outlier:g} (Iglewicz
& Hoaglin 1993). It has to be twice as far above the mean of each null as the null's 99th percentile
is. Such heads may be half of all at most. Their pages and `acdc heads` say which line they miss.
Lines drawn on models that do one thing well are too high for models that do many: known induction
heads of one small model have 0.36 to 0.37 of attention where its other heads have 0.06.

**Who moves an answer.** A direct effect shows neither that a head looks at the answer, nor that the
model needs it; and a head that brings the answer for later layers has none. A *mover* is told by
`answer_reading`, an intervention on what it reads at the answer alone. Where it is a name mover as
well, it has that role, and where it is a direct contributor, it is not called one. A direct effect
of which neither zero nor mean ablation changes half is *made up for*: later heads and MLPs answer
(McGrath et al. 2023, The Hydra Effect, arXiv 2307.15771; Rushing & Nanda 2024, arXiv 2402.15390).
Query effects and backups are about direct contributors. Roles of older profiles that say *mover*
and rest on `direct_effect` are read as direct contributors.

**Nulls past a line.** Where a null of a score between 0 and 1 reaches its line (a context of few
positions, a vocabulary of few tokens), the line moves above the null by a third of what is left up
to 1, and nothing else counts; where a null reaches {saturated:g}, no head has the role. Warnings
name such scores, and contexts that hold fewer than {period} random tokens twice: with n of them a
head that looks everywhere alike gives each position about 1/(1.5 n).

**Near misses.** For heads without a role `acdc heads`, its JSON and the wiki name scores that come
near one, with line and null: those of at least half of the line that exceed the null and do not
stand out; those that cross the usual line and do not exceed the null; and a model's best score from
a quarter of the line on, where no head has the role.

**How often chance has a role.** In models of random weights a score exceeds its null once in 100
times, and its line less often: `python -m benchmarks.false_roles` counts roles in random models of
several shapes, each role in at most 1 % of heads.

| role | needs | also evidence | why there |
|---|---|---|---|
"""

_WHY = """
## Why a head attends

A profile decomposes the attention from the query of the first typical text of each head
([data-formats.md](data-formats.md), `attribution`); the wiki shows it under *Why it looks there*.
With the scales of norms frozen at the run, queries and keys are affine in the stream, and an
attention score $s(q, k)$ is a sum over pairs of what the query reads and what the key reads
(Elhage et al. 2021, A Mathematical Framework for Transformer Circuits, on QK circuits; Kamath et
al. 2025, Tracing Attention Computation Through Feature Interactions: QK attributions, with features
in place of nodes). Softmax is blind to what is added to all scores of a query, so that what is
decomposed is a contrast, the score of one key above the mean of the other $n - 1$ keys seen:

$$C = s(q, k^*) - \\frac{1}{n-1} \\sum_{k \\ne k^*} s(q, k) =
\\frac{1}{n-1} \\sum_{k \\ne k^*} \\ln \\frac{A[q, k^*]}{A[q, k]} = \\sum_{i, j} C_{ij}$$

$$C_{ij} = \\frac{1}{\\sqrt{d}} \\sum_k c_k \\; q_i R_q \\cdot (k_j(k) - \\overline{k_j}) R_k,\\quad
c_{k^*} = 1,\\; c_{k \\ne k^*} = \\frac{-1}{n-1}$$

$q_i$ and $k_j(k)$ are what sources $i$ and $j$ add to the query and to the key at $k$; $R$ rotates
(1 without rotation). $k^*$ is the key with the most attention of those that the score is about; of
all, where the score is about none or another key has more than twice as much. The mean is uniform:
weighted by attention it would set a head that rests on the first token against that token alone.

Sources are `token` and `position` (both embeddings), every earlier head, mixer and MLP (a mixture
of experts is one), `bias` (of attention outputs, of the norm and of the slot), and `distance`.
Where keys are rotated, what is the same in all keys still gives other scores at other distances:
$\\overline{k_j}$ is the mean of a source's keys before rotation, over the keys seen, and the sum of
what these means give is `distance`. ALiBi counts as `distance` too, of query and key alike. Norms
of queries and keys are frozen like all others. With a soft cap, $C$ is that of scores before it,
and the form with $\\ln A$ does not hold. Sinks take the same from all keys. Where projections are
clipped, and in differential attention, scores are no such sum: those layers are left out, and
`left_out` says why.

Contributions of a side add up to $C$, as do all pairs; tests compare the sum with the patterns of
the bridge. Values are decomposed alike: a source's share is the part of the head's output at the
query, along that output itself, that its values give under the same attention, so that shares sum
to 1. The tokens raised and lowered are those with the largest direct effects of that output on
their logits, above the mean over the vocabulary. An attribution says what a score is made of on one
text. It does not say what would happen without a source: what is removed changes the norms, and
what later heads read.
"""


def page_text() -> str:
    """The whole page, in Markdown."""
    parts = [_BEGINNING]
    parts += [f"- **{kind}**: {meaning}.\n" for kind, meaning in NULLS.items()]
    for family in dict.fromkeys(score.family for score in SCORES.values()):
        parts.append(f"\n## Scores: {family}\n")
        parts += [_score(score) for score in SCORES.values() if score.family == family]
    parts.append("\n" + _roles_beginning())
    parts += [_role(role) for role in ROLES.values()]
    parts.append(_WHY)
    parts.append(text_section())
    return "".join(parts)


def _roles_beginning() -> str:
    return _ROLES.format(
        evidence=", ".join(EVIDENCE),
        outlier=OUTLIER,
        saturated=SATURATED,
        period=TELLING_PERIOD,
    )


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
        f"{_sign(criterion)}`{criterion.score}` ≥ {criterion.least:g}{_floor(criterion)}"
        f"{' share' if 'share' in criterion.of else ''} ({criterion.evidence})"
        f"{' where prompts give it' if criterion.if_measured else ''}"
        for criterion in criteria
    )


def _floor(criterion: Criterion) -> str:
    return "" if criterion.floor is None else f" (standing out: {criterion.floor:g})"


def _sign(criterion: Criterion) -> str:
    return "−" if criterion.of.startswith("minus") else ""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page_text(), encoding="utf-8")
