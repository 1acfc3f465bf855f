"""The roles of heads: their criteria, with the rationale of each threshold.

A score also has to exceed the 99th percentile of its nulls; without measured nulls it gives no
role. Most roles have a second, lower threshold for outliers among the heads of a model: thresholds
that suit models with one skill are too high for models with many.
"""

from __future__ import annotations

from typing import Literal

from acdc_pipeline.specs.head_scores.definition import Criterion, Evidence, RoleDefinition

ATTENTION = 0.4
"""Two fifths of all attention on one position of dozens. Detectors in teaching material (the ARENA
exercises) use the same threshold; a head can reach it for at most two positions."""

WEIGHTS = 0.5
"""More often than not."""

SHARE = 0.1
"""A tenth of the answer logit: ten such heads would account for all of it."""

ALONE = 0.6
"""The threshold for outliers, as a fraction of the standard one. Known induction heads of a small
model with several skills have 0.36 of attention, nine tenths of the threshold, and its other heads
0.06; a head that attends to four positions equally has 0.25."""

BACKUP_SHARE = 0.05
"""Half of the threshold of main heads: there are several backups (Wang et al. 2022 found eight)."""

TASK_ATTENTION = 0.3
"""Lower than on random tokens: the prompts of a task have other positions to attend to."""

SINK = 0.6
"""More than an induction head, which rests on the first position during the first copy."""


def _first(
    score: str,
    evidence: Evidence,
    least: float,
    of: Literal["score", "share"] = "score",
) -> Criterion:
    """A criterion with a lower threshold for outliers."""
    return Criterion(score, evidence, least, of, floor=ALONE * least)


def _attention_role(name: str, title: str, claim: str) -> RoleDefinition:
    return RoleDefinition(
        name=name,
        title=title,
        claim=claim,
        required=(_first(name, "attention", ATTENTION),),
        reason="two fifths of all attention on one position of dozens",
        on="tokens",
    )


def _backup_role(kind: str, title: str, criterion: Criterion) -> RoleDefinition:
    reason = (
        "gains as much attention as makes a main head"
        if criterion.of == "score"
        else "gains half of what makes a main head: backups share the work"
    )
    return RoleDefinition(
        name=f"backup_{kind}",
        title=title,
        claim="It takes over when the main heads of the kind write nothing, and is none of them.",
        required=(criterion,),
        reason=reason,
        on="task" if kind == "mover" else "tokens",
    )


ROLES = (
    RoleDefinition(
        name="induction",
        title="an induction head",
        claim="It looks at what followed the current token before.",
        required=(_first("induction", "attention", ATTENTION),),
        supporting=(Criterion("copy_attribution", "causal", SHARE, "share"),),
        reason="two fifths of all attention on one position of dozens; causal where it also adds "
        "a tenth of the next token's logit itself",
        on="tokens",
    ),
    _attention_role(
        "previous_token", "a previous-token head", "It looks at the token before the current one."
    ),
    _attention_role(
        "duplicate_token",
        "a duplicate-token head",
        "It looks at the earlier occurrence of the current token.",
    ),
    _attention_role("current_token", "a current-token head", "It looks at the current token."),
    RoleDefinition(
        name="sink",
        title="an attention sink",
        claim="It rests on the first position, where it mostly does nothing.",
        required=(Criterion("sink", "attention", SINK),),
        reason="more than half, which is what an induction head rests there between its matches",
        on="tokens",
    ),
    RoleDefinition(
        name="anti_induction",
        title="an anti-induction head",
        claim="It lowers the logit of the token that an induction head would copy.",
        required=(_first("anti_induction", "causal", SHARE, "share"),),
        reason="takes away a tenth of the next token's logit",
        on="tokens",
    ),
    RoleDefinition(
        name="copying",
        title="a copying head",
        claim="It raises the token it looks at above nearly all others, whatever it is.",
        required=(_first("copy_at_5", "weights", WEIGHTS),),
        supporting=(Criterion("ov_copying", "weights", WEIGHTS),),
        reason="more often than not; eigenvalues alone say which way a head points, and in some "
        "models all heads point the same way",
        on="weights",
    ),
    RoleDefinition(
        name="suppressing",
        title="a suppressing head",
        claim="It lowers the token it looks at below nearly all others, whatever it is.",
        required=(_first("suppress_at_5", "weights", WEIGHTS),),
        supporting=(Criterion("ov_copying", "weights", WEIGHTS, "minus score"),),
        reason="more often than not; eigenvalues alone, as for copying, would not do",
        on="weights",
    ),
    RoleDefinition(
        name="successor",
        title="a successor head",
        claim="Looking at a word of an ordered list, it raises the next one.",
        required=(_first("successor", "weights", WEIGHTS),),
        reason="right more often than not, where chance is one word of a list",
        on="weights",
    ),
    RoleDefinition(
        name="relation",
        title="a relation head",
        claim="Looking at the first word of a pair that the task declares, it raises the second.",
        required=(_first("relation", "weights", WEIGHTS),),
        reason="right more often than not, where chance is five words of the vocabulary",
        on="task",
    ),
    RoleDefinition(
        name="mover",
        title="a mover",
        claim="It writes the answer where it is read.",
        required=(_first("direct_effect", "causal", SHARE, "share"),),
        supporting=(
            Criterion("attention_to_answer", "attention", TASK_ATTENTION),
            Criterion("answer_copying", "weights", WEIGHTS),
        ),
        reason="a tenth of the answer's logit comes directly from it",
        on="task",
    ),
    RoleDefinition(
        name="name_mover",
        title="a name mover",
        claim="It looks at the indirect object, and copies it to where the answer is read.",
        required=(
            _first("direct_effect", "causal", SHARE, "share"),
            Criterion("attention_to_answer", "attention", TASK_ATTENTION),
            Criterion("answer_copying", "weights", WEIGHTS),
        ),
        reason="a mover that looks at the name it moves, and copies names by its weights",
        on="task",
        tasks="IOI-like tasks",
        special_of="mover",
    ),
    RoleDefinition(
        name="copy_suppression",
        title="a copy-suppression head",
        claim="It looks at the answer, and lowers its logit.",
        required=(
            Criterion("direct_effect", "causal", BACKUP_SHARE, "minus share"),
            Criterion("attention_to_answer", "attention", TASK_ATTENTION),
            Criterion("answer_suppression", "weights", WEIGHTS),
        ),
        reason="the signs of a name mover turned round; half its effect, as such heads are weaker",
        on="task",
    ),
    RoleDefinition(
        name="s_inhibition",
        title="an S-inhibition head",
        claim="It looks at the repeated name, and tells the movers not to.",
        required=(
            Criterion("attention_to_repeat", "attention", TASK_ATTENTION),
            Criterion("query_effect", "causal", BACKUP_SHARE, "share"),
        ),
        reason="looks at the second mention, and a twentieth of the answer's logit goes with what "
        "the movers' queries learn from it",
        on="task",
        tasks="IOI-like tasks",
    ),
    _backup_role(
        "induction",
        "a backup of induction heads",
        Criterion("backup_induction", "causal", BACKUP_SHARE, "share"),
    ),
    _backup_role(
        "previous_token",
        "a backup of previous-token heads",
        Criterion("backup_previous_token", "causal", ATTENTION),
    ),
    _backup_role(
        "duplicate_token",
        "a backup of duplicate-token heads",
        Criterion("backup_duplicate_token", "causal", ATTENTION),
    ),
    _backup_role(
        "mover", "a backup of movers", Criterion("backup_mover", "causal", BACKUP_SHARE, "share")
    ),
)
