"""The section about ordinary text, of the page about scores and roles of heads."""

from __future__ import annotations

from acdc_pipeline.heads.natural.contexts import SHORTEST
from acdc_pipeline.heads.natural.examples import KEYS, LARGEST, PER_DECILE, PER_END
from acdc_pipeline.heads.natural.profile import VERSION
from acdc_pipeline.heads.natural.written import COMPONENTS, SPECTRUM
from acdc_pipeline.specs.methods.text import FEWEST_TOKENS, MOST_TOKENS, OF_ROLE, TextMethod
from acdc_pipeline.specs.text_files import MAX_CHARACTERS

_TEXT = """
## On ordinary text

`acdc heads MODEL --text FILE` measures every head on text of your own, as a run of its own beside
the profiles: ids and bytes of profiles are the same with and without it, and another text or
another number of tokens is another run. The same command again reads it from the store; a run that
was interrupted starts again. FILE is any text in UTF-8; of a `.jsonl` every line is a document, an
object with the text under `text`. The option may be given several times; of each file the first
{characters:,} characters are read. Data sets of the package `datasets`, which is no dependency,
are read as the `.jsonl` that `dataset.to_json("FILE.jsonl")` writes. The contexts that were drawn
are stored with the run and shown in the wiki, the rest of the text is not; the run's id depends on
all of it. Definitions are version {version} (`text.json` in the run).

**Contexts.** Every document is cut from its beginning into pieces of {context} tokens
(`--text-context`), of which the first is the beginning-of-text token if there is one; a rest of
fewer than {shortest} tokens is left out. Pieces are drawn by `--seed` without replacement until
{tokens:,} tokens (`--text-tokens`, {fewest} to {most:,}) count. All tokens of a context count but
the first, which sees itself alone.

**Where a head looks.** For a query $q$ every key $k$ is of one kind, the first that fits:

| kind | key | of the role |
|---|---|---|
{kinds}

The *share* of a kind is its attention, averaged over all counted queries $Q$; the shares of a head
sum to 1:

$$\\frac{{1}}{{|Q|}} \\sum_{{q \\in Q}} \\sum_{{k \\,\\text{{of the kind}}}} A[q, k]$$

What goes to no token (attention sinks), and what is missing to 1 in differential attention, is
*other*. The 95 % interval is a bootstrap over contexts. Beside it stand the share of a head that
looks everywhere alike, $1/(q+1)$ for each key up to $q$, and the share of queries that have such a
key at all. *Its roles explain* the shares of the kinds of its roles; all other roles, such as
movers, are not about a place that every text has, and explain none. What rests on the first token
is told apart: heads rest there where they have nothing to do (Xiao et al. 2023, arXiv 2309.17453).

The *share of the output* says how much of what a head writes comes from there. With
$o_q = \\sum_k A[q,k]\\, v_k W_O$, and its part $o_q^{{\\text{{kind}}}}$ from the keys of a kind,

$$\\frac{{\\sum_{{q \\in Q}} o_q^{{\\text{{kind}}}} \\cdot o_q}}
{{\\sum_{{q \\in Q}} \\lVert o_q \\rVert^2}}$$

These sum to 1 too; one is negative where it is written over by the rest. The first token often has
much attention and hardly any output, for its values are small.

**Activation** of a head at a token is the norm of its output as a share of the norm of the residual
stream that the layer reads, $\\lVert o_q \\rVert / \\lVert x_q \\rVert$. Attention alone does not
tell what a head does, for values differ in length (Kobayashi et al. 2020, arXiv 2004.10102, section
2), and its effect on the stream is relative to what is there (Kobayashi et al. 2021, arXiv
2109.07152, section 3). All counted tokens are sorted by it and split into ten parts of equal size.
Of each decile {decile} tokens are shown, drawn with the same chance, with the {keys} keys that get
most attention; and the {largest} tokens with the largest activation, at most one of each context.
The largest alone would show a head at its most unusual: on the whole distribution it rarely does
what a few texts suggest (Luger et al. 2026, HeadVis, Transformer Circuits Thread).

**What a head writes** is told by the principal components of its outputs $o_q$ around their mean:
{spectrum} shares of the variance, and for the first {components} components the six tokens whose
logits each end raises most, through the unembedding with the linear part of the final norm, and
{end} texts at each end. They are exact: with $G = W_O W_O^\\top$ and $C$ the covariance of what the
head carries, the variances are the eigenvalues of $G^{{1/2}} C\\, G^{{1/2}}$, and a direction is
$W_O^\\top G^{{-1/2}} y$ for an eigenvector $y$. A constant that is added to all logits changes no
order of tokens, so the mean of the unembedding need not be removed. The sign of a component is that
with the longer end first.

**What it costs.** `python -m benchmarks.text_profile MODEL` measures it beside the floor, one
forward over the same contexts without the unembedding.
{measured}
"""

_MEASURED = """\
In seconds of CPU, for 20,000 tokens in contexts of 128:

| model | forward | all heads |
|---|---|---|
| `zoo:gpt2-4l-s0`, 16 heads | 0.7 | 1.3 |
| SmolLM2-135M-Instruct, 270 heads, `--threads 1` | 41 | 51 |

Memory holds the residual stream of all contexts and one layer: what heads carry, and their
attention in one byte a weight.\
"""

_KINDS = {
    "first": "$k = 0$",
    "current": "$k = q$",
    "previous": "$k = q - 1$",
    "induction": "$k \\le q$ and $t_{k-1} = t_q$: what followed the current token before",
    "duplicate": "$k < q$ and $t_k = t_q$",
    "other": "all others",
}


def text_section() -> str:
    """The section, in Markdown."""
    roles: dict[str, list[str]] = {}
    for role, kind in OF_ROLE.items():
        roles.setdefault(kind, []).append(f"`{role}`")
    rows = (
        f"| {kind} | {key} | {', '.join(roles.get(kind, ()))} |" for kind, key in _KINDS.items()
    )
    defaults = TextMethod.defaults()
    return _TEXT.format(
        characters=MAX_CHARACTERS,
        version=VERSION,
        context=defaults["context"],
        tokens=defaults["tokens"],
        fewest=FEWEST_TOKENS,
        most=MOST_TOKENS,
        shortest=SHORTEST,
        kinds="\n".join(rows),
        decile=PER_DECILE,
        keys=KEYS,
        largest=LARGEST,
        spectrum=SPECTRUM,
        components=COMPONENTS,
        end=PER_END,
        measured=_MEASURED,
    )
