"""GLM and GLM-4 by Z.ai."""

from __future__ import annotations

from acdc_pipeline.models.architectures.layout import ModuleArchitecture


class Glm(ModuleArchitecture):
    """Llama with rotation of adjacent dimensions of a part of each head, and fused MLPs."""

    class_name = "GlmForCausalLM"
    title = "GLM"
    rotary_pairs = "adjacent"
    gate_up = "gate_up_proj"


class Glm4(Glm):
    """GLM with further norms after attention and MLP."""

    class_name = "Glm4ForCausalLM"
    title = "GLM-4"
    post_attn = "post_self_attn_layernorm"
    post_mlp = "post_mlp_layernorm"


ARCHITECTURES = (Glm, Glm4)
