"""Discovery methods: pure computation, from a model and prompts to decisions or scores."""

from acdc_pipeline.algorithms.acdc import AcdcResult as AcdcResult
from acdc_pipeline.algorithms.acdc import EdgeSearch as EdgeSearch
from acdc_pipeline.algorithms.acdc import acdc as acdc
from acdc_pipeline.algorithms.replay import Replay as Replay
from acdc_pipeline.algorithms.scoring import ScoringProblem as ScoringProblem
from acdc_pipeline.algorithms.scoring import score_edges as score_edges
