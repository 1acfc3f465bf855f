from .architectures import SUPPORTED
from .describe import ModelDescription, describe_model
from .device import resolve_device, resolve_dtype
from .load import LoadedModel, load_model
from .location import Located, locate
from .weights import TransformerWeights
from .zoo import list_zoo

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
