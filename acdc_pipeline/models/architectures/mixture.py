"""Mixtures of experts in the layout of Llama."""

from __future__ import annotations

from acdc_pipeline.models.architectures.layout import ModuleArchitecture


class Mixtral(ModuleArchitecture):
    """Mistral with a mixture of experts in place of each MLP."""

    class_name = "MixtralForCausalLM"
    title = "Mixtral"
    window_from = "config"


ARCHITECTURES = (Mixtral,)
