"""OLMo 1, 2 and 3."""

from __future__ import annotations

from acdc_pipeline.models.architectures.base import Architecture
from acdc_pipeline.models.architectures.gemma import BIAS_BEFORE_NORM


class Olmo(Architecture):
    """LayerNorms without weights."""

    class_name = "OlmoForCausalLM"
    title = "OLMo"
    layer_norm_modules = frozenset({"OlmoLayerNorm"})
    norm_eps = 1e-5


class Olmo2(Architecture):
    """RMS norms after attention and MLP, and one across all queries or keys of a layer."""

    class_name = "Olmo2ForCausalLM"
    title = "OLMo 2"
    refused_values = (BIAS_BEFORE_NORM,)
    head_norm_span = "layer"


class Olmo3(Olmo2):
    """OLMo 2 with windows in some layers."""

    class_name = "Olmo3ForCausalLM"
    title = "OLMo 3"


ARCHITECTURES = (Olmo, Olmo2, Olmo3)
