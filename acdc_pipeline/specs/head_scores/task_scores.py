"""Scores on the prompts of a task, and scores of backup heads.

Logits are those before any soft cap. The *answer logit* of an output x is
x (mean W_U[correct] - mean W_U[incorrect]); for prompts without incorrect answers, the mean over
the vocabulary replaces the second term.

A backup score is the difference that a head makes once the main heads of a kind write nothing
(Wang et al. found backups of name movers; here every kind has a score). The main heads are those
that have the role, and are set to zero. Norms after them are frozen, so that a score measures the
change of the head itself.
"""

from __future__ import annotations

from typing import Any, Literal

from acdc_pipeline.specs.head_scores.definition import ScoreDefinition
from acdc_pipeline.specs.head_scores.model_scores import MCDOUGALL, WANG

RUSHING = "Rushing & Nanda 2024, Explorations of Self-Repair in Language Models, arXiv 2402.15390"
ZHANG = "Zhang & Nanda 2023, Towards Best Practices of Activation Patching, arXiv 2309.16042"

_ABLATIONS = {
    "zero": ("Zero", "is set to zero", "0"),
    "mean": ("Mean", "is its mean over the counterfactual prompts", r"\overline{h'}"),
    "corrupted": ("Corrupted", "is what it is on the counterfactual prompt", "h'"),
}
_ON_TASK: dict[str, Any] = {"version": 1, "family": "task prompts", "per": "task"}


def _logit_lost(name: str) -> ScoreDefinition:
    title, becomes, value = _ABLATIONS[name]
    return ScoreDefinition(
        name=f"{name}_ablation",
        title=f"{title} ablation",
        claim=f"How much of the answer logit is lost when the head's output {becomes}, everywhere "
        "at once.",
        formula=rf"m(\text{{clean}}) - m(h \leftarrow {value})",
        source=ZHANG,
        sign="higher: the answer needs the head; negative: the head works against it",
        low=None,
        high=None,
        **_ON_TASK,
    )


def _kl(name: str) -> ScoreDefinition:
    title, becomes, value = _ABLATIONS[name]
    return ScoreDefinition(
        name=f"{name}_ablation_kl",
        title=f"{title} ablation, KL",
        claim="How far, in nats, the distribution over the next token moves when the head's output "
        f"{becomes}.",
        formula=rf"\mathrm{{KL}}\left(p_\text{{clean}} \,\Vert\, p_{{h \leftarrow {value}}}\right)",
        source="Conmy et al. 2023, arXiv 2304.14997, section 3",
        sign="higher: the output depends more on the head",
        low=0.0,
        high=None,
        **_ON_TASK,
    )


TASK_SCORES = (
    ScoreDefinition(
        name="direct_effect",
        title="Direct logit attribution",
        claim="What the head's output at the answer position adds, directly, to the answer logit.",
        formula=r"\frac{h_\text{end}}{\sigma_\text{end}}"
        r"\left(W_U[\text{correct}] - W_U[\text{incorrect}]\right)",
        source=f"{WANG}, section 3; Elhage et al. 2021",
        sign="higher: speaks for the correct answer; negative: against it",
        low=None,
        high=None,
        nulls=("other answers",),
        **_ON_TASK,
    ),
    *(_logit_lost(name) for name in _ABLATIONS),
    *(_kl(name) for name in _ABLATIONS),
    ScoreDefinition(
        name="self_repair",
        title="Self-repair",
        claim="How much of the head's lost direct effect the rest of the model makes up for when "
        "its output is what it is on the counterfactual prompt.",
        formula=r"\Delta\,\text{logit} - \Delta\,\text{direct effect of } h",
        source=RUSHING,
        sign="higher: more is made up for; negative: later parts lose with it",
        low=None,
        high=None,
        **_ON_TASK,
    ),
    ScoreDefinition(
        name="attention_to_answer",
        title="Attention to the answer",
        claim="How much attention goes from the answer position to where the correct answer stands "
        "in the prompt (the indirect object, in IOI).",
        formula=r"\sum_{k:\, t_k \in \text{correct}} A[\text{end}, k]",
        source=f"{WANG}, section 3.1",
        sign="higher: looks more at the correct answer",
        low=0.0,
        high=1.0,
        nulls=("corrupted prompts",),
        **_ON_TASK,
    ),
    ScoreDefinition(
        name="attention_to_repeat",
        title="Attention to the repeated name",
        claim="How much attention goes from the answer position to the last occurrence of an "
        "incorrect answer that stands in the prompt twice (S2, in IOI).",
        formula=r"A[\text{end}, \text{S2}]",
        source=f"{WANG}, section 3.2",
        sign="higher: looks more at the repeated name",
        low=0.0,
        high=1.0,
        nulls=("corrupted prompts",),
        **_ON_TASK,
    ),
    ScoreDefinition(
        name="answer_copying",
        title="Copying of the task's answers",
        claim="Share of the task's answer tokens that the head, looking at them, puts among its "
        "five highest logits.",
        formula=r"\Pr_{t \in \text{answers}}\left[\,"
        r" t \in \operatorname{top}_5 (E'[t] W_{OV} W_U) \right]",
        source=f"{WANG}, section 3.1 (copy score)",
        sign="higher: copies more of the answers",
        low=0.0,
        high=1.0,
        nulls=("random weights",),
        **_ON_TASK,
    ),
    ScoreDefinition(
        name="answer_suppression",
        title="Suppression of the task's answers",
        claim="Share of the task's answer tokens that the head, looking at them, puts among its "
        "five lowest logits.",
        formula=r"\Pr_{t \in \text{answers}}\left[\,"
        r" t \in \operatorname{top}_5 (-E'[t] W_{OV} W_U) \right]",
        source=MCDOUGALL,
        sign="higher: suppresses more of the answers",
        low=0.0,
        high=1.0,
        nulls=("random weights",),
        **_ON_TASK,
    ),
    ScoreDefinition(
        name="query_effect",
        title="Effect through the movers' queries",
        claim="How much of the answer logit is lost when the queries of the task's movers, and "
        "nothing else, receive what the head writes on the counterfactual prompt.",
        formula=r"m(\text{clean}) - m(h \to q_\text{movers} \leftarrow h')",
        source=f"{WANG}, section 3.2 (path patching)",
        sign="higher: tells the movers where to look",
        low=None,
        high=None,
        **_ON_TASK,
    ),
)

_BACKUP_SOURCE = (
    f"{WANG}, section 3.4 (backup name movers); McGrath et al. 2023, The Hydra Effect, \
arXiv 2307.15771"
)


def _of_attention(kind: str, heads: str) -> ScoreDefinition:
    return ScoreDefinition(
        name=f"backup_{kind}",
        version=1,
        title=f"Backup of {heads}",
        family="backup",
        claim=f"How much more attention of the kind the head has while the {heads} write nothing.",
        formula=rf"s_\text{{{heads}}}(h \mid M \leftarrow 0) - s_\text{{{heads}}}(h)",
        source=_BACKUP_SOURCE,
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
        source=_BACKUP_SOURCE,
        sign="higher: takes over more; negative: it needed them",
        low=None,
        high=None,
        nulls=("other heads",),
        per=per,
    )


BACKUP_SCORES = (
    _of_direct_effect("induction", "induction heads", "on repeated random tokens", "model"),
    _of_attention("previous_token", "previous-token heads"),
    _of_attention("duplicate_token", "duplicate-token heads"),
    _of_direct_effect("mover", "movers", "on a task's prompts", "task"),
)
