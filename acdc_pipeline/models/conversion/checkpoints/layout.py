"""A layout of checkpoints: how training code names its tensors, and how it stores them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.conversion.checkpoints.forms import Form

SLOTS = "QKV"
_FIRST_QUERIES = "blocks.0.attn.W_Q"


@dataclass(frozen=True)
class Rule:
    r"""Where one kind of tensor goes.

    Args:
        pattern: regular expression of its whole name; `%d` stands for a number.
        target: its TransformerLens name, with groups as `\1`; in that of a fused tensor `*` stands
            for Q, K and V. `NAME#\2` is one head of NAME.
        form: how it is stored.
    """

    pattern: str
    target: str
    form: Form

    @cached_property
    def expression(self) -> re.Pattern[str]:
        return re.compile(self.pattern.replace("%d", r"(\d+)"))


@dataclass(frozen=True)
class Layout:
    """The names and forms of one kind of training code.

    Args:
        name: value of `--layout`.
        title: what writes such checkpoints.
        rules: one for each kind of parameter.
        buffers: regular expression of names without influence: masks, tables that are computed.
        needs_n_heads: whether the tensors leave the number of heads open.
        assumed: settings that its code fixes, or that hold unless others are given.
        activation: what its code uses; named in the error where `--act-fn` is missing.
        tied: whether the unembedding is the embedding where it is not stored.
    """

    name: str
    title: str
    rules: tuple[Rule, ...]
    buffers: str
    needs_n_heads: bool = False
    assumed: Mapping[str, Any] = field(default_factory=dict)
    activation: str = ""
    tied: bool = False

    def find_rule(self, name: str) -> tuple[Rule, re.Match[str]] | None:
        """Return the rule for a tensor's name and its match; None if there is none."""
        for rule in self.rules:
            if match := rule.expression.fullmatch(name):
                return rule, match
        return None

    def is_buffer(self, name: str) -> bool:
        """Return whether a tensor of this name has no influence on the outputs."""
        return re.fullmatch(self.buffers, name) is not None

    def unknown_names(self, names: Sequence[str]) -> list[str]:
        """Return those of `names` for which there is no rule and which are no buffers."""
        return [n for n in names if self.find_rule(n) is None and not self.is_buffer(n)]

    def count_heads(self, tensors: Mapping[str, Tensor]) -> int:
        """Return the number of query heads, of a layout whose queries show it."""
        queries = self._first_queries(tensors)
        return 1 if queries is None else queries.shape[0]

    def query_width(self, tensors: Mapping[str, Tensor]) -> int | None:
        """Return heads times their width, of a layout with heads side by side; None without."""
        queries = self._first_queries(tensors)
        return None if queries is None else queries.shape[-1]

    def _first_queries(self, tensors: Mapping[str, Tensor]) -> Tensor | None:
        """Return W_Q of the first layer, in one piece where heads lie side by side."""
        found = {name: self.find_rule(name) for name in tensors}
        queries = {
            name: tensors[name]
            for name, rule in found.items()
            if rule is not None
            and rule[1].expand(rule[0].target).replace("*", "Q").startswith(_FIRST_QUERIES)
        }
        return self.rename(queries, 1).get(_FIRST_QUERIES)

    def rename(self, tensors: Mapping[str, Tensor], n_heads: int) -> dict[str, Tensor]:
        """Return the parameters under TransformerLens's names, in its forms.

        Raises:
            InvalidInput: a tensor has another form than this layout stores.
        """
        out: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            found = self.find_rule(name)
            if found is None:
                continue
            rule, match = found
            target = match.expand(rule.target)
            try:
                made = rule.form(tensor, n_heads)
            except InvalidInput as error:
                raise InvalidInput(error.problem, field=name, fix=error.fix) from error
            if isinstance(made, Tensor):
                out[target] = made
            else:
                out |= {target.replace("*", s): t for s, t in zip(SLOTS, made, strict=True)}
        return _stack_heads(out)


def _stack_heads(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join tensors named NAME#0, NAME#1, … of single heads into one along a new first dimension."""
    heads: dict[str, dict[int, Tensor]] = {}
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        base, marked, index = name.partition("#")
        if marked:
            heads.setdefault(base, {})[int(index)] = tensor
        else:
            out[base] = tensor
    for name, parts in heads.items():
        missing = [str(i) for i in range(len(parts)) if i not in parts]
        if missing or len({part.shape for part in parts.values()}) > 1:
            problem = f"lacks head {missing[0]}" if missing else "has heads of different shapes"
            raise InvalidInput(problem, field=name)
        out[name] = torch.stack([parts[i] for i in range(len(parts))])
    return out
