"""The position of the counterfactual whose activations replace those at a clean position."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.pairs import Pair
from acdc_pipeline.prompts.tokenization import Ids

UNEQUAL_FIX = (
    "exchange words of one side for shorter or longer ones, or let the pair say how its sides "
    'correspond: "align": "right", or "spans"'
)


def find_counterparts(
    pair: Pair, clean: Ids, corrupted: Ids, where: str | None, quote: Callable[[str | Ids], str]
) -> Ids:
    """Return, for each clean position, the position of the counterfactual that corresponds.

    Sides of one length without spans correspond token by token. Otherwise:

    - `align: right`: the last tokens correspond, those before them, and so on. Where both sides
      begin with the same token, as with a beginning-of-sequence token, these two correspond.
    - spans: the tokens of a span correspond from its end; all other tokens in their order.

    Clean tokens that are left over in front correspond to the first token of the other side (or
    span), behind the common first one where there is another: a removed edge carries an activation
    of the counterfactual everywhere, never a clean one.

    Args:
        quote: what an error says of a side behind its length.

    Raises:
        PromptError: the sides differ in length and nothing says how they correspond, or spans do
            not fit them.
    """
    if pair.spans:
        return _by_spans(pair, len(clean), len(corrupted), where)
    if len(clean) == len(corrupted):
        return tuple(range(len(clean)))
    if pair.align is None:
        raise PromptError(
            f"the sides differ in length: clean {len(clean)} tokens{quote(pair.clean)},"
            f" corrupted {len(corrupted)}{quote(pair.corrupted)}",
            where=where,
            allowed="two sides of as many tokens",
            fix=UNEQUAL_FIX,
        )
    kept = int(clean[0] == corrupted[0] and min(len(clean), len(corrupted)) > 1)
    rest = _from_the_end(len(clean) - kept, range(kept, len(corrupted)))
    return (*range(kept), *rest)


def _by_spans(pair: Pair, n_clean: int, n_corrupted: int, where: str | None) -> Ids:
    found: dict[int, int] = {}
    for name, clean, corrupted in pair.spans:
        for side, positions, length in (
            ("clean", clean, n_clean),
            ("corrupted", corrupted, n_corrupted),
        ):
            if positions[-1] >= length:
                raise PromptError(
                    f"{positions[-1]} is not a token of a prompt of {length}",
                    where=where,
                    field=f"spans.{name}.{side}",
                    allowed=f"0 to {length - 1}",
                )
        found.update(zip(clean, _from_the_end(len(clean), corrupted), strict=True))
    used = {position for _, _, corrupted in pair.spans for position in corrupted}
    left = [position for position in range(n_clean) if position not in found]
    others = [position for position in range(n_corrupted) if position not in used]
    if len(left) != len(others):
        raise PromptError(
            f"outside of the spans clean has {len(left)} tokens ({n_clean} in all) and corrupted "
            f"{len(others)} ({n_corrupted} in all)",
            where=where,
            field="spans",
            allowed="as many on both sides",
            fix="put what differs in length into a span",
        )
    found.update(zip(left, others, strict=True))
    if found[n_clean - 1] != n_corrupted - 1:
        raise PromptError(
            "the last tokens of the sides do not correspond, and the answer is read there",
            where=where,
            field="spans",
            fix="let the spans put the last token of clean at the last one of corrupted",
        )
    return tuple(found[position] for position in range(n_clean))


def _from_the_end(n: int, others: Sequence[int]) -> list[int]:
    """Return the counterparts of `n` positions, the first of `others` for what is left over."""
    return [others[max(0, len(others) - n + i)] for i in range(n)]
