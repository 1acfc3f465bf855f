"""Edges: `a0.h1->a5.h3<k>`, `input->m0`, `m3->logits`, in the notation of EAP-IG and MIB.

In a graph with spans, the span of an edge follows: `a0.h1->a5.h3<k>@S1`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.node import Node

Slot = Literal["q", "k", "v"]
SLOTS: tuple[Slot, ...] = get_args(Slot)

SPAN_NAME = r"[A-Za-z0-9_.+-]+"
"""The regular expression of a span's name."""

LONGEST_SPAN_NAME = 32
"""Characters of a span's name in prompts, as tables and figures have room for."""

_RECEIVER = re.compile(rf"([^<>@]+)(?:<([qkv])>)?(?:@({SPAN_NAME}))?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Receiver:
    """An input of a node: a head's `q`, `k` or `v`, or the only input of another node.

    In a graph with spans it is what the node reads at the token positions of one `span`.
    """

    node: Node
    slot: Slot | None = None
    span: str | None = None

    def __post_init__(self) -> None:
        if (self.slot is None) == (self.node.kind == "head") or self.node.kind == "input":
            raise GraphError(
                f"'{self}' is not a receiver",
                allowed="a{layer}.h{head}<q|k|v>, r{layer}, m{layer}, logits",
            )

    def __str__(self) -> str:
        name = f"{self.node}<{self.slot}>" if self.slot else str(self.node)
        return name if self.span is None else f"{name}@{self.span}"

    @classmethod
    def parse(cls, name: str) -> Receiver:
        """Return the receiver called `name`. Raises GraphError if it is not a receiver's name."""
        match = _RECEIVER.match(name)
        if not match:
            raise GraphError(f"'{name}' is not a receiver")
        return cls(Node.parse(match[1]), cast("Slot | None", match[2]), match[3])


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge: the output of `src` as part of the input of `dst`, for a head of its `slot`.

    In a graph with spans it carries that output at the token positions of one `span`.
    """

    src: Node
    dst: Node
    slot: Slot | None = None
    span: str | None = None

    def __str__(self) -> str:
        return f"{self.src}->{self.receiver}"

    def __repr__(self) -> str:
        return f"Edge({str(self)!r})"

    @property
    def receiver(self) -> Receiver:
        """The destination together with its slot."""
        return Receiver(self.dst, self.slot, self.span)

    @classmethod
    def into(cls, src: Node, receiver: Receiver) -> Edge:
        """Return the edge from `src` into `receiver`."""
        return cls(src, receiver.node, receiver.slot, receiver.span)

    @classmethod
    def parse(cls, name: str) -> Edge:
        """Return the edge called `name`. Raises GraphError if it is not an edge's name."""
        src, arrow, dst = name.partition("->")
        if not arrow:
            raise GraphError(f"'{name}' is not an edge", allowed="src->dst, as in a0.h1->a5.h3<k>")
        return cls.into(Node.parse(src), Receiver.parse(dst))
