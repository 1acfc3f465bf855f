"""MLPs and mixers of a model: as weights where a known formula fits, else the module itself."""

from __future__ import annotations

from typing import Any

from acdc_pipeline.models.architectures.layout import ModuleArchitecture
from acdc_pipeline.models.architectures.reading.blocks import ACTIVATIONS, drop_zero, linear
from acdc_pipeline.models.weights import Mixer, Mlp, TokenModule


def read_mlp(module: Any, architecture: ModuleArchitecture, config: Any) -> Mlp | TokenModule:
    """Return the MLP `module`; itself where it has experts, or an activation of its own."""
    activation = ACTIVATIONS.get(architecture.activation_name(config))
    if activation is None or not architecture.is_plain_mlp(module):
        return read_token_module(module, architecture, config)
    if architecture.gate_up and hasattr(module, architecture.gate_up):
        weight, bias = linear(getattr(module, architecture.gate_up))
        w_gate, w_in = weight.chunk(2, dim=1)
        b_gate, b_in = (None, None) if bias is None else bias.chunk(2)
    else:
        w_in, b_in = linear(getattr(module, architecture.up))
        gate = getattr(module, architecture.gate, None) if architecture.gate else None
        w_gate, b_gate = (None, None) if gate is None else linear(gate)
    w_out, b_out = linear(getattr(module, architecture.down))
    return Mlp(
        w_in=w_in,
        b_in=drop_zero(b_in),
        w_gate=w_gate,
        b_gate=drop_zero(b_gate),
        w_out=w_out,
        b_out=drop_zero(b_out),
        activation=activation,
    )


def read_token_module(module: Any, architecture: ModuleArchitecture, config: Any) -> TokenModule:
    """Return `module` as it is, with the number of weights that one token uses."""
    routed, always = 0, 0
    for name, parameter in module.named_parameters():
        inside = architecture.experts in name.split(".")
        routed += parameter.numel() if inside else 0
        always += 0 if inside or parameter.dim() < 2 else parameter.numel()
    feature = f"MLPs of {type(module).__name__}"
    counts = architecture.count_experts(config.to_dict()) if routed else None
    if counts is not None:
        experts, chosen = counts
        routed = routed * chosen // experts
        feature = f"mixtures of {experts} experts, {chosen} per token"
    used = routed + always
    return TokenModule(module, used, used // (2 * config.hidden_size), feature)


def read_mixer(module: Any, config: Any) -> Mixer:
    """Return `module`, which mixes positions without attention heads, as it is."""
    n_weights = sum(p.numel() for p in module.parameters() if p.dim() > 1)
    feature = f"{type(module).__name__} mixers"
    return Mixer(module, n_weights, n_weights // config.hidden_size, feature)
