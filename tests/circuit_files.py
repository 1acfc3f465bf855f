"""Circuit files as other tools write them, made from what their formats are said to be.

Nothing here is shared with the readers of the package: names and orders are written out again.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

NAN = float("nan")


@dataclass(frozen=True)
class Shape:
    """A model with MLPs and blocks that are not parallel."""

    layers: int
    heads: int
    width: int

    @property
    def sources(self) -> list[str]:
        """Names of all sources, in the order in which they are computed."""
        out = ["input"]
        for layer in range(self.layers):
            out += [f"a{layer}.h{head}" for head in range(self.heads)] + [f"m{layer}"]
        return out

    @property
    def receivers(self) -> dict[str, list[str]]:
        """Each receiver with its sources: q of all heads of a layer, then k, v, then the MLP."""
        out: dict[str, list[str]] = {}
        for layer in range(self.layers):
            before = self.sources[: 1 + layer * (self.heads + 1)]
            for slot in "qkv":
                for head in range(self.heads):
                    out[f"a{layer}.h{head}<{slot}>"] = before
            out[f"m{layer}"] = before + [f"a{layer}.h{head}" for head in range(self.heads)]
        out["logits"] = self.sources
        return out

    @property
    def edges(self) -> list[str]:
        """Names of all edges."""
        return [f"{s}->{r}" for r, sources in self.receivers.items() for s in sources]

    @property
    def cfg(self) -> dict[str, Any]:
        """`cfg` of EAP-IG."""
        return {
            "n_layers": self.layers,
            "n_heads": self.heads,
            "parallel_attn_mlp": False,
            "d_model": self.width,
        }


def node_of(receiver: str) -> str:
    """The node that a receiver belongs to."""
    return receiver.partition("<")[0]


def in_graph(shape: Shape, edges: set[str]) -> set[str]:
    """The nodes with an edge of the circuit."""
    ends = [edge.split("->") for edge in edges]
    return {s for s, _ in ends} | {node_of(r) for _, r in ends} | {"logits"}


def eap_ig_json(
    shape: Shape,
    edges: set[str],
    scores: Mapping[str, float] | None = None,
    neurons: Mapping[str, list[bool]] | None = None,
) -> dict[str, Any]:
    """The document of `Graph.to_json`."""
    there = in_graph(shape, edges)
    nodes: dict[str, Any] = {name: {"in_graph": name in there} for name in shape.sources}
    nodes["logits"] = {"in_graph": True}
    for name, mask in (neurons or {}).items():
        nodes[name]["neurons"] = mask
    of_edges = {
        name: {"score": (scores or {}).get(name, 0.0), "in_graph": name in edges}
        for name in shape.edges
    }
    return {"cfg": shape.cfg, "nodes": nodes, "edges": of_edges}


def eap_ig_pt(
    shape: Shape,
    edges: set[str],
    scores: Mapping[str, float] | None = None,
    neurons: Mapping[str, list[bool]] | None = None,
) -> dict[str, Any]:
    """The dictionary of `Graph.to_pt`."""
    sources, receivers = shape.sources, list(shape.receivers)
    score = torch.zeros(len(sources), len(receivers), dtype=torch.float64)
    present = torch.zeros(len(sources), len(receivers), dtype=torch.bool)
    for name in shape.edges:
        source, receiver = name.split("->")
        place = sources.index(source), receivers.index(receiver)
        score[place] = (scores or {}).get(name, 0.0)
        present[place] = name in edges
    there = in_graph(shape, edges)
    out: dict[str, Any] = {
        "cfg": shape.cfg,
        "src_nodes": sources,
        "dst_nodes": receivers,
        "edges_scores": score,
        "edges_in_graph": present,
        "nodes_in_graph": torch.tensor([name in there for name in sources]),
    }
    if neurons is not None:
        out["neurons_in_graph"] = torch.tensor([neurons[name] for name in sources])
        out["neurons_scores"] = torch.full((len(sources), shape.width), NAN)
    return out


def auto_circuit_scores(
    shape: Shape, scores: Mapping[str, float], separate_qkv: bool = True
) -> dict[str, Tensor]:
    """The dictionary of `PruneScores`; of one input a head, the scores of its `q` are taken."""
    out: dict[str, Any] = {}
    for receiver, sources in shape.receivers.items():
        row = [scores[f"{source}->{receiver}"] for source in sources]
        if receiver == "logits":
            out[f"blocks.{shape.layers - 1}.hook_resid_post"] = row
        elif receiver.startswith("m"):
            out[f"blocks.{receiver[1:]}.hook_mlp_in"] = row
        else:
            layer, slot = receiver[1:].partition(".")[0], receiver[-2]
            if separate_qkv:
                out.setdefault(f"blocks.{layer}.hook_{slot}_input", []).append(row)
            elif slot == "q":
                out.setdefault(f"blocks.{layer}.hook_attn_in", []).append(row)
    return {name: torch.tensor(rows, dtype=torch.float64) for name, rows in out.items()}


def original_subgraph(shape: Shape, edges: set[str], cut_off: Collection[str] = ()) -> Any:
    """The dictionary of `save_subgraph`; of the slots in `cut_off` the input is not used."""

    def head_at(node: str) -> tuple[str, tuple[None, None, int]]:
        layer, head = node[1:].split(".h")
        return layer, (None, None, int(head))

    def output(node: str) -> tuple[str, tuple[int | None, ...]]:
        if node == "input":
            return "blocks.0.hook_resid_pre", (None,)
        if node.startswith("m"):
            return f"blocks.{node[1:]}.hook_mlp_out", (None,)
        layer, at = head_at(node)
        return f"blocks.{layer}.attn.hook_result", at

    out: OrderedDict[Any, bool] = OrderedDict()
    for receiver, sources in reversed(shape.receivers.items()):
        if receiver == "logits":
            name, at = f"blocks.{shape.layers - 1}.hook_resid_post", (None,)
        elif receiver.startswith("m"):
            name, at = f"blocks.{receiver[1:]}.hook_mlp_in", (None,)
            out[(f"blocks.{receiver[1:]}.hook_mlp_out", at, name, at)] = True
        else:
            layer, at = head_at(node_of(receiver))
            slot = receiver[-2]
            name = f"blocks.{layer}.hook_{slot}_input"
            inner = f"blocks.{layer}.attn.hook_{slot}"
            out[(f"blocks.{layer}.attn.hook_result", at, inner, at)] = True
            out[(inner, at, name, at)] = receiver not in cut_off
        for source in sources:
            out[(name, at, *output(source))] = f"{source}->{receiver}" in edges
    return out


def save(path: Path, contents: Any) -> Path:
    """Write `contents` as JSON, as text or as torch saves it, by the suffix of `path`."""
    if path.suffix == ".json":
        path.write_text(json.dumps(contents))
    elif path.suffix == ".txt":
        path.write_text(contents)
    else:
        torch.save(contents, path)
    return path
