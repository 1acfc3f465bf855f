"""Discovery methods: one class each, with its parameters, defaults, version and traits."""

from acdc_pipeline.specs.methods.base import Default
from acdc_pipeline.specs.methods.profile import ProfileMethod
from acdc_pipeline.specs.methods.registry import (
    METHODS,
    SCORED_METHODS,
    CircuitMethod,
    Method,
    circuit_method,
    method_for,
)
from acdc_pipeline.specs.methods.scored import ScoredMethod
from acdc_pipeline.specs.methods.search import AcdcMethod, EapIgAcdcMethod, SearchMethod

__all__ = [
    "METHODS",
    "SCORED_METHODS",
    "AcdcMethod",
    "CircuitMethod",
    "Default",
    "EapIgAcdcMethod",
    "Method",
    "ProfileMethod",
    "ScoredMethod",
    "SearchMethod",
    "circuit_method",
    "method_for",
]
