"""Scores that need no task: on random tokens, and from the weights alone.

Random tokens are a beginning-of-text token, then r1 … rn twice, all r different. In the formulas of
weights, E' is the token embedding after the first MLP, W_E + MLP0(W_E), and W_E itself in heads of
layer 0; position embeddings, rotation, QK norms and biases are left out.
"""

from __future__ import annotations

from typing import Any

from acdc_pipeline.specs.head_scores.definition import ScoreDefinition

OLSSON = (
    "Olsson et al. 2022, In-context Learning and Induction Heads, arXiv 2209.11895; "
    "Nanda 2022, induction mosaic"
)
WANG = "Wang et al. 2022, Interpretability in the Wild, arXiv 2211.00593"
XIAO = (
    "Xiao et al. 2023, Efficient Streaming Language Models with Attention Sinks, arXiv 2309.17453"
)
MCDOUGALL = "McDougall et al. 2023, Copy Suppression, arXiv 2310.04625"
ELHAGE = "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits"

_SECOND = r"q = n+1, \dots, 2n"

RANDOM_TOKEN_SCORES = (
    ScoreDefinition(
        name="induction",
        version=1,
        title="Induction",
        family="random tokens",
        claim="How much attention goes to the token that followed the current one before.",
        formula=rf"\operatorname{{mean}}_{{{_SECOND}}} A[q,\, q-(n-1)]",
        source=OLSSON,
        sign="higher: more of the attention of an induction head",
        low=0.0,
        high=1.0,
        nulls=("shuffled tokens", "random weights"),
    ),
    ScoreDefinition(
        name="duplicate_token",
        version=1,
        title="Duplicate token",
        family="random tokens",
        claim="How much attention goes to the earlier occurrence of the current token.",
        formula=rf"\operatorname{{mean}}_{{{_SECOND}}} A[q,\, q-n]",
        source=WANG,
        sign="higher: more of the attention of a duplicate-token head",
        low=0.0,
        high=1.0,
        nulls=("shuffled tokens", "random weights"),
    ),
    ScoreDefinition(
        name="previous_token",
        version=1,
        title="Previous token",
        family="random tokens",
        claim="How much attention goes to the token before the current one.",
        formula=r"\operatorname{mean}_{q \ge 1} A[q,\, q-1]",
        source=f"{ELHAGE}; {WANG}",
        sign="higher: more of the attention of a previous-token head",
        low=0.0,
        high=1.0,
        nulls=("random weights",),
    ),
    ScoreDefinition(
        name="current_token",
        version=1,
        title="Current token",
        family="random tokens",
        claim="How much attention a position keeps to itself.",
        formula=r"\operatorname{mean}_{q \ge 1} A[q,\, q]",
        source=ELHAGE,
        sign="higher: more attention on the current token",
        low=0.0,
        high=1.0,
        nulls=("random weights",),
    ),
    ScoreDefinition(
        name="sink",
        version=1,
        title="Sink",
        family="random tokens",
        claim="How much attention goes to the first position, where it usually does nothing.",
        formula=r"\operatorname{mean}_{q \ge 1} A[q,\, 0]",
        source=XIAO,
        sign="higher: more attention on the first position",
        low=0.0,
        high=1.0,
        nulls=("random weights",),
    ),
    ScoreDefinition(
        name="entropy",
        version=1,
        title="Attention entropy",
        family="random tokens",
        claim="How spread out the attention is, in nats.",
        formula=r"\operatorname{mean}_{q \ge 1} -\sum_k A[q,k] \ln A[q,k]",
        source="Clark et al. 2019, What Does BERT Look At?, arXiv 1906.04341, section 3.3",
        sign="higher: attention over more positions",
        low=0.0,
        high=None,
        nulls=("random weights",),
    ),
    ScoreDefinition(
        name="normalised_entropy",
        version=1,
        title="Normalised attention entropy",
        family="random tokens",
        claim="The entropy of the attention as a share of what uniform attention would have.",
        formula=r"\operatorname{mean}_{q \ge 1}"
        r" \frac{-\sum_k A[q,k] \ln A[q,k]}{\ln |\{k : k \text{ visible from } q\}|}",
        source="Clark et al. 2019, What Does BERT Look At?, arXiv 1906.04341, section 3.3",
        sign="higher: closer to uniform attention, which is 1",
        low=0.0,
        high=1.0,
        nulls=("random weights",),
    ),
    ScoreDefinition(
        name="mean_distance",
        version=1,
        title="Mean distance",
        family="random tokens",
        claim="How many positions away the attention goes, on average.",
        formula=r"\operatorname{mean}_{q \ge 1} \sum_k A[q,k]\, |q-k|",
        source="Clark et al. 2019, What Does BERT Look At?, arXiv 1906.04341, section 3.1",
        sign="higher: further away",
        low=0.0,
        high=None,
        nulls=("random weights",),
    ),
    ScoreDefinition(
        name="copy_attribution",
        version=1,
        title="Direct effect on the repeated token",
        family="random tokens",
        claim="What the head's output adds, directly, to the logit of the token that comes next in "
        "the second copy, against the mean over the vocabulary.",
        formula=r"\operatorname{mean}_{q=n+1}^{2n-1}"
        r" \frac{h_q}{\sigma_q} \left(W_U[t_{q+1}] - \overline{W_U}\right)",
        source=f"{OLSSON} (direct logit attribution)",
        sign="higher: raises the right next token; negative: lowers it",
        low=None,
        high=None,
        nulls=("shuffled tokens", "random weights"),
    ),
    ScoreDefinition(
        name="anti_induction",
        version=1,
        title="Anti-induction",
        family="random tokens",
        claim="What the head takes away, directly, from the logit of the right next token, through "
        "what it reads at that token's first occurrence.",
        formula=r"-\operatorname{mean}_{q=n+1}^{2n-1}"
        r" \frac{A[q,s]\, v_s W_O}{\sigma_q} \left(W_U[t_s] - \overline{W_U}\right),"
        r"\quad s = q-n+1",
        source=f"{MCDOUGALL}; {WANG}, section 3.3 (negative heads)",
        sign="higher: suppresses the token that an induction head would copy",
        low=None,
        high=None,
        nulls=("shuffled tokens", "random weights"),
    ),
)

