"""Load a model for the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.graph import Topology
from acdc_pipeline.models.architectures import find_architecture, require_supported
from acdc_pipeline.models.architectures.extraction import extract_weights
from acdc_pipeline.models.bridge import load_bridge, load_tokenizer
from acdc_pipeline.models.device import Precision, resolve_device, resolve_dtype
from acdc_pipeline.models.directory import architecture_of, read_config
from acdc_pipeline.models.location import locate
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.specs.model_ref import ModelRef

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False, repr=False)
class LoadedModel:
    """A model in memory.

    Args:
        ref: the reference it was loaded by.
        revision: changes whenever the weights do.
        architecture: Hugging Face class name, or TransformerLensNative.
        weights: plain tensors, on the device the engine computes on.
        tokenizer: None if the directory has none.
        bridge: the TransformerLens model on the CPU, the oracle for the engine.
    """

    ref: ModelRef
    revision: str
    architecture: str
    weights: TransformerWeights
    tokenizer: PreTrainedTokenizerBase | None
    bridge: TransformerBridge

    def __repr__(self) -> str:
        return f"<model {self.ref}: {self.architecture}, {self.weights!r}>"

    @property
    def topology(self) -> Topology:
        """Computational graph."""
        return self.weights.topology

    def reference_logits(
        self, tokens: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos vocab"]:
        """Return the logits of the original model, through TransformerLens, on the CPU."""
        with torch.no_grad():
            return self.bridge(tokens.cpu())


def _round_parameters(bridge: TransformerBridge, precision: Precision, *, where: str) -> None:
    """Round every parameter to a value of the held type, so that holding it loses nothing."""
    if precision.held is precision.computed:
        return
    with torch.no_grad():
        for name, parameter in bridge.named_parameters():
            rounded = parameter.to(precision.held).to(precision.computed)
            if bool((~rounded.isfinite() & parameter.isfinite()).any()):
                raise InvalidInput(
                    f"'{name}' holds {parameter.abs().max():.3g}, too large for float16",
                    where=where,
                    fix="use --dtype bfloat16 or float32",
                )
            parameter.copy_(rounded)


def load_model(ref: ModelRef | str, *, dtype: str = "float32", device: str = "auto") -> LoadedModel:
    """Load `zoo:NAME`, `hf:ORG/NAME[@REVISION]`, `dir:PATH` or `gguf:FILE`.

    Raises:
        UnknownName: no such zoo model.
        UnsupportedModel: the engine does not reproduce its architecture.
        InvalidInput: files are missing or do not fit together, or an unknown dtype or device.
    """
    ref = ModelRef.parse(ref) if isinstance(ref, str) else ref
    precision, torch_device = resolve_dtype(dtype), resolve_device(device)
    located = locate(ref)
    config = read_config(located.directory)
    architecture = architecture_of(config)
    require_supported(architecture, config, where=str(ref))
    bridge = load_bridge(located.directory, dtype=precision.computed)
    _round_parameters(bridge, precision, where=str(ref))
    try:
        weights = extract_weights(bridge, find_architecture(architecture))
    except UnsupportedModel as error:
        raise error.at(str(located.directory / "config.json"))  # noqa: B904  (the same error)
    return LoadedModel(
        ref=ref,
        revision=located.revision,
        architecture=architecture,
        weights=weights.to(precision=precision, device=torch_device),
        tokenizer=load_tokenizer(located.directory),
        bridge=bridge,
    )
