"""Scores of edges by automatic differentiation of plain forwards.

Each edge u → v gets a number g that its receiver reads as g · (ablated_u - clean_u) more. At g = 0
the derivative of the metric by g is what replacing u's output at v is worth to first order. A node
that writes something between clean and ablated is the same sum, read by all that follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from tests.oracles.bridge_patching import BridgePatching
from tests.oracles.native_patching import NativePatching

Metric = Callable[[Tensor], Tensor]
"""Of log-probabilities at the last position: one number, higher is worse."""


class Added(Protocol):
    """What receivers read beyond what their sources write."""

    def added(self, receiver: str, written: dict[str, Tensor], /) -> Tensor | float: ...


class Gates:
    """What receivers read beyond what their sources write.

    Args:
        steps: ablated minus clean, by source.
        moved: how far sources are on their way to ablated, 0 where not named.
        edges: those of the graph; in parallel blocks an MLP does not read what heads just wrote.
        spans: masks [prompt pos] by name, where edges have spans.
    """

    def __init__(
        self,
        steps: dict[str, Tensor],
        moved: dict[str, float],
        edges: Collection[str],
        spans: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.places = {f"@{name}": mask[..., None] for name, mask in (spans or {}).items()}
        self.steps = steps
        self.moved = moved
        self.edges = edges
        self.by_edge: dict[str, Tensor] = {}

    def added(self, receiver: str, sources: Collection[str]) -> Tensor:
        dtype = next(iter(self.steps.values())).dtype
        total = torch.zeros(1, dtype=dtype)
        places = self.places or {"": torch.ones(1, dtype=dtype)}
        for name, source in ((f"{source}->{receiver}", source) for source in sources):
            for place, mask in places.items():
                if name + place not in self.edges:
                    continue
                # Several modules of a model may read as one receiver.
                new = torch.zeros((), dtype=dtype, requires_grad=True)
                gate = self.by_edge.setdefault(name + place, new)
                moved = self.moved.get(source, 0.0) + gate
                total = total + moved * mask.to(dtype) * self.steps[source]
        return total

    def derivatives(self, metric: Tensor) -> dict[str, float]:
        gradients = torch.autograd.grad(metric, list(self.by_edge.values()))
        return {edge: float(g) for edge, g in zip(self.by_edge, gradients, strict=True)}


class OpenGates:
    """Gates from 0 to 1: a receiver reads the ablated output of a source the more, the lower.

    Args:
        by_edge: the gate of each edge.
        ablated: what sources write where they are ablated.
        spans: masks [prompt pos] by name, where edges have spans.
    """

    def __init__(
        self,
        by_edge: Mapping[str, Tensor],
        ablated: Mapping[str, Tensor],
        spans: Mapping[str, Tensor],
    ) -> None:
        self.by_edge, self.ablated = by_edge, ablated
        self.places = {f"@{name}": mask[..., None] for name, mask in spans.items()}

    def added(self, receiver: str, written: Mapping[str, Tensor]) -> Tensor | float:
        total: Tensor | float = 0.0
        for source, output in written.items():
            for place, mask in (self.places or {"": torch.ones(())}).items():
                gate = self.by_edge.get(f"{source}->{receiver}{place}")
                if gate is not None:
                    closed = mask.to(output.dtype) * (1 - gate)
                    total = total + closed * (self.ablated[source] - output)
        return total


class GatedNative(NativePatching):
    gates: Gates | None = None

    def received(
        self,
        receiver: str,
        written: dict[str, Tensor],
        constant: Tensor,
        removed: Sequence[Collection[str]],
    ) -> Tensor:
        total = super().received(receiver, written, constant, removed)
        return total if self.gates is None else total + self.gates.added(receiver, written)

    def clean_outputs(self) -> dict[str, Tensor]:
        return self.run(self.clean, set())[1]

    def gated(self, gates: Gates) -> Tensor:
        self.gates = gates
        logprobs = self.run(self.clean, set())[0]
        self.gates = None
        return logprobs


class GatedBridge(BridgePatching):
    def clean_outputs(self) -> dict[str, Tensor]:
        return self.outputs(self.clean)

    def gated(self, gates: Gates) -> Tensor:
        written: dict[str, Tensor] = {}

        def read(x: Tensor, receiver: str) -> Tensor:
            return x + gates.added(receiver, list(written))

        hooks = [*self.readers(written), *self.receivers(read)]
        logits = self.bridge.run_with_hooks(self.clean, fwd_hooks=hooks)
        return logits[:, -1].log_softmax(-1)


class EdgeGates:
    """Attribution by the equations of the papers, over a plain forward.

    Args:
        forward: a forward whose receivers can read more.
        edges: those of the graph.
        metric: of its log-probabilities.
    """

    def __init__(self, forward: Any, edges: Iterable[str], metric: Metric) -> None:
        self.forward = forward
        self.edges = frozenset(edges)
        self.metric = metric
        with torch.no_grad():
            clean = forward.clean_outputs()
        self.steps = {name: forward.ablated[name] - out for name, out in clean.items()}

    def at(self, moved: dict[str, float]) -> dict[str, float]:
        """For each edge, Σ (ablated - clean) · gradient, where sources are `moved` on their way."""
        gates = Gates(self.steps, moved, self.edges, getattr(self.forward, "spans", None))
        with torch.enable_grad():
            return gates.derivatives(self.metric(self.forward.gated(gates)))

    def value(self, moved: dict[str, float]) -> float:
        """The metric where sources are `moved` on their way."""
        with torch.no_grad():
            return float(self.metric(self.forward.gated(Gates(self.steps, moved, self.edges))))

    def eap(self) -> dict[str, float]:
        return self.at({})

    def eap_ig_inputs(self, steps: int) -> dict[str, float]:
        return _mean([self.at({"input": 1 - k / steps}) for k in range(1, steps + 1)])

    def clean_corrupted(self) -> dict[str, float]:
        return _mean([self.at({}), self.at({"input": 1.0})])

    def eap_ig_activations(self, steps: int) -> dict[str, float]:
        scores: dict[str, float] = {}
        for group in self.groups():
            points = [self.at(dict.fromkeys(group, 1 - k / steps)) for k in range(1, steps + 1)]
            mean = _mean(points)
            scores |= {edge: s for edge, s in mean.items() if edge.split("->")[0] in group}
        return scores

    def groups(self) -> list[list[str]]:
        """Sources that move together: the heads of a layer, everything else alone."""
        found: dict[str, list[str]] = {}
        for name in self.steps:
            found.setdefault(name.split(".")[0], []).append(name)
        return list(found.values())


def _mean(points: list[dict[str, float]]) -> dict[str, float]:
    return {edge: sum(point[edge] for point in points) / len(points) for edge in points[0]}
