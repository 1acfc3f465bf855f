"""The quality of a circuit: faithfulness, completeness, minimality, causal scrubbing, stability."""

from acdc_pipeline.evaluation.causal_scrubbing import Recovery, causal_scrubbing
from acdc_pipeline.evaluation.comparison import (
    mean_pairwise_jaccard,
    pessimistic_auc,
    roc_of_circuits,
    roc_of_scores,
)
from acdc_pipeline.evaluation.completeness import (
    Knockout,
    completeness,
    count_search_forwards,
    worst_knockouts,
)
from acdc_pipeline.evaluation.curve import (
    FRACTIONS,
    CurvePoint,
    circuit_model_distance,
    circuit_performance_ratio,
    circuits_at_fractions,
    circuits_from_scores,
    measure_curve,
)
from acdc_pipeline.evaluation.exchange import select_exchangeable
from acdc_pipeline.evaluation.faithfulness import (
    Scale,
    measure_scale,
    measure_value,
    measure_values,
    percentile,
    random_masks,
)
from acdc_pipeline.evaluation.measure import (
    circuit_logprobs,
    differentiable_objective_for,
    measure,
    measure_circuits,
    objective_for,
    require_answers,
)
from acdc_pipeline.evaluation.minimality import PartScore, minimality
from acdc_pipeline.evaluation.parts import Parts, parts_by_node

__all__ = [
    "FRACTIONS",
    "CurvePoint",
    "Knockout",
    "PartScore",
    "Parts",
    "Recovery",
    "Scale",
    "causal_scrubbing",
    "circuit_logprobs",
    "circuit_model_distance",
    "circuit_performance_ratio",
    "circuits_at_fractions",
    "circuits_from_scores",
    "completeness",
    "count_search_forwards",
    "differentiable_objective_for",
    "mean_pairwise_jaccard",
    "measure",
    "measure_circuits",
    "measure_curve",
    "measure_scale",
    "measure_value",
    "measure_values",
    "minimality",
    "objective_for",
    "parts_by_node",
    "percentile",
    "pessimistic_auc",
    "random_masks",
    "require_answers",
    "roc_of_circuits",
    "roc_of_scores",
    "select_exchangeable",
    "worst_knockouts",
]
