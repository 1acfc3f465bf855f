"""What the trained zoo is for: circuits that are small, faithful and of the expected kind."""

from __future__ import annotations

import pytest
import torch

from acdc_pipeline import discover
from acdc_pipeline.engine.attention import attention_pattern, visible_keys
from acdc_pipeline.engine.components import normalise, project
from acdc_pipeline.engine.forward import embed
from acdc_pipeline.engine.slots import rotate
from acdc_pipeline.graph import Edge
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.prompts.tokenization import bos_id


@pytest.mark.parametrize("model", ["gpt2-4l-s0"])
def test_ioi_circuit_is_sparse_and_as_accurate_as_the_model(model: str):
    circuit = discover("ioi", f"zoo:{model}", threshold=0.01)
    assert len(circuit) <= 0.15 * circuit.topology.n_edges
    assert circuit.metrics["accuracy"] >= circuit.metrics["model_accuracy"] - 0.05


@pytest.mark.parametrize("model", ["gpt2-4l-s0", "neox-4l", "opt-4l"])
def test_ioi_circuit_of_integrated_gradients_is_faithful_with_a_tenth_of_the_edges(model: str):
    found = discover(
        "ioi",
        f"zoo:{model}",
        method="eap-ig-inputs",
        metric="kl",
        share=0.099,  # a tenth of 479 edges would be rounded up to 48
        steps=5,
        prompts=32,
    )
    assert len(found) <= 0.1 * found.topology.n_edges
    # Faithfulness in KL, which is 0 for the model itself.
    assert 1 - found.metrics["kl"] / found.metrics["ablated_kl"] >= 0.8


def test_induction_circuit_of_attn_2l_feeds_a_previous_token_head_into_the_keys():
    model = load_model("zoo:attn-2l", device="cpu")
    previous, induction = _scores(model)
    circuit = discover("induction", "zoo:attn-2l", threshold=0.03, prompts=32)
    pairs = [
        (previous[edge.src.head or 0], induction[edge.dst.head or 0])
        for edge in circuit.edges
        if edge.slot == "k" and _is_head(edge, layer=0)
    ]
    # Elhage et al. 2021: both attend mostly where their name says.
    assert any(before > 0.5 and copied > 0.4 for before, copied in pairs)


def _is_head(edge: Edge, layer: int) -> bool:
    return edge.src.kind == "head" and edge.src.layer == layer


def _scores(model: LoadedModel, period: int = 6, rows: int = 32):
    """Attention on bos + r1..rn twice: of layer 0 to the previous token, of layer 1 to the token
    after the earlier copy of the current one."""
    generator = torch.Generator().manual_seed(0)
    tokenizer = model.tokenizer
    assert tokenizer is not None
    regular = [i for i in range(len(tokenizer)) if i not in tokenizer.all_special_ids]
    drawn = torch.tensor(regular)[torch.randint(len(regular), (rows, period), generator=generator)]
    bos = torch.full((rows, 1), bos_id(tokenizer))
    tokens = torch.cat([bos, drawn, drawn], dim=1)
    patterns = _patterns(model, tokens)
    query = torch.arange(period + 1, 2 * period + 1)
    previous = patterns[0][:, :, query, query - 1].mean((1, 2))
    induction = patterns[1][:, :, query, query - (period - 1)].mean((1, 2))
    return previous.tolist(), induction.tolist()


def _patterns(model: LoadedModel, tokens: torch.Tensor) -> list[torch.Tensor]:
    weights = model.weights
    allowed = visible_keys(weights.blocks[0].attention, tokens.shape[1], tokens.device)
    residual = embed(weights, tokens)
    out = []
    for block in weights.blocks:
        attn = block.attention
        x = normalise(residual, block.norm_attn).flatten(0, 1)[None]
        q, k, v = (
            project(x, w, b).unflatten(1, tuple(tokens.shape))
            for w, b in ((attn.w_q, attn.b_q), (attn.w_k, attn.b_k), (attn.w_v, attn.b_v))
        )
        positions = torch.arange(tokens.shape[1])
        if attn.rotary is not None:
            q, k = rotate(q, attn.rotary, positions), rotate(k, attn.rotary, positions)
        pattern = attention_pattern(q, k, attn, range(len(q)), positions, allowed)
        out.append(pattern)
        residual = residual + (pattern @ v @ attn.w_o[:, None]).sum(0)
        if attn.b_o is not None:
            residual = residual + attn.b_o
    return out
