"""Models: where torch meets TransformerLens, and plain tensors come out."""

from acdc_pipeline.models.architectures import SUPPORTED
from acdc_pipeline.models.describe import ModelDescription, describe_model
from acdc_pipeline.models.device import resolve_device, resolve_dtype
from acdc_pipeline.models.load import LoadedModel, load_model
from acdc_pipeline.models.location import Located, locate
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.models.zoo.catalogue import list_zoo

__all__ = [
    "SUPPORTED",
    "LoadedModel",
    "Located",
    "ModelDescription",
    "TransformerWeights",
    "describe_model",
    "list_zoo",
    "load_model",
    "locate",
    "resolve_device",
    "resolve_dtype",
]
