"""Dense decoders that are read from their own modules."""

from __future__ import annotations

from acdc_pipeline.models.architectures.layout import ModuleArchitecture


class Arcee(ModuleArchitecture):
    """Llama with squared ReLUs and no gates."""

    class_name = "ArceeForCausalLM"
    title = "Arcee"


ARCHITECTURES = (Arcee,)
