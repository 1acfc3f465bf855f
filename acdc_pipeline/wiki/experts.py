"""How the prompts of a task use the experts of a model, from a profile run, and how it is shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from acdc_pipeline.plotting.heatmap import draw_mosaic
from acdc_pipeline.plotting.scales import score_scale
from acdc_pipeline.wiki.text import format_percent, pluralize, show_line

_BUSIEST = 3


@dataclass(frozen=True)
class ExpertUse:
    """The use of the experts of every mixture of a model, on the prompts of one task.

    Args:
        tokens: how many tokens chose experts.
        layers: the layers that have a mixture.
        share: by layer, the share of the tokens that choose each expert.
        weight: by layer, each expert's share of all routing weight.
    """

    tokens: int
    layers: tuple[int, ...]
    share: tuple[tuple[float, ...], ...]
    weight: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> ExpertUse:
        """Return what the document of a profile says. Raises ValueError where it is malformed."""
        layers = {int(layer): values for layer, values in plain["layers"].items()}
        share, weight = (
            tuple(tuple(map(float, values[name])) for values in layers.values())
            for name in ("share", "weight")
        )
        found = cls(int(plain["tokens"]), tuple(layers), share, weight)
        numbers = [value for row in (*share, *weight) for value in row]
        if not all(0 <= value <= 1 for value in numbers) or min(layers, default=0) < 0:
            raise ValueError("shares of experts that are not between 0 and 1")
        if not all(a and len(a) == len(b) for a, b in zip(share, weight, strict=True)):
            raise ValueError("shares and weights of different numbers of experts")
        return found

    def plain(self) -> dict[str, Any]:
        """Return it as the document of a profile has it."""
        rows = zip(self.layers, self.share, self.weight, strict=True)
        return {
            "tokens": self.tokens,
            "layers": {str(layer): {"share": s, "weight": w} for layer, s, w in rows},
        }


def effective_experts(share: Sequence[float]) -> float:
    """Return the number of experts that, used evenly, would be as uncertain as these are.

    It is exp(H) of the entropy H of the choices in nats: from the number of experts that a token
    chooses, where all tokens choose the same ones, to the number of all experts.
    """
    total = sum(share)
    parts = [value / total for value in share if value > 0] if total else []
    return math.exp(-sum(part * math.log(part) for part in parts))


def expert_sections(used: Iterable[tuple[str, ExpertUse]]) -> list[dict[str, Any]]:
    """Return what the page of a model shows of each task."""
    return [_section(task, use) for task, use in used]


def _section(task: str, use: ExpertUse) -> dict[str, Any]:
    most = max(map(len, use.share))
    grid = np.full((len(use.layers), most), np.nan)
    for row, values in enumerate(use.share):
        grid[row, : len(values)] = values
    scale = score_scale(0.0, None, [grid])
    label = f"Share of tokens that choose each expert, on {task}: {_range_text(use)}"
    return {
        "task": task,
        "tokens": f"{use.tokens:,}",
        "picture": draw_mosaic(grid, scale, show_line(label)),
        "scale": scale,
        "columns": len(use.layers),
        "rows": most,
        "layers": [
            _layer(layer, share, weight)
            for layer, share, weight in zip(use.layers, use.share, use.weight, strict=True)
        ],
    }


def _range_text(use: ExpertUse) -> str:
    highest = [max(values) for values in use.share]
    return (
        f"{pluralize(len(use.layers), 'layer')}, the busiest expert of a layer at "
        f"{format_percent(min(highest))} to {format_percent(max(highest))} of the tokens"
    )


def _layer(layer: int, share: Sequence[float], weight: Sequence[float]) -> dict[str, Any]:
    order = sorted(range(len(share)), key=lambda index: (-share[index], index))
    return {
        "layer": layer,
        "experts": len(share),
        "chosen": f"{sum(share):.3g}",
        "effective": f"{effective_experts(share):.1f}",
        "even": format_percent(sum(share) / len(share)),
        "unused": sum(value == 0 for value in share),
        "busiest": [
            {
                "name": f"e{index}",
                "share": format_percent(share[index]),
                "weight": format_percent(weight[index]),
            }
            for index in order[:_BUSIEST]
            if share[index] > 0
        ],
    }
