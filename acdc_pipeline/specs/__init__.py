"""Specifications: tasks, methods, sweeps, worker profiles, runs, and how they are found."""

from acdc_pipeline.specs.base import Spec, canonical_json, sha256_of
from acdc_pipeline.specs.catalogue import (
    find_profile,
    find_reference,
    find_sweep,
    find_task,
    list_tasks,
)
from acdc_pipeline.specs.circuit_reference import ReferenceCircuit
from acdc_pipeline.specs.generators import (
    DocstringGenerator,
    FunctionGenerator,
    Generator,
    PairsGenerator,
    RepeatedTokensGenerator,
    TemplateGenerator,
)
from acdc_pipeline.specs.load import load_yaml, parse
from acdc_pipeline.specs.methods import (
    METHODS,
    SCORED_METHODS,
    AcdcMethod,
    CircuitMethod,
    EapIgAcdcMethod,
    Method,
    ProfileMethod,
    ScoredMethod,
    SearchMethod,
    circuit_method,
    method_for,
)
from acdc_pipeline.specs.model_ref import ModelRef
from acdc_pipeline.specs.names import (
    DTYPES,
    METRICS,
    Ablation,
    Difference,
    Dtype,
    HeadOrder,
    MetricName,
    Rank,
    Rule,
)
from acdc_pipeline.specs.profile import WorkerProfile
from acdc_pipeline.specs.project import Settings, bundled_folder, find_project, find_settings
from acdc_pipeline.specs.prompt_pair import PromptPair, read_pairs
from acdc_pipeline.specs.run import SCHEMA_VERSION, RunSpec
from acdc_pipeline.specs.sweep import Cell, SweepSpec
from acdc_pipeline.specs.task import Answers, Source, TaskMetrics, TaskSpec

__all__ = [
    "DTYPES",
    "METHODS",
    "METRICS",
    "SCHEMA_VERSION",
    "SCORED_METHODS",
    "Ablation",
    "AcdcMethod",
    "Answers",
    "Cell",
    "CircuitMethod",
    "Difference",
    "DocstringGenerator",
    "Dtype",
    "EapIgAcdcMethod",
    "FunctionGenerator",
    "Generator",
    "HeadOrder",
    "Method",
    "MetricName",
    "ModelRef",
    "PairsGenerator",
    "ProfileMethod",
    "PromptPair",
    "Rank",
    "ReferenceCircuit",
    "RepeatedTokensGenerator",
    "Rule",
    "RunSpec",
    "ScoredMethod",
    "SearchMethod",
    "Settings",
    "Source",
    "Spec",
    "SweepSpec",
    "TaskMetrics",
    "TaskSpec",
    "TemplateGenerator",
    "WorkerProfile",
    "bundled_folder",
    "canonical_json",
    "circuit_method",
    "find_profile",
    "find_project",
    "find_reference",
    "find_settings",
    "find_sweep",
    "find_task",
    "list_tasks",
    "load_yaml",
    "method_for",
    "parse",
    "read_pairs",
    "sha256_of",
]
