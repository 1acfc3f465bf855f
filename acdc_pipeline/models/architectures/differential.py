"""Differential attention: heads that subtract one attention pattern from another (DiffLlama)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.architectures.layout import ModuleArchitecture, find


class DiffLlama(ModuleArchitecture):
    """Heads subtract one attention pattern from another: two query heads of the config are one.

    Of n query heads in config.json, h and h + n/2 are head h: they share their values and write
    through the same rows of the output projection, after one norm of the difference of what they
    carry. Keys and values are paired likewise. Numbers of heads are half of those in config.json,
    widths twice.
    """

    class_name = "DiffLlamaForCausalLM"
    title = "DiffLlama"

    def text_fields(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        n_heads, d_model = config.get("num_attention_heads"), config.get("hidden_size")
        n_kv_heads = config.get("num_key_value_heads") or n_heads
        width = config.get("head_dim")
        if width is None and isinstance(n_heads, int) and isinstance(d_model, int) and n_heads:
            width = d_model // n_heads
        paired = {
            "num_attention_heads": _half(n_heads, "num_attention_heads"),
            "num_key_value_heads": _half(n_kv_heads, "num_key_value_heads"),
            "head_dim": 2 * width if isinstance(width, int) else width,
        }
        return {**config, **{name: value for name, value in paired.items() if value is not None}}

    def find_refusal(self, config: Mapping[str, Any]) -> str | None:
        if config.get("attention_dropout"):
            return "differential attention has no dropout (attention_dropout)"
        return super().find_refusal(config)

    def count_heads(self, attention: Any, config: Any) -> int:
        return super().count_heads(attention, config) // 2

    def head_width(self, attention: Any, config: Any) -> int:
        return 2 * int(attention.head_dim)

    def slot_projections(self, attention: Any, config: Any) -> Mapping[str, tuple[Any, Any]]:
        width = int(attention.head_dim)

        def by_pair(rows: Any) -> Any:
            """Put the two rows of heads of each pair side by side."""
            halves = rows.unflatten(0, (2, -1, width))
            return halves.transpose(0, 1).flatten(0, 2)

        found = {}
        for slot, name in (("q", self.q), ("k", self.k), ("v", self.v)):
            module = find(attention, name)
            bias = module.bias
            found[slot] = by_pair(module.weight), None if bias is None else by_pair(bias)
        return found

    def finish_attention(self, attn: Any, attention: Any, config: Any) -> Any:
        from acdc_pipeline.models.weights import Difference

        first = (attention.lambda_q1.double() * attention.lambda_k1.double()).sum().exp()
        second = (attention.lambda_q2.double() * attention.lambda_k2.double()).sum().exp()
        start = float(attention.lambda_init)
        difference = Difference(
            factor=first - second + start, eps=float(attention.groupnorm.eps), scale=1 - start
        )
        return replace(attn, difference=difference)


def _half(count: Any, field: str) -> Any:
    """Return half of an even number; what is no whole number is refused later, with all sizes.

    Raises:
        InvalidInput: the number is odd.
    """
    if not isinstance(count, int) or isinstance(count, bool):
        return count
    if count % 2:
        raise InvalidInput(
            f"{count} heads are no pairs",
            where="config.json",
            field=field,
            allowed="an even number: differential attention subtracts the patterns of two heads",
        )
    return count // 2


ARCHITECTURES = (DiffLlama,)
