"""Hooks that make a model of the caller give the logits of a circuit.

The stream that the model's final norm reads is replaced by the final stream of the circuit, which
the engine computes from the same token ids. Everything after it (norm, logits, loss) is the model's
own. So a circuit is exact in every architecture that the engine reproduces, also where the modules
of the model have no separate inputs for each head and slot.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from acdc_pipeline.engine.bench import ablated_outputs
from acdc_pipeline.engine.circuit_forward import run_circuit
from acdc_pipeline.engine.components import Stream
from acdc_pipeline.engine.forward import check_tokens, context_length
from acdc_pipeline.engine.parity import check_parity
from acdc_pipeline.errors import InvalidInput, PromptError
from acdc_pipeline.graph import Edge
from acdc_pipeline.models.attach import AttachedModel
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.specs.names import Ablation

_PROBE_TOKENS = 16


@contextmanager
def patch(
    model: AttachedModel,
    edges: Iterable[Edge],
    corrupted: Int[Tensor, "batch pos"] | None,
    ablation: Ablation,
) -> Iterator[None]:
    """Make `model` give the logits of the circuit of `edges` inside the context.

    Args:
        corrupted: token ids that removed edges are computed from, without padding in front; the
            model must be called on tokens of the same shape. Under ablation by the mean,
            counterfactuals without padding, of the length of these tokens. None for `zero`.

    Raises:
        InvalidInput: `corrupted` is missing.
        PromptError: the model cannot process the corrupted tokens. Inside the context: it is called
            on tokens of another shape, or with padding in front, a cache or embeddings.
        ParityError: the engine does not reproduce the model.
    """
    weights = model.copy.weights
    count = min(_PROBE_TOKENS, context_length(weights), weights.w_e.shape[0])
    check_parity(model.copy, torch.arange(count)[None], torch.tensor([count]))
    hooks = _CircuitHooks(weights, frozenset(edges), corrupted, ablation)
    handles = [
        model.called.register_forward_pre_hook(hooks.read_tokens, with_kwargs=True),
        model.final_norm.register_forward_pre_hook(hooks.replace_stream),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _CircuitHooks:
    """What the two hooks of one context share: the ablated outputs, and the tokens of a call."""

    def __init__(
        self,
        weights: TransformerWeights,
        edges: frozenset[Edge],
        corrupted: Int[Tensor, "batch pos"] | None,
        ablation: Ablation,
    ) -> None:
        self.weights, self.edges, self.ablation = weights, edges, ablation
        self.tokens: Int[Tensor, "batch pos"] | None = None
        self.ablated: Float[Tensor, "src batch pos d_model"] | None = None
        if ablation == "zero":
            return
        if corrupted is None:
            raise InvalidInput(
                f"the {ablation} ablation of this circuit needs corrupted tokens",
                field="corrupted",
                fix="give the token ids of the counterfactuals",
            )
        corrupted = corrupted.to(weights.device)
        lengths = torch.full((len(corrupted),), corrupted.shape[1], device=weights.device)
        with torch.no_grad():
            self.ablated = ablated_outputs(weights, corrupted, lengths, ablation)

    def read_tokens(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        """Take the token ids of a call, and refuse what the engine would compute otherwise."""
        self.tokens = None
        given = inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
        given |= given.pop("kwargs", {})
        tokens, cache = given.get("input_ids"), given.get("past_key_values")
        if tokens is None or given.get("inputs_embeds") is not None:
            raise _refused("embeddings in place of token ids")
        if cache is not None and cache.get_seq_length() > 0:
            raise _refused("a cache of earlier tokens")
        self._check_positions(tokens, given.get("attention_mask"), given.get("position_ids"))
        if self.ablated is not None:
            expected = tuple(self.ablated.shape[1:3])
            first = 1 if self.ablation == "mean" else 0
            if expected[first:] != tuple(tokens.shape[first:]):
                raise PromptError(
                    f"the model is called on {tokens.shape[0]} prompts of {tokens.shape[1]} tokens,"
                    f" and the corrupted ones are {expected[0]} of {expected[1]}",
                    fix="give corrupted token ids of the same shape",
                )
        self.tokens = tokens

    def replace_stream(self, module: nn.Module, args: Any) -> Any:
        """Return the final stream of the circuit in place of the model's."""
        if self.tokens is None:
            return None
        stream, *rest = args
        return (self._final(self.tokens).to(stream), *rest)

    def _final(self, tokens: Int[Tensor, "batch pos"]) -> Stream:
        tokens = tokens.to(self.weights.device)
        check_tokens(self.weights, tokens)
        if self.ablated is None:
            shape = (len(self.weights.topology.sources), *tokens.shape, self.weights.d_model)
            ablated = torch.zeros(shape, dtype=self.weights.dtype, device=self.weights.device)
        elif self.ablation == "mean":
            ablated = self.ablated[:, :1].expand(-1, len(tokens), -1, -1)
        else:
            ablated = self.ablated
        with torch.no_grad():
            return run_circuit(self.weights, tokens, ablated, self.edges)

    def _check_positions(
        self, tokens: Int[Tensor, "batch pos"], mask: Tensor | None, positions: Tensor | None
    ) -> None:
        real = torch.ones_like(tokens, dtype=torch.bool)
        if mask is not None and mask.shape != tokens.shape:
            raise _refused("an attention mask that is not [prompt, position]")
        if mask is not None:
            real = mask.bool()
            one_sided = not self.weights.bidirectional
            if bool((real[:, 1:] & ~real[:, :-1]).any()) or not (one_sided or bool(real.all())):
                raise _refused("padding in front of the tokens")
        if positions is not None:
            counted = torch.arange(tokens.shape[1], device=positions.device).expand(tokens.shape)
            if bool((positions != counted)[real.to(positions.device)].any()):
                raise _refused("positions other than 0, 1, 2, …")


def _refused(what: str) -> PromptError:
    return PromptError(
        f"the model is called with {what}, and a circuit is computed from whole prompts",
        allowed="input_ids, with padding at the end",
    )
