"""GGUF files as llama.cpp writes them, made of tiny checkpoints with the package `gguf`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoModelForCausalLM

from tests.hugging_face_models import VOCAB

LETTERS = [*"abcdefghijklmnopqr", "Ġ", "ab", "Ġab"]
"""The vocabulary after its two special tokens: letters, the space, and two merges."""

MERGES = ["a b", "Ġ ab"]


def write_gguf(
    checkpoint: Path,
    path: Path,
    *,
    architecture: str = "",
    fields: Mapping[str, str | int | float] = {},
    extra: Mapping[str, np.ndarray] = {},
    quantised: tuple[str, ...] = (),
) -> Path:
    """The model in `checkpoint` (Llama, Qwen 2 or GPT-2) as the GGUF file `path`.

    Args:
        checkpoint: a `save_pretrained` folder.
        path: the file to write.
        architecture: what the file calls itself; that of the model if empty.
        fields: further metadata.
        extra: further tensors by their GGUF names.
        quantised: GGUF names of tensors to store as Q8_0; their rows are multiples of 32.
    """
    import gguf

    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint)
    config = model.config
    kind = config.model_type
    writer = gguf.GGUFWriter(path, architecture or kind)
    _add_sizes(writer, config)
    _add_tokenizer(writer)
    for name, value in fields.items():
        add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}
        add[type(value)](name, value)
    places = gguf.get_tensor_name_map(
        {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}.get(
            kind, gguf.MODEL_ARCH.GPT2
        ),
        config.num_hidden_layers,
    )
    state = model.state_dict()
    if config.tie_word_embeddings:
        del state["lm_head.weight"]
    for name, tensor in state.items():
        place = places.get_name(name, try_suffixes=(".weight", ".bias"))
        assert place is not None, name
        values = _as_llama_cpp(tensor.numpy(), name, config)
        if place in quantised:
            q8 = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(place, gguf.quantize(values, q8), raw_dtype=q8)
        else:
            writer.add_tensor(place, values)
    for name, values in extra.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_sizes(writer: Any, config: Any) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    if config.model_type == "gpt2":
        writer.add_feed_forward_length(4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)


def _add_tokenizer(writer: Any) -> None:
    tokens = ["<unk>", "<s>", *LETTERS]
    tokens += [f"<{n}>" for n in range(VOCAB - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<") else 1 for token in tokens])
    writer.add_token_merges(MERGES)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)


def _as_llama_cpp(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    """The layout of llama.cpp: rotary pairs of a Llama interleaved, matrices of a GPT-2 turned."""
    if config.model_type == "llama" and (".q_proj." in name or ".k_proj." in name):
        heads = config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads
        halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))
    if config.model_type == "gpt2" and ".h." in name and values.ndim == 2:
        return np.ascontiguousarray(values.T)
    return values
