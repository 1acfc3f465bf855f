"""Scores read from the weights alone.

E' stands for the token embedding after the first MLP, W_E + MLP0(W_E), and for W_E itself in
heads of layer 0. Position embeddings, rotation, QK norms and biases are left out.
"""

from __future__ import annotations

from typing import Any

from acdc_pipeline.specs.head_scores.definition import ScoreDefinition
from acdc_pipeline.specs.head_scores.random_tokens import ELHAGE, MCDOUGALL, WANG

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

SCORES = (
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
