"""Discovery methods: one class each, with its parameters, defaults, version and traits."""

from acdc_pipeline.specs.methods.profile import ProfileMethod as ProfileMethod
from acdc_pipeline.specs.methods.registry import METHODS as METHODS
from acdc_pipeline.specs.methods.registry import SCORED_METHODS as SCORED_METHODS
from acdc_pipeline.specs.methods.registry import CircuitMethod as CircuitMethod
from acdc_pipeline.specs.methods.registry import Method as Method
from acdc_pipeline.specs.methods.registry import circuit_method as circuit_method
from acdc_pipeline.specs.methods.registry import method_for as method_for
from acdc_pipeline.specs.methods.registry import method_label as method_label
from acdc_pipeline.specs.methods.registry import method_name as method_name
from acdc_pipeline.specs.methods.registry import size_label as size_label
from acdc_pipeline.specs.methods.scored import ScoredMethod as ScoredMethod
from acdc_pipeline.specs.methods.search import AcdcMethod as AcdcMethod
from acdc_pipeline.specs.methods.search import EapIgAcdcMethod as EapIgAcdcMethod
from acdc_pipeline.specs.methods.search import SearchMethod as SearchMethod
from acdc_pipeline.specs.methods.text import TextMethod as TextMethod
