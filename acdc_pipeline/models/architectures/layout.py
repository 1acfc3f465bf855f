"""Architectures that are read from the modules of the Hugging Face model itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.architectures.base import MAX_ROTARY_POSITIONS, Architecture


class StreamFactors(NamedTuple):
    """Constants of a layer: stream = before * stream + factor * output, for both of its parts."""

    before_attention: float = 1.0
    attention: float = 1.0
    before_mlp: float = 1.0
    mlp: float = 1.0


NO_FACTORS = StreamFactors()


class ModuleArchitecture(Architecture):
    """A decoder with Llama's names of modules; subclasses give the names that differ.

    Names may be dotted paths; `.` is the module itself, where the projections of the MLP are parts
    of the layer, say. An empty name stands for a part that the architecture lacks. Torch is not
    imported here: methods get modules and tensors, and use only what these offer.

    Class attributes of the model:
        layers, embedding, final_norm, unembedding: paths of its modules.
        positions: path of an embedding of positions; its first `position_offset` rows are skipped.
        rotary: path of the module that computes cosines and sines.
        context_fields: fields of the config that may hold the number of positions.

    Class attributes of a layer, relative to it:
        attention, mixer, mlp: its parts. With a name for the mixer, layers may lack any of them.
        attn_norm, mlp_norm: norms before them; the mixer reads the same stream as the attention,
            and an empty `mlp_norm` is the same as `attn_norm`.
        post_attn, post_mixer, post_mlp: norms of what they write.

    Class attributes of an attention, relative to it:
        q, k, v, o: projections.
        qkv: one projection in place of q, k and v.
        attn_gate: projection of a gate of the values (`Attention.gate`), whose outputs may also
            follow the query of each head in q.
        qkv_split: order of its outputs. `heads`: q, k and v of the first head, then of the next;
            `blocks`: all of q, all of k, all of v; `groups`: for each key/value head its query
            heads, its key and its value.
        q_norm, k_norm, v_norm: norms of queries, keys and values, where the module has them.
        sinks: scores that take part in the softmax, where the module has them.
        q_down, q_latent_norm, q_up, kv_down, kv_latent_norm, kv_up: projections and norms of
            multi-head latent attention, which a module with `kv_down` has; without `q_down` its
            queries are projected by q.
        window_from: module that holds `sliding_window`; None for one that ignores it.

    Class attributes of an MLP, relative to it:
        gate, up, down: projections; without a module of the name `gate` the MLP has no gate.
        gate_up: one projection in place of gate and up, the gate first.
        shared_mlp: path in the layer of a second MLP that reads the same, where it has one.
        activation_fields: fields of the config that may name the activation.
        experts: name of the part that holds the routed experts.
        expert_fields, chosen_fields: fields of the config that may hold the number of routed
            experts, and how many of them process a token.
    """

    source: ClassVar[Literal["bridge", "module"]] = "module"

    layers: ClassVar[str] = "model.layers"
    embedding: ClassVar[str] = "model.embed_tokens"
    positions: ClassVar[str] = ""
    position_offset: ClassVar[int] = 0
    rotary: ClassVar[str] = "model.rotary_emb"
    final_norm: ClassVar[str] = "model.norm"
    unembedding: ClassVar[str] = "lm_head"
    context_fields: ClassVar[tuple[str, ...]] = ("max_position_embeddings", "n_positions")

    attention: ClassVar[str] = "self_attn"
    mixer: ClassVar[str] = ""
    mlp: ClassVar[str] = "mlp"
    attn_norm: ClassVar[str] = "input_layernorm"
    mlp_norm: ClassVar[str] = "post_attention_layernorm"
    post_attn: ClassVar[str] = ""
    post_mixer: ClassVar[str] = ""
    post_mlp: ClassVar[str] = ""

    q: ClassVar[str] = "q_proj"
    k: ClassVar[str] = "k_proj"
    v: ClassVar[str] = "v_proj"
    o: ClassVar[str] = "o_proj"
    qkv: ClassVar[str] = ""
    qkv_split: ClassVar[Literal["heads", "blocks", "groups"]] = "blocks"
    attn_gate: ClassVar[str] = ""
    q_norm: ClassVar[str] = "q_norm"
    k_norm: ClassVar[str] = "k_norm"
    v_norm: ClassVar[str] = ""
    sinks: ClassVar[str] = "sinks"
    q_down: ClassVar[str] = "q_a_proj"
    q_latent_norm: ClassVar[str] = "q_a_layernorm"
    q_up: ClassVar[str] = "q_b_proj"
    kv_down: ClassVar[str] = "kv_a_proj_with_mqa"
    kv_latent_norm: ClassVar[str] = "kv_a_layernorm"
    kv_up: ClassVar[str] = "kv_b_proj"
    window_from: ClassVar[Literal["attention", "config"] | None] = "attention"

    gate: ClassVar[str] = "gate_proj"
    up: ClassVar[str] = "up_proj"
    down: ClassVar[str] = "down_proj"
    gate_up: ClassVar[str] = ""
    shared_mlp: ClassVar[str] = ""
    activation_fields: ClassVar[tuple[str, ...]] = (
        "hidden_act",
        "hidden_activation",
        "activation_function",
    )
    experts: ClassVar[str] = "experts"
    expert_fields: ClassVar[tuple[str, ...]] = (
        "num_local_experts",
        "num_experts",
        "n_routed_experts",
        "moe_num_experts",
    )
    chosen_fields: ClassVar[tuple[str, ...]] = (
        "num_experts_per_tok",
        "num_experts_per_token",
        "moe_topk",
        "moe_k",
        "moe_top_k",
    )

    def count_experts(self, config: Mapping[str, Any]) -> tuple[int, int] | None:
        """Return the number of routed experts in a layer, and of those that process a token."""
        fields = self.expert_fields, self.chosen_fields
        found = [next((config[n] for n in names if config.get(n)), 0) for names in fields]
        return (int(found[0]), int(found[1])) if all(found) else None

    def text_part(self, model: Any) -> tuple[Any, ModuleArchitecture]:
        """Return what holds the modules of the text model, and the architecture with their names.

        That is the causal language model, or an object with the same members.
        """
        return model, self

    def count_positions(self, config: Any) -> int:
        """Return the largest number of tokens of a prompt."""
        return int(read_first(config, self.context_fields, MAX_ROTARY_POSITIONS))

    def decoder_layers(self, model: Any) -> list[Any]:
        """Return the decoder layers, in the order in which text passes them."""
        return list(find(model, self.layers))

    def find_part(self, layer: Any, part: Literal["a", "r", "m"]) -> Any:
        """Return the module of a layer's attention, mixer or MLP; None if it has none."""
        name = {"a": self.attention, "r": self.mixer, "m": self.mlp}[part]
        return find_optional(layer, name)

    def window(self, attention: Any) -> int | None:
        """Return the number of keys that a query sees, itself included; None for all."""
        if self.window_from is None:
            return None
        return super().window(attention.config if self.window_from == "config" else attention)

    def count_heads(self, attention: Any, config: Any) -> int:
        """Return the number of query heads of one attention."""
        return int(read_first(config, ("num_attention_heads", "n_head", "num_heads")))

    def head_width(self, attention: Any, config: Any) -> int:
        """Return the width of queries and keys of one head, without a gate."""
        width = getattr(attention, "head_dim", None)
        return int(width or config.hidden_size // self.count_heads(attention, config))

    def slot_projections(self, attention: Any, config: Any) -> Mapping[str, tuple[Any, Any]] | None:
        """Return weight `[out, d_model]` and bias `[out]` or None of `q`, `k` and `v`.

        Outputs are head after head. None to read the projections named by `q`, `k`, `v` or `qkv`.
        """
        return None

    def latent_interleaved(self, config: Any) -> bool:
        """Return whether latent attention rotates neighbouring dimensions together."""
        return bool(getattr(config, "rope_interleave", False))

    def clip(self, config: Any) -> float | None:
        """Return the bound that queries, keys and values are clamped to."""
        clip = getattr(config, "clip_qkv", None)
        return None if clip is None else float(clip)

    def position_table(self, model: Any) -> Any:
        """Return the embedding of each position; None for that of the module `positions`."""
        return None

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        """Return the token embedding as it enters the residual stream of a model."""
        scale = getattr(bridge.get_input_embeddings(), "embed_scale", None)
        return weight if scale is None else weight * scale

    def unembed(self, weight: Any, model: Any) -> Any:
        """Return the matrix `[d_model, vocab]` of a model, where `weight` is its unembedding's."""
        return weight

    def is_plain_mlp(self, mlp: Any) -> bool:
        """Return whether `down(act(gate(x)) * up(x))`, or `down(act(up(x)))`, is the whole MLP."""
        return bool(self.gate_up and hasattr(mlp, self.gate_up)) or hasattr(mlp, self.up)

    def activation_name(self, config: Any, bridge_config: Any = None) -> str:
        """Return the library's name of the activation in MLPs."""
        return str(read_first(config, self.activation_fields))

    def rotary_tables(self, bridge: Any) -> Iterable[tuple[Any, Any] | None] | None:
        """Return cosines and sines of each layer, or None for one without positions.

        None in place of all of them to obtain them from the module `rotary`.
        """
        return None

    def stream_factors(self, layer: Any, config: Any) -> StreamFactors:
        """Return the constants that a layer multiplies the residual stream with."""
        return NO_FACTORS

    def finish_attention(self, attn: Any, attention: Any, config: Any) -> Any:
        """Return `attn`, as read from the module `attention`, with what the names cannot express.

        Args:
            attn: an `Attention`, to be changed with `dataclasses.replace`.
        """
        return attn

    def finish_block(self, block: Any, layer: Any, config: Any) -> Any:
        """Return the `Block` read from the module `layer`, with what the names cannot express."""
        return block


class RotatesInWindows(ModuleArchitecture):
    """A decoder with windows in some layers, where the other layers have no positions."""

    def window(self, attention: Any) -> int | None:
        return super().window(attention) if attention.is_sliding else None

    def rotates(self, attention: Any) -> bool:
        return bool(attention.sliding_window is None or attention.is_sliding)


def read_first(config: Any, names: Iterable[str], default: Any = None) -> Any:
    """Return the first field of `config` that is not None."""
    values = (getattr(config, name, None) for name in names)
    return next((value for value in values if value is not None), default)


def find(module: Any, path: str) -> Any:
    """Return the part of `module` at a dotted path, `.` for itself.

    Raises:
        UnsupportedModel: there is none.
    """
    part = find_optional(module, path)
    if part is None:
        raise UnsupportedModel(f"'{type(module).__name__}' has no module '{path}'")
    return part


def find_optional(module: Any, path: str) -> Any:
    """Return the part of `module` at a dotted path, `.` for itself; None if there is none."""
    if path in ("", "."):
        return module if path else None
    part = module
    for name in path.split("."):
        part = getattr(part, name, None)
    return part