TOP = 5
"""k of `copy_at_5`, `suppress_at_5`, `answer_copying`, `answer_suppression` and `relation`."""

_SHARE: dict[str, Any] = {
    "version": 1,
    "family": "weights",
    "low": 0.0,
    "high": 1.0,
    "nulls": ("random weights",),
}


def _composition(slot: str, matrix: str) -> ScoreDefinition:
    return ScoreDefinition(
        name=f"{slot.lower()}_composition",
        version=1,
        title=f"{slot}-composition",
        family="weights",
        claim=f"How strongly the head's {_READ[slot]} read what one earlier head writes, at the "
        "earlier head for which that is most, above what matrices turned at random have.",
        formula=r"\max_{h' \text{ earlier}}"
        rf" \frac{{\lVert W_{{OV}}^{{h'}} {matrix} \rVert_F}}"
        rf"{{\lVert W_{{OV}}^{{h'}} \rVert_F \lVert {matrix} \rVert_F}}"
        r" - \frac{1}{\sqrt{d_\text{model}}}",
        source=f"{ELHAGE}, section on two-layer models",
        sign="higher: reads more of the earlier head than chance",
        low=-1.0,
        high=1.0,
        nulls=("random weights",),
    )


_READ = {"Q": "queries", "K": "keys", "V": "values"}

WEIGHT_SCORES = (
    ScoreDefinition(
        name="ov_copying",
        version=2,
        title="OV copying",
        family="weights",
        claim="Whether the head, wherever it looks, raises or lowers the logits of the tokens it "
        "sees there, on the whole. It says which way, not how clearly: a head that only makes "
        "everything larger that is there already has 1.",
        formula=r"\frac{\sum_i \lambda_i}{\sum_i |\lambda_i|},\quad"
        r" \lambda = \operatorname{eig}(W_O \overline{W_U} E' W_V),\quad"
        r" \overline{W_U} = W_U - \text{mean of its columns}",
        source=f"{ELHAGE}, section on copying heads",
        sign="1: raises what it sees; -1: lowers it",
        low=-1.0,
        high=1.0,
        nulls=("random weights",),
    ),
    ScoreDefinition(
        name="copy_at_5",
        title="Copying in the top 5",
        claim="Share of tokens that the head, looking at them, puts among its five highest logits.",
        formula=r"\Pr_t\left[\, t \in \operatorname{top}_5 (E'[t] W_{OV} W_U) \right]",
        source=f"{WANG}, section 3.1 (copy score)",
        sign="higher: copies more of the vocabulary",
        **_SHARE,
    ),
    ScoreDefinition(
        name="suppress_at_5",
        title="Suppression in the bottom 5",
        claim="Share of tokens that the head, looking at them, puts among its five lowest logits.",
        formula=r"\Pr_t\left[\, t \in \operatorname{top}_5 (-E'[t] W_{OV} W_U) \right]",
        source=f"{MCDOUGALL}, section on the OV circuit",
        sign="higher: suppresses more of the vocabulary",
        **_SHARE,
    ),
    _composition("Q", "W_{QK}"),
    _composition("K", "W_{QK}^\\top"),
    _composition("V", "W_{OV}"),
    ScoreDefinition(
        name="ov_norm",
        version=1,
        title="Norm of the OV circuit",
        family="weights",
        claim="How large the head's output can get.",
        formula=r"\lVert W_{OV} \rVert_F",
        source=ELHAGE,
        sign="higher: writes more",
        low=0.0,
        high=None,
    ),
    ScoreDefinition(
        name="qk_norm",
        version=1,
        title="Norm of the QK circuit",
        family="weights",
        claim="How sharp the head's attention can get.",
        formula=r"\lVert W_{QK} \rVert_F",
        source=ELHAGE,
        sign="higher: larger attention scores",
        low=0.0,
        high=None,
    ),
    ScoreDefinition(
        name="successor",
        title="Successor",
        claim="Share of words of ordered lists (numbers, days, months) for which the head, "
        "looking at the word, ranks its successor above every other word of the list.",
        formula=r"\Pr_{s}\left[\, \operatorname{succ}(s) ="
        r" \arg\max_{t \in \text{list}(s)} E'[s] W_{OV} W_U[t] \right]",
        source="Gould et al. 2023, Successor Heads, arXiv 2312.09230",
        sign="higher: knows more successors",
        **_SHARE,
    ),
    ScoreDefinition(
        name="relation",
        title="Relation",
        claim="Share of the pairs that a task declares whose second word is among the head's five "
        "highest logits when it looks at the first.",
        formula=r"\Pr_{(s,t)}\left[\, t \in \operatorname{top}_5 (E'[s] W_{OV} W_U) \right]",
        source="Elhelo & Geva 2024, Inferring Functionality of Attention Heads from their "
        "Parameters (MAPS), arXiv 2412.11965",
        sign="higher: implements more of the relation",
        per="task",
        **_SHARE,
    ),
)
