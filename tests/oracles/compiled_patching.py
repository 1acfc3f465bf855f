"""Edge patching of models without normalisation, attention-only or with MLPs, in numpy.

A full recompute per question. It reads the tensors of a TransformerLens-format directory itself
and knows nothing of the package but the names of nodes and edges.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Prompts:
    """Token ids [prompt, pos]; the answer is predicted at `answer_pos`.

    With `spans`, for each a mask [prompt, pos], an edge may be removed in one: `input->m0@END`.
    """

    clean: np.ndarray
    corrupted: np.ndarray
    answer_pos: np.ndarray
    correct: np.ndarray
    spans: Mapping[str, np.ndarray] = field(default_factory=dict)


class PlainModel:
    """A TransformerLens-format directory without normalisation."""

    def __init__(self, directory: Path, dtype: type[np.floating] = np.float64) -> None:
        self.config = json.loads((directory / "config.json").read_text())
        stored = load_file(directory / "model.safetensors")
        self.weights = {name: tensor.astype(dtype) for name, tensor in stored.items()}

    def sources(self) -> list[str]:
        nodes = ["input"]
        for layer in range(self.config["n_layers"]):
            nodes += [f"a{layer}.h{head}" for head in range(self.config["n_heads"])]
            nodes += [] if self.config["attn_only"] else [f"m{layer}"]
        return nodes

    def edges(self) -> list[str]:
        """Every edge."""
        nodes = self.sources()
        return [
            f"{source}->{receiver}" for receiver, end in self._receivers() for source in nodes[:end]
        ]

    def _receivers(self) -> list[tuple[str, int]]:
        """Every receiver, with how many of `sources` come before it."""
        n_heads, mlp = self.config["n_heads"], not self.config["attn_only"]
        found, seen = [], 1
        for layer in range(self.config["n_layers"]):
            found += [(f"a{layer}.h{h}<{slot}>", seen) for h in range(n_heads) for slot in "qkv"]
            seen += n_heads
            if mlp:
                found.append((f"m{layer}", seen))
                seen += 1
        return [*found, ("logits", seen)]

    def run(
        self,
        tokens: np.ndarray,
        removed: Collection[str] = (),
        ablated: Outputs | None = None,
        spans: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, Outputs, dict[str, np.ndarray]]:
        """Logits, node outputs and attention patterns, with `removed` edges carrying `ablated`."""
        w, config = self.weights, self.config
        masked = all_seen if config.get("attention_dir") == "bidirectional" else earlier_seen
        embedded = w["embed.W_E"][tokens] + w["pos_embed.W_pos"][: tokens.shape[1]]
        out: Outputs = {"input": embedded}
        patterns: dict[str, np.ndarray] = {}
        stream = embedded

        def received(receiver: str) -> np.ndarray:
            total = stream
            for src, value in out.items():
                if ablated is None:
                    continue
                if f"{src}->{receiver}" in removed:
                    total = total + (ablated[src] - value)
                for span, mask in (spans or {}).items():
                    if f"{src}->{receiver}@{span}" in removed:
                        total = total + mask[..., None] * (ablated[src] - value)
            return total

        for layer in range(config["n_layers"]):
            attn = f"blocks.{layer}.attn"
            new: Outputs = {}
            for head in range(config["n_heads"]):
                name = f"a{layer}.h{head}"
                q, k, v = (
                    received(f"{name}<{slot}>") @ w[f"{attn}.W_{slot.upper()}"][head]
                    + w[f"{attn}.b_{slot.upper()}"][head]
                    for slot in "qkv"
                )
                scores = q @ k.swapaxes(1, 2) / math.sqrt(config["d_head"])
                patterns[name] = np.exp(log_softmax(masked(scores)))
                new[name] = patterns[name] @ v @ w[f"{attn}.W_O"][head]
            out |= new
            stream = stream + sum(new.values()) + w[f"{attn}.b_O"]
            if not config["attn_only"]:
                mlp = f"blocks.{layer}.mlp"
                hidden = received(f"m{layer}") @ w[f"{mlp}.W_in"] + w[f"{mlp}.b_in"]
                out[f"m{layer}"] = np.maximum(hidden, 0) @ w[f"{mlp}.W_out"] + w[f"{mlp}.b_out"]
                stream = stream + out[f"m{layer}"]
        return received("logits") @ w["unembed.W_U"] + w["unembed.b_U"], out, patterns

    def ablated_outputs(self, prompts: Prompts, ablation: str) -> Outputs:
        """What a removed edge carries."""
        _, out, _ = self.run(prompts.corrupted)
        if ablation == "zero":
            return {node: np.zeros_like(value) for node, value in out.items()}
        if ablation == "mean":
            return {
                node: np.broadcast_to(value.mean(0), value.shape) for node, value in out.items()
            }
        return out

    def answer_logprobs(
        self, prompts: Prompts, removed: Collection[str] = (), ablated: Outputs | None = None
    ) -> np.ndarray:
        """Log-probabilities at the answer positions [prompt, vocab]."""
        logits, _, _ = self.run(prompts.clean, removed, ablated, prompts.spans)
        return log_softmax(logits[np.arange(len(logits)), prompts.answer_pos])

    def kl(self, prompts: Prompts, ablation: str) -> Callable[[Collection[str]], float]:
        """KL(model ‖ circuit), mean over prompts in nats, for any set of removed edges."""
        ablated = self.ablated_outputs(prompts, ablation)
        model = self.answer_logprobs(prompts)

        def of(removed: Collection[str]) -> float:
            circuit = self.answer_logprobs(prompts, removed, ablated)
            return float((np.exp(model) * (model - circuit)).sum(-1).mean())

        return of

    def single_effects(self, prompts: Prompts, ablation: str) -> Mapping[str, float]:
        """For each edge removed alone: mean change of the correct answer's log-probability.

        Prompts with spans have each edge in each of them.
        """
        ablated = self.ablated_outputs(prompts, ablation)
        rows = np.arange(len(prompts.clean))
        full = self.answer_logprobs(prompts)[rows, prompts.correct]
        return {
            edge: float(
                np.abs(
                    self.answer_logprobs(prompts, {edge}, ablated)[rows, prompts.correct] - full
                ).mean()
            )
            for edge in self._edges_of(prompts)
        }

    def _edges_of(self, prompts: Prompts) -> list[str]:
        """Every edge, in every span that prompts have."""
        return [
            f"{edge}{place}"
            for place in [f"@{span}" for span in prompts.spans] or [""]
            for edge in self.edges()
        ]


def earlier_seen(scores: np.ndarray) -> np.ndarray:
    later = np.triu(np.ones(scores.shape[-2:], dtype=bool), 1)
    return np.where(later, -np.inf, scores)


def all_seen(scores: np.ndarray) -> np.ndarray:
    return scores


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
