"""Tiny random checkpoints of real architectures, saved the way anybody would save them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.hugging_face_models import MODELS, POSITIONS, VOCAB


def randomised(model: Any, directory: Path, seed: int = 0) -> Path:
    """Save `model` with random weights, of a size that makes every edge matter a little."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            # larger than any initialisation
            parameter.copy_(0.25 * noise if parameter.dim() > 1 else parameter + 0.1 * noise)
    model.save_pretrained(directory)
    return directory


def gpt2(directory: Path, seed: int = 0, layers: int = 2) -> Path:
    """GPT-2: learned positions, LayerNorm, a fused QKV projection with biases."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_layer=layers,
        n_head=2,
        n_embd=16,
        vocab_size=VOCAB,
        n_positions=POSITIONS,
        bos_token_id=0,
        eos_token_id=0,
    )
    return randomised(GPT2LMHeadModel(config), directory, seed)


def neox(directory: Path, seed: int = 0, layers: int = 2) -> Path:
    """GPT-NeoX: parallel blocks with a norm of their own for the MLP, partial rotary."""
    return _neox(directory, seed, layers, parallel=True)


def neox_sequential(directory: Path, seed: int = 0, layers: int = 2) -> Path:
    """GPT-NeoX with `use_parallel_residual=False`."""
    return _neox(directory, seed, layers, parallel=False)


def _neox(directory: Path, seed: int, layers: int, parallel: bool) -> Path:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        num_hidden_layers=layers,
        num_attention_heads=2,
        hidden_size=16,
        intermediate_size=32,
        vocab_size=VOCAB,
        max_position_embeddings=POSITIONS,
        use_parallel_residual=parallel,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5},
        bos_token_id=0,
        eos_token_id=0,
    )
    return randomised(GPTNeoXForCausalLM(config), directory, seed)


def llama(directory: Path, seed: int = 0, layers: int = 2, kv_heads: int = 2) -> Path:
    """Llama: RMSNorm, rotary, gated MLP, four query heads on `kv_heads` key/value heads."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        hidden_size=16,
        intermediate_size=24,
        vocab_size=VOCAB,
        max_position_embeddings=POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
        bos_token_id=0,
        eos_token_id=0,
    )
    return randomised(LlamaForCausalLM(config), directory, seed)


def hugging_face(name: str, directory: Path, seed: int = 0, layers: int = 2) -> Path:
    """One of `hugging_face_models.MODELS`."""
    return randomised(MODELS[name].build(layers), directory, seed)


def ungrouped(grouped: Path, directory: Path) -> Path:
    """The same function as the model in `grouped`, with a key and value head per query head."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(grouped)
    config = model.config
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    d_head = getattr(config, "head_dim", None) or config.hidden_size // heads
    state = dict(model.state_dict())

    def repeated(tensor: torch.Tensor) -> torch.Tensor:
        per_head = tensor.reshape(kv_heads, d_head, *tensor.shape[1:])
        return per_head.repeat_interleave(heads // kv_heads, dim=0).flatten(0, 1)

    for name, tensor in state.items():
        if ".k_proj." in name or ".v_proj." in name:
            state[name] = repeated(tensor)
        if ".qkv_proj." in name:
            q, k, v = tensor.split([heads * d_head, kv_heads * d_head, kv_heads * d_head])
            state[name] = torch.cat([q, repeated(k), repeated(v)])
    config.num_key_value_heads = heads
    wide = type(model)(config)
    wide.load_state_dict(state)
    wide.save_pretrained(directory)
    return directory


def native(
    directory: Path, seed: int = 0, norm: str | None = "LN", layers: int = 2, **fields: Any
) -> Path:
    """TransformerLens-native model: attention-only with LayerNorm, but for what `fields` say."""
    heads, d_model, d_head, d_mlp = 3, 12, 4, 10
    config = {
        "n_layers": layers,
        "d_model": d_model,
        "d_head": d_head,
        "n_heads": heads,
        "d_mlp": d_mlp,
        "n_ctx": POSITIONS,
        "d_vocab": VOCAB,
        "attn_only": True,
        "normalization_type": norm,
        "positional_embedding_type": "standard",
        "act_fn": "relu",
        "eps": 1e-5,
        **fields,
    }
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return 0.4 * torch.randn(*shape, generator=generator)

    tensors = {
        "embed.W_E": noise(VOCAB, d_model),
        "pos_embed.W_pos": noise(POSITIONS, d_model),
        "unembed.W_U": noise(d_model, VOCAB),
        "unembed.b_U": torch.zeros(VOCAB),
    }
    norms = ["ln_final"]
    kv_heads = fields.get("n_key_value_heads", heads)
    for layer in range(layers):
        block = f"blocks.{layer}"
        norms.append(f"{block}.ln1")
        for slot, n in zip("QKV", (heads, kv_heads, kv_heads), strict=True):
            tensors[f"{block}.attn.W_{slot}"] = noise(n, d_model, d_head)
            tensors[f"{block}.attn.b_{slot}"] = noise(n, d_head)
        tensors[f"{block}.attn.W_O"] = noise(heads, d_head, d_model)
        tensors[f"{block}.attn.b_O"] = noise(d_model)
        if not config["attn_only"]:
            norms.append(f"{block}.ln2")
            tensors[f"{block}.mlp.W_in"] = noise(d_model, d_mlp)
            tensors[f"{block}.mlp.W_out"] = noise(d_mlp, d_model)
            if fields.get("gated_mlp"):
                tensors[f"{block}.mlp.W_gate"] = noise(d_model, d_mlp)
            else:
                tensors[f"{block}.mlp.b_in"] = noise(d_mlp)
                tensors[f"{block}.mlp.b_out"] = noise(d_model)
    for name in norms:
        if norm in ("LN", "RMS"):
            tensors[f"{name}.w"] = 1 + noise(d_model)
        if norm == "LN":
            tensors[f"{name}.b"] = noise(d_model)
    if config["positional_embedding_type"] == "rotary":
        del tensors["pos_embed.W_pos"]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    save_file(tensors, directory / "model.safetensors")
    return directory


HUGGING_FACE: dict[str, Callable[..., Path]] = {
    "gpt2": gpt2,
    "neox": neox,
    "neox-sequential": neox_sequential,
    "llama": llama,
    **{name: partial(hugging_face, name) for name in MODELS},
}
# Attention-only with LayerNorm, without any norm (the models of A Mathematical Framework), and
# between them everything else that the native format holds.
NATIVE: dict[str, Callable[..., Path]] = {
    "native-ln": native,
    "native-no-norm": partial(native, norm=None),
    "native-ln-pre-mlp": partial(native, norm="LNPre", attn_only=False, act_fn="gelu"),
    "native-rms-rotary-gated": partial(
        native,
        norm="RMS",
        attn_only=False,
        gated_mlp=True,
        act_fn="silu",
        n_key_value_heads=1,
        positional_embedding_type="rotary",
        rotary_dim=2,
        rotary_base=100,
    ),
    "native-rms-pre-bidirectional": partial(native, norm="RMSPre", attention_dir="bidirectional"),
    "native-capped": partial(
        native, attn_only=False, attn_scores_soft_cap=1.0, output_logits_soft_cap=2.0
    ),
}
EVERY: dict[str, Callable[..., Path]] = {**HUGGING_FACE, **NATIVE}
