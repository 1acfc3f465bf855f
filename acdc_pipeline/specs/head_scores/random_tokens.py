"""Scores on random tokens: a beginning-of-text token, then r1 … rn twice, all r different."""

from __future__ import annotations

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

SCORES = (
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
