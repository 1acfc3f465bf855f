"""The quality of a circuit: faithfulness, completeness, minimality, causal scrubbing, stability."""

from acdc_pipeline.evaluation.causal_scrubbing import Recovery as Recovery
from acdc_pipeline.evaluation.causal_scrubbing import causal_scrubbing as causal_scrubbing
from acdc_pipeline.evaluation.comparison import auc as auc
from acdc_pipeline.evaluation.comparison import mean_pairwise_jaccard as mean_pairwise_jaccard
from acdc_pipeline.evaluation.comparison import pessimistic_auc as pessimistic_auc
from acdc_pipeline.evaluation.comparison import roc_of_circuits as roc_of_circuits
from acdc_pipeline.evaluation.comparison import roc_of_scores as roc_of_scores
from acdc_pipeline.evaluation.completeness import Knockout as Knockout
from acdc_pipeline.evaluation.completeness import completeness as completeness
from acdc_pipeline.evaluation.completeness import count_search_forwards as count_search_forwards
from acdc_pipeline.evaluation.completeness import worst_knockouts as worst_knockouts
from acdc_pipeline.evaluation.curve import FRACTIONS as FRACTIONS
from acdc_pipeline.evaluation.curve import CurvePoint as CurvePoint
from acdc_pipeline.evaluation.curve import circuit_model_distance as circuit_model_distance
from acdc_pipeline.evaluation.curve import circuit_performance_ratio as circuit_performance_ratio
from acdc_pipeline.evaluation.curve import circuits_at_fractions as circuits_at_fractions
from acdc_pipeline.evaluation.curve import circuits_from_scores as circuits_from_scores
from acdc_pipeline.evaluation.curve import measure_curve as measure_curve
from acdc_pipeline.evaluation.exchange import select_exchangeable as select_exchangeable
from acdc_pipeline.evaluation.faithfulness import Known as Known
from acdc_pipeline.evaluation.faithfulness import Scale as Scale
from acdc_pipeline.evaluation.faithfulness import measure_scale as measure_scale
from acdc_pipeline.evaluation.faithfulness import measure_value as measure_value
from acdc_pipeline.evaluation.faithfulness import percentile as percentile
from acdc_pipeline.evaluation.faithfulness import random_masks as random_masks
from acdc_pipeline.evaluation.measure import circuit_logits as circuit_logits
from acdc_pipeline.evaluation.measure import circuit_logprobs as circuit_logprobs
from acdc_pipeline.evaluation.measure import (
    differentiable_objective_for as differentiable_objective_for,
)
from acdc_pipeline.evaluation.measure import measure as measure
from acdc_pipeline.evaluation.measure import measure_circuits as measure_circuits
from acdc_pipeline.evaluation.measure import measure_sums as measure_sums
from acdc_pipeline.evaluation.measure import metric_of as metric_of
from acdc_pipeline.evaluation.measure import objective_for as objective_for
from acdc_pipeline.evaluation.measure import require_answers as require_answers
from acdc_pipeline.evaluation.minimality import PartScore as PartScore
from acdc_pipeline.evaluation.minimality import minimality as minimality
from acdc_pipeline.evaluation.parts import Parts as Parts
from acdc_pipeline.evaluation.parts import parts_by_node as parts_by_node
