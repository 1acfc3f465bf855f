"""Nodes of the computational graph.

`input`, the heads `a{layer}.h{head}`, the mixers `r{layer}`, the MLPs `m{layer}` and `logits`. A
mixture of experts may be split into its experts `m{layer}.e{expert}`, the rest `m{layer}.shared`
that every token passes, and the router `m{layer}.router`, which reads but writes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from acdc_pipeline.errors import GraphError

NodeKind = Literal["input", "head", "mixer", "mlp", "router", "expert", "shared", "logits"]

_HEAD = re.compile(r"a(\d+)\.h(\d+)\Z", re.ASCII)
_SINGLE = re.compile(r"([rm])(\d+)\Z", re.ASCII)
_PART = re.compile(r"m(\d+)\.(?:e(\d+)|(router|shared))\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Node:
    """A node; `layer` and `head` are None for kinds without them.

    `head` is the index of a head in its layer, or that of an expert in its mixture.
    """

    kind: NodeKind
    layer: int | None = None
    head: int | None = None

    def __str__(self) -> str:
        if self.kind == "head":
            return f"a{self.layer}.h{self.head}"
        if self.kind in ("mixer", "mlp"):
            return f"{'r' if self.kind == 'mixer' else 'm'}{self.layer}"
        if self.kind == "expert":
            return f"m{self.layer}.e{self.head}"
        if self.kind in ("router", "shared"):
            return f"m{self.layer}.{self.kind}"
        return self.kind

    def __repr__(self) -> str:
        return f"Node({str(self)!r})"

    @classmethod
    def parse(cls, name: str) -> Node:
        """Return the node called `name`. Raises GraphError if it is not a node's name."""
        if name in ("input", "logits"):
            return INPUT if name == "input" else LOGITS
        if match := _HEAD.match(name):
            return head(int(match[1]), int(match[2]))
        if match := _SINGLE.match(name):
            return (mixer if match[1] == "r" else mlp)(int(match[2]))
        if match := _PART.match(name):
            layer = int(match[1])
            if match[2] is not None:
                return expert(layer, int(match[2]))
            return (router if match[3] == "router" else shared)(layer)
        raise GraphError(
            f"'{name}' is not a node", allowed="input, a{layer}.h{head}, r{layer}, m{layer}, logits"
        )


INPUT = Node("input")
LOGITS = Node("logits")


def head(layer: int, index: int) -> Node:
    """Return attention head `index` of `layer`, both counted from 0."""
    return Node("head", layer, index)


def mlp(layer: int) -> Node:
    """Return the MLP of `layer`, counted from 0."""
    return Node("mlp", layer)


def mixer(layer: int) -> Node:
    """Return the mixer of `layer`, counted from 0: a part that mixes positions without heads."""
    return Node("mixer", layer)


def expert(layer: int, index: int) -> Node:
    """Return expert `index` of the mixture of `layer`, both counted from 0."""
    return Node("expert", layer, index)


def shared(layer: int) -> Node:
    """Return what the MLP of `layer` adds to its experts: a shared expert, a dense MLP beside."""
    return Node("shared", layer)


def router(layer: int) -> Node:
    """Return the router of the mixture of `layer`, which computes the weights of the experts."""
    return Node("router", layer)


def router_of(node: Node) -> Node | None:
    """Return the router that computes the weight of `node`; None if it is not an expert."""
    return router(node.layer) if node.kind == "expert" and node.layer is not None else None
