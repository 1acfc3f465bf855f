"""What a circuit is worth."""

from acdc_pipeline.evaluation.areas import circuit_model_distance, circuit_performance_ratio
from acdc_pipeline.evaluation.causal_scrubbing import Recovery, causal_scrubbing
from acdc_pipeline.evaluation.completeness import Knockout, completeness
from acdc_pipeline.evaluation.curve import (
    FRACTIONS,
    Point,
    circuits_at_fractions,
    circuits_from_scores,
    curve,
)
from acdc_pipeline.evaluation.exchange import with_partners
from acdc_pipeline.evaluation.faithfulness import Scale, scale_of, value_of, values_of
from acdc_pipeline.evaluation.jaccard import jaccard, mean_pairwise_jaccard
from acdc_pipeline.evaluation.measure import (
    circuit_logprobs,
    differentiable_objective_for,
    measure,
    measure_circuits,
    objective_for,
)
from acdc_pipeline.evaluation.minimality import Need, minimality
from acdc_pipeline.evaluation.null import percentile, random_circuits, random_masks
from acdc_pipeline.evaluation.parts import Parts, parts_by_edge, parts_by_node
from acdc_pipeline.evaluation.roc import pessimistic_auc, roc_of_circuits, roc_of_scores
from acdc_pipeline.evaluation.worst_knockouts import knockouts_of_a_search, worst_knockouts

__all__ = [
    "FRACTIONS",
    "Knockout",
    "Need",
    "Parts",
    "Point",
    "Recovery",
    "Scale",
    "causal_scrubbing",
    "circuit_logprobs",
    "circuit_model_distance",
    "circuit_performance_ratio",
    "circuits_at_fractions",
    "circuits_from_scores",
    "completeness",
    "curve",
    "differentiable_objective_for",
    "jaccard",
    "knockouts_of_a_search",
    "mean_pairwise_jaccard",
    "measure",
    "measure_circuits",
    "minimality",
    "objective_for",
    "parts_by_edge",
    "parts_by_node",
    "percentile",
    "pessimistic_auc",
    "random_circuits",
    "random_masks",
    "roc_of_circuits",
    "roc_of_scores",
    "scale_of",
    "value_of",
    "values_of",
    "with_partners",
    "worst_knockouts",
]
